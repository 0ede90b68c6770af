"""Lists: pages, order and filters of a query, as SQL over a table (protocol section 3.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, FromClause, Row, and_, func, select, true

from skerry.errors import InvalidRequestError
from skerry.island.faces.dispersed.errors import Issue, invalid
from skerry.island.faces.dispersed.wire import LARGEST_INTEGER
from skerry.island.store.store import Store
from skerry.island.store.values import micros
from skerry.times import parse_moment

T = TypeVar("T")
C = TypeVar("C")

MOST_PER_PAGE = 50
USUAL_PER_PAGE = 20
MOST_WORDS = 200

Clause = ColumnElement[bool]
Filter = Callable[[str], Clause]
"""Turns the text of a filter into a condition; raises ValueError with what it should be."""

_DIGITS = re.compile(r"[0-9]{1,16}")
_ESCAPES = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Generic[C]):
    """What a query asks for; its conditions are SQL for tables, and plain predicates for lists that are made up.

    Args:
        page: 1 for the first.
        limit: objects per page.
        descending: newest first.
        clauses: all must hold.
    """

    page: int = 1
    limit: int = USUAL_PER_PAGE
    descending: bool = True
    clauses: tuple[C, ...] = field(default=())

    @property
    def offset(self) -> int:
        """How many objects come before the page."""
        return (self.page - 1) * self.limit


def read_query(query: Iterable[tuple[str, str]], filters: Mapping[str, Callable[[str], C]]) -> Wanted[C]:
    """What a list is asked for; unknown plain parameters are ignored, unknown filters are not.

    Args:
        query: decoded pairs; a filter that comes twice counts as one list.
        filters: those of the list, by their bare names.

    Raises:
        Fault: `VALIDATION_ERROR` with every mistake.
    """
    issues: list[Issue] = []
    plain: dict[str, str] = {}
    asked: dict[str, str] = {}
    for name, value in query:
        if name.startswith("filter["):
            asked[name] = f"{asked[name]},{value}" if name in asked else value
        elif name in ("page", "limit", "sort"):
            if name in plain:
                issues.append(Issue("custom", (name,), "must be given once"))
            plain[name] = value
    page = _number("page", plain.get("page", "1"), LARGEST_INTEGER, issues)
    limit = _number("limit", plain.get("limit", str(USUAL_PER_PAGE)), MOST_PER_PAGE, issues)
    sort = plain.get("sort", "-created_at")
    if sort not in ("created_at", "-created_at"):
        issues.append(Issue("invalid_value", ("sort",), "must be created_at or -created_at"))
    clauses: list[C] = []
    for name, value in asked.items():
        made = filters.get(name[len("filter[") : -1]) if name.endswith("]") else None
        if made is None:
            known = ", ".join(sorted(filters))
            issues.append(Issue("unrecognized_keys", (name,), f"there is no such filter; there are {known}"))
            continue
        try:
            clauses.append(made(value))
        except ValueError as error:
            issues.append(Issue("invalid_value", (name,), str(error)))
    if issues:
        raise invalid(issues)
    return Wanted(page=page, limit=limit, descending=sort.startswith("-"), clauses=tuple(clauses))


def fetch(
    connection: Connection, table: FromClause, wanted: Wanted[Clause], *conditions: Clause
) -> tuple[list[Row[Any]], int]:
    """The rows of a page and how many there are on all pages; equal moments are ordered by UUID.

    Args:
        connection: within a transaction.
        table: with the columns `created_at` and `uuid`.
        wanted: see `read_query`.
        conditions: further ones, such as whose rows.
    """
    where = and_(true(), *conditions, *wanted.clauses)
    total = connection.execute(select(func.count()).select_from(table).where(where)).scalar_one()
    if wanted.offset >= total:
        return [], total
    columns = (table.c.created_at, table.c.uuid)
    order = [column.desc() for column in columns] if wanted.descending else list(columns)
    query = select(table).where(where).order_by(*order).limit(wanted.limit).offset(wanted.offset)
    return list(connection.execute(query)), total


async def page(
    store: Store,
    query: Iterable[tuple[str, str]],
    table: FromClause,
    filters: Mapping[str, Filter],
    view: Callable[[Row[Any]], dict[str, Any]],
    *conditions: Clause,
) -> dict[str, Any]:
    """The answer to a list of one table's rows.

    Args:
        store: where they are.
        query: of the request.
        table: see `fetch`.
        filters: by their bare names, besides those of `dated`.
        view: a row as it is sent.
        conditions: whose rows, and the like.

    Raises:
        Fault: `VALIDATION_ERROR`.
    """
    wanted = read_query(query, {**dated(table), **filters})
    rows, total = await store.read(fetch, table, wanted, *conditions)
    return envelope([view(row) for row in rows], wanted, total)


def window(items: Sequence[T], wanted: Wanted[Any]) -> list[T]:
    """The page of a list that is already there, oldest first."""
    ordered = list(reversed(items)) if wanted.descending else list(items)
    return ordered[wanted.offset : wanted.offset + wanted.limit]


def envelope(data: list[Any], wanted: Wanted[Any], total: int) -> dict[str, Any]:
    """The body of a list."""
    return {"data": data, "page": wanted.page, "limit": wanted.limit, "total": total}


def words(column: ColumnElement[Any], known: Iterable[str] = (), *, fold: bool = False) -> Filter:
    """Any of a comma list.

    Args:
        column: of text.
        known: the only words there are; any when empty.
        fold: compare in lower case, as UUIDs are kept.
    """
    choices = frozenset(known)

    def clause(text: str) -> Clause:
        found = split(text)
        if choices and not choices.issuperset(found):
            raise ValueError(f"must be of {', '.join(sorted(choices))}")
        return column.in_([word.lower() for word in found] if fold else found)

    return clause


def uuids(column: ColumnElement[Any]) -> Filter:
    """Any of a comma list of UUIDs; what is none matches nothing."""
    return words(column, fold=True)


def numbers(column: ColumnElement[Any]) -> Filter:
    """One number, or `lo,hi` for a range that includes both; either end may be left out."""

    def clause(text: str) -> Clause:
        if "," not in text:
            return column == decimal(text.strip())
        low, high = bounds(text)
        return and_(
            true() if low is None else column >= low,
            true() if high is None else column <= high,
        )

    return clause


def moments(column: ColumnElement[Any]) -> Filter:
    """`from,to` as ISO dates or moments, up to but not including the second; either may be left out."""

    def clause(text: str) -> Clause:
        first, last = span(text)
        return and_(
            true() if first is None else column >= first,
            true() if last is None else column < last,
        )

    return clause


def flag(when: Clause) -> Filter:
    """`true` for what fulfils a condition, `false` for the rest."""
    return lambda text: when if boolean(text) else ~when


def contains(column: ColumnElement[Any]) -> Filter:
    """Text somewhere inside, in any case."""
    return lambda text: func.lower(column).like(f"%{text.lower().translate(_ESCAPES)}%", escape="\\")


def dated(table: FromClause) -> dict[str, Filter]:
    """The filters that every list has."""
    return {"created_at": moments(table.c.created_at), "uuid": uuids(table.c.uuid)}


def split(text: str) -> list[str]:
    """The words of a comma list.

    Raises:
        ValueError: there is none, or too many.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found or len(found) > MOST_WORDS:
        raise ValueError(f"must be 1 to {MOST_WORDS} values with commas between")
    return found


