"""Transactions in threads: whole or not at all, shared commits, errors with advice."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import IntegrityError

from skerry.island.engine.errors import Conflict, Unavailable
from skerry.island.store import migrate
from skerry.island.store.errors import StoreError
from skerry.island.store.store import Store
from skerry.island.store.tables import accounts, metadata

pytestmark = pytest.mark.anyio
PATIENCE = 60.0


def add(connection: Connection, id: str) -> str:
    connection.execute(accounts.insert().values(id=id, name="x", created_at=1))
    return id


def ids(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute(select(accounts.c.id).order_by(accounts.c.id))]


async def test_what_is_written_is_read(store: Store) -> None:
    assert await store.run(add, "a") == "a"
    assert await store.read(ids) == ["a"]


async def test_its_threads_get_short_turns_of_the_processor(store: Store) -> None:
    def policy(_: Connection) -> int:
        return os.sched_getscheduler(threading.get_native_id())

    for asked in (store.run, store.read):
        assert await asked(policy) & os.SCHED_RESET_ON_FORK


async def test_nobody_else_reads_the_database(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'fresh.db'}")
    await store.run(add, "a")
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("fresh.db", "fresh.db-shm", "fresh.db-wal"), 0o600)
    await store.close()


async def test_an_error_undoes_the_whole_function(store: Store) -> None:
    def half(connection: Connection) -> None:
        add(connection, "a")
        raise Conflict("no")

    with pytest.raises(Conflict):
        await store.run(half)
    assert await store.read(ids) == []


async def test_functions_that_share_a_commit_do_not_share_their_errors(store: Store) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(store.run(lambda _: gate.wait(PATIENCE)))

    def some(connection: Connection, number: int) -> int:
        add(connection, f"{number:03}")
        if number % 7 == 0:
            raise Conflict(str(number))
        return number

    rest = [asyncio.ensure_future(store.run(some, number)) for number in range(50)]
    await asyncio.sleep(0)
    gate.set()
    await first
    results = await asyncio.gather(*rest, return_exceptions=True)
    assert [number for number, result in enumerate(results) if isinstance(result, Conflict)] == list(range(0, 50, 7))
    assert await store.read(ids) == [f"{number:03}" for number in range(50) if number % 7]


async def test_a_database_error_in_a_shared_commit_touches_only_its_function(store: Store) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(store.run(lambda _: gate.wait(PATIENCE)))
    rest = [asyncio.ensure_future(store.run(add, id)) for id in ("a", "b", "a", "c")]
    await asyncio.sleep(0)
    gate.set()
    await first
    results = await asyncio.gather(*rest, return_exceptions=True)
    assert [type(result) for result in results] == [str, str, IntegrityError, str]
    assert await store.read(ids) == ["a", "b", "c"]


async def test_writes_happen_in_the_order_asked(store: Store) -> None:
    seen: list[int] = []
    await asyncio.gather(*(store.run(lambda _, number=number: seen.append(number)) for number in range(200)))
    assert seen == list(range(200))


async def test_a_caller_that_gives_up_does_not_undo(store: Store) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(store.run(lambda _: gate.wait(PATIENCE)))
    second = asyncio.ensure_future(store.run(add, "a"))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    await store.run(lambda _: None)
    assert await store.read(ids) == ["a"]


async def test_a_read_sees_one_moment(store: Store) -> None:
    await store.run(add, "a")
    seen: list[list[str]] = []
    between, done = threading.Event(), threading.Event()

    def look(connection: Connection) -> None:
        seen.append(ids(connection))
        between.set()
        done.wait(PATIENCE)
        seen.append(ids(connection))

    reading = asyncio.ensure_future(store.read(look))
    await asyncio.to_thread(between.wait, PATIENCE)
    await store.run(add, "b")
    done.set()
    await reading
    assert seen == [["a"], ["a"]]


async def test_each_read_sees_what_was_written_before_it(store: Store) -> None:
    """Also by connections that were used before, and of which the last use failed halfway."""

    def broken(connection: Connection) -> None:
        next(iter(connection.execute(select(accounts.c.id))), None)
        raise Conflict("no")

    for number in range(12):
        await store.run(add, f"{number:02}")
        with pytest.raises(Conflict):
            await store.read(broken)
        assert len(await store.read(ids)) == number + 1
    gate, begun = threading.Event(), threading.Barrier(5)

    def wait(_: Connection) -> None:
        begun.wait(PATIENCE)
        gate.wait(PATIENCE)

    # Whoever reads in a thread of its own need not wait for those who do it elsewhere.
    waiting = [asyncio.ensure_future(store.read(wait)) for _ in range(4)]
    await asyncio.to_thread(begun.wait, PATIENCE)
    if store.dialect == "sqlite":
        assert len(await asyncio.to_thread(store.read_here, ids)) == 12
    gate.set()
    await asyncio.gather(*waiting)


async def test_nothing_is_accepted_after_the_end(url: str) -> None:
    store = await Store.open(url)
    queued = [asyncio.ensure_future(store.run(add, id)) for id in "abc"]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*queued)
    with pytest.raises(Unavailable, match="stopping"):
        await store.run(add, "d")
    with pytest.raises(Unavailable, match="stopping"):
        await store.read(ids)
    again = await Store.open(url)
    assert await again.read(ids) == ["a", "b", "c"]
    await again.close()


async def test_migrations_make_the_tables_that_the_code_uses(store: Store) -> None:
    def compare(connection: Connection) -> None:
        found = inspect(connection)
        for table in metadata.sorted_tables:
            if not found.has_table(table.name):
                continue
            columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
            assert columns == {column.name: column.nullable for column in table.columns}
            assert set(found.get_pk_constraint(table.name)["constrained_columns"]) == {
                column.name for column in table.primary_key
            }
        assert {"accounts", "runs", "postings", "leases"} <= set(found.get_table_names())
        assert migrate.current(connection) == migrate.latest()

    await store.read(compare)


async def test_a_database_of_a_later_version_is_refused(url: str) -> None:
    store = await Store.open(url)
    await store.run(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    await store.close()
    with pytest.raises(StoreError, match="upgrade Skerry") as caught:
        await Store.open(url)
    assert caught.value.reason == "newer"


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "island.db").write_bytes(b"not a database at all, but long enough to be read as one" * 50)
    with pytest.raises(StoreError) as caught:
        await Store.open(f"sqlite:///{tmp_path / 'island.db'}")
    assert caught.value.reason == "damaged"


async def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        await Store.open(f"sqlite:///{tmp_path / 'nowhere' / 'island.db'}")
    assert caught.value.reason == "read_only"


@pytest.mark.parametrize("url", ["nonsense", "nosuchdatabase://x/y", "sqlite://", "sqlite:///:memory:"], indirect=False)
async def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(StoreError):
        await Store.open(url)


async def test_a_locked_database_is_waited_for_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.island.store.store._BUSY_MS", 50)
    path = tmp_path / "island.db"
    store = await Store.open(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another program"):
        await store.run(add, "a")
    with pytest.raises(StoreError) as caught:
        await Store.open(f"sqlite:///{path}")
    assert caught.value.reason == "locked"
    other.execute("ROLLBACK")
    other.close()
    await store.run(add, "a")
    await store.close()


async def test_a_full_disk_undoes_and_explains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'island.db'}")
    await store.run(add, "a")

    def bound(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def unbound(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")

    def much(connection: Connection) -> None:
        add(connection, "b")
        for number in range(500):
            connection.execute(accounts.insert().values(id=f"c{number}", name="x" * 200, created_at=1))

    await store.run(bound)
    with pytest.raises(Unavailable, match="the disk is full") as caught:
        await store.run(much)
    assert str(tmp_path) not in str(caught.value), "callers over a network see this"
    assert str(tmp_path) in caplog.text
    assert await store.read(ids) == ["a"]
    gate = threading.Event()
    first = asyncio.ensure_future(store.run(lambda _: gate.wait(PATIENCE)))
    both = [asyncio.ensure_future(store.run(much)), asyncio.ensure_future(store.run(ids))]
    await asyncio.sleep(0)
    gate.set()
    await first
    results = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(results[0], Unavailable)
    assert results[1] == ["a"]
    await store.run(unbound)
    await store.run(much)
    assert len(await store.read(ids)) == 502
    await store.close()
