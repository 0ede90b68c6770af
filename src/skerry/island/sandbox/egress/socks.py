"""The server half of SOCKS 5 (RFC 1928): no authentication, CONNECT only."""

from __future__ import annotations

import asyncio
import ipaddress

VERSION = 5
_NO_AUTHENTICATION, _NOTHING_ACCEPTABLE = 0, 0xFF
_CONNECT = 1
_IPV4, _DOMAIN, _IPV6 = 1, 3, 4

OK, FAILURE, DENIED, UNREACHABLE, REFUSED, COMMAND, ADDRESS_KIND = 0, 1, 2, 4, 5, 7, 8


class SocksError(Exception):
    """A request that cannot be served; `reply` is what to send, empty when the peer spoke nonsense."""

    def __init__(self, reply: bytes) -> None:
        super().__init__()
        self.reply = reply


def reply(code: int) -> bytes:
    """An answer to a request; the bound address is of no use to anybody and left zero."""
    return bytes((VERSION, code, 0, _IPV4)) + bytes(6)


async def negotiate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Read the greeting (its first byte is taken already) and the request.

    Returns:
        The host, a name or an address, and the port to connect to.

    Raises:
        SocksError: it cannot be served. IncompleteReadError: the peer left.
    """
    methods = await reader.readexactly((await reader.readexactly(1))[0])
    if _NO_AUTHENTICATION not in methods:
        raise SocksError(bytes((VERSION, _NOTHING_ACCEPTABLE)))
    writer.write(bytes((VERSION, _NO_AUTHENTICATION)))
    await writer.drain()
    version, command, _, kind = await reader.readexactly(4)
    if version != VERSION:
        raise SocksError(b"")
    if kind == _IPV4:
        host = str(ipaddress.IPv4Address(await reader.readexactly(4)))
    elif kind == _IPV6:
        host = str(ipaddress.IPv6Address(await reader.readexactly(16)))
    elif kind == _DOMAIN:
        name = await reader.readexactly((await reader.readexactly(1))[0])
        try:
            host = name.decode("ascii")
        except UnicodeDecodeError:
            raise SocksError(reply(FAILURE)) from None
    else:
        raise SocksError(reply(ADDRESS_KIND))
    port = int.from_bytes(await reader.readexactly(2), "big")
    if command != _CONNECT:
        raise SocksError(reply(COMMAND))
    if not host or port == 0:
        raise SocksError(reply(FAILURE))
    return host, port
