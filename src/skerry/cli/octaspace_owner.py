"""The owner's calls below `/octaspace/admin`, which the network's public API lacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from skerry import errors

if TYPE_CHECKING:
    from skerry.cli.island_link import Link

_ERRORS: dict[int, type[errors.SkerryError]] = {
    400: errors.InvalidRequestError,
    401: errors.AuthenticationError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    413: errors.PayloadTooLargeError,
    422: errors.InvalidRequestError,
}
_TIMEOUT = 30.0


def ask(link: Link, method: str, path: str, body: Any = None) -> Any:
    """One call of the owner's.

    Args:
        link: a running island.
        method, path: the path is below `/octaspace/admin`.
        body: JSON.

    Raises:
        SkerryError: it was refused, or nobody answered.
    """
    import httpx2

    headers = {"authorization": f"Bearer {link.owner_key}"}
    # The island is on this machine: no proxy may see the owner's key, whatever the environment says.
    try:
        with httpx2.Client(trust_env=False, timeout=_TIMEOUT) as http:
            url = f"{link.base_url('octaspace')}/admin{path}"
            answer = (
                http.request(method, url, headers=headers, json=body)
                if body is not None
                else http.request(method, url, headers=headers)
            )
    except httpx2.HTTPError as error:
        raise errors.ConnectionFailedError(f"the island did not answer: {error}", network="island") from None
    if answer.status_code >= 400:
        kind = _ERRORS.get(answer.status_code, errors.ServerError)
        raise kind(_message(answer.content), network="island", status=answer.status_code)
    try:
        return json.loads(answer.content)
    except ValueError:
        raise errors.ProtocolError("the island answered with something else than JSON", network="island") from None


def ssh_keys(link: Link) -> list[str]:
    """SSH public keys that are let into the machines of the island's first account."""
    return list(_account(link)["ssh_public_keys"])


def set_ssh_keys(link: Link, keys: list[str]) -> list[str]:
    """Replace them. Raises InvalidRequestError for what is no key."""
    answer = ask(link, "PUT", f"/accounts/{_account(link)['uid']}/ssh_keys", {"ssh_public_keys": keys})
    return list(answer["ssh_public_keys"])


def _account(link: Link) -> dict[str, Any]:
    with link.octaspace() as client:
        uid = client.accounts.get().uid
    for account in ask(link, "GET", "/accounts"):
        if account["uid"] == uid:
            found: dict[str, Any] = account
            return found
    raise errors.ProtocolError("the island does not list its own first account", network="island")


def _message(body: bytes) -> str:
    try:
        told = json.loads(body)
        return str(told["message"])
    except (ValueError, KeyError, TypeError):
        return "the island refused, and did not say why"
