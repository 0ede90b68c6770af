"""Tables that people open in spreadsheets: CSV in which no cell is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from skerry.island.ground.answers import Header

CSV = "text/csv; charset=utf-8"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def rows_of(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table with a head.

    Example:
        >>> rows_of(["name"], [["=1+1"], [None]])
        b"name\\r\\n'=1+1\\r\\n\\r\\n"
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode()


def attachment(name: str) -> tuple[Header, ...]:
    """Headers by which a browser saves a table under a name."""
    return ((b"content-disposition", f'attachment; filename="{name}"'.encode()),)


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would reckon with is marked as text."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
