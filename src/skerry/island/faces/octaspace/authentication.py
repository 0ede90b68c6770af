"""Who asks (protocol section 2.2): the raw key in `Authorization`, or in the query as old clients have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skerry.island.engine.accounts import Accounts
from skerry.island.engine.errors import Unauthorized
from skerry.island.engine.records import Caller
from skerry.island.faces.octaspace.errors import unauthorized

NETWORK = "octaspace"
KEY_LENGTH = 64
"""Characters of a key; older clients refuse to send any other length."""

_MOST_CHARACTERS = 512
_SCHEME = "bearer "


def presented(headers: Sequence[tuple[bytes, bytes]], query: Mapping[str, str]) -> str | None:
    """The key that a request carries; None without one.

    Args:
        headers: with lower-case names.
        query: whose `token` counts when there is no header.
    """
    for name, value in headers:
        if name == b"authorization":
            return value.decode("latin-1").strip()
    return query.get("token")


async def authenticate(accounts: Accounts, key: str | None) -> Caller:
    """Who presents this key.

    A scheme word before it, which the network does not have, is forgiven.

    Raises:
        Fault: 401 without a key, or with one that nobody has.
    """
    if not key or len(key) > _MOST_CHARACTERS:
        raise unauthorized()
    forms = [key, key[len(_SCHEME) :].strip()] if key.lower().startswith(_SCHEME) else [key]
    for form in forms:
        try:
            return await accounts.authenticate(NETWORK, form)
        except Unauthorized:
            continue
    raise unauthorized()
