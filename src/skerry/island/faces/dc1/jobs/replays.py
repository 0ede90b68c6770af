"""Answers to keyed submissions, given again when the same request comes again within five minutes (section 2.6)."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, select

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.call import Call
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.tables import replays

LIFETIME_MICROS = 300_000_000
_LONGEST = 128
_HEADERS = ("x-idempotency-key", "idempotency-key")


def key_of(call: Call) -> str:
    """The key that a request carries; empty without one.

    Raises:
        Fault: 400 for one that is too long.
    """
    key = next((found for name in _HEADERS if (found := call.headers.get(name, "").strip())), "")
    if len(key) > _LONGEST:
        raise Fault(400, f"An idempotency key has at most {_LONGEST} characters")
    return key


def find(connection: Connection, call: Call, route: str, key: str) -> dict[str, Any] | None:
    """What the request was answered before, marked as a repetition; None for a new one and for one without a key.

    Raises:
        Fault: 409 when the key stands for another request.
    """
    if not key:
        return None
    connection.execute(replays.delete().where(replays.c.created_at <= call.now - LIFETIME_MICROS))
    query = select(replays).where(replays.c.renter_id == call.renter.id, replays.c.route == route, replays.c.key == key)
    row = connection.execute(query).first()
    if row is None:
        return None
    if row.body_digest != _digest(call):
        raise Fault(409, "This idempotency key was used before with another body; take a new key for a new request")
    return {**wire.decode(row.answer.encode()), "idempotent": True}


def keep(connection: Connection, call: Call, route: str, key: str, status: int, answer: dict[str, Any]) -> None:
    """Write an answer down in the transaction that made what it tells of."""
    if not key:
        return
    connection.execute(
        replays.insert().values(
            renter_id=call.renter.id,
            route=route,
            key=key,
            body_digest=_digest(call),
            status=status,
            answer=wire.text(answer),
            created_at=call.now,
        )
    )


def _digest(call: Call) -> str:
    return hashlib.sha256(call.raw).hexdigest()
