"""The grammar of lists (section 3.1) over a table of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, create_engine

from skerry.island.faces.dispersed import listing
from skerry.island.faces.dispersed.errors import Fault

DAY = 86_400_000_000
FIRST = 20_564 * DAY  # 2026-04-21

things = Table(
    "things",
    MetaData(),
    Column("uuid", String(36), primary_key=True),
    Column("created_at", BigInteger),
    Column("status", String(16)),
    Column("size", Integer),
    Column("name", String(50)),
)
FILTERS = {
    **listing.dated(things),
    "status": listing.words(things.c.status, ("NEW", "OLD")),
    "size": listing.numbers(things.c.size),
    "name": listing.contains(things.c.name),
    "big": listing.flag(things.c.size > 4),
}


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    things.metadata.create_all(engine)
    with engine.begin() as connection:
        for number in range(10):
            connection.execute(
                things.insert().values(
                    uuid=f"a-{number}",
                    created_at=FIRST + number // 2 * DAY,
                    status="NEW" if number % 3 else "OLD",
                    size=number,
                    name=["50% off_er", "Plain", "back\\slash"][number % 3],
                )
            )
        yield connection
    engine.dispose()


def _found(connection: Connection, *pairs: tuple[str, str]) -> tuple[list[int], int]:
    wanted = listing.read_query(pairs, FILTERS)
    rows, total = listing.fetch(connection, things, wanted)
    return [row.size for row in rows], total


def test_pages(connection: Connection) -> None:
    assert _found(connection) == ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 10)
    assert _found(connection, ("sort", "created_at"), ("limit", "3")) == ([0, 1, 2], 10)
    assert _found(connection, ("sort", "-created_at"), ("limit", "3"), ("page", "4")) == ([0], 10)
    assert _found(connection, ("limit", "3"), ("page", "5")) == ([], 10)
    assert _found(connection, ("page", "9007199254740991"), ("limit", "50")) == ([], 10)
    assert _found(connection, ("other", "x"), ("status", "NEW")) == _found(connection)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("status", "OLD", [9, 6, 3, 0]),
        ("status", "OLD, NEW,", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("size", "4", [4]),
        ("size", "4.0", [4]),
        ("size", "4.5", []),
        ("size", "3,5", [5, 4, 3]),
        ("size", "7,", [9, 8, 7]),
        ("size", ",1", [1, 0]),
        ("size", ",", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("size", "5,3", []),
        ("big", "true", [9, 8, 7, 6, 5]),
        ("big", "false", [4, 3, 2, 1, 0]),
        ("name", "50%", [9, 6, 3, 0]),
        ("name", "%", [9, 6, 3, 0]),
        ("name", "_", [9, 6, 3, 0]),
        ("name", "\\", [8, 5, 2]),
        ("name", "PLAI", [7, 4, 1]),
        ("uuid", "A-1,a-2,x", [2, 1]),
        ("created_at", "2026-04-22,2026-04-23", [3, 2]),
        ("created_at", "2026-04-24T00:00:00Z,", [9, 8, 7, 6]),
        ("created_at", ",2026-04-22T02:00:00+02:00", [1, 0]),
        ("created_at", ",", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
    ],
)
def test_filters(connection: Connection, name: str, value: str, found: list[int]) -> None:
    assert _found(connection, (f"filter[{name}]", value))[0] == found


def test_filters_hold_together(connection: Connection) -> None:
    pairs = (("filter[status]", "OLD"), ("filter[size]", "1,7"), ("limit", "1"))
    assert _found(connection, *pairs) == ([6], 2)
    twice = (("filter[uuid]", "a-1"), ("filter[uuid]", "a-2"))
    assert _found(connection, *twice) == ([2, 1], 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "51"),
        ("limit", ""),
        ("limit", "-1"),
        ("limit", "1.0"),
        ("limit", "ten"),
        ("limit", "١"),
        ("limit", "9" * 5000),
        ("page", "0"),
        ("page", "9007199254740992"),
        ("sort", "name"),
        ("sort", ""),
        ("filter[nothing]", "1"),
        ("filter[status", "NEW"),
        ("filter[]", "1"),
        ("filter[status]", "NEWER"),
        ("filter[status]", ""),
        ("filter[status]", ",".join(["NEW"] * 201)),
        ("filter[size]", "x"),
        ("filter[size]", ""),
        ("filter[size]", "1,2,3"),
        ("filter[size]", "nan"),
        ("filter[size]", "1e400"),
        ("filter[size]", "1_0"),
        ("filter[big]", "1"),
        ("filter[created_at]", "2026-04-22"),
        ("filter[created_at]", "yesterday,"),
        ("filter[created_at]", "2026-04-22,2026-04-23,"),
    ],
)
def test_what_is_refused(name: str, value: str) -> None:
    with pytest.raises(Fault) as caught:
        listing.read_query([(name, value)], FILTERS)
    fault = caught.value
    assert (fault.status, fault.code) == (400, "VALIDATION_ERROR")
    assert [issue.path for issue in fault.details] == [(name,)]


def test_every_mistake_of_a_query_is_told() -> None:
    pairs = [("limit", "0"), ("limit", "1"), ("sort", "x"), ("filter[a]", "1"), ("filter[size]", "x")]
    with pytest.raises(Fault) as caught:
        listing.read_query(pairs, FILTERS)
    assert [issue.code for issue in caught.value.details] == [
        "custom",
        "invalid_value",
        "unrecognized_keys",
        "invalid_value",
    ]


def test_windows_of_lists_that_are_there() -> None:
    def shown(*pairs: tuple[str, str]) -> list[int]:
        wanted: listing.Wanted[Any] = listing.read_query(pairs, {})
        return listing.window(list(range(7)), wanted)

    assert shown() == [6, 5, 4, 3, 2, 1, 0]
    assert shown(("sort", "created_at"), ("limit", "2"), ("page", "4")) == [6]
    assert shown(("page", "2")) == []
