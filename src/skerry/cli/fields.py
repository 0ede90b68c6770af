"""`key=value` words: how a JSON body is written on a command line.

title=Hello                     text
gpu_count:=1                    JSON
notes=@notes.txt                text of a file; `:=@` for JSON of a file
parameters.parameters.tag=12    dots lead into objects; `\\.` is a dot in a name
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

DEEPEST = 64
_WORD = re.compile(r"((?:\\.|[^\\=])+?)(:?=)(.*)", re.DOTALL)
_PART = re.compile(r"(?:\\.|[^\\.])*")


def is_field(word: str) -> bool:
    """Whether a word sets a field."""
    return _WORD.fullmatch(word) is not None


def body_of(data: str | None, words: Iterable[str]) -> dict[str, Any] | None:
    """The body that options and words make together, None when there are none.

    Args:
        data: JSON, `@file` or `-`; words are laid over it.
        words: see the module.

    Raises:
        click.UsageError: something is not JSON, not a field, or said twice.
    """
    words = list(words)
    if data is None and not words:
        return None
    body: Any = {} if data is None else json_of(text_of(data), "--data")
    if not isinstance(body, dict):
        raise click.UsageError("--data takes a JSON object")
    said: set[tuple[str, ...]] = set()
    for word in words:
        match = _WORD.fullmatch(word)
        if match is None:
            raise click.UsageError(f"{word!r} sets no field; write key=text, key:=json or key=@file")
        path = _path(match[1])
        # Neither the same place twice, nor a place inside one that was said whole.
        if any(path[: len(other)] == other or other[: len(path)] == path for other in said):
            raise click.UsageError(f"`{match[1]}` is said twice")
        said.add(path)
        _put(body, path, _value(match[1], match[2], match[3]))
    return body


def pairs_of(words: Iterable[str], option: str) -> list[tuple[str, str]]:
    """Name and value of each word of an option that takes `NAME=VALUE`.

    Raises:
        click.UsageError: a word has no name.
    """
    pairs = [word.partition("=") for word in words]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.UsageError(f"{option} takes NAME=VALUE")
    return [(name, value) for name, _, value in pairs]


def text_of(given: str) -> str:
    """Text as given, of the file after `@`, or of our standard input for `-`.

    Raises:
        click.UsageError: the file cannot be read, or is not UTF-8.
    """
    if given != "-" and not given.startswith("@"):
        return given
    content = sys.stdin.buffer.read() if given == "-" else _file(given[1:])
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{'standard input' if given == '-' else given[1:]} is not UTF-8 text") from None


def json_of(text: str, where: str) -> Any:
    """JSON, integers of any size exact.

    Raises:
        click.UsageError: it is none, or has more than `DEEPEST` levels.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
        deep = _depth(value, DEEPEST)
    except ValueError as error:
        raise click.UsageError(f"{where} is not JSON: {error}") from None
    except RecursionError:
        deep = False
    if not deep:
        raise click.UsageError(f"{where} has more than {DEEPEST} levels")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _depth(value: Any, left: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    return left > 0 and all(_depth(item, left - 1) for item in (value.values() if isinstance(value, dict) else value))


def _path(text: str) -> tuple[str, ...]:
    parts, at = [], 0
    while True:
        match = _PART.match(text, at)
        assert match is not None
        parts.append(re.sub(r"\\(.)", r"\1", match[0], flags=re.DOTALL))
        at = match.end() + 1
        if at > len(text):
            break
    if not all(parts):
        raise click.UsageError(f"`{text}` has a part without a name")
    if len(parts) > DEEPEST:
        raise click.UsageError(f"a field's path has more than {DEEPEST} parts")
    return tuple(parts)


def _value(name: str, sign: str, given: str) -> Any:
    if sign == ":=":
        return json_of(text_of(given) if given.startswith("@") else given, f"`{name}`")
    if not given.startswith("@"):
        return given
    content = _file(given[1:])
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _put(body: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        inner = body.setdefault(part, {})
        if not isinstance(inner, dict):
            raise click.UsageError(f"`{part}` is no object in --data, so nothing can be set in it")
        body = inner
    body[path[-1]] = value


def _file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}") from None
