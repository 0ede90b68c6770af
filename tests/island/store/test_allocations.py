"""Takers in several servers never get the same part of a node, whatever the database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection

from skerry.island.engine.capacity import Capacity
from skerry.island.engine.errors import NoCapacity
from skerry.island.engine.records import Account, Node
from skerry.island.store import accounts
from skerry.island.store import sandboxes as sandbox_rows
from skerry.island.store.store import Store
from skerry.money import Money

pytestmark = pytest.mark.anyio

FREE = Money(0, "USD")
NODE = Node(
    id="local",
    name="n",
    cpu_millis=1000,
    memory_bytes=100,
    disk_bytes=50,
    gpus=(),
    state="ready",
    cpu_hour=FREE,
    memory_gib_hour=FREE,
    gpu_hour=FREE,
)


def prepare(connection: Connection) -> None:
    sandbox_rows.put_node(connection, NODE)
    accounts.add(connection, Account(id="a", name="a", created_at=datetime(2026, 1, 1, tzinfo=UTC)), 0)


async def test_of_many_takers_one_gets_the_last(url: str) -> None:
    stores = [await Store.open(url) for _ in range(2)]
    capacity = Capacity(NODE, 100)
    await stores[0].run(prepare)

    def take(connection: Connection, id: str) -> None:
        capacity.take(connection, id, "a", cpu_millis=600, memory_bytes=0, disk_bytes=0, gpus=(), now=1)

    ends = await asyncio.gather(*(stores[n % 2].run(take, f"t{n}") for n in range(8)), return_exceptions=True)
    assert [end for end in ends if not isinstance(end, NoCapacity)] == [None]
    assert len(await stores[1].read(capacity.held)) == 1
    for store in stores:
        await store.close()
