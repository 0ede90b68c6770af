"""Fetching one file over HTTP for somebody else: judged addresses, few redirects, within a size."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from skerry.island.engine.errors import Forbidden, Invalid, NoCapacity, NotFound, TooLarge, Unavailable
from skerry.island.images import pace
from skerry.island.images.registry import REDIRECTS, redirected
from skerry.units import MIB, format_size

_MOST_REDIRECTS = 5
_REFUSALS = {401: Forbidden, 403: Forbidden, 404: NotFound, 410: NotFound}


def shown(url: str) -> str:
    """An address as it may be shown and kept: without user, password, query and fragment.

    Example:
        >>> shown("https://me:secret@example.com:8443/a.tar?token=x")
        'https://example.com:8443/a.tar'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check_url(url: str) -> None:
    """Refuse what is no plain http or https address.

    Raises:
        Invalid: with the reason, without repeating what may be secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid("this is not an address that can be fetched") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Invalid("an archive is fetched from an address that begins with http:// or https://")
    if parts.username is not None:
        raise Invalid("an address with a user name or password in it cannot be fetched")
    if len(url) > 4096 or not url.isascii() or not url.isprintable():
        raise Invalid("this is not an address that can be fetched")


async def download(url: str, target: Path, *, private_ok: Sequence[str] = (), max_bytes: int) -> None:
    """Write what is at an address to a file.

    Args:
        url: http or https.
        target: file to write.
        private_ok: blocks that may be reached although they are not public.
        max_bytes: more than this is refused.

    Raises:
        Invalid: no such address. Forbidden: it may not be asked, or refuses. NotFound, TooLarge, Unavailable.
        NoCapacity: the disk is full.
    """
    import httpx2

    from skerry.island.images.guard import GuardedTransport

    transport = GuardedTransport(private_ok)
    try:
        async with httpx2.AsyncClient(transport=transport, timeout=pace.timeouts(), follow_redirects=False) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                check_url(url)
                headers = {"accept-encoding": "identity", "user-agent": "skerry"}
                async with client.stream("GET", url, headers=headers) as response:
                    if response.status_code in REDIRECTS:
                        url = redirected(url, response.headers.get("location", ""))
                        continue
                    if response.status_code != 200:
                        kind = _REFUSALS.get(response.status_code, Unavailable)
                        raise kind(f"{shown(url)} answered {response.status_code}")
                    return await _save(response, target, max_bytes, shown(url))
    except httpx2.TransportError as error:
        raise pace.trouble(shown(url), error) from None
    except httpx2.InvalidURL as error:
        raise Unavailable(f"{shown(url)} cannot be fetched: {error}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoCapacity("the disk is full") from error
        raise
    raise Invalid(f"{shown(url)} redirects in circles")


async def _save(response: object, target: Path, max_bytes: int, name: str) -> None:
    import httpx2

    assert isinstance(response, httpx2.Response)
    stated = response.headers.get("content-length", "")
    count = 0
    if stated.isdecimal() and int(stated) > max_bytes:
        raise TooLarge(f"{name} is larger than the allowed {format_size(max_bytes)}")
    with await asyncio.to_thread(open, target, "wb") as file:
        async for piece in pace.pieces(response, MIB, name):
            count += len(piece)
            if count > max_bytes:
                raise TooLarge(f"{name} is larger than the allowed {format_size(max_bytes)}")
            await asyncio.to_thread(file.write, piece)
    if stated.isdecimal() and count != int(stated):
        raise Unavailable(f"{name} was cut off after {count} bytes")
