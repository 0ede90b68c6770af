"""Where users connect to: ports of this machine, taken for a relay before its configuration is written."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterable, Sequence

from skerry.errors import ConfigurationError
from skerry.island.workers.vpn.recipes import Transport
from skerry.island.workers.vpn.values import RelayError

_BACKLOG = 256
_TRIES = 32
# For documentation only: asked for its route, never spoken to.
_ELSEWHERE = ("198.51.100.1", 9)


def literal(host: str) -> str:
    """The IPv4 address that a host setting means; clients of WireGuard do not resolve names.

    Raises:
        ConfigurationError: neither an IPv4 literal nor `localhost`.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ConfigurationError(f"VPN relays need an IPv4 address to listen on, not {host!r}") from None


def exit_address() -> str | None:
    """The address of this machine that the world sees, unless more translation follows; None without a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return None
        return str(probe.getsockname()[0])


def take(host: str, transports: Sequence[Transport], ports: Iterable[int] | None) -> dict[Transport, socket.socket]:
    """Bind one port number for each transport; TCP listens already.

    Args:
        host: address to bind.
        transports: `tcp`, `udp` or both.
        ports: to be tried in this order; None for any free one.

    Raises:
        RelayError: `unavailable`: none is free, or the address is not this machine's.
    """
    for port in [0] * _TRIES if ports is None else ports:
        try:
            return _bind(host, transports, port)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise RelayError("unavailable", f"{host} is no address of this machine") from None
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise RelayError("unavailable", f"no free port on {host} for another relay; stop one, or allow more ports")


def _bind(host: str, transports: Sequence[Transport], port: int) -> dict[Transport, socket.socket]:
    with contextlib.ExitStack() as undo:
        bound: dict[Transport, socket.socket] = {}
        for transport in transports:
            kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
            one = undo.enter_context(socket.socket(socket.AF_INET, kind))
            if transport == "tcp":
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((host, port))
            port = one.getsockname()[1]
            if transport == "tcp":
                one.listen(_BACKLOG)
            bound[transport] = one
        undo.pop_all()
        return bound
