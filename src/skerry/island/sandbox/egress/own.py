"""Which addresses are those of this machine itself."""

from __future__ import annotations

import ipaddress
import socket

from skerry.island.sandbox.egress.rules import Address

# For documentation only. A machine that lets us bind even to this one (ip_nonlocal_bind) cannot tell its own.
_NOBODYS = ipaddress.IPv4Address("192.0.2.1")


def is_own(address: Address) -> bool:
    """Whether this machine itself answers to an address: the kernel lets us bind to no other."""
    return _can_bind(address) and not _can_bind(_NOBODYS)


def _can_bind(address: Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
