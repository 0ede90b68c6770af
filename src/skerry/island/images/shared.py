"""Work that several callers wait for is done once, and stopped when the last of them has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Work(Generic[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiters = 0


class Shared(Generic[T]):
    """Work in progress by key."""

    def __init__(self) -> None:
        self._works: dict[Hashable, _Work[T]] = {}

    async def run(self, key: Hashable, begin: Callable[[], Awaitable[T]]) -> T:
        """The result of `begin`, or of the same work that someone else has begun under this key.

        Raises what the work raises. When the last caller is cancelled, so is the work, and its end is waited for.
        """
        work = self._works.get(key)
        if work is None:
            work = self._works[key] = _Work(asyncio.get_running_loop().create_task(_awaited(begin)))
            work.task.add_done_callback(_seen)
        work.waiters += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiters -= 1
            if not work.waiters or work.task.done():
                # Whoever comes later begins anew, with what may have changed.
                if self._works.get(key) is work:
                    del self._works[key]
                if not work.task.done():
                    work.task.cancel()
                    await asyncio.wait((work.task,))


async def _awaited(begin: Callable[[], Awaitable[T]]) -> T:
    return await begin()


def _seen(task: asyncio.Task[T]) -> None:
    # Whoever asked may have gone away; its error is then no news to anyone.
    if not task.cancelled():
        task.exception()
