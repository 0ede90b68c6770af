"""What reaches the screen: payload on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from skerry._kernel.redaction import redact
from skerry.cli import exits
from skerry.errors import SkerryError
from skerry.money import Money
from skerry.times import rfc3339

Format = Literal["table", "json"]
F = TypeVar("F", bound=Callable[..., Any])


def output_option(command: F) -> F:
    """Add `-o table|json` to a command; it arrives as `form`."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        envvar="SKERRY_OUTPUT",
        help="How to print the result.",
    )(command)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for JSON, even when the rest of it cannot be parsed."""
    ours = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    for position, word in enumerate(ours):
        if word in {"-ojson", "--output=json"}:
            return True
        if word in {"-o", "--output"} and ours[position + 1 : position + 2] == ["json"]:
            return True
    return os.environ.get("SKERRY_OUTPUT") == "json"


def plain(value: Any) -> Any:
    """JSON for the types of our surface."""
    if isinstance(value, Money):
        return {"amount": f"{value.decimal:f}", "currency": value.currency}
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def print_json(kind: str, payload: dict[str, Any], *, err: bool = False) -> None:
    """One JSON object with `schema: skerry.<kind>/1` in front; keys are an interface, they only grow."""
    text = json.dumps({"schema": f"skerry.{kind}/1", **payload}, default=plain, ensure_ascii=False, indent=2)
    click.echo(text, err=err)


def drawable(stream: Any) -> bool:
    """Whether colour and boxes are welcome on a stream."""
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Rows for people: drawn on a terminal, aligned columns in a pipe; `empty` goes to stderr when there are none."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        note(empty)
        return
    if drawable(sys.stdout):
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(columns):
            # What is copied from the first column into the next command must stay in one piece.
            table.add_column(column, overflow="fold", no_wrap=index == 0)
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(line[index]) for line in [list(columns), *cells]) for index in range(len(columns))]
    for line in [[column.upper() for column in columns], *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Name and value, one pair a line."""
    pairs = [(name, "" if value is None else str(value)) for name, value in fields]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name.ljust(width)}  {value}".rstrip())


def minute(moment: datetime) -> str:
    """A moment as tables show it, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def note(text: str) -> None:
    """A remark for the person watching; never part of the payload."""
    click.echo(text, err=True)


def print_error(error: BaseException, status: int, *, as_json: bool) -> None:
    """Say on stderr what went wrong and what to do next."""
    step = exits.next_step(error)
    if as_json:
        facts = error.to_dict() if isinstance(error, SkerryError) else {"error": type(error).__name__}
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        payload = {**facts, "message": message, "exit_code": status, "next": step}
        print_json("error", {name: value for name, value in payload.items() if value is not None}, err=True)
        return
    if isinstance(error, click.ClickException):
        error.show()
        return
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{os.fsdecode(error.filename)}: {error.strerror}"
    note(f"skerry: {text}")
    for problem in _problems(error):
        if problem not in text:
            note(f"  {problem}")
    if step:
        note(f"  next: {step}")


def _problems(error: BaseException) -> list[str]:
    """What the network listed as wrong, a line each."""
    details = getattr(error, "details", None)
    lines: list[str] = []
    for entry in details if isinstance(details, list) else []:
        facts = entry if isinstance(entry, dict) else {}
        path = facts.get("path") or facts.get("field")
        message = facts.get("message") or facts.get("reason") or facts.get("code")
        place = ".".join(map(str, path)) if isinstance(path, list) else path
        said = str(message) if message else json.dumps(entry, ensure_ascii=False, default=plain)
        # It came over the wire and goes to a terminal.
        lines.append(redact("".join(c if c.isprintable() else "?" for c in (f"{place}: {said}" if place else said))))
    return lines
