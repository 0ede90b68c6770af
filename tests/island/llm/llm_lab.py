"""Models and workers of tests: the engine is the real one, the models are demos."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skerry.island.workers.llm import LlmSettings, LlmWorkers, ModelStore, demo, gguf

MISTRAL = "mistralai/Mistral-7B-Instruct-v0.2"
DEADLINE = 60.0
LONG = 1 << 15
"""Tokens of an answer that takes many times as long as whatever is done to it."""


@asynccontextmanager
async def opened(directory: Path, *names: str, **options: Any) -> AsyncIterator[LlmWorkers]:
    """Workers with demos of these names; other arguments are those of `LlmSettings`, or of `open`."""
    store = ModelStore(directory / "models")
    for name in names:
        if store.find(name) is None:
            store.add_demo(name)
    extra = {name: options.pop(name) for name in ("found", "gpus", "fetch") if name in options}
    workers = await LlmWorkers.open(store, settings=LlmSettings(**options), **extra)
    try:
        yield workers
    finally:
        await workers.close()


def add_long(store: ModelStore, name: str) -> None:
    """A demo that may go on for `LONG` tokens."""
    store.add_demo(name)
    said = b"llama.context_length" + struct.pack("<II", gguf.U32, demo.CONTEXT)
    path = store.home / f"{name}.gguf"
    path.write_bytes(path.read_bytes().replace(said, said[:-4] + struct.pack("<I", LONG)))


def pids(workers: LlmWorkers) -> dict[str, int]:
    """Processes of the models that jobs share, by name."""
    return {one.model: one.pid for one in workers.loaded() if one.key is None}


def pid_of(workers: LlmWorkers, key: str) -> int | None:
    """The process of a server."""
    return next((one.pid for one in workers.loaded() if one.key == key), None)


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(true: Callable[[], object]) -> None:
    """Return when something has become true. Raises AssertionError when it does not."""
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.005)
