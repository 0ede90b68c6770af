"""What a provider's daemon has to say beside the reports: signed events of jobs, and its own troubles (section 3.7).

A signed event is a second way of saying that a job began or ended. Its signature covers the body alone, so a copy of it
would be as good as the original forever: each signature counts once, and only with a recent timestamp. Whoever sends
the same words again on purpose, such as for a second attempt, puts something into the body that differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import key_rows, wire
from skerry.island.faces.dc1.access import ANYBODY, PROVIDER
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import claiming, events, job_rows, reporting
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.reporting import Report
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import provider_events, seen_events
from skerry.island.ground.texts import digits
from skerry.networks.dc1.signing import TIMESTAMP_HEADER, TOLERANCE, WEBHOOK_HEADER, verify_callback

BEGUN = frozenset({"job_started", "job_running"})
DONE = frozenset({"job_done", "job_completed", "container_exit"})
FAILED = frozenset({"job_failed", "error_report"})
SEVERITIES = ("info", "warning", "error", "critical")
MOST_EVENTS = 1_000
"""Events that are kept of a provider."""

KEPT_DAYS = 30
_DAY = 86_400_000_000
_MOST_DETAILS = 4_000


class ProviderEvents:
    """Takes events of providers.

    Args:
        engine: open.
        changes: runs transactions over jobs and wakes those who wait for them.
    """

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes

    def routes(self) -> Sequence[Route]:
        """Signed events, and the daemon's log."""
        return [
            Route(method="POST", path="/api/webhooks/provider/event", handler=self.signed, access=ANYBODY),
            Route(method="POST", path="/api/providers/daemon-event", handler=self.daemon, access=PROVIDER),
            Route(method="GET", path="/api/providers/daemon-logs", handler=self.logs, access=PROVIDER),
        ]

    async def signed(self, call: Call) -> Answer:
        """A job began or ended, says whoever knows the provider's key."""
        provider_id = await self._signer(call)
        body = call.json if isinstance(call.json, dict) else {}
        event, ident = body.get("event"), body.get("job_id")
        if not isinstance(event, str) or not event:
            raise Fault(400, "event is required")
        name = str(ident) if isinstance(ident, str | int) and not isinstance(ident, bool) else None
        mark = hashlib.sha256(f"{provider_id} {call.headers[WEBHOOK_HEADER].strip().lower()}".encode()).hexdigest()
        job = await self._changes.run(take, provider_id, event, name, body, mark, now=call.now)
        return Answer(
            {
                "received": True,
                "provider_id": provider_id,
                "event": event,
                "job_id": ident if job is None else job.job_id,
                "job_updated": job is not None,
                "new_status": None if job is None else job.status,
            }
        )

    async def daemon(self, call: Call) -> Answer:
        """Take note of an event of the daemon itself."""
        body = call.json if isinstance(call.json, dict) else {}
        event = body.get("event_type")
        if not isinstance(event, str) or not event.strip() or len(event) > 64 or "\x00" in event:
            raise Fault(400, "event_type is required, of at most 64 characters")
        severity = body.get("severity")
        word = severity if isinstance(severity, str) and severity in SEVERITIES else "info"
        await self._engine.store.run(note, call.provider.id, event, word, body, now=call.now)
        return Answer({"success": True, "event_type": event, "provider_id": call.provider.id})

    async def logs(self, call: Call) -> Answer:
        """The latest events, the newest first."""
        limit = call.whole("limit", 100, 1, MOST_EVENTS)
        rows = await self._engine.store.read(_latest, call.provider.id, limit)
        found = [
            {
                "id": row.id,
                "event_type": row.event_type,
                "severity": row.severity,
                "details": row.details,
                "job_id": row.job_id,
                "timestamp": wire.iso(row.occurred_at),
            }
            for row in rows
        ]
        return Answer({"provider_id": call.provider.id, "logs": found, "total": len(found)})

    async def _signer(self, call: Call) -> int:
        """The provider that signed a request lately.

        Raises:
            Fault: 401.
        """

        def refused(detail: str) -> Fault:
            return Fault(401, "Invalid webhook signature", detail=detail)

        key, signature = call.headers.get("x-provider-key", "").strip(), call.headers.get(WEBHOOK_HEADER, "")
        if not key or not signature:
            raise refused("X-Provider-Key and X-DCP-Signature are required")
        moment = digits(call.headers.get(TIMESTAMP_HEADER, "").strip(), 12)
        if moment is None:
            raise refused("X-DCP-Timestamp must be unix seconds")
        if abs(moment - call.now // 1_000_000) > TOLERANCE:
            raise refused(f"X-DCP-Timestamp is more than {TOLERANCE} s off")
        known = await self._engine.store.read(key_rows.find, key[: key_rows.LONGEST])
        if known is None or known.kind != key_rows.PROVIDER:
            raise refused("X-Provider-Key is not known")
        if not signature.strip().startswith("sha256=") or not verify_callback(key, call.raw, signature):
            raise refused("X-DCP-Signature must be sha256=<HMAC-SHA256 of the body with the provider's key>")
        return int(known.owner_id)


def take(
    connection: Connection,
    provider_id: int,
    event: str,
    ident: str | None,
    body: Mapping[str, Any],
    mark: str,
    *,
    now: int,
) -> Row[Any] | None:
    """Let a signed event count, once; the job that it changed, if it changed one.

    Args:
        ident: the job's number or name.
        mark: what tells this signature from every other.
        now: microseconds since 1970.

    Raises:
        Fault: 401 for an event that was received before.
    """
    connection.execute(delete(seen_events).where(seen_events.c.seen_at < now - KEPT_DAYS * _DAY))
    if connection.execute(select(seen_events.c.digest).where(seen_events.c.digest == mark)).first() is not None:
        detail = "This event was received before; to say the same again, put a timestamp into its body"
        raise Fault(401, "Invalid webhook signature", detail=detail)
    connection.execute(seen_events.insert().values(digest=mark, seen_at=now))
    job = None if ident is None else job_rows.find(connection, ident)
    if job is None or job.provider_id != provider_id or job.status in job_rows.TERMINAL:
        return None
    if event in BEGUN:
        return _begin(connection, job, provider_id, now)
    if event in FAILED or (event in DONE and job.status in job_rows.CLAIMED):
        code = body.get("exit_code")
        ended = code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31 else 0
        crashed = event == "container_exit" and ended != 0
        error = body.get("error", body.get("message"))
        report = Report(
            success=event in DONE and not crashed,
            result=body["result"] if isinstance(body.get("result"), str) else None,
            error=error if isinstance(error, str) else f"Container exited with {ended}" if crashed else None,
            exit_code=ended if crashed else None,
        )
        return reporting.job_outcome(connection, provider_id, job.id, report, now=now).job
    return None


def note(
    connection: Connection, provider_id: int, event: str, severity: str, body: Mapping[str, Any], *, now: int
) -> None:
    """Keep an event of a daemon, and forget the oldest ones."""
    details = body.get("details")
    text = details if details is None or isinstance(details, str) else wire.text(details)
    ident = body.get("job_id")
    connection.execute(
        provider_events.insert().values(
            provider_id=provider_id,
            event_type=event,
            severity=severity,
            details=None if text is None else reporting.storable(connection, text[:_MOST_DETAILS]),
            job_id=ident if isinstance(ident, str) and len(ident) <= 64 and "\x00" not in ident else None,
            occurred_at=now,
        )
    )
    newest = select(provider_events.c.id).where(provider_events.c.provider_id == provider_id)
    oldest = connection.execute(newest.order_by(provider_events.c.id.desc()).offset(MOST_EVENTS).limit(1)).scalar()
    if oldest is not None:
        connection.execute(
            delete(provider_events).where(provider_events.c.provider_id == provider_id, provider_events.c.id <= oldest)
        )


def _begin(connection: Connection, job: Row[Any], provider_id: int, now: int) -> Row[Any] | None:
    """The job runs from now on, if it did not."""
    if job.status in job_rows.WAITING:
        provider = provider_rows.find(connection, provider_id)
        # Whoever went offline meanwhile has begun all the same; whoever must not work has not.
        if provider is None or provider.approval != "approved" or provider.suspended:
            return None
        job = claiming.begin(connection, job, provider_id, now=now)
    elif job.status in ("assigned", "pulling") or (job.status == "running" and job.progress_phase == job_rows.PULLING):
        since = reporting.runs_since(job, None, now)
        job_rows.change(connection, job.id, now, status="running", started_at=since, progress_phase=None)
    elif job.status != "running":
        return None
    else:
        return job
    events.add(connection, job.id, events.STATUS, "running", "daemon", "Job is running", now=now)
    return job_rows.get(connection, job.id)


def _latest(connection: Connection, provider_id: int, limit: int) -> list[Row[Any]]:
    query = select(provider_events).where(provider_events.c.provider_id == provider_id)
    return list(connection.execute(query.order_by(provider_events.c.id.desc()).limit(limit)))
