"""How answers are read: bare objects, bare arrays, bytes, and nothing at all (section 2.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

from skerry._kernel.model import NOT_GIVEN, UNREADABLE, Model, decode, parse_json, view
from skerry._kernel.request import Response
from skerry.networks.octaspace.codes import rejection
from skerry.networks.octaspace.downloads import Download
from skerry.networks.octaspace.errors import OctaDecodeError
from skerry.networks.octaspace.idle_logs import unpacked
from skerry.networks.octaspace.models import IdleJobLogs, Started

M = TypeVar("M", bound=Model)

_items = msgspec.json.Decoder(list[msgspec.Raw])


def _undecodable(response: Response, what: str) -> OctaDecodeError:
    return OctaDecodeError(
        f"the answer is {what}",
        network="octaspace",
        status=response.status,
        request_id=response.request_id,
        outcome="unknown",
        body=response.body,
    )


def plain(response: Response) -> Any:
    """JSON data as it came, None for an empty body; the content type is not looked at.

    Raises:
        OctaDecodeError: it is not JSON.
    """
    value = parse_json(response.body) if response.body else None
    if value is NOT_GIVEN:
        raise _undecodable(response, "not JSON")
    return value


def nothing(response: Response) -> None:
    """For calls whose success says nothing more; whatever JSON there is, is not looked at.

    Raises:
        OctaDecodeError: there is a body that is not JSON.
    """
    plain(response)


def reader(model: type[M]) -> Callable[[Response], M]:
    """A parser for single objects.

    An empty success is None, as documented. No call that has an object to return is documented to answer so, and
    callers are therefore not made to check for it by the types.
    """

    def read(response: Response) -> M:
        if plain(response) is None:
            return cast("M", None)
        return decode(response.body, model)

    return read


def listing(model: type[M]) -> Callable[[Response], list[M]]:
    """A parser for arrays of objects, each of which keeps what it was read from; an empty success is None as well."""

    def read(response: Response) -> list[M]:
        try:
            return [decode(bytes(item), model) for item in _items.decode(response.body)]
        except UNREADABLE:
            value = plain(response)
        if value is None:
            return cast("list[M]", None)
        if not isinstance(value, list):
            raise _undecodable(response, "not a list")
        return [view(item, model) for item in value]

    return read


def rented(response: Response) -> Started:
    """The session in the answer to a rental, which is an array with one item for each machine asked for.

    Raises:
        OctaProvisionRejectedError: the first item holds no session.
    """
    value = plain(response)
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    first = value[0] if isinstance(value, list) and value else None
    if not isinstance(first, dict) or not first.get("uuid"):
        raise rejection(items, response)
    return view(first, Started)


def downloaded(response: Response) -> Download:
    """Bytes, and what they are said to be."""
    return Download(response.body, response.header("content-type"))


def log_text(response: Response) -> str:
    """The text of an idle job's log.

    Raises:
        OctaDecodeError: it is not base64 of gzip, or is larger than any log.
    """
    logs = reader(IdleJobLogs)(response)
    data: Any = None if logs is None else logs.data
    if not isinstance(data, str):
        raise _undecodable(response, "without log data")
    try:
        return unpacked(data)
    except ValueError as error:
        raise _undecodable(response, f"not a log: {error}") from error
