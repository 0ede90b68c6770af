"""What nodes report of their runs: states and logs (protocol section 3.10)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.faces.dispersed.call import Answer, Call, Route
from skerry.island.faces.dispersed.errors import Fault, not_found
from skerry.island.faces.dispersed.jobs.job_rows import find_run
from skerry.island.faces.dispersed.jobs.job_views import MOST_LOGS
from skerry.island.faces.dispersed.jobs.lifecycle import TERMINAL, run_may
from skerry.island.faces.dispersed.jobs.scheduler import Scheduler
from skerry.island.faces.dispersed.nodes import rewards
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import job_runs
from skerry.island.faces.dispersed.validation import Form

REPORTED = ("PREPARING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
MOST_URLS = 64
_SMALLEST_CODE, _LARGEST_CODE = -(1 << 31), (1 << 31) - 1


class NodeReports:
    """Reports on runs, each by the key of the node that the run was assigned to."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def routes(self) -> Table:
        """Two reports."""
        return [
            ("PUT", "/v1/job-runs/{uuid}/status", self._route(self.status)),
            ("POST", "/v1/job-runs/{uuid}/logs", self._route(self.logs)),
        ]

    @staticmethod
    def _route(handler: Any) -> Route:
        return Route(handler, kind="write", preset="COMPUTE_NODE", body=True)

    def status(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """A run's next state; the same again changes nothing, one that cannot follow is a conflict."""
        form = Form(call.json)
        status = form.choice("status", REPORTED)
        code = form.optional_integer("exit_code", least=_SMALLEST_CODE, most=_LARGEST_CODE)
        size = form.optional_integer("image_size_bytes")
        reason = form.optional_text("status_reason", most=1_000)
        urls = _urls(form) if form.has("node_urls") else None
        if status == "COMPLETED" and code not in (None, 0):
            form.issue("custom", "must be 0 for a run that is COMPLETED; another one has FAILED", "exit_code")
        form.check()
        run = _assigned(connection, call, uuid)
        rewards.seen(connection, run.node_uuid, call.now)
        progress, now = self._scheduler.progress, call.now
        if run.status != status:
            if not run_may(run.status, status):
                raise Fault(409, "CONFLICT", f"A run that is {run.status} cannot become {status}")
            if status == "PREPARING":
                progress.prepare(connection, run.uuid, now)
            elif status == "RUNNING":
                progress.run(connection, run.uuid, now, now, node_urls=urls or [])
            else:
                why = reason or (f"Exit code {code}" if status == "FAILED" and code is not None else None)
                progress.end(connection, run.uuid, status, now=now, reason=why, exit_code=code)
            call.after_commit(self._scheduler.wake)
        progress.describe(connection, run.uuid, now, node_urls=urls, image_size_bytes=size)
        return Answer(200, _view(_assigned(connection, call, uuid)))

    def logs(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """More of what a run has written; what was sent before is not taken twice.

        `offset` is the number of bytes of UTF-8 that come before `text`; a gap is a conflict that names what is
        expected next.
        """
        form = Form(call.json)
        offset = form.integer("offset")
        text = form.text("text", most=MOST_LOGS)
        form.check()
        run = _assigned(connection, call, uuid)
        rewards.seen(connection, run.node_uuid, call.now)
        if offset > run.logs_bytes:
            raise Fault(409, "CONFLICT", f"Logs are missing in between; send them from offset {run.logs_bytes}")
        fresh = text.encode()[run.logs_bytes - offset :]
        if fresh:
            kept = connection.execute(select(job_runs.c.logs).where(job_runs.c.uuid == run.uuid)).scalar() or b""
            values = {"logs": (kept + fresh)[-MOST_LOGS:], "logs_bytes": run.logs_bytes + len(fresh)}
            connection.execute(job_runs.update().where(job_runs.c.uuid == run.uuid).values(**values))
        body = {"object": "job_run_logs", "job_run_uuid": run.uuid, "next_offset": run.logs_bytes + len(fresh)}
        return Answer(200, body)


def _assigned(connection: Connection, call: Call, uuid: str) -> Row[Any]:
    run = find_run(connection, uuid)
    if run is None or call.key.node_uuid is None or run.node_uuid != call.key.node_uuid:
        raise not_found("job run")
    return run


def _view(run: Row[Any]) -> dict[str, Any]:
    return {
        "object": "job_run",
        "uuid": run.uuid,
        "job_uuid": run.job_uuid,
        "node_uuid": run.node_uuid,
        "status": run.status,
        "status_reason": run.status_reason,
        "is_terminal": run.status in TERMINAL,
    }


def _urls(form: Form) -> list[dict[str, Any]]:
    return [
        {
            "description": one.text("description", least=1, most=64),
            "hostname": one.text("hostname", least=1, most=255),
            "port": one.integer("port", least=1, most=65_535),
            "protocol": one.text("protocol", default="tcp", most=16),
            "tls": one.boolean("tls", default=False),
        }
        for one in form.forms("node_urls", most=MOST_URLS)
    ]
