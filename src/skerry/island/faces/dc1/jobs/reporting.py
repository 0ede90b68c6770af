"""What a provider reports of a job: how far it is, what it prints, where it serves, how it went (section 3.7).

Plain functions over a connection, for the routes and for this machine's own loop alike. Each reads the job again in the
transaction that changes it, so that two reports of one job follow one another, and the second finds what the first did.
Only the provider that a job is assigned to may report of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import claiming, events, job_rows, job_views
from skerry.island.faces.dc1.jobs.changes import touch
from skerry.island.faces.dc1.jobs.job_rows import PULLING
from skerry.island.faces.dc1.money import settling
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import executions, logs
from skerry.island.store.prepared import Prepared, insertion

PHASES = (PULLING, "downloading_model", "installing_deps", "loading_model", "generating", "formatting")
LEVELS = ("info", "warn", "error", "debug")
MOST_LINES_AT_ONCE = 500
MOST_LINES = 100_000
"""Lines that are kept of a job."""

MOST_MESSAGE = 2_000
MOST_RESULT = 32 << 20
"""Characters of a result."""

MOST_ERROR = 4_000
NOTHING = settling.Shares(0, 0, 0, 0, 0)
MOST_TRIES = 2
"""How often a job is tried again when its provider says that the failure will pass."""

_begun = Prepared(
    select(executions.c.started_at).where(
        executions.c.job == bindparam("number"), executions.c.attempt == bindparam("attempt")
    )
)
_last_line = Prepared(select(func.max(logs.c.line_no)).where(logs.c.job == bindparam("number")))
_add_lines = insertion(logs)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a job's log.

    Args:
        level: as said; a word that is none of `LEVELS` counts as `info`.
        message: cut after `MOST_MESSAGE` characters; an empty one is left out.
        logged_at: microseconds since 1970, None for the moment it came.
    """

    level: str
    message: str
    logged_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a job went, in its provider's words.

    Args:
        success: whether it did its work.
        result: standard output, the marker line last.
        error: why it failed.
        gpu_ms: milliseconds times GPUs; None for `elapsed_ms` times the job's GPUs.
        elapsed_ms: milliseconds; None for the time that the attempt took.
        exit_code: of its program.
        attempt: which attempt this is about; None for the present one.
        restarts: how often its container was begun anew.
        last_error: of a container that was begun anew.
        transient: another try may go well.
    """

    success: bool
    result: str | None = None
    error: str | None = None
    gpu_ms: int | None = None
    elapsed_ms: int | None = None
    exit_code: int | None = None
    attempt: int | None = None
    restarts: int = 0
    last_error: str | None = None
    transient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a job.

    Args:
        job: its row now.
        earlier: the state that it had already, in which nothing was changed; None where this report ended it.
        shares: how its hold would be divided for the work, whether or not it was.
        refunded: halala that went back.
        gpu_ms: what was counted.
        promoted: the job that its provider has next, if one became claimable.
        again: it waits for another try.
    """

    job: Row[Any]
    earlier: str | None = None
    shares: settling.Shares = NOTHING
    refunded: int = 0
    gpu_ms: int = 0
    promoted: Row[Any] | None = None
    again: bool = False


def assigned(connection: Connection, provider_id: int, ident: str | int) -> Row[Any]:
    """A job of a provider.

    Raises:
        Fault: 404 for no job, 403 for one that is not its own.
    """
    job = job_rows.find(connection, ident)
    if job is None:
        raise Fault(404, "Job not found")
    if job.provider_id != provider_id:
        raise Fault(403, "Forbidden")
    return job


