"""The database: plain synchronous functions over a connection, each one transaction in a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from skerry.island.engine.errors import EngineError, Unavailable
from skerry.island.promptness import be_prompt
from skerry.island.store import migrate
from skerry.island.store.errors import StoreError
from skerry.island.store.writer import Writer, believing, snapshot

P = ParamSpec("P")
T = TypeVar("T")

_READERS = 4
_HERE = 4
"""Connections for those who read in threads of their own."""

_BUSY_MS = 5000

log = logging.getLogger("skerry.store")


class Store:
    """SQLite in WAL mode, or Postgres by URL. Writes follow one another in one thread; reads run beside them."""

    def __init__(self, url: str, writing: Engine, reading: Engine) -> None:
        self.url = url
        self.dialect = writing.dialect.name
        self._writing = writing
        self._reading = reading
        self._writer = Writer(writing, self._explain)
        self._readers = ThreadPoolExecutor(_READERS, "skerry-store-reader", be_prompt)
        # As the writer does: a file's connection is kept by each thread, which saves the pool's work each time.
        self._of_thread = threading.local()
        self._kept: list[Connection] = []

    @classmethod
    async def open(cls, url: str) -> Store:
        """Connect and migrate.

        Args:
            url: SQLAlchemy URL, such as `sqlite:////path/island.db` or `postgresql://user@host/name`.

        Raises:
            StoreError: with what to do about it.
        """
        return await asyncio.to_thread(cls._open, url)

    @classmethod
    def _open(cls, url: str) -> Store:
        engines: list[Engine] = []
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() == "postgresql" and parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            if parsed.get_backend_name() == "sqlite":
                if not parsed.database or parsed.database == ":memory:":
                    raise StoreError("unreachable", "a store needs a database file; give sqlite:////path/island.db")
                file = Path(parsed.database)
                if not parsed.database.startswith("file:") and file.parent.is_dir() and not file.exists():
                    # What people ran and said is in it: nobody else on this machine may read it, nor its journal.
                    file.touch(mode=0o600)
                engines += (_sqlite(url, "BEGIN IMMEDIATE", 1), _sqlite(url, "BEGIN", _READERS + _HERE))
            else:
                engines.append(create_engine(parsed, pool_size=1, max_overflow=0, pool_pre_ping=True))
                engines.append(
                    create_engine(
                        parsed,
                        pool_size=_READERS,
                        max_overflow=0,
                        pool_pre_ping=True,
                        isolation_level="REPEATABLE READ",
                    )
                )
            migrate.upgrade(engines[0])
            return cls(url, *engines)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            _dispose(engines)
            raise StoreError("unreachable", f"the database URL cannot be used: {error}") from None
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            _dispose(engines)
            raise _described(error, url) from error
        except BaseException:
            _dispose(engines)
            raise

    async def run(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(connection, ...)` as one write transaction, committed when this returns; its errors undo it all.

        Several waiting functions may share one commit. `fn` may be called a second time after a failed first try, so
        it must not touch anything but the connection. A cancelled caller does not undo it.

        Raises:
            Unavailable: the disk is full or the database cannot be written; nothing of it was kept.
        """
        try:
            future = self._writer.submit(lambda connection: fn(connection, *args, **kwargs))
        except RuntimeError:
            raise Unavailable("the island is stopping") from None
        result: T = await future
        return result

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(connection, ...)` on one consistent snapshot in a reader thread."""

        def work() -> T:
            try:
                if self.dialect != "sqlite":
                    with self._reading.connect() as connection:
                        return fn(connection, *args, **kwargs)
                kept = self._keep()
                with snapshot(kept):
                    return fn(kept, *args, **kwargs)
            except EngineError:
                raise
            except Exception as error:
                raise self._explain(error) from error

        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._readers, functools.partial(contextvars.copy_context().run, work))
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            raise Unavailable("the island is stopping") from None

    def read_here(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read`, in the calling thread, which it blocks."""
        with self._reading.connect() as connection:
            return fn(connection, *args, **kwargs)

    def _keep(self) -> Connection:
        kept: Connection | None = getattr(self._of_thread, "kept", None)
        if kept is None or kept.closed or kept.invalidated:
            kept = self._of_thread.kept = believing(self._reading)
            self._kept.append(kept)
        return kept

    async def close(self) -> None:
        """Finish what is queued and disconnect."""
        await asyncio.to_thread(self._close, drop=False)

    async def abandon(self) -> None:
        """For tests: disconnect at once, dropping what is queued, as a killed process does."""
        await asyncio.to_thread(self._close, drop=True)

    def _close(self, *, drop: bool) -> None:
        self._writer.close(drop=drop)
        self._readers.shutdown(wait=True, cancel_futures=True)
        for kept in self._kept:
            kept.close()
        self._reading.dispose()
        self._writing.dispose()

    def _explain(self, error: BaseException) -> BaseException:
        """What a failed transaction means to the request that asked for it."""
        if isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError) or (
            isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        ):
            described = _described(error, self.url)
            if described.reason in ("full", "read_only", "locked", "unreachable"):
                # Who asked over a network must not learn where things lie on this machine.
                raised = Unavailable(_PUBLIC[described.reason])
                raised.__cause__ = error
                log.error("%s", described.message)
                return raised
        return error


_PUBLIC = {
    "full": "the disk is full: the island's database cannot grow; free some space and try again",
    "read_only": "the island's database cannot be written; change the owner or mode of its data directory",
    "locked": "the island's database is locked by another program; stop that one and try again",
    "unreachable": "the island's database cannot be reached; its log says more",
}


def _dispose(engines: list[Engine]) -> None:
    for engine in engines:
        engine.dispose()


def _sqlite(url: str, begin: str, size: int) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000, "isolation_level": None},
    )

    def connected(raw: Any, _: object) -> None:
        cursor = raw.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA wal_autocheckpoint = 4000")
        cursor.close()

    def began(connection: Connection) -> None:
        # The driver would put off the lock until the first write, and then fail instead of waiting for it.
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.execute(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", began)
    return engine


def _described(error: BaseException, url: str) -> StoreError:
    """A database error in words that help."""
    text = str(getattr(error, "orig", None) or error).strip()
    lowered = text.lower()
    parsed = make_url(url)
    place = parsed.database if parsed.get_backend_name() == "sqlite" else parsed.render_as_string()
    if "full" in lowered or "no space" in lowered or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return StoreError("full", f"the disk is full: {place} cannot grow; free some space and try again")
    if "locked" in lowered or "busy" in lowered:
        return StoreError("locked", f"{place} is locked by another program; stop that one, or use another --data-dir")
    if "readonly" in lowered or "read-only" in lowered or "unable to open" in lowered or "permission" in lowered:
        folder = Path(str(place)).parent if parsed.get_backend_name() == "sqlite" else place
        return StoreError("read_only", f"{place} cannot be written; change the owner or mode of {folder}")
    if "malformed" in lowered or "not a database" in lowered:
        return StoreError("damaged", f"{place} is damaged; restore it from a backup or use another --data-dir")
    return StoreError("unreachable", f"{place}: {text}")
