"""Wire models and JSON under our own names, so that the library behind them can change without anyone noticing.

Three things the wire distinguishes stay distinct here: a field that is absent (`NOT_GIVEN`), a field that is `null`
(`None`) and a field that has a value. Responses keep the bytes they came from, so nothing a newer server says is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UNSET as NOT_GIVEN
from msgspec import UnsetType as NotGiven
from msgspec import structs

from skerry.errors import InvalidRequestError
from skerry.times import parse_moment

__all__ = [
    "NOT_GIVEN",
    "UNREADABLE",
    "Model",
    "Moment",
    "NotGiven",
    "decode",
    "encode",
    "fields_of",
    "given",
    "parse_json",
    "remember",
    "replace",
    "shape",
    "view",
]

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware moment. What is no full RFC 3339 text is read leniently: a bare date is its first moment in UTC."""

M = TypeVar("M", bound="Model")

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a JSON decoder raises: besides its own errors, for bytes that are no text and for what is nested too deep."""


class Model(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One object of the wire, typed.

    Decoding is tolerant: unknown fields are kept and reached through `extra` or `raw`, and an answer that does not
    match the documented shape is still returned, field by field as far as it goes.
    """

    @property
    def raw(self) -> Any:
        """The JSON this object was read from, unknown fields included; for a hand-made object, its plain data."""
        kept = vars(self)
        if "_parsed" not in kept:
            body = kept.get("_body")
            kept["_parsed"] = msgspec.to_builtins(self) if body is None else parse_json(body)
        return None if kept["_parsed"] is NOT_GIVEN else kept["_parsed"]

    @property
    def extra(self) -> dict[str, Any]:
        """What the server sent beyond the fields known to this version."""
        raw = self.raw
        if not isinstance(raw, dict):
            return {}
        known = {field.encode_name for field in fields_of(type(self))}
        return {name: value for name, value in raw.items() if name not in known}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as received where it was received."""
        raw = self.raw
        return dict(raw) if isinstance(raw, Mapping) else dict(msgspec.to_builtins(self))


@cache
def fields_of(model: type[Model]) -> tuple[structs.FieldInfo, ...]:
    """The fields of a model; to work them out takes a thousand times as long as to read an object."""
    return structs.fields(model)


@lru_cache(maxsize=512)
def _decoder(model: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(model)


def decode(body: bytes, model: type[M]) -> M:
    """Read a model from a response body, keeping the body for `raw` and `extra`.

    Args:
        body: the bytes of the answer; empty means `{}`.
        model: the type expected.

    Returns:
        The model. Where the answer does not fit the type, each field that fits is converted, each that does not is
        kept as it came, and each that is missing is its default or None.
    """
    try:
        value: M = _decoder(model).decode(body)
    except UNREADABLE:
        value = shape(parse_json(body), model)
    return remember(value, body)


def remember(model: M, body: bytes) -> M:
    """The same model, which from now on knows the bytes it was made from."""
    vars(model)["_body"] = body
    return model


def view(value: Any, model: type[M]) -> M:
    """A model of JSON data that was read already, whatever its shape; the data is its `raw`."""
    seen = shape(value, model)
    vars(seen)["_parsed"] = value
    return seen


def shape(value: Any, model: type[M]) -> M:
    """Make a model from JSON data of any shape, without ever refusing."""
    data = value if isinstance(value, Mapping) else {}
    fields: dict[str, Any] = {}
    for field in fields_of(model):
        if field.encode_name in data:
            fields[field.name] = _fit(data[field.encode_name], field.type)
        elif field.required:
            fields[field.name] = None
    return model(**fields)


def _fit(value: Any, annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        if value is None:
            return None
        options = [option for option in get_args(annotation) if option not in (type(None), NotGiven)]
        return _fit(value, options[0]) if len(options) == 1 else value
    if origin is list and isinstance(value, list):
        return [_fit(item, get_args(annotation)[0]) for item in value]
    if isinstance(annotation, type) and issubclass(annotation, Model) and isinstance(value, Mapping):
        return shape(value, annotation)
    if annotation == Moment and isinstance(value, str):
        return _moment(value)
    try:
        return msgspec.convert(value, annotation)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return value


def _moment(text: str) -> datetime | str:
    try:
        return parse_moment(text)
    except InvalidRequestError:
        return text


def parse_json(body: bytes) -> Any:
    """JSON as a lenient HTTP client reads it.

    Returns:
        `{}` for an empty body, `NOT_GIVEN` for a body that is not JSON, else the value.
    """
    if not body:
        return {}
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
        # Text with a byte order mark, broken UTF-8 or lone surrogates is still JSON to most clients.
        try:
            return json.loads(body.decode("utf-8", "replace").removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            return NOT_GIVEN


def given(value: Any) -> Any:
    """The value without any `NOT_GIVEN`, at every level; `None`, false, zero and empty values stay."""
    if isinstance(value, Mapping):
        return {name: given(item) for name, item in value.items() if item is not NOT_GIVEN}
    if isinstance(value, (list, tuple)):
        return [given(item) for item in value if item is not NOT_GIVEN]
    return value


def encode(value: Any) -> bytes:
    """JSON bytes of plain data and models; fields that were not given are left out."""
    return msgspec.json.encode(given(value))


def replace(model: M, **changes: Any) -> M:
    """A copy of the model with some fields changed."""
    return structs.replace(model, **changes)
