"""Statements made once whose rows are read by name, where `Prepared` gives plain tuples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, bindparam, literal
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate

from skerry.island.store.prepared import Prepared

Telling = Select[Any] | ReturningInsert[Any] | ReturningUpdate[Any] | ReturningDelete[Any]


def among(column: ColumnElement[str], words: Iterable[str]) -> ColumnElement[bool]:
    """Whether a column has one of these words: unlike `in_`, of a length that is known when the text is made."""
    return column.in_([literal(word) for word in words])


class Question:
    """A statement that gives rows, turned into text on its first use with each dialect.

    Args:
        statement: a SELECT, or a change that returns what it changed; its `bindparam` names are the parameters.
    """

    def __init__(self, statement: Telling) -> None:
        self._prepared = Prepared(statement)
        columns: Iterable[Any] = (
            statement.selected_columns if isinstance(statement, Select) else statement.exported_columns
        )
        self._names = SimpleResultMetaData([column.key for column in columns])

    def all(self, connection: Connection, /, **parameters: Any) -> list[Row[Any]]:
        """Every row."""
        found = self._prepared(connection, **parameters)
        rows: IteratorResult[Any] = IteratorResult(self._names, iter(found))
        return list(rows.all())

    def first(self, connection: Connection, /, **parameters: Any) -> Row[Any] | None:
        """The first row, if any."""
        found = self.all(connection, **parameters)
        return found[0] if found else None

    def one(self, connection: Connection, /, **parameters: Any) -> Row[Any]:
        """The row that is known to be there."""
        return self.all(connection, **parameters)[0]


class Changing:
    """Sets columns of one row of a table, by its number, and gives the row as it is since.

    Each set of columns is a statement of its own, made when it is first used.

    Args:
        table: whose key is `id`.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._made: dict[tuple[str, ...], Question] = {}

    def __call__(self, connection: Connection, number: int, /, **values: Any) -> Row[Any] | None:
        """Set columns to plain values; None where there is no such row."""
        names = tuple(sorted(values))
        question = self._made.get(names)
        if question is None:
            question = self._made[names] = Question(
                self._table.update()
                .where(self._table.c.id == bindparam("of_id"))
                .values({name: bindparam(f"new_{name}") for name in names})
                .returning(*self._table.c)
            )
        return question.first(connection, of_id=number, **{f"new_{name}": value for name, value in values.items()})
