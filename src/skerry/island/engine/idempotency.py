"""Requests that may arrive twice: a key is bound to what it first did, in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.island.clock import Clock
from skerry.island.store import idempotency as rows
from skerry.island.store.store import Store
from skerry.island.store.values import micros


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's key for one request.

    Args:
        scope: who and what the key belongs to, such as `arker:<account>:<vm>`; at most 200 characters.
        key: the caller's text; at most 200 characters.
        fingerprint: digest of the request as understood; the same key with another one is a conflict.
    """

    scope: str
    key: str
    fingerprint: str


class Idempotency:
    """Bindings for any face; runs bind their own in `Runs.submit`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def find(self, key: IdempotencyKey) -> str | None:
        """What the key is bound to (an id, chosen by whoever bound it), or None.

        Raises:
            Conflict: bound to another request.
        """
        return await self._store.read(rows.find, key.scope, key.key, key.fingerprint)

    async def bind(self, key: IdempotencyKey, target: str) -> str:
        """Bind the key to `target`, or return what it was bound to before. Raises Conflict as `find`."""
        return await self._store.run(rows.bind, key.scope, key.key, key.fingerprint, target, micros(self._clock.now()))
