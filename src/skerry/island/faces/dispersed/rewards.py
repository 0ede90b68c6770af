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

from sqlalchemy import Connection, Row, select

from skerry.island.faces.dispersed.gpu_models import UNKNOWN_MULTIPLIER
from skerry.island.faces.dispersed.gpu_names import key_of
from skerry.island.faces.dispersed.tables import gpu_registry, job_runs, nodes, rewards
from skerry.island.faces.dispersed.wire import new_uuid

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
    names = [card["name"] for card in json.loads(node.hardware)["gpus"]]
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
    node = connection.execute(select(nodes).where(nodes.c.uuid == node_uuid)).first()
    if node is None:
        return
    since = node.last_seen_at
    if 0 < now - since <= SILENCE:
        working, preparing = _busy(connection, node.uuid)
        multiplier_millis = multiplier(connection, node)
        while since < now:
            epoch = epoch_of(since)
            until = min(now, epoch + WEEK)
            _add(connection, node, epoch, multiplier_millis, until - since, now, worked=working, prep=preparing)
            since = until
    connection.execute(nodes.update().where(nodes.c.uuid == node.uuid).values(last_seen_at=now, updated_at=now))


def seen_if_local(connection: Connection, node_uuid: str, now: int) -> None:
    """As `seen` for this machine's own node, which lives as long as the server does; others speak for themselves."""
    if connection.execute(select(nodes.c.node_id).where(nodes.c.uuid == node_uuid)).scalar() is not None:
        seen(connection, node_uuid, now)


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
        query = select(rewards.c.epoch_start).where(rewards.c.status == status).order_by(rewards.c.epoch_start).limit(1)
        first = connection.execute(query).scalar()
        if first is not None:
            steps.append(first + delay)
    return min(steps, default=None)


def _add(
    connection: Connection,
    node: Row[Any],
    epoch: int,
    multiplier_millis: int,
    elapsed: int,
    now: int,
    *,
    worked: bool,
    prep: bool,
) -> None:
    milliseconds = elapsed // 1_000
    row = connection.execute(
        select(rewards).where(rewards.c.node_uuid == node.uuid, rewards.c.epoch_start == epoch)
    ).first()
    if row is None:
        connection.execute(
            rewards.insert().values(
                uuid=new_uuid(now),
                account_id=node.account_id,
                node_uuid=node.uuid,
                epoch_start=epoch,
                status="ACTIVE",
                multiplier_millis=multiplier_millis,
                assignable_ms=milliseconds,
                worked_ms=milliseconds if worked else 0,
                prep_ms=milliseconds if prep else 0,
                created_at=now,
                updated_at=now,
            )
        )
        return
    if row.status == "FINALIZED":
        return
    connection.execute(
        rewards.update()
        .where(rewards.c.uuid == row.uuid)
        .values(
            multiplier_millis=multiplier_millis,
            assignable_ms=row.assignable_ms + milliseconds,
            worked_ms=row.worked_ms + (milliseconds if worked else 0),
            prep_ms=row.prep_ms + (milliseconds if prep else 0),
            updated_at=now,
        )
    )


def _busy(connection: Connection, node_uuid: str) -> tuple[bool, bool]:
    """Whether a node works on a run, and whether it prepares one."""
    here = select(job_runs.c.uuid).where(job_runs.c.node_uuid == node_uuid)
    working = here.where(
        job_runs.c.status.in_(("RUNNING", "FAILING", "CANCELLING")), job_runs.c.started_at.is_not(None)
    )
    preparing = here.where(job_runs.c.status == "PREPARING")
    return (
        connection.execute(working.limit(1)).first() is not None,
        connection.execute(preparing.limit(1)).first() is not None,
    )


def _share(full: int, part: int, whole: int) -> int:
    return (2 * full * part + whole) // (2 * whole)
