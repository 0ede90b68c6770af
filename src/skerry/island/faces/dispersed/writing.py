"""Carrying out a request that changes something: the work and its replay row in one transaction (section 2.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from skerry.island.engine.errors import EngineError
from skerry.island.faces.dispersed import replays, wire
from skerry.island.faces.dispersed.account.key_pairs import Sealer
from skerry.island.faces.dispersed.call import Answer
from skerry.island.faces.dispersed.errors import Fault, envelope, from_engine
from skerry.island.faces.dispersed.replays import Binding

_NEVER_KEPT = frozenset({401, 403, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a request came to.

    Args:
        status: HTTP status.
        body: JSON text, empty for 204.
        replayed: whether it was done before, and nothing was done now.
        refused: whether the work was undone.
    """

    status: int
    body: bytes
    replayed: bool = False
    refused: bool = False


def carry_out(
    connection: Connection,
    work: Callable[[Connection], Answer],
    *,
    vault: Sealer,
    bound: Binding | None,
    checks: Sequence[Callable[[Connection], Any]] = (),
    now: int,
) -> Done:
    """Do what was asked, once.

    Args:
        connection: of a write transaction of its own.
        work: does it; what it raises undoes it.
        vault: seals kept answers.
        bound: the idempotency key of the request, if it has one.
        checks: what must still be so, such as that the key has not been revoked since.
        now: microseconds since 1970.

    Raises:
        Fault: refused, and nothing is kept of it.
    """
    for check in checks:
        check(connection)
    if bound is None:
        return _done(_attempt(connection, work))
    before = replays.find(connection, vault, bound, now)
    if before is not None:
        return Done(status=before[0], body=before[1], replayed=True)
    try:
        with connection.begin_nested():
            done = _done(_attempt(connection, work))
    except Fault as fault:
        if fault.status >= 500 or fault.status in _NEVER_KEPT:
            raise
        done = Done(status=fault.status, body=wire.encode(envelope(fault, now)), refused=True)
    replays.keep(connection, vault, bound, done.status, done.body, now)
    return done


def _attempt(connection: Connection, work: Callable[[Connection], Answer]) -> Answer:
    try:
        return work(connection)
    except EngineError as error:
        fault = from_engine(error)
        if fault is None:
            raise
        raise fault from error


def _done(answer: Answer) -> Done:
    return Done(status=answer.status, body=b"" if answer.status == 204 else wire.encode(answer.body))
