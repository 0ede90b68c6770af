"""What a client's method takes, read from its own types: to fill it from a command line, and to describe it.

Clients have two habits. In one, a method takes the body whole as `input` and a list's query as `params` and keywords;
in the other, each field of body or query is a keyword of its own, some of them gathered by a type of their own, and
`extra`, or a method that gathers just anything, takes those unknown to this version.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import click
import msgspec

from skerry._kernel.dialect import Operation
from skerry._kernel.model import Model, NotGiven
from skerry.cli.networks import Network, identifiers
from skerry.errors import InvalidRequestError
from skerry.money import Money

Place = Literal["path", "body", "query", "filter"]

_OPTIONS = frozenset({"options", "extra", "idempotency_key", "headers", "timeout", "retry", "cancel", "filter"})
_NOT_FILTERS = frozenset({"page", "limit", "sort"})
_DEEPEST = 4
_ANY = inspect.Parameter("any", inspect.Parameter.KEYWORD_ONLY)
_READS = frozenset({"GET", "HEAD", "DELETE"})


@dataclass(frozen=True, slots=True)
class Argument:
    """Something a call takes.

    Attributes:
        name: as it is written; dots lead into objects.
        place: where it goes.
        type: in plain words.
        required: whether the call is refused without it.
    """

    name: str
    place: Place
    type: str
    required: bool


class Signature:
    """What one call takes.

    Args:
        network: whose call.
        operation: the call.
    """

    def __init__(self, network: Network, operation: Operation) -> None:
        self.network = network
        self.operation = operation
        self.ids = identifiers(operation)
        method, rest = network.method(network.unconnected(), operation, self.ids)
        ids = len(rest)
        self._method = method
        self._leading = len(self.ids) - ids
        self._parameters = list(inspect.signature(method).parameters.values())[ids:]
        self._named = {parameter.name: parameter for parameter in self._parameters}

    @cached_property
    def paged(self) -> bool:
        """Whether the answer is a page that leads to the next one."""
        answer = self._hints.get("return")
        return hasattr(get_origin(answer) or answer, "next_page")

    @cached_property
    def streams(self) -> bool:
        """Whether the answer is read piece by piece, as it comes."""
        return inspect.isgeneratorfunction(self._method)

    @cached_property
    def described(self) -> list[Argument]:
        """Every argument: ids, then fields of the body, then query and filters."""
        found = [Argument(name.upper(), "path", "text", True) for name in self.ids]
        if "input" in self._named:
            needed = self._named["input"].default is inspect.Parameter.empty
            found += _members(self.operation.request, "", needed)
        place: Place = "query" if self.operation.method in _READS else "body"
        for name, parameter in self._keywords.items():
            kind = words(self._hints[name]) if place == "body" else _one(self._hints[name])
            found.append(Argument(name, place, kind, parameter.default is inspect.Parameter.empty))
        for name, hint in self._list_keywords.items():
            found.append(Argument(name, "query" if name in _NOT_FILTERS else "filter", _one(hint), False))
        if self._takes_any:
            found.append(Argument("...", place, "anything else", False))
        return found

    def arguments(
        self,
        ids: Sequence[str],
        body: Mapping[str, Any] | None,
        query: Sequence[tuple[str, str]],
        filters: Sequence[tuple[str, str]],
    ) -> tuple[list[Any], dict[str, Any]]:
        """What to call the method with.

        Args:
            ids: all of the path.
            body: fields of the body, None for no body.
            query: names and values.
            filters: names and values; values of one name mean any of them.

        Raises:
            click.UsageError: the call takes no such thing, or needs more.
        """
        # Objects on the way to the method have taken theirs.
        positional: list[Any] = list(ids[self._leading :])
        keywords: dict[str, Any] = {}
        if "params" in self._named:
            positional.append(list(query))
            if filters:
                keywords["filter"] = _gathered(filters)
        elif filters:
            raise click.UsageError(f"{self.operation.name} takes no filters")
        elif query:
            keywords |= self._query(query)
        if body is not None:
            keywords |= self._body(body)
        self._complete(keywords)
        return positional, keywords

    def _query(self, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
        known = self._keywords if self.operation.method in _READS else {}
        values: dict[str, Any] = {}
        for name, text in query:
            if self._takes_any and name not in self._named and name not in values:
                values[name] = text
                continue
            if name not in known or name in values:
                raise click.UsageError(f"{self.operation.name} takes {_listed(known, 'no query', 'the query names')}")
            try:
                values[name] = msgspec.convert(text, self._hints[name], strict=False)
            except msgspec.ValidationError:
                raise click.UsageError(f"--query {name} takes {_one(self._hints[name])}") from None
        return values

    def _body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if "input" in self._named:
            _only_text(body)
            return {"input": body}
        known = {} if self.operation.method in _READS else self._keywords
        others = {name: value for name, value in body.items() if name not in known}
        if self._takes_any and self.operation.method not in _READS and not others.keys() & self._named.keys():
            known, others = {**known, **dict.fromkeys(others, _ANY)}, {}
        if others and ("extra" not in self._named or not known):
            unknown = ", ".join(f"`{name}`" for name in others)
            raise click.UsageError(
                f"{unknown} cannot be set: {self.operation.name} takes {_listed(known, 'no body', 'the fields')}"
            )
        given = {name: value for name, value in body.items() if name in known}
        for name in given:
            if self._hints.get(name) is Money:
                given[name] = _money(name, given[name])
        files = {name: value for name, value in given.items() if bytes in get_args(self._hints.get(name))}
        if not all(isinstance(value, bytes | str) for value in files.values()):
            raise click.UsageError(f"{', '.join(files)} takes text, or a file: {next(iter(files))}=@FILE")
        _only_text({name: value for name, value in given.items() if name not in files and not isinstance(value, Money)})
        _only_text(others)
        return {**given, **({"extra": others} if others else {})}

    def _complete(self, keywords: Mapping[str, Any]) -> None:
        wanted = {**self._named, **self._gathered}
        needed = [
            name
            for name, parameter in wanted.items()
            if name in self._keywords or name == "input"
            if parameter.default is inspect.Parameter.empty and name not in keywords
        ]
        if needed:
            what = "a body" if needed == ["input"] else ", ".join(needed)
            raise click.UsageError(
                f"{self.operation.name} needs {what}; write key=value words or --data, and see --describe"
            )

    @cached_property
    def _keywords(self) -> dict[str, inspect.Parameter]:
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        reserved = _OPTIONS - {"timeout"} | {"input", "params"}
        return {p.name: p for p in self._parameters if p.kind in kinds and p.name not in reserved} | self._gathered

    @cached_property
    def _gathered(self) -> dict[str, inspect.Parameter]:
        """Fields that a method gathers, as if each were a keyword of its own."""
        kind = self._gathering
        if "params" in self._named or not typing.is_typeddict(kind):
            return {}
        must = _required(kind)
        return {
            name: inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=inspect.Parameter.empty if name in must else None
            )
            for name in sorted(get_type_hints(kind), key=lambda name: name not in must)
            if name not in _OPTIONS
        }

    @cached_property
    def _gathering(self) -> Any:
        """Of what type the fields are that the method gathers; None if it gathers none."""
        rest = next((p.name for p in self._parameters if p.kind is inspect.Parameter.VAR_KEYWORD), "")
        hint = self._own_hints.get(rest)
        return next(iter(get_args(hint)), hint)

    @property
    def _takes_any(self) -> bool:
        return self._gathering is Any

    @cached_property
    def _list_keywords(self) -> dict[str, Any]:
        if "params" not in self._named:
            return {}
        hints = get_type_hints(self._gathering) if typing.is_typeddict(self._gathering) else {}
        return {name: hint for name, hint in hints.items() if name not in _OPTIONS}

    @cached_property
    def _hints(self) -> dict[str, Any]:
        gathered = get_type_hints(self._gathering) if self._gathered else {}
        return {**self._own_hints, **gathered}

    @cached_property
    def _own_hints(self) -> dict[str, Any]:
        return get_type_hints(self._method)


def words(hint: Any) -> str:
    """A type in plain words, such as `integer or null`."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(str(value) for value in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(option) for option in inside if option is not NotGiven))
    if origin in (typing.Required, typing.NotRequired, typing.Annotated):
        return words(inside[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "object"
    if _is_list(hint):
        return f"list of {words(inside[0])}"
    return "object" if typing.is_typeddict(hint) or _is_model(hint) else "JSON"


def _one(hint: Any) -> str:
    """What a single value in a query may be: lists are commas there, and nothing is left out."""
    options = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    found = dict.fromkeys(words(option) for option in options if option is not type(None) and not _is_list(option))
    return " or ".join(name for name in found if not (name == "integer" and "number" in found))


def _is_list(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Sequence)


_PLAIN: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    bytes: "bytes",
    bytearray: "bytes",
    memoryview: "bytes",
    Path: "bytes",
    datetime: "moment",
    UUID: "text",
    Money: "money, such as 12.50 SAR",
    Decimal: "number",
    type(None): "null",
}


def _money(name: str, value: Any) -> Money:
    """An amount with its currency, from text."""
    number, _, currency = value.strip().partition(" ") if isinstance(value, str) else ("", "", "")
    try:
        return Money.of(number, currency.strip().upper())
    except InvalidRequestError as error:
        raise click.UsageError(f"{name} takes money, such as {name}='12.50 SAR': {error}") from None


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Model)


