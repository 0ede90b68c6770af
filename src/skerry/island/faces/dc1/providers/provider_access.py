"""Which provider a request is about, and whether it may be (section 5.8)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1.call import Call
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import provider_rows

_LARGEST_ID = 2**31 - 1


def number(written: str) -> int:
    """A provider's number from a path.

    Raises:
        Fault: 404 for what is none.
    """
    if written.isascii() and written.isdigit() and len(written) <= 10 and int(written) <= _LARGEST_ID:
        return int(written)
    raise Fault(404, "Provider not found")


def own(call: Call, provider_id: str) -> int:
    """The number of the provider that asks, which the path must name.

    Raises:
        Fault: 403 for somebody else's.
    """
    if provider_id != str(call.provider.id):
        raise Fault(403, "Forbidden")
    return int(call.provider.id)


def known(connection: Connection, provider_id: int) -> Row[Any]:
    """A provider that is there.

    Raises:
        Fault: 404.
    """
    found = provider_rows.find(connection, provider_id)
    if found is None:
        raise Fault(404, "Provider not found")
    return found
