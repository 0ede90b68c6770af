"""For how long somebody else's server is waited for: by whether anything comes, not by how long all of it takes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from skerry.island.engine.errors import Unavailable

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 30.0
"""Until a connection stands; packets that are dropped on the way are not worth more."""
SILENCE_SECONDS = 30.0
"""Without a single byte."""
SPAN_SECONDS = 60.0
LEAST_BYTES = 64 * 1024
"""That must come within each `SPAN_SECONDS`."""


def timeouts() -> httpx2.Timeout:
    """The time limits of a client that fetches for others."""
    import httpx2

    return httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)


def trouble(place: str, error: httpx2.TransportError) -> Unavailable:
    """What a failure of the connection means, in words that help.

    Args:
        place: which server, as it may be shown.
        error: what came of asking it.
    """
    import httpx2

    if isinstance(error, httpx2.ConnectTimeout):
        return Unavailable(
            f"{place} cannot be reached: no connection within {CONNECT_SECONDS:g} seconds; what is sent there is "
            "dropped (by a firewall, or because the address is wrong)"
        )
    if isinstance(error, httpx2.ReadTimeout):
        return Unavailable(f"{place} has sent nothing for {SILENCE_SECONDS:g} seconds")
    return Unavailable(f"{place} cannot be reached, or broke off: {str(error) or type(error).__name__}")


async def pieces(response: httpx2.Response, size: int, place: str) -> AsyncIterator[bytes]:
    """A body in pieces of at least `size` bytes, the last one excepted, for as long as it keeps coming.

    Args:
        response: opened as a stream.
        size: of a piece.
        place: which server, as it may be shown.

    Raises:
        Unavailable: less than `LEAST_BYTES` came within `SPAN_SECONDS`.
    """
    held = bytearray()
    came, since = 0, time.monotonic()
    async for part in response.aiter_raw():
        came += len(part)
        now = time.monotonic()
        if now - since >= SPAN_SECONDS:
            if came < LEAST_BYTES:
                raise Unavailable(f"{place} sends too slowly: {came} bytes within {now - since:.0f} seconds")
            came, since = 0, now
        held += part
        if len(held) >= size:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
