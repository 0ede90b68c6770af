"""Answers of tens of megabytes: made and sent in pieces, so that nobody else waits for them, and few at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.errors import Fault

AT_ONCE = 4
"""How many may be in memory: each is there twice or more, as a text and as what it says."""

PATIENCE_SECONDS = 30.0
_PIECE = 1 << 17


class LongAnswers:
    """Lets few long answers be made and sent at once, and makes one at a time."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._making = asyncio.Lock()

    async def enter(self) -> Callable[[], None]:
        """Wait for room; what gives it back, once.

        Raises:
            Fault: 503 when others take it for too long.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            told = "Too many long results are being read; try again in a moment"
            raise Fault(503, told, headers=((b"retry-after", b"5"),)) from None
        left = [self._room.release]
        return lambda: left.pop()() if left else None

    async def make(self, work: Callable[[], Any]) -> Any:
        """Do what takes long in a thread, when nothing else of the kind is done: all of it needs the interpreter."""
        async with self._making:
            return await asyncio.to_thread(work)


class Pieces:
    """A body on its way, piece by piece; what it took is given back when it was sent, or nobody wants it any more.

    Args:
        value: JSON.
        leave: called at the end.
    """

    def __init__(self, value: Any, leave: Callable[[], None]) -> None:
        self._pieces = _joined(_parts(value))
        self._leave = leave

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is None:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Give back what it took."""
        self._pieces = iter(())
        self._leave()

    def __del__(self) -> None:
        self._leave()


def _joined(parts: Iterator[str]) -> Iterator[bytes]:
    """Short parts together, as bytes."""
    waiting: list[str] = []
    length = 0
    for part in parts:
        waiting.append(part)
        length += len(part)
        if length >= _PIECE:
            yield "".join(waiting).encode()
            waiting, length = [], 0
    if waiting:
        yield "".join(waiting).encode()


def _parts(value: Any) -> Iterator[str]:
    """What `wire.encode` would make of a value, in parts of bounded size; texts as long as they may be are cut."""
    if isinstance(value, str) and len(value) > _PIECE:
        yield '"'
        for start in range(0, len(value), _PIECE):
            yield json.dumps(value[start : start + _PIECE], ensure_ascii=False)[1:-1]
        yield '"'
    elif isinstance(value, dict):
        before = "{"
        for name, inner in value.items():
            yield f"{before}{wire.text(name)}:"
            yield from _parts(inner)
            before = ","
        yield "}" if value else "{}"
    elif isinstance(value, list):
        before = "["
        for inner in value:
            yield before
            yield from _parts(inner)
            before = ","
        yield "]" if value else "[]"
    else:
        yield wire.text(value)
