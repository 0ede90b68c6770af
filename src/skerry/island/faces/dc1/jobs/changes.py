"""Who waits for jobs to change is woken when they have: streams, providers in this process, and whoever else reads.

Everything that touches a job goes through `Changes.run`, in place of the store's own `run`. What a transaction touched
is noted while it runs (`touch`, which `job_rows.change`, `events.add` and the log's writer call) and told after it was
committed, so that whoever is woken finds it. Nothing is kept: who begins to wait reads the rows first, inside
`watching`, and then waits for what comes after.

Example:
    >>> async def follow(changes, store, job):
    ...     with changes.watching(job) as watch:
    ...         while not await store.read(ended, job):
    ...             await watch.changed()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from skerry.island.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")

OFFERS = 0
"""Stands where a job's number does for those who wait for any job to wait for a provider; no job has it."""

_TOUCHED = "dc1_touched"


def touch(connection: Connection, job: int) -> None:
    """Note that this transaction changes what is known of a job, by its number."""
    touched = connection.info.get(_TOUCHED)
    if touched is not None:
        touched.add(job)


class Watch:
    """One who waits."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def changed(self) -> None:
        """Return at the first change since the last call, or since the watch began; at once if there was one."""
        await self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        """Let it look."""
        self._event.set()


class Changes:
    """Runs transactions over jobs, and wakes those who wait for what they changed.

    Args:
        store: of the engine.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watches: dict[int | None, set[Watch]] = {}
        self.closed = False

    async def run(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Store.run`; afterwards whoever waits for a job that it touched is woken.

        A caller that is cancelled meanwhile does not keep the others from being told.
        """

        def noting(connection: Connection) -> tuple[T, set[int]]:
            touched: set[int] = set()
            connection.info[_TOUCHED] = touched
            try:
                return fn(connection, *args, **kwargs), touched
            finally:
                connection.info.pop(_TOUCHED, None)

        running = asyncio.ensure_future(self._store.run(noting))
        running.add_done_callback(self._tell)
        result, _ = await asyncio.shield(running)
        return result

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Store.read`."""
        return await self._store.read(fn, *args, **kwargs)

    def changed(self, *jobs: int) -> None:
        """Wake those who wait for these jobs, by their numbers, or for any."""
        for job in (*jobs, None):
            for watch in self._watches.get(job, ()):
                watch.wake()

    @contextmanager
    def watching(self, job: int | None = None) -> Iterator[Watch]:
        """Wait for a job, by its number, for any job, or for `OFFERS`; nothing that happens within is missed."""
        watch = Watch()
        self._watches.setdefault(job, set()).add(watch)
        try:
            yield watch
        finally:
            left = self._watches[job]
            left.discard(watch)
            if not left:
                del self._watches[job]

    async def wait(self, job: int | None = None) -> None:
        """Return at the next change of a job, or of any; for those who need not see every one."""
        with self.watching(job) as watch:
            await watch.changed()

    def close(self) -> None:
        """Wake everybody for good: there is nothing more to wait for."""
        self.closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    def _tell(self, running: asyncio.Future[tuple[Any, set[int]]]) -> None:
        if not running.cancelled() and running.exception() is None:
            touched = running.result()[1]
            if touched:
                self.changed(*touched)
