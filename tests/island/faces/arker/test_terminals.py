"""Living terminals: scrollback, many viewers, slow viewers, the end."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator

import pytest

from skerry.island.faces.arker.terminals import SCROLLBACK_BYTES, VIEWER_BYTES, LiveTerminal, Terminals, Viewer
from skerry.island.sandbox.spec import ExecResult
from tests.island.engine.lab import PATIENCE

pytestmark = pytest.mark.anyio


class Pair:
    """A real pseudo-terminal whose program is the test."""

    def __init__(self) -> None:
        self.fd, self.inside = os.openpty()
        tty.setraw(self.inside)
        self.size = (0, 0)
        self._end: asyncio.Future[ExecResult] = asyncio.get_running_loop().create_future()
        self.cancelled = False
        self.closed = False

    async def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)

    async def wait(self) -> ExecResult:
        return await asyncio.shield(self._end)

    async def cancel(self) -> None:
        self.cancelled = True
        self.finish(143)

    def finish(self, code: int) -> None:
        if not self._end.done():
            os.close(self.inside)
            self._end.set_result(ExecResult(exit_code=code, cause="exited"))

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        os.close(self.fd)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    pair.finish(0)


async def read(viewer: Viewer, live: LiveTerminal, count: int) -> bytes:
    data = b""
    async with asyncio.timeout(PATIENCE):
        while len(data) < count:
            part = await viewer.next()
            assert part is not None
            live.caught_up()
            data += part
    return data


async def test_everyone_sees_everything_and_latecomers_see_what_was(pair: Pair) -> None:
    live = LiveTerminal(pair)
    first = live.attach()
    os.write(pair.inside, b"hello")
    assert await read(first, live, 5) == b"hello"
    second = live.attach()
    assert await read(second, live, 5) == b"hello"
    os.write(pair.inside, b"more")
    assert await read(first, live, 4) == await read(second, live, 4) == b"more"
    live.detach(first)
    assert live.watched
    live.detach(second)
    assert not live.watched
    await live.close()
    assert pair.cancelled
    assert pair.closed


async def test_typing_reaches_the_program(pair: Pair) -> None:
    live = LiveTerminal(pair)
    live.type(b"ls")
    live.type(b"\n")
    got = b""
    while len(got) < 3:
        got += os.read(pair.inside, 10)
    assert got == b"ls\n"
    await live.close()


async def test_a_long_paste_is_written_as_the_program_reads(pair: Pair) -> None:
    live = LiveTerminal(pair)
    paste = bytes(range(97, 123)) * 4000
    live.type(paste)
    os.set_blocking(pair.inside, False)
    got = b""
    async with asyncio.timeout(PATIENCE):
        while len(got) < len(paste):
            try:
                got += os.read(pair.inside, 4096)
            except BlockingIOError:
                await asyncio.sleep(0)
    assert got == paste
    await live.close()


async def test_the_last_words_arrive_before_the_end(pair: Pair) -> None:
    live = LiveTerminal(pair)
    viewer = live.attach()
    os.write(pair.inside, b"bye")
    pair.finish(3)
    assert await read(viewer, live, 3) == b"bye"
    async with asyncio.timeout(PATIENCE):
        assert await viewer.next() is None
    assert live.ended
    assert live.exit_code == 3
    late = live.attach()
    assert await late.next() == b"bye"
    assert await late.next() is None


async def test_scrollback_is_bounded(pair: Pair) -> None:
    live = LiveTerminal(pair)
    viewer = live.attach()
    line = b"x" * 1000
    for _ in range(SCROLLBACK_BYTES // 1000 + 50):
        os.write(pair.inside, line)
        await read(viewer, live, 1000)
    replay = await live.attach().next()
    assert replay is not None
    assert len(replay) == SCROLLBACK_BYTES
    await live.close()


async def test_a_slow_viewer_holds_the_program_up_instead_of_filling_memory(pair: Pair) -> None:
    live = LiveTerminal(pair)
    slow = live.attach()
    os.set_blocking(pair.inside, False)
    written = 0
    async with asyncio.timeout(PATIENCE):
        while not slow.behind:
            try:
                written += os.write(pair.inside, b"y" * 4096)
            except BlockingIOError:
                # The kernel passes bytes on in its own time.
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)
    assert not live._reading
    assert written < VIEWER_BYTES + 512 * 1024
    await read(slow, live, written)
    os.write(pair.inside, b"again")
    assert await read(slow, live, 5) == b"again"
    await live.close()


async def test_one_session_has_one_terminal(pair: Pair) -> None:
    terminals = Terminals()
    opened = 0

    async def opener() -> Pair:
        nonlocal opened
        opened += 1
        await asyncio.sleep(0)
        return pair

    found = await asyncio.gather(*(terminals.open("v", "s", opener) for _ in range(5)))
    assert opened == 1
    assert len({id(live) for live in found}) == 1
    assert terminals.find("v", "s") is found[0]
    await terminals.close("v", "other")
    assert terminals.find("v", "s") is found[0]
    await terminals.close("v")
    assert terminals.find("v", "s") is None
    assert pair.closed


async def test_a_terminal_that_cannot_be_opened_leaves_nothing_behind() -> None:
    terminals = Terminals()

    async def opener() -> Pair:
        raise OSError("no more terminals")

    for _ in range(2):
        with pytest.raises(OSError, match="no more"):
            await terminals.open("v", "s", opener)
    assert terminals.find("v", "s") is None
