"""Connections to where a sandbox wants to go, made only to addresses that its policy was asked about."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

from skerry.island.sandbox.egress.gate import Gate, Link
from skerry.island.sandbox.egress.own import is_own
from skerry.island.sandbox.egress.rules import Address, Rules, normalise_name

_MOST_ADDRESSES = 4

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class Denied(Exception):
    """The policy forbids it; the message is for the person in the sandbox."""


class Unreachable(Exception):
    """Allowed, but it did not work: `code` is 502 or 504, `refused` when the other side said no."""

    def __init__(self, message: str, *, code: int = 502, refused: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.refused = refused


class Connector:
    """Makes them.

    Args:
        resolver: turns a name and port into addresses; the system's by default.
        resolve_seconds, connect_seconds: patience with names, and with one address.
    """

    def __init__(self, resolver: Resolver | None, *, resolve_seconds: float, connect_seconds: float) -> None:
        self._resolve = resolver or _system_resolver
        self._resolve_seconds = resolve_seconds
        self._connect_seconds = connect_seconds

    async def connect(
        self, gate: Gate, link: Link, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Judge, resolve, judge again, connect.

        Args:
            gate: whose policy decides, and who counts it.
            link: gets to know where it leads.
            host: name or address.
            port: number.

        Raises:
            Denied: the policy forbids it. Unreachable: it does not work.
        """
        loop = asyncio.get_running_loop()
        try:
            name, addresses = await self._addresses(gate.rules, host, port)
        except Denied:
            gate.usage.denied += 1
            raise
        reason = ""
        failure: Unreachable | None = None
        for address in addresses[:_MOST_ADDRESSES]:
            # The policy may have been changed while a name was looked up or an address did not answer.
            denial = denied(gate.rules, name, address, port)
            if denial:
                reason = reason or denial
                continue
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            connection = socket.socket(family, socket.SOCK_STREAM)
            link.sockets.append(connection)
            try:
                connection.setblocking(False)
                link.name, link.address, link.port = name, address, port
                async with asyncio.timeout(self._connect_seconds):
                    await loop.sock_connect(connection, (str(address), port))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                streams = await asyncio.open_connection(sock=connection)
            except TimeoutError:
                connection.close()
                failure = Unreachable(f"{host}:{port} does not answer", code=504)
            except OSError as error:
                connection.close()
                refused = error.errno == errno.ECONNREFUSED
                why = os.strerror(error.errno) if error.errno else str(error)
                failure = Unreachable(f"cannot connect to {host}:{port}: {why}", refused=refused)
            else:
                gate.usage.connections += 1
                return streams
        if failure is None:
            gate.usage.denied += 1
            raise Denied(reason)
        raise failure

    async def _addresses(self, rules: Rules, host: str, port: int) -> tuple[str | None, list[Address]]:
        try:
            return None, [ipaddress.ip_address(host)]
        except ValueError:
            pass
        try:
            name = normalise_name(host)
        except ValueError:
            raise Unreachable(f"{host!r} is not a host name") from None
        denial = rules.denies_name(name, port)
        if denial:
            raise Denied(denial)
        try:
            async with asyncio.timeout(self._resolve_seconds):
                found = await self._resolve(name, port)
        except TimeoutError:
            raise Unreachable(f"the name server does not answer for {name}", code=504) from None
        except OSError as error:
            raise Unreachable(f"the name {name} is unknown: {error.strerror}") from None
        if not found:
            raise Unreachable(f"the name {name} is unknown")
        return name, [ipaddress.ip_address(text) for text in dict.fromkeys(found)]


def denied(rules: Rules, name: str | None, address: Address, port: int) -> str | None:
    """Why a policy forbids an address; None if it allows it."""
    return rules.denies_address(name, address, port, own=is_own(address))


async def _system_resolver(name: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
