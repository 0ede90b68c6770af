"""What `skerry key` and `skerry credit` ask of an island's DC1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from skerry.errors import NotFoundError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from skerry._kernel.raw import RawResponse
    from skerry.cli.island_link import Link
    from skerry.money import Money
    from skerry.networks.dc1 import DC1
    from skerry.networks.dc1.models import Key

SCOPES = ("inference", "billing", "admin")
_REASON = "credit"


@contextmanager
def asking(link: Link) -> Iterator[DC1]:
    """A client that is the island's first renter, and its operator where a call needs one.

    The island is on this machine: no proxy may see the owner's key, whatever the environment says.
    """
    import httpx2

    from skerry.networks.dc1 import DC1

    settings = link.client_settings("dc1")
    with (
        httpx2.Client(trust_env=False) as connections,
        DC1(**settings, admin_token=link.owner_key, transport=connections, environ={}) as client,
    ):
        yield client


def add_credit(link: Link, amount: Money, account: str | None, memo: str | None) -> tuple[int, RawResponse[Any]]:
    """Give a renter money, once: a request that may have been carried out is not repeated.

    Args:
        link: the island.
        amount: in SAR.
        account: number of the renter; None for the island's first.
        memo: why.

    Returns:
        The renter's number, and the answer.
    """
    from skerry._kernel.raw import raw

    with asking(link) as client:
        if account is None:
            renter = client.renters.me().renter
            if renter is None or renter.id is None:
                raise ProtocolError("the island did not say which account is its first", network="dc1")
            number = renter.id
        else:
            number = int(account)
        return number, raw(client.admin.credit_renter)(number, amount, reason=memo or _REASON)


def create_key(link: Link, label: str | None, scopes: Sequence[str], expires_at: datetime | None) -> Key:
    """Make a scoped key of the first renter's."""
    fields = {"label": label, "scopes": list(scopes) or None, "expires_at": expires_at}
    with asking(link) as client:
        return client.keys.create(**{name: value for name, value in fields.items() if value is not None})  # type: ignore[arg-type]


def keys(link: Link) -> list[Key]:
    """The scoped keys of the first renter."""
    with asking(link) as client:
        return client.keys.list().keys


def revoke_key(client: DC1, key_id: str) -> None:
    """Revoke a scoped key; doing so twice does no harm.

    Raises:
        NotFoundError: there is no such key.
    """
    try:
        client.keys.revoke(key_id)
    except NotFoundError:
        if all(known.name != key_id for known in client.keys.list().keys):
            raise
