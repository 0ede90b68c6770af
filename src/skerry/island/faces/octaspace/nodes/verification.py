"""Whether a node's service ports can be reached, as the network verifies it: `ping` in, `pong` out (section 7.2)."""

from __future__ import annotations

import asyncio
import socket

from skerry.island.engine.datagrams import bound_datagrams
from skerry.island.engine.forwarding import bound
from skerry.island.settings import Settings

_SECONDS = 15.0
_TRIES = 16
_PING, _PONG = b"ping", b"pong"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here


async def reachable(settings: Settings) -> bool:
    """Whether a port of the service range answers by TCP and by UDP, on the address that ports are published on.

    Args:
        settings: of the island.
    """
    span = settings.port_range
    for port in [0] * _TRIES if span is None else range(span[0], span[1] + 1):
        try:
            listener = await bound(settings.host, port, allow_remote=settings.allow_remote)
        except OSError:
            continue
        with listener:
            try:
                number = listener.getsockname()[1]
                datagrams = await bound_datagrams(settings.host, number, allow_remote=settings.allow_remote)
            except OSError:
                continue
            with datagrams:
                return await asyncio.to_thread(_answers, listener, datagrams)
    return False


def _answers(listener: socket.socket, datagrams: socket.socket) -> bool:
    """Whether both sockets are reached from this machine."""
    try:
        for one in (listener, datagrams):
            one.settimeout(_SECONDS)
        _stream(listener)
        _datagram(datagrams)
    except OSError:
        return False
    return True


def _stream(listener: socket.socket) -> None:
    with socket.create_connection(_reached(listener), timeout=_SECONDS) as caller:
        caller.sendall(_PING)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(_SECONDS)
            if connection.recv(len(_PING)) == _PING:
                connection.sendall(_PONG)
        _check(caller.recv(len(_PONG)))


def _datagram(listener: socket.socket) -> None:
    with socket.socket(listener.family, socket.SOCK_DGRAM) as caller:
        caller.settimeout(_SECONDS)
        caller.connect(_reached(listener))
        caller.send(_PING)
        data, peer = listener.recvfrom(len(_PING))
        if data == _PING:
            listener.sendto(_PONG, peer)
        _check(caller.recv(len(_PONG)))


def _check(answer: bytes) -> None:
    if answer != _PONG:
        raise OSError("the port answers something else")


def _reached(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return _ANYWHERE.get(host, host), port
