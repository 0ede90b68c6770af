"""Core statements compiled once, for paths where building them again would cost more than running them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult, Table, bindparam, literal_column
from sqlalchemy.sql.expression import ClauseElement


class Prepared:
    """A Core statement with named parameters, turned into text on its first use with each dialect.

    Values pass through unconverted, which suits the store's columns: integers, text and bytes only.

    Args:
        statement: any executable; its `bindparam` names are the parameters.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[str, tuple[str, tuple[str, ...] | None, dict[str, Any]]] = {}

    def __call__(self, connection: Connection, /, **parameters: Any) -> CursorResult[*tuple[Any, ...]]:
        """Execute once."""
        text, order, fixed = self._text(connection)
        if fixed:
            parameters = {**fixed, **parameters}
        if order is None:
            return connection.exec_driver_sql(text, parameters)
        return connection.exec_driver_sql(text, tuple([parameters[name] for name in order]))

    def many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Execute for each set of parameters."""
        text, order, fixed = self._text(connection)
        if order is None:
            connection.exec_driver_sql(text, [{**fixed, **row} for row in rows])
        else:
            complete = ({**fixed, **row} for row in rows)
            connection.exec_driver_sql(text, [tuple([row[name] for name in order]) for row in complete])

    def _text(self, connection: Connection) -> tuple[str, tuple[str, ...] | None, dict[str, Any]]:
        dialect = connection.dialect
        found = self._texts.get(dialect.name)
        if found is None:
            compiled: Any = self._statement.compile(dialect=dialect)
            order = tuple(compiled.positiontup) if compiled.positional else None
            fixed = {name: value for name, value in compiled.params.items() if value is not None}
            found = self._texts[dialect.name] = (str(compiled), order, fixed)
        return found


def insertion(table: Table, *leave_out: str, defaults: Mapping[str, int] | None = None) -> Prepared:
    """INSERT of every column of a table but those left out; those with a default get it."""
    values: dict[str, Any] = {
        column.name: bindparam(column.name) for column in table.columns if column.name not in leave_out
    }
    values.update({name: literal_column(str(value)) for name, value in (defaults or {}).items()})
    return Prepared(table.insert().values(values).inline())
