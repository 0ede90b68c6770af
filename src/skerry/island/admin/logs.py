"""Both output streams of a run as one sequence of pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from skerry.island.engine.records import RunRecord
from skerry.island.engine.runs import Runs

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


async def run_events(
    runs: Runs, record: RunRecord, offsets: dict[str, int], *, follow: bool
) -> AsyncIterator[tuple[Stream, bytes]]:
    """Pieces of stdout and stderr from the given byte offsets.

    Args:
        runs: the engine's runs.
        record: the run.
        offsets: where to start in each stream.
        follow: go on until the run has ended; otherwise stop at what there is.
    """
    if not follow:
        for stream, data in zip(STREAMS, await runs.output(record), strict=True):
            if rest := data[offsets[stream] :]:
                yield stream, rest
        return

    pieces: asyncio.Queue[tuple[Stream, bytes] | None] = asyncio.Queue(maxsize=16)

    async def pump(stream: Stream) -> None:
        async for data in runs.follow(record.id, stream, offsets[stream]):
            await pieces.put((stream, data))

    async def pump_both() -> None:
        # Not `finally`: a cancelled pump has no reader left that would make room for the end mark.
        try:
            async with asyncio.TaskGroup() as group:
                for stream in STREAMS:
                    group.create_task(pump(stream))
            await runs.wait(record.id)
        except Exception:
            await pieces.put(None)
            raise
        await pieces.put(None)

    pumping = asyncio.ensure_future(pump_both())
    try:
        while (piece := await pieces.get()) is not None:
            yield piece
        await pumping
    finally:
        pumping.cancel()
