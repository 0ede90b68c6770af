"""Requests that others make the island send: they reach the open internet and what the owner listed, nothing else.

A name is resolved here, every address is judged, and the connection goes to the address that was judged: a second
answer of the name server changes nothing. Redirects are new requests and are judged alike. Where the environment of
the island names a proxy, the proxy connects; what is plainly not public is refused before it is asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import urllib.request
from collections.abc import Awaitable, Callable, Sequence

import httpx2

from skerry.island.engine.errors import Forbidden
from skerry.island.sandbox.egress.own import is_own
from skerry.island.sandbox.egress.rules import Rules
from skerry.island.sandbox.spec import NetworkPolicy

Resolver = Callable[[str, int], Awaitable[list[str]]]
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_RESOLVE_SECONDS = 30.0
_MOST_ADDRESSES = 4


class Refused(Forbidden):
    """An address that must not be asked; the message says why. Nothing was sent."""


async def resolve_name(name: str, port: int) -> list[str]:
    """The addresses of a name, from the system. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests to judged addresses only.

    Args:
        private_ok: blocks that may be reached although they are not public; as in `Settings.egress_private`.
        home: host and port where this machine's loopback may be reached, and nowhere else.
        resolve: how names become addresses.
        proxies: whether the environment's proxies are used; a proxy resolves names by itself, so what it connects to
            was not judged here.
    """

    def __init__(
        self,
        private_ok: Sequence[str] = (),
        *,
        home: tuple[str, int] | None = None,
        resolve: Resolver = resolve_name,
        proxies: bool = True,
    ) -> None:
        self._proxies = proxies
        self._rules = Rules(NetworkPolicy(mode="open"), private_ok)
        self._home = home
        self._at_home = Rules(NetworkPolicy(mode="open"), (*private_ok, *_LOOPBACK))
        self._resolve = resolve
        self._direct = httpx2.AsyncHTTPTransport(trust_env=True)
        self._proxied: dict[str, httpx2.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Judge, then connect; a name's further addresses are tried when the first does not answer.

        Raises:
            Refused: not public, or no host name. httpx2.TransportError: it cannot be reached.
        """
        host = request.url.host
        port = request.url.port or _PORTS.get(request.url.scheme, 0)
        if not port:
            raise Refused(f"only http and https addresses can be fetched, not {request.url.scheme!r}")
        proxy = _proxy_for(request.url.scheme, host) if self._proxies else None
        try:
            addresses = await self.judged(host, port)
        except httpx2.ConnectError:
            if proxy is None:
                raise
            addresses = []
        if proxy is not None:
            return await self._through(proxy).handle_async_request(request)
        failure: Exception = httpx2.ConnectError(f"the name {host} has no address", request=request)
        # All of them together get the time for one connection.
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                return await self._direct.handle_async_request(
                    _pinned(request, host, address, share=min(len(addresses), _MOST_ADDRESSES))
                )
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in (self._direct, *self._proxied.values()):
            await transport.aclose()

    async def judged(self, host: str, port: int) -> list[str]:
        """The addresses of a host, each of which may be connected to.

        Raises:
            Refused: one of them may not. httpx2.ConnectError: the name is unknown.
        """
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                found = await self._resolve(host, port)
        except TimeoutError:
            raise httpx2.ConnectError(f"the name server does not answer for {host}") from None
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(f"the name {host} is unknown: {error}") from None
        rules = self._at_home if (host.lower(), port) == self._home else self._rules
        for text in found:
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                raise Refused(f"{host} has an address that is none: {text!r}") from None
            denial = rules.denies_address(None, address, port, own=is_own(address))
            if denial:
                raise Refused(f"{host} cannot be fetched from: {denial}")
        return found

    def _through(self, proxy: str) -> httpx2.AsyncHTTPTransport:
        if proxy not in self._proxied:
            self._proxied[proxy] = httpx2.AsyncHTTPTransport(trust_env=True, proxy=proxy)
        return self._proxied[proxy]


def _pinned(request: httpx2.Request, host: str, address: str, *, share: int) -> httpx2.Request:
    """The same request, sent to one of `share` addresses; the server still sees, and proves, the name."""
    timeouts = dict(request.extensions.get("timeout", {}))
    if timeouts.get("connect") is not None:
        timeouts["connect"] /= share
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "timeout": timeouts, "sni_hostname": host},
    )


def _proxy_for(scheme: str, host: str) -> str | None:
    proxies = urllib.request.getproxies()
    found = proxies.get(scheme) or proxies.get("all")
    return None if not found or urllib.request.proxy_bypass(host) else found
