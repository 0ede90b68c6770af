"""Waiting for the first of several things, and leaving nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from skerry.island.asgi import Receive
from skerry.island.clock import Clock

T = TypeVar("T")


async def give_up(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel what goes on, and wait until it has ended, however it does."""
    going = [task for task in tasks if task is not None]
    for task in going:
        task.cancel()
    await asyncio.gather(*going, return_exceptions=True)


@asynccontextmanager
async def first_of(*works: Awaitable[Any]) -> AsyncIterator[Sequence[asyncio.Future[Any]]]:
    """Go on once the first of some works is done; those that are not by the end of the block are given up."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        yield tasks
    finally:
        await give_up(*tasks)


async def unless(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """The result of some work; None, the work being given up, as soon as the event is set."""
    async with first_of(work, stop.wait()) as (doing, _):
        found: T | None = doing.result() if doing.done() else None
        return found


async def came(event: asyncio.Event, clock: Clock, seconds: float) -> bool:
    """Whether an event came within so many seconds of the island's clock."""
    async with first_of(event.wait(), clock.sleep(seconds)):
        return event.is_set()


async def client_gone(receive: Receive) -> None:
    """Until the client has left, once its body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass
