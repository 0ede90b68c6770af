"""What callers send, in the words of the network (section 3), and options of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict

from skerry._kernel.options import Deadline

VpnSubkind = Literal["wg", "openvpn", "ss", "v2ray", "http_proxy"]
"""How a VPN session is spoken to; `http_proxy` is of later services."""

VpnProtocol = Literal["trojan", "vmess", "vless"]
"""What `v2ray` speaks; the service takes `trojan` when nothing is said."""


class CallOptions(TypedDict, total=False):
    """Options of one call (section 4.2).

    Attributes:
        headers: further headers; the one that authenticates always wins.
        timeout: seconds each try may take, None for no limit.
        retries: further tries after the first, in place of the client's number; 0 for exactly one try. Only calls by
            GET are ever tried again.
        cancel: ends the call when it is cancelled or passes, back-off included; the timeout holds all the same.
    """

    headers: Mapping[str, str]
    timeout: float | None
    retries: int
    cancel: Deadline
