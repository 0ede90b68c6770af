"""Providers report what becomes of jobs: progress, logs, endpoints, results (sections 3.7 and 3.7.3).

The rules are in `reporting`; here bodies are read and answers worded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import PROGRESS, PROVIDER, REPORT, SETTLER
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_views, reporting
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.reporting import Line, Report, Settled
from skerry.island.store.values import micros

_MOST_SECONDS = 10**9
_LATEST = 253_402_300_799_999


class ProviderWork:
    """Takes providers' reports of jobs.

    Args:
        changes: runs transactions over jobs and wakes those who wait for them.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def routes(self) -> Sequence[Route]:
        """What a provider reports."""
        return [
            Route(method="POST", path="/api/jobs/{id}/progress", handler=self.progress, access=PROGRESS),
            Route(method="POST", path="/api/jobs/{id}/logs", handler=self.logs, access=PROVIDER),
            Route(method="PATCH", path="/api/providers/jobs/{id}/logs", handler=self.logs, access=PROVIDER),
            Route(method="POST", path="/api/jobs/{id}/endpoint-ready", handler=self.endpoint, access=PROVIDER),
            Route(method="POST", path="/api/providers/job-result", handler=self.result, access=REPORT),
            Route(method="POST", path="/api/jobs/{id}/result", handler=self.outcome, access=SETTLER),
            Route(method="POST", path="/api/jobs/{id}/fail", handler=self.fail, access=SETTLER),
        ]

    async def progress(self, call: Call, ident: str) -> Answer:
        """A job has come to a phase."""
        phase = _body(call).get("phase")
        if not phase:
            raise Fault(400, "api_key and phase required")
        run = self._changes.run
        cold_start = await run(reporting.progress, call.provider.id, ident, str(phase), now=call.now)
        return Answer({"success": True, "phase": phase, "cold_start_ms": cold_start})

    async def logs(self, call: Call, ident: str) -> Answer:
        """Lines of a job's log: `lines`, or one `line` with its `level`."""
        body = _body(call)
        attempt = _whole(body.get("attempt_number"))
        run = self._changes.run
        written, number = await run(
            reporting.add_lines, call.provider.id, ident, _lines(body), attempt=attempt, now=call.now
        )
        return Answer({"success": True, "lines_written": written, "attempt_number": number})

    async def endpoint(self, call: Call, ident: str) -> Answer:
        """A served model can be reached."""
        body = _body(call)
        port, address = _whole(body.get("port")), body.get("provider_ip")
        given = address if isinstance(address, str) and address else None
        job = await self._changes.run(reporting.endpoint_ready, call.provider.id, ident, port, given, now=call.now)
        return Answer({"success": True, "endpoint_url": job_views.endpoint_url(job, call.root)})

    async def result(self, call: Call) -> Answer:
        """How a job went; whatever is reported first stays."""
        body = _body(call)
        ident = _ident(body.get("job_id"))
        if ident is None:
            raise Fault(400, "api_key and job_id required")
        settled = await self._changes.run(reporting.job_result, call.provider.id, ident, report_of(body), now=call.now)
        if settled.earlier is not None:
            return Answer({"success": True, "message": f"Job already settled ({settled.earlier})"})
        return Answer(settled_view(settled, call.now))

    async def outcome(self, call: Call, ident: str) -> Answer:
        """How a job went, in the older way: with `result` it is done, with `error` it is not."""
        body = _body(call)
        error = body.get("error")
        report = report_of({**body, "success": not error, "gpu_seconds_used": body.get("gpu_seconds")})
        settled = await self._changes.run(reporting.job_outcome, _who(call), ident, report, now=call.now)
        job = settled.job
        if settled.again:
            told = f"Job re-queued for retry {job.retry_count}/{reporting.MOST_TRIES}"
            again = {"success": False, "retry": True, "attempt": job.retry_count, "max_retries": reporting.MOST_TRIES}
            return Answer({**again, "job_id": job.job_id, "message": told})
        view = {"success": True, "job": job_views.row(job, root=call.root, now=call.now), "billing": _billing(settled)}
        if settled.promoted is not None:
            following = settled.promoted
            view["next_job_promoted"] = {"job_id": following.job_id, "renter_id": following.renter_id}
        return Answer(view)

    async def fail(self, call: Call, ident: str) -> Answer:
        """A job cannot be carried out."""
        error = _text(_body(call).get("error"))
        settled = await self._changes.run(reporting.fail, _who(call), ident, error, now=call.now)
        told = {"success": True, "job_id": settled.job.job_id, "refunded_halala": settled.refunded}
        return Answer(told)


