"""The one writing thread: takes queued transactions in order and commits those that wait together in one go."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from skerry.island.promptness import be_prompt

T = TypeVar("T")

_BATCH = 64


@dataclass(slots=True)
class _Job:
    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    value: Any = None
    error: BaseException | None = None


class Writer:
    """Runs functions over a connection, one transaction each in effect.

    Functions that wait at the same moment share a commit, each inside a savepoint, so one that fails undoes only
    itself. When the database itself fails, those of the batch are tried again one by one.

    Args:
        engine: whose connections begin write transactions.
        explain: turns what the database raised into what the caller shall see.
    """

    def __init__(self, engine: Engine, explain: Callable[[BaseException], BaseException]) -> None:
        self._engine = engine
        # A file cannot go away as a server can; its connection is kept, which saves the pool's work each time.
        self._kept: Connection | None = None
        self._explain = explain
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._dropped = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="skerry-store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Queue a transaction; the future is done after its commit.

        Raises:
            RuntimeError: the store is closed.
        """
        if self._closed:
            raise RuntimeError("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.put(_Job(work, loop, future))
        return future

    def close(self, *, drop: bool = False) -> None:
        """Finish what is queued (or, with `drop`, forget it) and end the thread; blocks."""
        self._closed = True
        self._dropped = drop
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        be_prompt()
        try:
            self._serve()
        finally:
            if self._kept is not None:
                self._kept.close()

    def _serve(self) -> None:
        while True:
            job = self._queue.get()
            if job is None:
                return
            batch = [job]
            last = False
            while len(batch) < _BATCH and not last:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    last = True
                else:
                    batch.append(following)
            if not self._dropped:
                self._commit(batch)
                _settle(batch)
            if last:
                return

    def _commit(self, batch: list[_Job]) -> None:
        if len(batch) > 1 and self._together(batch):
            return
        for job in batch:
            job.error = None
            try:
                job.value = self._transaction(job.work)
            except BaseException as error:
                job.error = self._explain(error)

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        if self._engine.dialect.name != "sqlite":
            with self._engine.begin() as connection:
                return work(connection)
        kept = self._kept = self._kept or believing(self._engine)
        raw = _raw(kept)
        raw.execute("BEGIN IMMEDIATE")
        try:
            value = work(kept)
            raw.execute("COMMIT")
        except BaseException:
            # Some errors, such as a full disk, have ended it already.
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise
        return value

    def _together(self, batch: list[_Job]) -> bool:
        """Run a batch under one commit; False when it must be redone one by one, nothing of it having been kept."""

        def each(connection: Connection) -> None:
            # Past SQLAlchemy, which takes longer for the three than most of what stands between them.
            say = _raw(connection).execute if connection.dialect.name == "sqlite" else connection.exec_driver_sql
            for job in batch:
                say("SAVEPOINT one")
                try:
                    job.value = job.work(connection)
                except DBAPIError:
                    raise
                except BaseException as error:
                    job.error = self._explain(error)
                    say("ROLLBACK TO SAVEPOINT one")
                say("RELEASE SAVEPOINT one")

        try:
            self._transaction(each)
        except BaseException:
            return False
        return True


def believing(engine: Engine) -> Connection:
    """A connection on which SQLAlchemy believes a transaction open, so that it neither begins nor ends any.

    Its own beginning and end of one cost as much as all that a small transaction does.
    """
    connection = engine.connect()
    try:
        connection.begin()
        _raw(connection).execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def snapshot(kept: Connection) -> Iterator[None]:
    """Read one state of the database over such a connection."""
    raw = _raw(kept)
    raw.execute("BEGIN")
    try:
        yield
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")


def _raw(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _settle(batch: list[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in batch:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, jobs)
        except RuntimeError:
            # The loop that asked has gone; what it asked for is done all the same.
            continue


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.value)
