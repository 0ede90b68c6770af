"""What a network policy allows, as a pure decision over names, addresses and ports.

A connection is judged twice: by the name that was asked for, and by each address the name leads to. Only addresses
that passed are connected to, so a name cannot lead anywhere else in between. Addresses of the machine itself, of
private, shared and link-local networks, multicast and reserved ones are denied in every mode, unless the operator
listed them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from skerry.island.sandbox.spec import NetworkPolicy

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
CLOSED4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
"""Everything of version 4 that is not the open internet."""
_OPEN6 = ipaddress.IPv6Network("2000::/3")
# Within the above: protocol assignments with Teredo, documentation, and 6to4, which hides an IPv4 address.
_CLOSED6 = tuple(ipaddress.IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class BadRule(ValueError):
    """A policy entry that is no host, pattern, address or block; the message says which."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a policy.

    Args:
        text: as it was written.
        port: the only port it is about, or None for all.
        name: host name it matches, or None.
        suffix: `.example.com` for `*.example.com`, the empty text for `*`, or None.
        network: addresses it matches, or None.
    """

    text: str
    port: int | None
    name: str | None = None
    suffix: str | None = None
    network: Network | None = None

    def matches_name(self, name: str, port: int) -> bool:
        """Whether it is about this normalised name; `*.example.com` is not about `example.com` itself."""
        if self.port is not None and self.port != port:
            return False
        if self.suffix is not None:
            return name.endswith(self.suffix) and name != self.suffix
        return self.name is not None and self.name == name

    def matches_address(self, address: Address, port: int) -> bool:
        """Whether it is about this normalised address."""
        if self.port is not None and self.port != port:
            return False
        if self.suffix == "":
            return True
        return self.network is not None and address.version == self.network.version and address in self.network


def parse_rule(text: str) -> Rule:
    """Read `host`, `*.suffix`, `*`, an address or a block, each with an optional `:port`.

    Addresses of version 6 with a port are written in brackets, as in `[2001:db8::/32]:443`.

    Raises:
        BadRule: none of these.

    Example:
        >>> parse_rule("*.example.com:443").suffix
        '.example.com'
    """
    rest, port = _split_port(text)
    if rest == "*":
        return Rule(text, port, suffix="")
    if "/" in rest or _as_address(rest) is not None:
        if "%" in rest:
            raise BadRule(f"{text!r}: a zone has no meaning here")
        try:
            network = ipaddress.ip_network(rest, strict=False)
        except ValueError:
            raise BadRule(f"{text!r} is not a block of addresses") from None
        return Rule(text, port, network=_unmapped_network(network))
    wildcard = rest.startswith("*.")
    try:
        name = normalise_name(rest[2:] if wildcard else rest)
    except ValueError:
        raise BadRule(f"{text!r} is not a host, *.suffix, address or block, with an optional :port") from None
    return Rule(text, port, suffix=f".{name}") if wildcard else Rule(text, port, name=name)


def normalise_name(name: str) -> str:
    """A host name in lower case, in its ASCII form and without a final dot.

    Raises:
        ValueError: it cannot be a host name.
    """
    text = name.rstrip(".") if name.endswith(".") and not name.endswith("..") else name
    if not text.isascii():
        text = text.encode("idna").decode()
    text = text.lower()
    if not text or len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError(f"{name!r} is not a host name")
    return text


def normalise_address(address: Address) -> Address:
    """The address that is really meant: the IPv4 one inside a mapped or translated IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether a normalised address lies in the open internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in block for block in CLOSED4)
    return address.scope_id is None and address in _OPEN6 and not any(address in block for block in _CLOSED6)


class Rules:
    """A policy made ready to be asked.

    Args:
        policy: the sandbox's policy.
        private_ok: blocks that may be reached although they are not public; the operator's choice, not the sandbox's.

    Raises:
        BadRule: an entry of either cannot be read.
    """

    def __init__(self, policy: NetworkPolicy, private_ok: Sequence[str] = ()) -> None:
        self.policy = policy
        self._rules = tuple(parse_rule(text) for text in policy.hosts)
        self._private = parse_blocks(private_ok)

    def denies_name(self, name: str, port: int) -> str | None:
        """Why a name is out of the question before it is even resolved, or None.

        Args:
            name: normalised.
        """
        if self.policy.mode == "none":
            return "this sandbox has no network"
        if self.policy.mode == "block" and any(rule.matches_name(name, port) for rule in self._rules):
            return "the sandbox's policy blocks it"
        if self.policy.mode == "allow" and not any(
            rule.matches_name(name, port) or rule.network is not None for rule in self._rules
        ):
            return self._not_allowed()
        return None

    def denies_address(self, name: str | None, address: Address, port: int, *, own: bool = False) -> str | None:
        """Why an address must not be connected to, or None.

        Args:
            name: the normalised name that led here, None for a bare address.
            address: as resolved.
            own: it is an address of this machine, whatever block it lies in.
        """
        if self.policy.mode == "none":
            return "this sandbox has no network"
        meant = normalise_address(address)
        if (own or not is_public(meant)) and not any(
            meant.version == block.version and meant in block for block in self._private
        ):
            return f"{meant} belongs to this machine or to a private or reserved network"
        hit = any(
            (name is not None and rule.matches_name(name, port)) or rule.matches_address(meant, port)
            for rule in self._rules
        )
        if self.policy.mode == "block" and hit:
            return "the sandbox's policy blocks it"
        if self.policy.mode == "allow" and not hit:
            return self._not_allowed()
        return None

    def _not_allowed(self) -> str:
        listed = ", ".join(self.policy.hosts[:10]) + (", ..." if len(self.policy.hosts) > 10 else "")
        return f"the sandbox's policy allows only: {listed or 'nothing'}"


def parse_blocks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read addresses and CIDR blocks.

    Raises:
        BadRule: not such.
    """
    try:
        return tuple(_unmapped_network(ipaddress.ip_network(text, strict=False)) for text in texts)
    except ValueError as error:
        raise BadRule(str(error)) from None


def _split_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        rest, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise BadRule(f"{text!r} is not an address in brackets with an optional :port")
        digits = tail[1:] if tail else None
    elif text.count(":") == 1:
        rest, _, digits = text.partition(":")
    else:
        rest, digits = text, None
    if digits is None:
        return rest, None
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536):
        raise BadRule(f"{text!r}: a port is a number from 1 to 65535")
    return rest, int(digits)


def _as_address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _unmapped_network(network: Network) -> Network:
    """A block of mapped addresses as the IPv4 block it stands for."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        inner = network.network_address.ipv4_mapped
        if inner is not None:
            return ipaddress.IPv4Network((inner, network.prefixlen - 96))
    return network
