"""What sessions cost (protocol section 5.6): exact integers, whole ticks, each bill posted with its row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace import profiles
from skerry.island.faces.octaspace.profiles import CURRENCY
from skerry.island.faces.octaspace.sessions import session_rows, states
from skerry.island.faces.octaspace.tables import nodes
from skerry.island.store import ledger
from skerry.money import Money

_GB = 2**30
_HOUR = 3600
_SECOND = 1_000_000


def amount(base: int, storage: int, traffic: int, *, disk_gb: int, seconds: int, moved: int) -> int:
    """What was used, in Wei, each term floored.

    Args:
        base: Wei per hour.
        storage: Wei per GB and hour.
        traffic: Wei per GB.
        disk_gb: GB of disk that were asked for.
        seconds: of use that count.
        moved: bytes both ways.

    Example:
        >>> amount(
        ...     3269230769230769230, 10**14, 5 * 10**16, disk_gb=50, seconds=3725, moved=3 * 2**30 + 7
        ... )
        3537919337932800506
    """
    return base * seconds // _HOUR + storage * disk_gb * seconds // _HOUR + traffic * moved // _GB


def charge(session: Row[Any], seconds: int, moved: int) -> int:
    """What a session costs for so many seconds and bytes."""
    return amount(
        int(session.base),
        int(session.storage),
        int(session.traffic),
        disk_gb=session.disk_gb,
        seconds=seconds,
        moved=moved,
    )


def whole(seconds: int, tick: int) -> int:
    """The seconds of whole ticks.

    Example:
        >>> whole(28, 60), whole(3725, 60)
        (0, 3720)
    """
    return tick * (max(0, seconds) // tick)


def next_due(session: Row[Any], tick: int) -> int | None:
    """When the next tick of a session is over, microseconds since 1970; None while it is not ready."""
    if session.ready_at is None or session.ending is not None:
        return None
    due: int = session.ready_at + (session.billed_seconds + tick) * _SECOND
    return due


def needed(connection: Connection, account_id: str, tick: int) -> int:
    """What all of an account's sessions will cost until each has had one more tick, in Wei."""
    total = 0
    for session in session_rows.active(connection, account_id):
        if session.ending is None:
            moved = session.tx + session.rx
            total += charge(session, session.billed_seconds + tick, moved) - charge(
                session, session.billed_seconds, moved
            )
    return total


def covered(connection: Connection, account_id: str, tick: int, *, further: int = 0, moving: bool = False) -> bool:
    """Whether an account can pay the next tick of all its sessions, and of one more.

    Args:
        further: what the next tick of that one costs, in Wei.
        moving: whether traffic costs anything, so that an empty balance is not enough.
    """
    funds = profiles.balance(connection, account_id)
    if moving and funds <= 0:
        return False
    return funds >= needed(connection, account_id, tick) + further


def bill(
    connection: Connection, engine: Engine, uuid: str, at: int, now: int, *, sent: int = 0, received: int = 0
) -> int:
    """Charge what a session has used until a moment and was not charged for; returns it, in Wei.

    The row says what was charged, so a repetition charges nothing.

    Args:
        at: until when, microseconds since 1970.
        now: the moment of posting.
        sent: bytes since the last time, by the user.
        received: bytes since the last time, by the user.
    """
    session = session_rows.find(connection, uuid)
    if session is None or session.finished_at is not None:
        return 0
    tx, rx = session.tx + sent, session.rx + received
    seconds = session.billed_seconds
    if session.ready_at is not None:
        seconds = max(seconds, whole((at - session.ready_at) // _SECOND, engine.settings.octaspace.tick))
    total = charge(session, seconds, tx + rx) if session.ready_at is not None else 0
    due = max(0, total - int(session.charged))
    values = {"tx": tx, "rx": rx, "billed_seconds": seconds}
    if due:
        number = session.bills + 1
        _post(connection, engine, session, due, number, now)
        values |= {"charged": str(total), "bills": number}
    session_rows.put(connection, uuid, now, **values)
    return due


def tick(connection: Connection, engine: Engine, uuid: str, now: int, *, sent: int = 0, received: int = 0) -> bool:
    """A session lives: bill it, and let it end when the next tick is not covered; whether it goes on."""
    bill(connection, engine, uuid, now, now, sent=sent, received=received)
    session = session_rows.find(connection, uuid)
    if session is None or session.ending is not None or session.finished_at is not None:
        return False
    session_rows.put(connection, uuid, now, seen_at=now)
    moving = int(session.traffic) > 0
    if not covered(connection, session.account_id, engine.settings.octaspace.tick, moving=moving):
        session_rows.end_soon(connection, uuid, states.BALANCE_EXHAUSTED, now, now)
        return False
    return True


def _post(connection: Connection, engine: Engine, session: Row[Any], due: int, number: int, now: int) -> None:
    """The user pays, the operator earns, the network keeps its fee; an operator's own session is plain revenue."""
    node = connection.execute(select(nodes).where(nodes.c.id == session.node_id)).one()
    fee = due * engine.settings.octaspace.fee_permille // 1000
    revenue = f"revenue:{node.node_id}"
    entries = {ledger.owner(session.account_id): Money(-due, CURRENCY)}
    if node.account_id == session.account_id:
        entries[revenue] = Money(due, CURRENCY)
    else:
        entries[ledger.owner(node.account_id)] = Money(due - fee, CURRENCY)
        entries[revenue] = Money(fee, CURRENCY)
    ledger.transfer(
        connection, f"octaspace:{session.uuid}:{number}", entries, memo=f"{session.service} session", now=now
    )
