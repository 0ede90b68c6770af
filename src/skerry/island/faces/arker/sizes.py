"""Sizes and egress as Arker words them, as the bounds and policies the engine enforces (protocol section 3.3)."""

from __future__ import annotations

from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.schemas import PolicyBody
from skerry.island.sandbox.egress.rules import parse_rule
from skerry.island.sandbox.spec import Barriers, Limits, NetworkPolicy
from skerry.units import MIB

MOST_HOSTS = 256


def override(
    barriers: Barriers, *, vcpu_count: int | None, memory_mib: int | None, disk_mib: int | None
) -> Limits | None:
    """Bounds that a request asks for, fields it does not name None; None when it names none.

    Raises:
        ArkerFault: `bad_request` for nothing at all of something, `unsupported_operation` for a bound that this
            machine cannot enforce.
    """
    if vcpu_count is None and memory_mib is None and disk_mib is None:
        return None
    for name, value in (("vcpu_count", vcpu_count), ("memory_mib", memory_mib), ("disk_mib", disk_mib)):
        if value == 0:
            raise ArkerFault("bad_request", f"{name} must be at least 1")
    if not can_bound(barriers):
        for name, value in (("vcpu_count", vcpu_count), ("memory_mib", memory_mib)):
            if value is not None:
                raise ArkerFault(
                    "unsupported_operation",
                    f"{name}: this machine gives the island no control groups, so it cannot hold a VM to that",
                )
    return Limits(
        cpu_millis=None if vcpu_count is None else vcpu_count * 1000,
        memory_bytes=None if memory_mib is None else memory_mib * MIB,
        disk_bytes=None if disk_mib is None else disk_mib * MIB,
        pids=None,
        open_files=None,
    )


def can_bound(barriers: Barriers) -> bool:
    """Whether CPU and memory of a VM as a whole can be bounded here."""
    return any(name.startswith("cgroup") for name in barriers.active)


def policy_of(network: bool | str | PolicyBody | None) -> NetworkPolicy | None:
    """The egress policy a fork asks for; None when it leaves that to its source.

    Raises:
        ArkerFault: `bad_request` for hosts that are missing, misplaced or no hosts at all.
    """
    if network is None:
        return None
    if isinstance(network, bool):
        return NetworkPolicy(mode="open" if network else "none")
    if isinstance(network, str):
        word = network.strip()
        if word in ("open", "blocked"):
            return NetworkPolicy(mode="open" if word == "open" else "none")
        if word in ("allow", "block"):
            raise ArkerFault("bad_request", f'network "{word}" needs hosts; send {{"type":"{word}","{word}":[...]}}')
        return NetworkPolicy(mode="allow", hosts=_hosts([word]))
    if network.type in ("open", "blocked"):
        if network.allow is not None or network.block is not None:
            raise ArkerFault("bad_request", f"a network policy of type {network.type} takes no hosts")
        return NetworkPolicy(mode="open" if network.type == "open" else "none")
    wanted, other = (network.allow, network.block) if network.type == "allow" else (network.block, network.allow)
    if wanted is None or other is not None:
        raise ArkerFault(
            "bad_request", f"a network policy of type {network.type} takes its hosts as {network.type!r}, and no others"
        )
    return NetworkPolicy(mode="allow" if network.type == "allow" else "block", hosts=_hosts(wanted))


def _hosts(hosts: list[str]) -> tuple[str, ...]:
    if len(hosts) > MOST_HOSTS:
        raise ArkerFault("bad_request", f"at most {MOST_HOSTS} hosts per network policy")
    return tuple(_host(host) for host in hosts)


def _host(text: str) -> str:
    try:
        parse_rule(text)
    except ValueError as error:
        raise ArkerFault("bad_request", f"network policy: {str(error)[:300]}") from None
    return text