def boolean(text: str) -> bool:
    """`true` or `false`.

    Raises:
        ValueError: neither.
    """
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def bounds(text: str) -> tuple[int | float | None, int | float | None]:
    """The ends of a range of numbers, both included; one number alone is the lower end.

    Raises:
        ValueError: it is no range.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 2:
        raise ValueError("must be a number, or two for a range")
    low, high = (decimal(part) if part else None for part in [*parts, ""][:2])
    return low, high


def span(text: str) -> tuple[int | None, int | None]:
    """The ends of a range of moments, microseconds since 1970.

    Raises:
        ValueError: it is no range.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2:
        raise ValueError("must be two dates with a comma between, such as 2026-04-01,2026-05-01")
    first, last = (moment_micros(part) if part else None for part in parts)
    return first, last


def decimal(text: str) -> int | float:
    """A number of a query; whole ones stay exact.

    Raises:
        ValueError: it is none, or none that is kept.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("must be a number, or two for a range") from None
    if not number.is_finite() or "_" in text or len(text) > 64 or abs(number) > LARGEST_INTEGER:
        raise ValueError("must be a number, or two for a range")
    return int(number) if number == int(number) else float(number)


def moment_micros(text: str) -> int:
    """A date or moment in microseconds since 1970.

    Raises:
        ValueError: it is neither.
    """
    try:
        return micros(parse_moment(text))
    except (InvalidRequestError, OverflowError):
        raise ValueError(f"{text[:64]!r} is no date; write 2026-04-21 or 2026-04-21T10:00:00Z") from None


def _number(name: str, text: str, most: int, issues: list[Issue]) -> int:
    if not _DIGITS.fullmatch(text):
        issues.append(Issue("invalid_type", (name,), "must be a whole number"))
        return 1
    value = int(text)
    if value < 1:
        issues.append(Issue("too_small", (name,), "must be at least 1"))
    elif value > most:
        issues.append(Issue("too_big", (name,), f"must be at most {most}"))
    return value
