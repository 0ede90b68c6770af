"""Core statements compiled once, for paths where building and wrapping them would cost more than running them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, bindparam, literal_column
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.sql.expression import ClauseElement


class Rows:
    """What a statement gave: plain tuples, all fetched."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def first(self) -> tuple[Any, ...] | None:
        """The first row, if any."""
        return self._rows[0] if self._rows else None

    def scalar(self) -> Any:
        """The first value of the first row, if any."""
        return self._rows[0][0] if self._rows else None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)


class _Text:
    """A statement as one dialect writes it."""

    __slots__ = ("fixed", "order", "sql")

    def __init__(self, statement: ClauseElement, connection: Connection) -> None:
        compiled: Any = statement.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
        self.sql = str(compiled)
        self.order: tuple[str, ...] | None = tuple(compiled.positiontup) if compiled.positional else None
        self.fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def arguments(self, parameters: Mapping[str, Any]) -> Any:
        if self.fixed:
            parameters = {**self.fixed, **parameters}
        return dict(parameters) if self.order is None else tuple([parameters[name] for name in self.order])


class Prepared:
    """A Core statement with named parameters, turned into text on its first use with each dialect.

    Values pass through unconverted, which suits the store's columns: integers, text and bytes only.

    Args:
        statement: any executable; its `bindparam` names are the parameters.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}

    def __call__(self, connection: Connection, /, **parameters: Any) -> Rows:
        """Execute once."""
        text = self._text(connection)
        return _execute(connection, text.sql, text.arguments(parameters))

    def many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Execute for each set of parameters, of which there is at least one."""
        text = self._text(connection)
        _execute(connection, text.sql, [text.arguments(row) for row in rows], many=True)

    def _text(self, connection: Connection) -> _Text:
        found = self._texts.get(connection.dialect.name)
        if found is None:
            found = self._texts[connection.dialect.name] = _Text(self._statement, connection)
        return found


def _execute(connection: Connection, sql: str, arguments: Any, *, many: bool = False) -> Rows:
    if connection.dialect.name == "sqlite":
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        try:
            cursor = raw.executemany(sql, arguments) if many else raw.execute(sql, arguments)
            return Rows(cursor.fetchall(), cursor.rowcount)
        except sqlite3.IntegrityError as error:
            raise IntegrityError(sql, arguments, error) from error
        except sqlite3.OperationalError as error:
            raise OperationalError(sql, arguments, error) from error
    result = connection.exec_driver_sql(sql, arguments)
    return Rows([tuple(row) for row in result] if result.returns_rows else [], result.rowcount)


def insertion(table: Table, *leave_out: str, defaults: Mapping[str, int] | None = None) -> Prepared:
    """INSERT of every column of a table but those left out; those with a default get it."""
    values: dict[str, Any] = {
        column.name: bindparam(column.name) for column in table.columns if column.name not in leave_out
    }
    values.update({name: literal_column(str(value)) for name, value in (defaults or {}).items()})
    return Prepared(table.insert().values(values).inline())
