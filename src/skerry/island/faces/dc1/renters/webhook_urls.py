"""Which addresses callbacks may be sent to (section 5.9).

Looked at twice: when a renter names the address, and by what its name leads to at every delivery, where the connection
goes to the very address that was judged. An address whose name leads nowhere at present may be named.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from skerry.island.engine.errors import Forbidden
from skerry.island.sandbox.egress.rules import is_public, normalise_address

if TYPE_CHECKING:
    import httpx2

    from skerry.island.images.guard import GuardedTransport, Resolver

LONGEST = 2_048
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_HOME_NAMES = ("localhost", "local", "internal", "lan", "home.arpa", "invalid", "test")
_HTTPS_PORT = 443


class WebhookUrls:
    """Judges addresses of callbacks, and carries requests to those that pass.

    Args:
        private_ok: the operator lets callbacks reach this machine and private networks, over HTTP too and on any port.
        resolve: how names become addresses; the system by default.
    """

    def __init__(self, *, private_ok: bool, resolve: Resolver | None = None) -> None:
        self.private_ok = private_ok
        self._resolve = resolve
        self._transport: GuardedTransport | None = None

    async def accepts(self, text: object) -> bool:
        """Whether a renter may name this address."""
        import httpx2

        url = parsed(text, private_ok=self.private_ok)
        if url is None:
            return False
        try:
            await self.transport.judged(url.host, url.port or _HTTPS_PORT)
        except Forbidden:
            return False
        except httpx2.ConnectError:
            # Nobody knows the name now; what it leads to later is judged then.
            return True
        return True

    @property
    def transport(self) -> GuardedTransport:
        """Connects to judged addresses only; made when it is needed first, for it loads an HTTP client."""
        if self._transport is None:
            from skerry.island.images.guard import GuardedTransport, resolve_name

            self._transport = GuardedTransport(
                _EVERYWHERE if self.private_ok else (), resolve=self._resolve or resolve_name, proxies=False
            )
        return self._transport

    async def aclose(self) -> None:
        """Close every connection."""
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None


def parsed(text: object, *, private_ok: bool) -> httpx2.URL | None:
    """The address, if by its looks it may be one of a callback.

    Args:
        text: whatever a body had.
        private_ok: as in `WebhookUrls`.

    Example:
        >>> parsed("https://127.0.0.1/hook", private_ok=False) is None
        True
    """
    import httpx2

    if not isinstance(text, str) or not 0 < len(text) <= LONGEST or not text.isascii():
        return None
    if not text.isprintable() or any(character in text for character in ' \\"<>'):
        return None
    try:
        url = httpx2.URL(text)
        host, port = url.host.lower().rstrip("."), url.port
    except (httpx2.InvalidURL, ValueError):
        return None
    if not host or url.userinfo or url.fragment:
        return None
    if private_ok:
        return url if url.scheme in ("http", "https") else None
    if url.scheme != "https" or port not in (None, _HTTPS_PORT):
        return None
    try:
        return url if is_public(normalise_address(ipaddress.ip_address(host))) else None
    except ValueError:
        names = host.split(".")
        return None if len(names) < 2 or any(_ends_with(host, name) for name in _HOME_NAMES) else url


def _ends_with(host: str, name: str) -> bool:
    return host == name or host.endswith(f".{name}")
