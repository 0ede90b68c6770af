"""From what callers write to list parameters and call options (sections 3.1 and 4.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from skerry._kernel.dialect import Call
from skerry._kernel.model import NOT_GIVEN
from skerry._kernel.options import RequestOptions
from skerry.errors import InvalidRequestError
from skerry.networks.dispersed.inputs import ListOptions, WriteOptions

Parameters = Mapping[str, Any] | Iterable[tuple[str, Any]] | None
"""List parameters as the wire names them, such as `limit` and `filter[status]`; pairs where a name comes twice."""

T = TypeVar("T")

Pairs = tuple[tuple[str, Any], ...]

_OPTIONS = frozenset(WriteOptions.__annotations__)
_PLAIN = frozenset({"page", "limit", "sort"})
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def call_options(options: RequestOptions | None, given: Mapping[str, Any]) -> RequestOptions:
    """Options given as one value and as keywords in one; keywords win.

    Args:
        options: as a value.
        given: as keywords, see `WriteOptions`; whatever else is in there is left alone.

    Raises:
        InvalidRequestError: the idempotency key has no form that can be sent, or a number makes no sense.
    """
    key = given.get("idempotency_key")
    chosen = RequestOptions(
        timeout=given.get("timeout", NOT_GIVEN),
        headers=given.get("headers"),
        retries=given.get("retry"),
        idempotency_key=key,
        deadline=given.get("cancel"),
    ).over(options)
    if chosen.idempotency_key is not None and not _KEY.fullmatch(chosen.idempotency_key):
        raise InvalidRequestError("an idempotency key is 1 to 255 visible ASCII characters", network="dispersed")
    return chosen


def unknown_options(given: Mapping[str, Any]) -> None:
    """Refuse keywords that are no options.

    Raises:
        TypeError: there is one.
    """
    for name in given:
        if name not in _OPTIONS:
            raise TypeError(f"unknown option {name!r}; there are {', '.join(sorted(_OPTIONS))}")


def list_parameters(kind: type[ListOptions], parameters: Parameters, given: ListOptions) -> Pairs:
    """The query of a list, decoded.

    Args:
        kind: which keywords there are.
        parameters: in the wire's words; a member `filter` that is a mapping holds filters by their bare names.
        given: keywords, which replace parameters of the same name.

    Raises:
        TypeError: a keyword is not known.

    Example:
        >>> list_parameters(ListOptions, {"limit": 10}, {"filter": {"status": "RUNNING"}})
        (('limit', 10), ('filter[status]', 'RUNNING'))
    """
    keywords: list[tuple[str, Any]] = []
    for name, value in cast("dict[str, Any]", given).items():
        if name in _OPTIONS:
            continue
        if name not in kind.__annotations__:
            known = ", ".join(sorted(set(kind.__annotations__) - _OPTIONS))
            raise TypeError(f"unknown parameter {name!r}; there are {known}; filter={{...}} takes any other filter")
        if name == "filter":
            keywords += _filters(value)
        else:
            keywords.append((name if name in _PLAIN else f"filter[{name}]", value))
    replaced = {name for name, _ in keywords}
    kept: list[tuple[str, Any]] = []
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters or ()
    for name, value in cast("Iterable[tuple[str, Any]]", pairs):
        if name == "filter" and isinstance(value, Mapping):
            kept += _filters(value)
        else:
            kept.append((name, value))
    return tuple(pair for pair in kept if pair[0] not in replaced) + tuple(keywords)


def _filters(filters: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    return [(f"filter[{name}]", value) for name, value in (filters or {}).items()]


def keyed(call: Call[T], options: RequestOptions) -> Call[T]:
    """The call with the idempotency key of its options among its headers (section 2.6)."""
    if options.idempotency_key is None:
        return call
    header = ("x-idempotency-key", options.idempotency_key)
    return replace(call, headers=(*call.headers, header), keyed=True)


def on_page(pairs: Pairs, page: int) -> Pairs:
    """The same query for another page."""
    return (*(pair for pair in pairs if pair[0] != "page"), ("page", page))
