"""How answers are read: single objects, lists in their envelope, and nothing at all (sections 2 and 4.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import msgspec

from skerry._kernel.model import NOT_GIVEN, UNREADABLE, Model, decode, encode, parse_json
from skerry._kernel.request import Response
from skerry.networks.dispersed.errors import DispersedDecodeError

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Listing(Generic[M]):
    """One page of a list, as the envelope has it.

    Attributes:
        data: the objects of this page.
        page: which page this is, 1 for the first.
        limit: objects per page.
        total: objects in all pages together.
        body: the bytes received.
    """

    data: list[M]
    page: int
    limit: int
    total: int
    body: bytes

    @property
    def raw(self) -> Any:
        """The envelope as received, unknown members included."""
        return parse_json(self.body)

    @property
    def has_next(self) -> bool:
        """Whether there is a page after this one."""
        return bool(self.data) and self.page * self.limit < self.total


class _Envelope(msgspec.Struct):
    data: list[msgspec.Raw]
    page: int
    limit: int
    total: int


_envelope = msgspec.json.Decoder(_Envelope)


def _undecodable(response: Response, what: str) -> DispersedDecodeError:
    return DispersedDecodeError(
        f"the answer is {what}",
        network="dispersed",
        status=response.status,
        request_id=response.request_id,
        outcome="unknown",
        body=response.body,
    )


def _object(response: Response) -> dict[str, Any]:
    value = parse_json(response.body)
    if not isinstance(value, dict):
        raise _undecodable(response, "not JSON" if value is NOT_GIVEN else "not a JSON object")
    return value


def reader(model: type[M]) -> Callable[[Response], M]:
    """A parser for single objects, which come bare; one wrapped in `data` is unwrapped.

    An empty success is None, as documented. No call that has an object to return is documented to answer so, and
    callers are therefore not made to check for it by the types.
    """

    def read(response: Response) -> M:
        if not response.body:
            return cast("M", None)
        value = decode(response.body, model)
        if getattr(value, "object", None) is None:
            inner = _object(response).get("data")
            if isinstance(inner, dict):
                return decode(encode(inner), model)
        return value

    return read


def nothing(response: Response) -> None:
    """For calls whose success says nothing more; a body, which some servers send, is not looked at."""


def plain(response: Response) -> Any:
    """JSON data as it came, None for an empty body.

    Raises:
        DispersedDecodeError: it is not JSON.
    """
    value = parse_json(response.body) if response.body else None
    if value is NOT_GIVEN:
        raise _undecodable(response, "not JSON")
    return value


def listing(model: type[M]) -> Callable[[Response], Listing[M]]:
    """A parser for lists of objects of one type, each of which keeps what it was read from."""

    def read(response: Response) -> Listing[M]:
        try:
            envelope = _envelope.decode(response.body)
        except UNREADABLE:
            return _lenient(response, model)
        items = [decode(bytes(item), model) for item in envelope.data]
        return Listing(items, envelope.page, envelope.limit, envelope.total, response.body)

    return read


def _lenient(response: Response, model: type[M]) -> Listing[M]:
    """A list whose envelope lacks something: what is missing is what it would be for the only page.

    Raises:
        DispersedDecodeError: there is no list in it.
    """
    envelope: Mapping[str, Any] = _object(response)
    data = envelope.get("data")
    if not isinstance(data, list):
        raise _undecodable(response, "not a list")

    def count(name: str, missing: int) -> int:
        value = envelope.get(name)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else missing

    page, limit = count("page", 1), count("limit", len(data))
    items = [decode(encode(item), model) for item in data]
    return Listing(items, page, limit, count("total", (page - 1) * limit + len(data)), response.body)
