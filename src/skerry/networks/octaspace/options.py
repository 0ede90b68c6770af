"""From what callers write to the options of a call (section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry._kernel.model import NOT_GIVEN
from skerry._kernel.options import RequestOptions
from skerry.networks.octaspace.inputs import CallOptions

_KNOWN = frozenset(CallOptions.__annotations__)


def call_options(options: RequestOptions | None, given: Mapping[str, Any]) -> RequestOptions:
    """Options given as one value and as keywords in one; keywords win.

    Args:
        options: as a value.
        given: as keywords, see `CallOptions`.

    Raises:
        TypeError: a keyword is no option.
        InvalidRequestError: a number makes no sense.
    """
    for name in given:
        if name not in _KNOWN:
            raise TypeError(f"unknown option {name!r}; there are {', '.join(sorted(_KNOWN))}")
    return RequestOptions(
        timeout=given.get("timeout", NOT_GIVEN),
        headers=given.get("headers"),
        retries=given.get("retries"),
        deadline=given.get("cancel"),
    ).over(options)
