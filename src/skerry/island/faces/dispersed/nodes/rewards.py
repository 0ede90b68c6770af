"""What nodes earn in a week, in micros of a RENDER token (section 5.4).

Time is counted when a node gives a sign of life, from the last one before it: a gap longer than `SILENCE` counts as
absence, so neither a machine that slept nor a server that was down is paid for it. Whether the node worked or prepared
in between is known exactly, because every change of a run on it is preceded by such a count. An hour with several runs
is one hour worked.

An island pays no tokens; it tells what the published formula gives.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, exists, func, or_, select

from skerry.island.faces.dispersed.nodes.gpu_models import UNKNOWN_MULTIPLIER
from skerry.island.faces.dispersed.nodes.gpu_names import key_of
from skerry.island.faces.dispersed.tables import gpu_registry, job_runs, nodes, rewards
from skerry.island.faces.dispersed.wire import new_uuid
from skerry.island.store.prepared import Prepared, insertion

SECOND = 1_000_000
BEAT_SECONDS = 15.0
SILENCE = 60 * SECOND
WEEK = 7 * 86_400 * SECOND
SETTLING = 3_600 * SECOND
"""How long an ended week stays FINALIZING, for what is reported late."""

_WEEK_MS = WEEK // 1_000
_FIRST_SUNDAY = 3 * 86_400 * SECOND
_AVAILABILITY = 6_000_000
_JOB = 10_000_000
_PREPARATION = 2_000_000

PROCESSOR_MULTIPLIER = 40
"""Thousandths, for a node without GPUs: the share of the processor in the published weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What a node earned in a week, in micros of a RENDER token."""

    availability: int
    job: int
    preparation: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.availability + self.job + self.preparation


def epoch_of(moment: int) -> int:
    """The beginning of the epoch that a moment lies in: a Sunday at 00:00 UTC. Microseconds since 1970."""
    return moment - (moment - _FIRST_SUNDAY) % WEEK


def amounts(multiplier_millis: int, assignable_ms: int, worked_ms: int, prep_ms: int) -> Amounts:
    """The published formula, each part rounded half up to six decimals.

    Example:
        >>> week = 168 * 3_600_000
        >>> amounts(1000, week, week // 2, 0)
        Amounts(availability=6000000, job=5000000, preparation=0)
    """
    return Amounts(
        availability=_share(_AVAILABILITY, assignable_ms, _WEEK_MS),
        job=_share(_JOB * multiplier_millis, worked_ms, _WEEK_MS * 1_000),
        preparation=_share(_PREPARATION, prep_ms, _WEEK_MS),
    )


def multiplier(connection: Connection, node: Row[Any]) -> int:
    """Thousandths by which a node's work counts: the sum over its GPUs, by the registry."""
    return _multiplier(connection, node.hardware)


def _multiplier(connection: Connection, hardware: str) -> int:
    names = [card["name"] for card in json.loads(hardware)["gpus"]]
    if not names:
        return PROCESSOR_MULTIPLIER
    rows = connection.execute(select(gpu_registry.c.name, gpu_registry.c.multiplier_millis))
    known = {key_of(name): millis for name, millis in rows}
    return sum(known.get(key_of(name), UNKNOWN_MULTIPLIER) for name in names)


def seen(connection: Connection, node_uuid: str, now: int) -> None:
    """Take a sign of life of a node and count the time since the one before; call it before a run on it changes.

    Args:
        node_uuid: of a node; one that is unknown is passed over.
        now: microseconds since 1970.
    """
    _seen(connection, node_uuid, now, local=False)


def seen_if_local(connection: Connection, node_uuid: str, now: int) -> None:
    """As `seen` for this machine's own node, which lives as long as the server does; others speak for themselves."""
    _seen(connection, node_uuid, now, local=True)


def _seen(connection: Connection, node_uuid: str, now: int, *, local: bool) -> None:
    row = _NODE(connection, of_node=node_uuid).first()
    if row is None or (local and row[0] is None):
        return
    _, account_id, hardware, since = row
    if 0 < now - since <= SILENCE:
        working, preparing = _busy(connection, node_uuid)
        multiplier_millis = _multiplier(connection, hardware)
        while since < now:
            epoch = epoch_of(since)
            until = min(now, epoch + WEEK)
            milliseconds = (until - since) // 1_000
            _add(
                connection,
                {
                    "account_id": account_id,
                    "node_uuid": node_uuid,
                    "epoch_start": epoch,
                    "multiplier_millis": multiplier_millis,
                    "assignable_ms": milliseconds,
                    "worked_ms": milliseconds if working else 0,
                    "prep_ms": milliseconds if preparing else 0,
                    "updated_at": now,
                },
            )
            since = until
    _LIVED(connection, of_node=node_uuid, now=now)


def finalize(connection: Connection, now: int) -> None:
    """Move ended weeks on: FINALIZING at their end, FINALIZED an hour later."""
    for before, after, delay in (("ACTIVE", "FINALIZING", WEEK), ("FINALIZING", "FINALIZED", WEEK + SETTLING)):
        connection.execute(
            rewards.update()
            .where(rewards.c.status == before, rewards.c.epoch_start <= now - delay)
            .values(status=after, updated_at=now)
        )


def next_step(connection: Connection) -> int | None:
    """When `finalize` will have something to do next, microseconds since 1970."""
    steps = []
    for status, delay in (("ACTIVE", WEEK), ("FINALIZING", WEEK + SETTLING)):
        first = _OLDEST(connection, of_status=status).scalar()
        if first is not None:
            steps.append(first + delay)
    return min(steps, default=None)


def _add(connection: Connection, counted: dict[str, Any]) -> None:
    """Add to a node's week, unless its figures are final."""
    if _MORE(connection, **{f"new_{name}": value for name, value in counted.items() if name != "account_id"}).rowcount:
        return
    known = _WEEK(connection, of_node=counted["node_uuid"], of_epoch=counted["epoch_start"]).first()
    if known is None:
        now = counted["updated_at"]
        _FIRST(connection, uuid=new_uuid(now), status="ACTIVE", created_at=now, **counted)


def _busy(connection: Connection, node_uuid: str) -> tuple[bool, bool]:
    """Whether a node works on a run, and whether it prepares one."""
    found = _BUSY(connection, of_node=node_uuid).first()
    return (False, False) if found is None else (bool(found[0]), bool(found[1]))


_NODE = Prepared(
    select(nodes.c.node_id, nodes.c.account_id, nodes.c.hardware, nodes.c.last_seen_at).where(
        nodes.c.uuid == bindparam("of_node")
    )
)
_LIVED = Prepared(
    nodes.update()
    .where(nodes.c.uuid == bindparam("of_node"))
    .values(last_seen_at=bindparam("now"), updated_at=bindparam("now"))
)
_WORKING = exists().where(
    job_runs.c.node_uuid == bindparam("of_node"),
    or_(*(job_runs.c.status == status for status in ("RUNNING", "FAILING", "CANCELLING"))),
    job_runs.c.started_at.is_not(None),
)
_PREPARING = exists().where(job_runs.c.node_uuid == bindparam("of_node"), job_runs.c.status == "PREPARING")
_BUSY = Prepared(select(_WORKING, _PREPARING))
_WEEK = Prepared(
    select(rewards.c.status).where(
        rewards.c.node_uuid == bindparam("of_node"), rewards.c.epoch_start == bindparam("of_epoch")
    )
)
_MORE = Prepared(
    rewards.update()
    .where(
        rewards.c.node_uuid == bindparam("new_node_uuid"),
        rewards.c.epoch_start == bindparam("new_epoch_start"),
        rewards.c.status != "FINALIZED",
    )
    .values(
        multiplier_millis=bindparam("new_multiplier_millis"),
        updated_at=bindparam("new_updated_at"),
        **{
            name: rewards.c[name] + bindparam(f"new_{name}", type_=BigInteger)
            for name in ("assignable_ms", "worked_ms", "prep_ms")
        },
    )
)
_FIRST = insertion(rewards)
_OLDEST = Prepared(select(func.min(rewards.c.epoch_start)).where(rewards.c.status == bindparam("of_status")))


def _share(full: int, part: int, whole: int) -> int:
    return (2 * full * part + whole) // (2 * whole)
