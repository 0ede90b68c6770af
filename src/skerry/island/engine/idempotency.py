"""Requests that may arrive twice: a key is bound to what it first did, in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's key for one request.

    Args:
        scope: who and what the key belongs to, such as `arker:<account>:<vm>`.
        key: the caller's text.
        fingerprint: digest of the request as understood; the same key with another one is a conflict.
    """

    scope: str
    key: str
    fingerprint: str


class Idempotency:
    """Bindings for any face; runs bind their own in `Runs.submit`."""

    async def find(self, key: IdempotencyKey) -> str | None:
        """What the key is bound to (an id, chosen by whoever bound it), or None.

        Raises:
            Conflict: bound to another request.
        """
        ...

    async def bind(self, key: IdempotencyKey, target: str) -> str:
        """Bind the key to `target`, or return what it was bound to before. Raises Conflict as `find`."""
        ...