def progress(connection: Connection, provider_id: int, ident: str | int, phase: str, *, now: int) -> int | None:
    """A job has come to a phase; a job that was only picked up starts with it.

    While its image is pulled a job does not run yet. That is over with the first other phase: a program that prints the
    word later changes nothing.

    Args:
        phase: one of `PHASES`.
        now: microseconds since 1970.

    Returns:
        Milliseconds from the start to the first token, when this is the first time that it generates.

    Raises:
        Fault: 400 for another phase, 404, 403, or 409 for a job that this provider is not carrying out.
    """
    if phase not in PHASES:
        raise Fault(400, f"Invalid phase. Valid: {', '.join(PHASES)}")
    job = _carried(assigned(connection, provider_id, ident))
    if phase == PULLING and _ran(job):
        return None
    status = job.status
    if status in ("assigned", "pulling"):
        status = "pulling" if phase == PULLING else "running"
    values: dict[str, Any] = {"status": status, "started_at": runs_since(job, phase, now)}
    cold_start = None
    if phase == "generating" and job.first_token_at is None:
        values["first_token_at"] = now
        cold_start = max(0, now - (job.assigned_at or now)) // 1_000
    job_rows.change(connection, job.id, now, progress_phase=phase, progress_updated_at=now, **values)
    told = {"phase": phase, "previous_status": job.status, "next_status": status}
    message = f"Job phase updated to {phase}"
    events.add(connection, job.id, events.PHASE, status, "daemon", message, payload=told, now=now)
    return cold_start


def add_lines(
    connection: Connection,
    provider_id: int,
    ident: str | int,
    lines: Sequence[Line],
    *,
    attempt: int | None = None,
    now: int,
) -> tuple[int, int]:
    """Add lines to a job's log, also after it has ended: the last ones often come late.

    Args:
        lines: what is beyond `MOST_LINES_AT_ONCE` is left out, and so is what is beyond `MOST_LINES` of a job.
        attempt: from which they are; the present one by default.
        now: microseconds since 1970.

    Returns:
        How many were written, and the attempt.

    Raises:
        Fault: 400 when none says anything, 404, 403, or 409 for an attempt that the job has not had.
    """
    job = assigned(connection, provider_id, ident)
    current = max(1, int(job.attempt))
    number = current if attempt is None else attempt
    if not 1 <= number <= current:
        raise Fault(409, f"The job has had {current} attempts", current_attempt=current)
    kept = [line for line in lines[:MOST_LINES_AT_ONCE] if line.message]
    if not kept:
        raise Fault(400, "No valid log lines provided")
    last = _last_line(connection, number=job.id).scalar() or 0
    kept = kept[: max(0, MOST_LINES - last)]
    if kept:
        rows = [
            {
                "job": job.id,
                "line_no": last + 1 + index,
                "attempt": number,
                "level": line.level.lower() if line.level.lower() in LEVELS else "info",
                "message": storable(connection, line.message[:MOST_MESSAGE]),
                "logged_at": now if line.logged_at is None else line.logged_at,
            }
            for index, line in enumerate(kept)
        ]
        _add_lines.many(connection, rows)
        touch(connection, job.id)
    return len(kept), number


def endpoint_ready(
    connection: Connection, provider_id: int, ident: str | int, port: Any, address: str | None, *, now: int
) -> Row[Any]:
    """A serving job can be reached; its row, of which `job_views.endpoint_url` tells where.

    Other providers' servers are reached at the provider's own address, and only by http. This machine's are reached
    through the island, at an address that depends on how the island is reached itself: what is kept is a mark of that.

    Args:
        port: on the provider's machine.
        address: IP address of the provider, as it says; None for what its heartbeats said.
        now: microseconds since 1970.

    Raises:
        Fault: 400 for another kind of job, a port that is none, or no address; 404, 403, 409.
    """
    job = assigned(connection, provider_id, ident)
    if job.job_type != claiming.SERVING:
        raise Fault(400, "Not a vllm_serve job")
    if isinstance(port, bool) or not isinstance(port, int) or not 1_024 <= port <= 65_535:
        raise Fault(400, "Invalid port")
    provider = provider_rows.find(connection, provider_id)
    assert provider is not None
    if provider.node_id is not None:
        url = job_views.OWN_ENDPOINT
    else:
        host = _host(address) or _host(provider_rows.profile(provider).get("provider_ip"))
        if host is None:
            raise Fault(400, "Cannot resolve provider IP — send provider_ip in body")
        url = f"http://{host}:{port}/v1"
    _carried(job)
    since = job_rows.change(
        connection,
        job.id,
        now,
        status="running" if job.status in ("assigned", "pulling") else job.status,
        started_at=runs_since(job, "serving", now),
        endpoint_url=url,
        serve_port=port,
        progress_phase="serving",
        progress_updated_at=now,
    )
    message, told = "Endpoint is ready", {"port": port}
    events.add(connection, job.id, events.ENDPOINT_READY, "running", "daemon", message, payload=told, now=now)
    return since