def _required(kind: Any) -> set[str]:
    """Members that a TypedDict must have; its `__required_keys__` is blind where annotations are text."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name
        for name, hint in hints.items()
        if get_origin(hint) is typing.Required
        or (name in kind.__required_keys__ and get_origin(hint) is not typing.NotRequired)
    }


def _members(kind: Any, prefix: str, needed: bool, depth: int = 0) -> list[Argument]:
    if typing.is_typeddict(kind):
        hints = get_type_hints(kind, include_extras=True)
        must = _required(kind)
    elif _is_model(kind):
        fields = msgspec.structs.fields(kind)
        hints = {field.encode_name: field.type for field in fields}
        must = {field.encode_name for field in fields if field.required}
    else:
        return []
    found: list[Argument] = []
    for name, hint in sorted(hints.items(), key=lambda member: member[0] not in must):
        required = needed and name in must
        found.append(Argument(f"{prefix}{name}", "body", words(hint), required))
        inner = get_args(hint)[0] if get_origin(hint) in (typing.Required, typing.NotRequired) else hint
        if depth < _DEEPEST:
            found += _members(inner, f"{prefix}{name}.", required, depth + 1)
    return found


def _gathered(pairs: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _only_text(body: Any) -> None:
    if isinstance(body, bytes):
        raise click.UsageError("a field's file is not UTF-8 text")
    for value in body.values() if isinstance(body, Mapping) else ():
        _only_text(value)


def _listed(known: Mapping[str, Any], nothing: str, some: str) -> str:
    return f"{some} {', '.join(known)}" if known else nothing
