"""How answers are read: one object, a list, an object in its envelope, bytes, text, or nothing (sections 2.5 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import structs

from skerry._kernel.model import NOT_GIVEN, Model, decode, fields_of, parse_json, remember, replace
from skerry._kernel.request import Response
from skerry.networks.dc1.errors import DC1DecodeError

M = TypeVar("M", bound=Model)


def undecodable(response: Response, what: str) -> DC1DecodeError:
    """The error for a success that makes no sense."""
    return DC1DecodeError(
        f"the answer is {what}", response.status, headers=response.headers, outcome="unknown", body=response.body
    )


def json_of(response: Response) -> Any:
    """The JSON of an answer, `{}` for an empty one.

    Raises:
        DC1DecodeError: it is not JSON.
    """
    value = parse_json(response.body)
    if value is NOT_GIVEN:
        raise undecodable(response, "not JSON")
    return value


def reader(model: type[M], name: str | None = None) -> Callable[[Response], M]:
    """A parser for one object.

    Args:
        model: its type.
        name: what it is found under; an answer that has no such member is the object itself.
    """

    def read(response: Response) -> M:
        value = json_of(response)
        if not isinstance(value, dict):
            raise undecodable(response, "not a JSON object")
        if name is not None and isinstance(value.get(name), dict):
            return _made(value[name], model)
        return _whole(decode(response.body, model), value)

    return read


def within(model: type[M], name: str) -> Callable[[Response], M]:
    """A parser for an object that is under a name and nowhere else."""
    read = optional(model, name)

    def read_inner(response: Response) -> M:
        found = read(response)
        if found is None:
            raise undecodable(response, f"without {name!r}")
        return found

    return read_inner


def optional(model: type[M], name: str) -> Callable[[Response], M | None]:
    """A parser for an object that is under a name, or is not there."""

    def read(response: Response) -> M | None:
        value = json_of(response)
        inner = value.get(name) if isinstance(value, dict) else None
        return _made(inner, model) if isinstance(inner, dict) else None

    return read


def items(model: type[M], name: str | None = None) -> Callable[[Response], list[M]]:
    """A parser for lists, bare or under a name; an answer without a list is an empty one."""

    def read(response: Response) -> list[M]:
        value = json_of(response)
        if isinstance(value, dict) and name is not None:
            value = value.get(name)
        return [_made(item, model) for item in value if isinstance(item, dict)] if isinstance(value, list) else []

    return read


def enveloped(model: type[M], name: str) -> Callable[[Response], M]:
    """A parser for an envelope around a list, which some servers leave away."""
    read = reader(model)

    def read_either(response: Response) -> M:
        value = json_of(response)
        if not isinstance(value, list):
            return read(response)
        return _made({name: value}, model)

    return read_either


def plain(response: Response) -> Any:
    """JSON as it came, `{}` for an empty body.

    Raises:
        DC1DecodeError: it is not JSON.
    """
    return json_of(response)


def anything(response: Response) -> Any:
    """JSON as it came, `{}` for an empty body; text or bytes where the answer says that it is no JSON.

    Raises:
        DC1DecodeError: it is not JSON, and says nothing else, or is a page for people.
    """
    kind = (response.header("content-type") or "application/json").partition(";")[0].strip().lower()
    if kind in _JSON_OR_PAGES or parse_json(response.body) is not NOT_GIVEN:
        return json_of(response)
    return response.text if kind.startswith("text/") else response.body


_JSON_OR_PAGES = ("application/json", "text/html")


def raw_text(response: Response) -> str:
    """Text such as CSV, as it came."""
    return response.text


def raw_bytes(response: Response) -> bytes:
    """Bytes, as they came."""
    return response.body


def from_text(text: str, model: type[M]) -> M:
    """An object of a stream, whatever its text is."""
    body = text.encode()
    value = parse_json(body)
    return _whole(decode(body, model), value if isinstance(value, dict) else {})


def _made(value: Mapping[str, Any], model: type[M]) -> M:
    return _whole(decode(msgspec.json.encode(value), model), value)


def _whole(model: M, data: Mapping[str, Any]) -> M:
    """The same object, whose inner objects know what they were read from, so that nothing unknown is lost.

    A `null` where there is always something is what is there when nothing was said, as in both official SDKs.
    """
    for field in _fields_to_finish(type(model)):
        value, source = getattr(model, field.name), data.get(field.encode_name)
        if value is None and _always_there(field):
            structs.force_setattr(model, field.name, _default(field))
        elif isinstance(value, Model) and isinstance(source, dict):
            _whole(remember(value, msgspec.json.encode(source)), source)
        elif isinstance(value, list) and isinstance(source, list) and len(value) == len(source):
            for item, part in zip(value, source, strict=True):
                if isinstance(item, Model) and isinstance(part, dict):
                    _whole(remember(item, msgspec.json.encode(part)), part)
    return model


@cache
def _fields_to_finish(model: type[Model]) -> tuple[structs.FieldInfo, ...]:
    """The fields that may hold objects, or that `null` has no place in."""
    return tuple(field for field in fields_of(model) if _always_there(field) or _holds_models(field.type))


def _always_there(field: structs.FieldInfo) -> bool:
    takes_none = field.type is Any or type(None) in get_args(field.type)
    return not field.required and not takes_none


def _holds_models(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return True
    return any(_holds_models(inner) for inner in get_args(annotation))


def _default(field: structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def filled(model: M, **changes: Any) -> M:
    """A copy with what the answer left out; it knows what it was read from as before."""
    copy = replace(model, **changes)
    vars(copy).update(vars(model))
    return copy