def job_result(connection: Connection, provider_id: int, ident: str | int, report: Report, *, now: int) -> Settled:
    """End a job as its provider says, and settle it; `transient` counts for nothing here (section 3.7.3).

    The provider says how long its GPUs worked, and could say anything: what exceeds the time that the attempt took,
    times the GPUs of the job, is cut to that. A second report changes nothing, but for the output of a job that was
    ended without one.

    Raises:
        Fault: 404 for no job of this provider, 409 for an attempt that is over, 413 for too large a result.
    """
    job = job_rows.find(connection, ident)
    if job is None or job.provider_id != provider_id:
        raise Fault(404, "Job not found")
    _checked(report)
    if job.status not in job_rows.CLAIMED:
        return Settled(job=_late(connection, job, report, now), earlier=job.status)
    _present(job, report.attempt)
    return _end(connection, job, report, "daemon", now)


def job_outcome(
    connection: Connection, provider_id: int | None, ident: str | int, report: Report, *, now: int
) -> Settled:
    """End a job by the older route, where a passing failure has it tried again, twice at most (section 3.7).

    Args:
        provider_id: who reports; None for the operator.

    Raises:
        Fault: 404, 403, 409 for a job that has ended, 413 for too large a result.
    """
    job = _of(connection, provider_id, ident)
    _checked(report)
    if job.status in job_rows.TERMINAL:
        raise Fault(409, "Job already settled", current_status=job.status)
    _present(job, report.attempt)
    if not report.success and report.transient and job.retry_count < MOST_TRIES:
        return _again(connection, job, report.error or "Job failed", now)
    return _end(connection, job, report, "admin" if provider_id is None else "daemon", now)


def fail(connection: Connection, provider_id: int | None, ident: str | int, error: str | None, *, now: int) -> Settled:
    """A job cannot be carried out; what it holds goes back.

    Raises:
        Fault: 404, 403, or 409 for a job that has ended.
    """
    return job_outcome(connection, provider_id, ident, Report(success=False, error=error, gpu_ms=None), now=now)


def runs_since(job: Row[Any], phase: str | None, now: int) -> int:
    """Since when a job runs that has come to a phase: from its start, or from the moment its image is there."""
    if job.started_at is None or (job.progress_phase == PULLING and phase != PULLING):
        return now
    return int(job.started_at)


def _ran(job: Row[Any]) -> bool:
    """Whether a job's program has begun, as far as was told: then its image is there."""
    moved = job.status == "running" and job.started_at != job.assigned_at
    return moved or job.progress_phase not in (None, PULLING)


def counted(connection: Connection, job: Row[Any], reported: int | None, now: int) -> int:
    """Milliseconds times GPUs that count: what was reported, and never more than the attempt took on all of them.

    Where nothing was reported, that is the time for which the job ran.
    """
    begun = _begun(connection, number=job.id, attempt=job.attempt).scalar()
    if begun is not None and reported is None:
        begun = max(begun, job.started_at or begun)
    most = 0 if begun is None else max(0, now - begun) // 1_000 * max(1, int(job.gpu_count))
    return most if reported is None else min(max(0, reported), most)


