"""Steps in the life of jobs and runs, each inside the caller's transaction together with everything that follows.

A step that is no longer legal changes nothing and says so, so that it may be repeated after a crash.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, bindparam, select

from skerry.island.engine.capacity import Capacity
from skerry.island.faces.dispersed.jobs import billing
from skerry.island.faces.dispersed.jobs.job_rows import account_uuid, course_of, find_job, find_run, latest_runs
from skerry.island.faces.dispersed.jobs.job_spec import docker_of
from skerry.island.faces.dispersed.jobs.job_views import MOST_LOGS, job_view
from skerry.island.faces.dispersed.jobs.lifecycle import NO_CREDIT, TERMINAL, run_may
from skerry.island.faces.dispersed.jobs.placement import Need, Placement
from skerry.island.faces.dispersed.nodes import rewards
from skerry.island.faces.dispersed.tables import job_runs, jobs, ssh_public_keys
from skerry.island.faces.dispersed.wire import new_uuid
from skerry.island.store.prepared import Prepared, insertion

_LONGEST_REASON = 1_000


class Progress:
    """Moves jobs and runs on.

    Args:
        capacity: of this machine, whose parts local runs take and give back.
    """

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._changed: deque[str] = deque()

    def waits(self, job_uuid: str) -> None:
        """Note that this transaction makes a job want a node, or no longer; whoever gives nodes looks at its row.

        Later transactions see what this one did, or that it was undone, so a note too many does no harm.
        """
        self._changed.append(job_uuid)

    @property
    def noted(self) -> bool:
        """Whether there are notes of `waits`."""
        return bool(self._changed)

    def notes(self) -> list[str]:
        """Take the notes of earlier transactions; inside a write transaction."""
        found: list[str] = []
        while self._changed:
            found.append(self._changed.popleft())
        return found

    def assign(
        self,
        connection: Connection,
        job: Row[Any],
        slot: int,
        attempt: int,
        need: Need,
        place: Placement,
        now: int,
        *,
        further: bool,
    ) -> str | None:
        """Give a slot of a job a node: the run, its part of the node and its hold, all at once.

        A run of this machine is PREPARING from the first: nobody has to be told of it first. Without credit the run is
        made and FAILED (section 5.3), unless the job has other runs that go on: those are not harmed by a further one
        that cannot be paid.

        Args:
            job: its row as it is in this transaction.
            slot, attempt: see `Course.open_slots`.
            need: what it asks for.
            place: where it goes.
            now: microseconds since 1970.
            further: other runs of the job go on.

        Returns:
            The run's UUID; None when no run goes on because of this call.

        Raises:
            NoCapacity: it does not fit any more; nothing was changed.
        """
        uuid = new_uuid(now)
        limit = job.max_timeout_run_ms
        first = billing.hold_amount(place.rate, billing.HOUR_MS if limit is None else limit)
        affordable = first <= billing.available(connection, job.account_id)
        if not affordable and further:
            return None
        if place.local and affordable:
            self._capacity.take(
                connection,
                uuid,
                job.account_id,
                cpu_millis=place.share.cpu_millis,
                memory_bytes=place.share.memory_bytes,
                disk_bytes=need.disk_bytes,
                gpus=[card.index for card in place.cards],
                now=now,
            )
            rewards.seen_if_local(connection, place.node_uuid, now)
        start_by = now + job.max_timeout_start_ms * 1_000
        authorization, approved = billing.first_hold(
            connection, job.account_id, uuid, place.rate, limit, start_by=start_by, now=now
        )
        shown = job_view(job, account_uuid(connection, job.account_id)) | {"status": "ASSIGNED", "status_reason": None}
        _MAKE_RUN(
            connection,
            uuid=uuid,
            job_uuid=job.uuid,
            account_id=job.account_id,
            node_uuid=place.node_uuid,
            slot=slot,
            attempt=attempt,
            status="PREPARING" if place.local and affordable else "ASSIGNED",
            snapshot=json.dumps(shown),
            sandbox_id=f"run-{uuid}" if place.local else None,
            engine_run_id=uuid if place.local else None,
            node_urls="[]",
            hourly_rate=place.rate,
            gpu_name=place.cards[0].name if place.cards else None,
            gpu_count=len(place.cards),
            authorization_uuid=authorization,
            start_by=start_by,
            created_at=now,
            updated_at=now,
        )
        if job.status == "PENDING":
            _set_job(connection, job.uuid, now, status="ASSIGNED", status_reason=None)
        if not approved:
            self.end(connection, uuid, "FAILED", reason=NO_CREDIT, now=now)
            return None
        if docker_of(json.loads(job.parameters)).sshkey is None:
            _KEY_USED(connection, of_account=job.account_id, used_at=now)
        return uuid

    def prepare(self, connection: Connection, run_uuid: str, now: int) -> bool:
        """The node begins to fetch what the run needs; False when that is not its turn."""
        return self._move(connection, run_uuid, "PREPARING", now)

    def describe(
        self,
        connection: Connection,
        run_uuid: str,
        now: int,
        *,
        node_urls: Sequence[dict[str, Any]] | None = None,
        image_size_bytes: int | None = None,
        trouble: str | None = None,
    ) -> None:
        """Note what is learned of a living run: where it is reached, how large its image is, what holds it up.

        What holds up a run is told of its job as well, unless others of its runs go on.
        """
        run = find_run(connection, run_uuid)
        if run is None or run.status in TERMINAL:
            return
        if node_urls is not None:
            _set_run(connection, run_uuid, now, node_urls=json.dumps(list(node_urls)))
        if trouble is not None and run.status == "PREPARING":
            _set_run(connection, run_uuid, now, status_reason=_short(trouble))
            if _job(connection, run.job_uuid).status == "ASSIGNED":
                _set_job(connection, run.job_uuid, now, status_reason=_short(trouble))
        if image_size_bytes is not None:
            _set_job(connection, run.job_uuid, now, image_size_bytes=image_size_bytes)

    def run(
        self,
        connection: Connection,
        run_uuid: str,
        started_at: int,
        now: int,
        *,
        node_urls: Sequence[dict[str, Any]] = (),
        image_size_bytes: int | None = None,
    ) -> bool:
        """The program runs; billing begins. False when that is not its turn.

        Args:
            started_at: microseconds since 1970.
            node_urls: where it is reached.
            image_size_bytes: of its image, None where that is not learned now.
        """
        run = find_run(connection, run_uuid)
        if run is None:
            return False
        job = _job(connection, run.job_uuid)
        limit = job.max_timeout_run_ms
        if image_size_bytes is not None and job.image_size_bytes != image_size_bytes:
            _set_job(connection, job.uuid, now, image_size_bytes=image_size_bytes)
        return self._go(
            connection,
            run,
            job,
            "RUNNING",
            now,
            started_at=started_at,
            node_urls=json.dumps(list(node_urls)),
            status_reason=None,
            run_by=None if limit is None else started_at + limit * 1_000,
        )

    def fail_soon(self, connection: Connection, run_uuid: str, reason: str, now: int) -> bool:
        """A run must end as failed once its node has confirmed; False when it is ending already."""
        return self._move(connection, run_uuid, "FAILING", now, status_reason=_short(reason))

    def cancel_soon(self, connection: Connection, run_uuid: str, reason: str | None, now: int) -> bool:
        """A run must end as cancelled once its node has confirmed; False when it is ending already."""
        return self._move(connection, run_uuid, "CANCELLING", now, status_reason=_short(reason))

    def end(
        self,
        connection: Connection,
        run_uuid: str,
        status: str,
        *,
        now: int,
        reason: str | None = None,
        exit_code: int | None = None,
        ended_at: int | None = None,
        logs: bytes | None = None,
        begun: bool = True,
    ) -> bool:
        """A run is over: its final state, its bill, its logs, its part of the node, and what follows for its job.

        A run that was being cancelled is CANCELLED, one that was being failed is FAILED for the reason noted then,
        whatever is said here.

        Args:
            status: `COMPLETED`, `FAILED` or `CANCELLED`.
            reason: for a person.
            exit_code: of the program.
            ended_at: when it truly ended, microseconds since 1970; now when None.
            logs: everything it wrote, of which the end is kept; None leaves what is there.
            begun: False when it turned out that its program never ran, so that there is nothing to bill.

        Returns:
            False when it was over before, or cannot end like that.
        """
        run = find_run(connection, run_uuid)
        if run is None or run.status in TERMINAL:
            return False
        if run.status in ("CANCELLING", "FAILING"):
            status = "CANCELLED" if run.status == "CANCELLING" else "FAILED"
            reason = run.status_reason
        if not run_may(run.status, status):
            return False
        moment = now if ended_at is None else min(now, max(ended_at, run.started_at or run.created_at))
        rewards.seen_if_local(connection, run.node_uuid, now)
        values: dict[str, Any] = {
            "status": status,
            "status_reason": _short(reason),
            "exit_code": exit_code,
            "completed_at": moment,
        }
        if not begun:
            values["started_at"] = None
        if logs is not None:
            values |= {"logs": logs[-MOST_LOGS:], "logs_bytes": len(logs)}
        _set_run(connection, run_uuid, now, **values)
        job, run = _job(connection, run.job_uuid), _run(connection, run_uuid)
        billing.close(connection, run, job.task, moment, now=now)
        self._capacity.release(connection, run_uuid)
        self._follow(connection, job, now, run)
        return True

    def cancel_job(self, connection: Connection, job: Row[Any], reason: str | None, now: int) -> None:
        """Cancel a job that goes on: at once while it is PENDING, else with each of its runs (section 5.5)."""
        living = [run for run in latest_runs(connection, job.uuid) if run.status not in TERMINAL]
        for run in living:
            self.cancel_soon(connection, run.uuid, reason, now)
        self.waits(job.uuid)
        status = "CANCELLING" if living else "CANCELLED"
        ended = {} if living else {"completed_at": now}
        _set_job(connection, job.uuid, now, status=status, status_reason=_short(reason), **ended)

    def cancel_run(self, connection: Connection, run: Row[Any], reason: str | None, now: int) -> None:
        """Cancel one run that goes on; the last one of its job takes the job with it."""
        job = _job(connection, run.job_uuid)
        others = [
            other
            for other in latest_runs(connection, run.job_uuid)
            if other.uuid != run.uuid and other.status not in TERMINAL and other.status != "CANCELLING"
        ]
        if others or job.status == "CANCELLING":
            self.cancel_soon(connection, run.uuid, reason, now)
        else:
            self.cancel_job(connection, job, reason, now)

    def no_node(self, connection: Connection, job: Row[Any], now: int) -> None:
        """The assign time of a PENDING job is over: another try if any is left, else it has FAILED."""
        self.waits(job.uuid)
        why = f"No node was found within {job.max_timeout_assign_ms} ms"
        if job.status_reason:
            why += f": {job.status_reason}"
        if course_of(job, latest_runs(connection, job.uuid)).may_wait_again():
            assign_by = now // 1_000 + job.max_timeout_assign_ms
            _set_job(connection, job.uuid, now, retries=job.retries + 1, assign_by_ms=assign_by)
        else:
            _set_job(connection, job.uuid, now, status="FAILED", status_reason=_short(why), completed_at=now)

    def _move(self, connection: Connection, run_uuid: str, status: str, now: int, **values: Any) -> bool:
        run = find_run(connection, run_uuid)
        return run is not None and self._go(connection, run, _job(connection, run.job_uuid), status, now, **values)

    def _go(self, connection: Connection, run: Row[Any], job: Row[Any], status: str, now: int, **values: Any) -> bool:
        if not run_may(run.status, status):
            return False
        rewards.seen_if_local(connection, run.node_uuid, now)
        _set_run(connection, run.uuid, now, status=status, **values)
        self._follow(connection, job, now)
        return True

    def _follow(self, connection: Connection, job: Row[Any], now: int, ended: Row[Any] | None = None) -> None:
        """Bring a job to the state that its runs have brought about.

        Args:
            job: its row as it is in this transaction.
            ended: the run whose end is the occasion, if it is one.
        """
        job_uuid = job.uuid
        runs = latest_runs(connection, job_uuid)
        course = course_of(job, runs)
        status = course.status_after()
        values: dict[str, Any] = {}
        if status == "RUNNING" and job.started_at is None:
            values["started_at"] = min(run.started_at for run in runs if run.started_at is not None)
        if (job.status, status) in (("PENDING", "ASSIGNED"), ("ASSIGNED", "RUNNING")):
            values["status_reason"] = None
        if ended is not None and status in TERMINAL:
            values["completed_at"] = ended.completed_at
            if job.status != "CANCELLING":
                values["status_reason"] = None if status == "COMPLETED" else _why(status, runs, ended)
        elif ended is not None and ended.status == "FAILED" and course.retriable():
            begins = max(now, course.rests_until(ended.slot))
            values["assign_by_ms"] = begins // 1_000 + job.max_timeout_assign_ms
            values["status_reason"] = _short(f"Trying again after: {ended.status_reason}")
        if status == "PENDING" or job.max_node_count > 1:
            self.waits(job_uuid)
        if status != job.status or values:
            _set_job(connection, job_uuid, now, status=status, **values)


def _why(status: str, runs: Sequence[Row[Any]], ended: Row[Any]) -> str | None:
    """The reason of a job that did not end well: that of the last of its runs that ended so."""
    bad = [run for run in (*runs, ended) if run.status == status or run.status_reason == NO_CREDIT]
    reason: str | None = (bad[-1] if bad else ended).status_reason
    return reason


_MAKE_RUN = insertion(
    job_runs,
    *("status_reason", "run_by", "started_at", "completed_at", "exit_code", "logs"),
    defaults={"billed_ms": 0, "logs_bytes": 0},
)


def _run(connection: Connection, uuid: str) -> Row[Any]:
    run = find_run(connection, uuid)
    assert run is not None, uuid
    return run


def _job(connection: Connection, uuid: str) -> Row[Any]:
    job = find_job(connection, uuid)
    assert job is not None, uuid
    return job


def _set_run(connection: Connection, uuid: str, now: int, **values: Any) -> None:
    _update(job_runs, tuple(values))(connection, of_uuid=uuid, new_updated_at=now, **_new(values))


def _set_job(connection: Connection, uuid: str, now: int, **values: Any) -> None:
    _update(jobs, tuple(values))(connection, of_uuid=uuid, new_updated_at=now, **_new(values))


def _new(values: dict[str, Any]) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in values.items()}


@cache
def _update(table: Table, names: tuple[str, ...]) -> Prepared:
    """Changes some columns of one row; which ones are few combinations, each of them built once."""
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in (*names, "updated_at")}
    return Prepared(table.update().where(table.c.uuid == bindparam("of_uuid")).values(values))


_IS_DEFAULT = and_(
    ssh_public_keys.c.account_id == bindparam("of_account"),
    ssh_public_keys.c.is_default == 1,
    ssh_public_keys.c.deleted_at.is_(None),
)
_KEY_USED = Prepared(ssh_public_keys.update().where(_IS_DEFAULT).values(last_used_at=bindparam("used_at")))
_DEFAULT_KEY = Prepared(select(ssh_public_keys.c.public_key).where(_IS_DEFAULT))


def default_key(connection: Connection, account_id: str) -> str | None:
    """The account's default SSH public key (section 5.2)."""
    found: str | None = _DEFAULT_KEY(connection, of_account=account_id).scalar()
    return found


def _short(reason: str | None) -> str | None:
    return None if reason is None else reason[:_LONGEST_REASON]
