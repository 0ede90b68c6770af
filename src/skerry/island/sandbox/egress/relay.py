"""Moving bytes between a sandbox's connection and the one made for it, and ending both so that all of them arrive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from skerry.island.sandbox.egress import http
from skerry.island.sandbox.egress.gate import EgressUsage

_PIECE = 64 * 1024
_LINGER = 1.0
# As long as whoever is told goes on sending, it has not read what it is told.
_HEAR_OUT = 10.0
_LONGEST_LEFTOVER = 1 << 20


async def relay(
    usage: EgressUsage,
    inside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    outside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    patience: asyncio.Timeout,
    idle: float,
    head: http.Head | None = None,
) -> None:
    """Move bytes both ways until both sides are done, one breaks, or both are silent for too long.

    Args:
        usage: counts them.
        inside, outside: the two connections; the one to the outside is closed in the end.
        patience: ends it all by a cancellation.
        idle: how long both may be silent, in seconds.
        head: of the one HTTP request that is sent on; None for whatever comes.
    """
    loop = asyncio.get_running_loop()

    def sent(count: int) -> None:
        usage.sent += count
        patience.reschedule(loop.time() + idle)

    def received(count: int) -> None:
        usage.received += count
        patience.reschedule(loop.time() + idle)

    sent(0)
    up = asyncio.ensure_future(
        _pump(inside[0], outside[1], sent) if head is None else _send_request(head, inside[0], outside[1], sent)
    )
    down = asyncio.ensure_future(_pump(outside[0], inside[1], received))
    # The answer to one HTTP request is its end, even if the rest of a body is never wanted.
    last = down if head is not None and head.body != "stream" else None
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_EXCEPTION if last is None else asyncio.FIRST_COMPLETED)
        if last is not None and not last.done() and (not up.done() or up.exception() is None):
            await asyncio.wait((last,))
        if down.done() and down.exception() is None:
            # Whoever reads slowly gets all that was said.
            await _emptied(inside[1])
    finally:
        up.cancel()
        down.cancel()
        # Before anything is awaited: a second cancellation may come at any such point.
        outside[1].close()
        await asyncio.gather(up, down, return_exceptions=True)
        await close(outside[1])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]) -> None:
    while piece := await reader.read(_PIECE):
        count(len(piece))
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _send_request(
    head: http.Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
) -> None:
    """Send one request on, its body to the end and not a byte more."""
    writer.write(head.forward)
    count(len(head.forward))
    await writer.drain()
    if head.body == "stream":
        await _pump(reader, writer, count)
    elif head.body == "length":
        await _copy(reader, writer, head.length, count)
    elif head.body == "chunked":
        while True:
            line = await reader.readuntil(b"\r\n")
            size = http.chunk_size(line)
            count(len(line))
            writer.write(line)
            if size == 0:
                break
            await _copy(reader, writer, size + 2, count)
        trailer = b""
        while trailer != b"\r\n":
            trailer = await reader.readuntil(b"\r\n")
            writer.write(trailer)
            await writer.drain()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int, count: Callable[[int], None]
) -> None:
    while length > 0:
        piece = await reader.read(min(length, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(piece)
        count(len(piece))
        writer.write(piece)
        await writer.drain()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Send an answer and see it off: closing on unread input would take it back before it is read."""
    writer.write(answer)
    writer.write_eof()
    left = _LONGEST_LEFTOVER
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEAR_OUT):
            while left > 0 and (piece := await reader.read(_PIECE)):
                left -= len(piece)


async def _emptied(writer: asyncio.StreamWriter) -> None:
    """Until everything that was written is in the kernel's hands, or the connection is broken."""
    if writer.transport.is_closing():
        return
    writer.transport.set_write_buffer_limits(0)
    with contextlib.suppress(ConnectionError):
        await writer.drain()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close when what was written is gone, or at once when nobody takes it."""
    writer.close()
    try:
        async with asyncio.timeout(_LINGER):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return
    finally:
        writer.transport.abort()
