"""What everybody around a relay speaks of: its kinds, what it moved, and why it would not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

SUBKINDS = ("wg", "openvpn", "ss", "v2ray")
PROTOCOLS = ("trojan", "vmess", "vless")
"""Of `v2ray`; the first is the default."""

Code = Literal["invalid", "unavailable", "failed", "ended"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class RelayError(Exception):
    """A relay that cannot be had.

    Args:
        code: `invalid` (the request can never work), `unavailable` (this machine lacks the means; the message says
            which), `failed` (its program would not start), `ended` (it was stopped for good).
        message: for the person who asked.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a relay moved since it was first started, in bytes, as its server sees it.

    Args:
        received: from the user: the user's upload.
        sent: to the user: the user's download.
    """

    received: int = 0
    sent: int = 0


def check_id(id: str) -> str:
    """The id itself, if it can name a relay.

    Raises:
        RelayError: `invalid`.
    """
    if _ID.fullmatch(id) is None:
        raise RelayError("invalid", f"a relay's id is 1 to 64 of A-Z a-z 0-9 _ -, not {id!r}")
    return id


def check_label(label: str) -> str:
    """The label itself, if it can stand in certificates and links.

    Raises:
        RelayError: `invalid`.
    """
    if _LABEL.fullmatch(label) is None:
        raise RelayError("invalid", f"a relay's label is 1 to 63 letters, digits, dots and dashes, not {label!r}")
    return label


def check_protocol(subkind: str, protocol: str | None) -> str | None:
    """The protocol that a relay of this subkind will speak; None where there is nothing to choose.

    Raises:
        RelayError: `invalid`.
    """
    if subkind not in SUBKINDS:
        raise RelayError("invalid", f"{subkind!r} is no kind of VPN; there are {', '.join(SUBKINDS)}")
    if subkind != "v2ray":
        if protocol is not None:
            raise RelayError("invalid", f"a protocol can be chosen for v2ray only, not for {subkind}")
        return None
    if protocol is not None and protocol not in PROTOCOLS:
        raise RelayError("invalid", f"{protocol!r} is no protocol of v2ray; there are {', '.join(PROTOCOLS)}")
    return protocol or PROTOCOLS[0]
