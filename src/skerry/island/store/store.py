"""The database: plain synchronous functions over a connection, each one transaction in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """SQLite in WAL mode, or Postgres by URL."""

    @classmethod
    async def open(cls, url: str) -> Store:
        """Connect and migrate.

        Raises:
            StoreError: with what to do about it.
        """
        ...

    async def run(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(connection, ...)` as one write transaction, committed when this returns; its errors undo it all.

        Several waiting functions may share one commit. `fn` may be called a second time after a failed first try, so
        it must not touch anything but the connection.

        Raises:
            Unavailable: the disk is full or the database cannot be written; nothing of it was kept.
        """
        ...

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(connection, ...)` on one consistent snapshot in a reader thread."""
        ...

    async def close(self) -> None:
        """Finish what is queued and disconnect."""
        ...