def report_of(body: Mapping[str, Any]) -> Report:
    """How a job went, from a body; what makes no sense counts as not said."""
    result = body.get("result")
    return Report(
        success=body.get("success") in (True, "true", 1),
        result=result if result is None or isinstance(result, str) else wire.text(result),
        error=_text(body.get("error")),
        gpu_ms=_milliseconds(body.get("gpu_seconds_used")),
        elapsed_ms=_milliseconds(body.get("duration_seconds")),
        exit_code=_whole(body.get("exit_code")),
        attempt=_whole(body.get("attempt_number")),
        restarts=max(0, _whole(body.get("restart_count")) or 0),
        last_error=_text(body.get("last_error")),
        transient=body.get("transient") in (True, "true", 1),
    )


def settled_view(settled: Settled, now: int) -> dict[str, Any]:
    """What a provider is told of a job that it ended. `cost_halala` is what the work is worth, charged or not."""
    job, shares = settled.job, settled.shares
    begun = job.started_at or job.assigned_at or now
    return {
        "success": True,
        "job_id": job.job_id,
        "status": job.status,
        "actual_minutes": max(1, math.ceil((now - begun) / 60_000_000)),
        "gpu_seconds_used": _seconds(settled.gpu_ms),
        "rate_per_gpu_second_halala": _plain(Decimal(int(job.rate_per_minute)) / 60),
        "cost_halala": shares.actual,
        "provider_earned_halala": shares.provider if job.status == "completed" else 0,
        "dc1_fee_halala": _fee(settled),
        "restart_count": job.restart_count,
        "last_error": job.last_error,
    }


def _billing(settled: Settled) -> dict[str, Any]:
    earned = settled.shares.provider if settled.job.status == "completed" else 0
    return {
        "actual_cost_halala": settled.shares.actual,
        "provider_earned_halala": earned,
        "dc1_fee_halala": _fee(settled),
    }


def _fee(settled: Settled) -> int:
    """The platform's share of the work's worth; of a failed job it is what would have been."""
    return settled.shares.fee


def _lines(body: Mapping[str, Any]) -> list[Line]:
    given = body.get("lines")
    if given is None:
        if not isinstance(body.get("line"), str):
            raise Fault(400, "Provide line or lines[]")
        given = [{"message": body["line"], "level": body.get("level"), "logged_at": body.get("logged_at")}]
    if not isinstance(given, list):
        raise Fault(400, "Provide line or lines[]")
    found = []
    for line in given[: reporting.MOST_LINES_AT_ONCE]:
        entry = line if isinstance(line, dict) else {"message": line}
        message, level = entry.get("message"), entry.get("level")
        if isinstance(message, str):
            found.append(Line(level if isinstance(level, str) else "info", message, _moment(entry.get("logged_at"))))
    return found


def _moment(value: Any) -> int | None:
    """Microseconds since 1970, from ISO 8601 or milliseconds; None for anything else."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
        # Without a zone it would mean another moment on every machine.
        return micros(found) if found.tzinfo is not None and found.year >= 1970 else None
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LATEST:
        return value * 1_000
    return None


def _milliseconds(value: Any) -> int | None:
    """Seconds, as a number or its text, in whole milliseconds, half of one rounded up; None for no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 40:
        return None
    try:
        seconds = Decimal(str(value))
    except InvalidOperation:
        return None
    if not seconds.is_finite():
        return None
    return int(min(max(seconds, Decimal(0)), Decimal(_MOST_SECONDS)) * 1_000 + Decimal("0.5"))


def _whole(value: Any) -> int | None:
    """A whole number that a column can keep, as a number or its text."""
    if isinstance(value, str) and value.strip().lstrip("-").isdigit() and value.isascii() and len(value) <= 12:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    usable = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    return value if usable else None


def _ident(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)[:20]
    return value if isinstance(value, str) and value else None


def _text(value: Any) -> str | None:
    if value is None or value is False or value == "":
        return None
    return value if isinstance(value, str) else wire.text(value)


def _body(call: Call) -> Mapping[str, Any]:
    return call.json if isinstance(call.json, dict) else {}


def _who(call: Call) -> int | None:
    """The provider that reports; None for the operator.

    Raises:
        Fault: 403 for everybody else.
    """
    if call.caller.provider is not None:
        return int(call.caller.provider.id)
    if call.caller.admin:
        return None
    raise Fault(403, "Forbidden")


def _seconds(milliseconds: int) -> int | float:
    return _plain(Decimal(milliseconds) / 1_000)


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral() else float(round(number, 6))