def storable(connection: Connection, found: str) -> str:
    """A text as this database can keep it: Postgres has no NUL in texts."""
    return found.replace("\x00", "\N{REPLACEMENT CHARACTER}") if connection.dialect.name == "postgresql" else found


def _end(connection: Connection, job: Row[Any], report: Report, source: str, now: int) -> Settled:
    reported = report.gpu_ms
    if reported is None and report.elapsed_ms is not None:
        reported = report.elapsed_ms * max(1, int(job.gpu_count))
    gpu_ms = counted(connection, job, reported, now)
    result = None if report.result is None else storable(connection, report.result)
    also: dict[str, Any] = {"restart_count": report.restarts}
    if report.last_error is not None:
        also["last_error"] = storable(connection, report.last_error[:MOST_ERROR])
    refunded = 0
    if report.success:
        code = 0 if report.exit_code is None else report.exit_code
        shares = settling.complete(
            connection, job, gpu_ms=gpu_ms, result=result, exit_code=code, source=source, also=also, now=now
        )
        refunded = shares.refund
    else:
        error = storable(connection, (report.error or "Job failed")[:MOST_ERROR])
        shares = settling.divide(int(job.quote), gpu_ms, int(job.rate_per_minute), success=True)
        refunded = settling.give_up(
            connection,
            job,
            "failed",
            error,
            event_type=events.FAILED,
            source=source,
            gpu_ms=gpu_ms,
            exit_code=report.exit_code,
            result=result,
            also=also,
            now=now,
        )
    return Settled(
        job=job_rows.get(connection, job.id),
        shares=shares,
        refunded=refunded,
        gpu_ms=gpu_ms,
        promoted=claiming.promote(connection, job.provider_id, now=now),
    )


def _again(connection: Connection, job: Row[Any], error: str, now: int) -> Settled:
    tries = int(job.retry_count) + 1
    text = storable(connection, error[:MOST_ERROR])
    since = claiming.release(
        connection,
        job,
        reason=f"[retry {tries}/{MOST_TRIES}] {text}",
        source="daemon",
        now=now,
        provider_id=None,
        retry_count=tries,
        error=f"[retry {tries}/{MOST_TRIES}] {text}",
        last_error=text,
    )
    return Settled(job=since, again=True, promoted=claiming.promote(connection, job.provider_id, now=now))


def _late(connection: Connection, job: Row[Any], report: Report, now: int) -> Row[Any]:
    """Keep the output that comes after the news of the end; money and state stay."""
    wanting = job.status == "completed" and job.result is None and report.attempt in (None, int(job.attempt))
    if wanting and report.success and report.result is not None:
        return job_rows.change(connection, job.id, now, result=storable(connection, report.result))
    return job


def _of(connection: Connection, provider_id: int | None, ident: str | int) -> Row[Any]:
    if provider_id is not None:
        return assigned(connection, provider_id, ident)
    job = job_rows.find(connection, ident)
    if job is None:
        raise Fault(404, "Job not found")
    return job


def _checked(report: Report) -> None:
    if report.result is not None and len(report.result) > MOST_RESULT:
        raise Fault(413, f"A result has at most {MOST_RESULT >> 20} MiB; store what is larger elsewhere")


def _present(job: Row[Any], attempt: int | None) -> None:
    if attempt is not None and attempt != job.attempt:
        raise Fault(409, f"Attempt {attempt} is over", current_attempt=int(job.attempt), current_status=job.status)


def _carried(job: Row[Any]) -> Row[Any]:
    if job.status in job_rows.TERMINAL:
        raise Fault(409, "Job already settled", current_status=job.status)
    if job.status not in job_rows.CLAIMED:
        raise Fault(409, "Job is not running", current_status=job.status)
    return job


def _host(address: Any) -> str | None:
    """An IP address as it stands in a URL."""
    if not isinstance(address, str):
        return None
    try:
        found = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    if found.is_unspecified or found.is_multicast or (found.version == 6 and found.scope_id):
        return None
    return f"[{found}]" if found.version == 6 else str(found)
