"""The face's tables: what the migrations make is what the code says, and rows come back as they went in."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from skerry.island.faces.arker import tables
from skerry.island.faces.arker.tables import TunnelRow
from skerry.island.faces.arker.uploads import Chunk, Upload
from skerry.island.store.store import Store

pytestmark = pytest.mark.anyio


def upload(**fields: object) -> Upload:
    base = {
        "vm_id": "v",
        "upload_id": "u",
        "path": "/home/user/a",
        "size": 8,
        "presigned": False,
        "state": "open",
        "secret": True,
        "expected": None,
        "digest": None,
        "expires_at": 1000.5,
    }
    return Upload(**{**base, **fields})  # type: ignore[arg-type]


@pytest.fixture
async def store(tmp_path: Path):
    store = await Store.open(f"sqlite:///{tmp_path / 'island.db'}")
    yield store
    await store.close()


async def test_migrations_and_tables_agree(store: Store) -> None:
    def differences(connection: Connection) -> list[object]:
        return [
            found
            for found in compare_metadata(MigrationContext.configure(connection), tables.metadata)
            if "arker" in str(found)
        ]

    assert await store.read(differences) == []


async def test_the_signing_key_is_made_once(store: Store) -> None:
    first = await store.run(tables.signing_key)
    assert len(first) == 32
    assert await store.run(tables.signing_key) == first


async def test_an_upload_and_its_chunks(store: Store) -> None:
    chunks = [Chunk(start=4, end=8, digest="b"), Chunk(start=0, end=4, digest="a")]
    await store.run(tables.put_upload, upload(), chunks)
    assert await store.read(tables.get_upload, "v", "u") == (upload(), chunks[::-1])
    assert await store.read(tables.get_upload, "v", "x") == (None, [])
    assert await store.read(tables.blobs_in_use, ["a", "b", "c"]) == {"a", "b"}
    await store.run(tables.put_upload, upload(state="written"))
    assert await store.read(tables.blobs_in_use, ["a", "b", "c"]) == set()
    assert await store.read(tables.expired_uploads, 1000.4) == []
    assert await store.read(tables.expired_uploads, 1000.6) == [("v", "u", ["a", "b"])]
    await store.run(tables.drop_upload, "v", "u")
    assert await store.read(tables.get_upload, "v", "u") == (None, [])


async def test_a_ticket_admits_once_to_one_session_in_time(store: Store) -> None:
    async def put(digest: str) -> None:
        await store.run(
            tables.put_ticket,
            digest,
            account_id="acc",
            vm_id="v",
            session_id="s",
            command="top",
            expires_at=100.0,
            now=50.0,
        )

    await put("a")
    assert await store.run(tables.take_ticket, "a", vm_id="v", session_id="s", now=99.0) == ("acc", "top")
    assert await store.run(tables.take_ticket, "a", vm_id="v", session_id="s", now=99.0) is None
    await put("b")
    assert await store.run(tables.take_ticket, "b", vm_id="v", session_id="other", now=99.0) is None
    assert await store.run(tables.take_ticket, "b", vm_id="v", session_id="s", now=99.0) is None
    await put("c")
    assert await store.run(tables.take_ticket, "c", vm_id="v", session_id="s", now=100.1) is None


async def test_tunnels_are_found_by_label_and_replaced_by_port(store: Store) -> None:
    row = TunnelRow(
        vm_id="v",
        port=80,
        account_id="a",
        label="v",
        visibility="private",
        protocol="http",
        run_id="r1",
        host_port=None,
    )
    from dataclasses import replace

    await store.run(tables.put_tunnel, row)
    changed = replace(row, visibility="public", run_id="r2")
    await store.run(tables.put_tunnel, changed)
    assert await store.read(tables.get_tunnel, "v", 80) == changed
    assert await store.read(tables.get_tunnel, "v", 81) is None
    assert await store.read(tables.list_tunnels, run_id="r1") == []
    assert await store.read(tables.list_tunnels, vm_id="v") == [changed]


async def test_a_deleted_vm_leaves_nothing(store: Store) -> None:
    await store.run(tables.put_upload, upload(digest="whole"), [Chunk(start=0, end=8, digest="a")])
    await store.run(tables.put_named_session, "v", "repl1", "s1")
    assert await store.read(tables.get_named_session, "v", "repl1") == "s1"
    assert sorted(await store.run(tables.drop_vm, "v")) == ["a", "whole"]
    assert await store.read(tables.get_named_session, "v", "repl1") is None
    assert await store.read(tables.get_upload, "v", "u") == (None, [])
