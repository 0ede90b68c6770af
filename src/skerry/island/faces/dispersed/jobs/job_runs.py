"""Job runs: shown with their logs and costs, cancelled (protocol sections 3.3 and 5.5)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing
from skerry.island.faces.dispersed.call import Answer, Call, Route
from skerry.island.faces.dispersed.errors import not_found
from skerry.island.faces.dispersed.jobs import job_secrets
from skerry.island.faces.dispersed.jobs.job_rows import RUN_COLUMNS, find_job, find_run
from skerry.island.faces.dispersed.jobs.job_views import cost_view, logs_text, run_view
from skerry.island.faces.dispersed.jobs.jobs import cancel_reason, not_cancellable
from skerry.island.faces.dispersed.jobs.lifecycle import RUN_STATUSES, TERMINAL, cancel
from skerry.island.faces.dispersed.jobs.scheduler import Scheduler
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import job_runs

# `PENDING` may appear in the enum that jobs and runs share (section 1.3); no run is ever in it.
_STATUSES = ("PENDING", *RUN_STATUSES)


class JobRuns:
    """Runs of jobs of the account that asks.

    Args:
        engine: has the database and the vault.
        scheduler: is woken when there is something new for it, and knows what living runs have written.
    """

    def __init__(self, engine: Engine, scheduler: Scheduler) -> None:
        self._store = engine.store
        self._vault = engine.vault
        self._scheduler = scheduler

    def routes(self) -> Table:
        """With every alias of section 3.0."""
        cancel_run = Route(self.cancel, kind="write")
        cost = Route(self.cost)
        path = "/v1/job-runs/{uuid}"
        return [
            ("GET", "/v1/job-runs", Route(self.list)),
            ("GET", path, Route(self.get)),
            ("PUT", f"{path}/cancel", cancel_run),
            ("POST", f"{path}/cancel", cancel_run),
            *(("GET", f"{path}/{name}", cost) for name in ("cost-summary", "cost_summary", "cost")),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """Every run of the account, without logs."""
        wanted = listing.read_query(call.query, _FILTERS)
        return await self._store.read(self._page, call, wanted)

    def _page(self, connection: Connection, call: Call, wanted: listing.Wanted[listing.Clause]) -> dict[str, Any]:
        rows, total = listing.fetch(connection, _BARE, wanted, _BARE.c.account_id == call.account_id)
        return listing.envelope([self._view(connection, row, call.now) for row in rows], wanted, total)

    async def get(self, call: Call, uuid: str) -> dict[str, Any]:
        """One run with its logs, which are live while it goes on here."""
        row, view, logs = await self._store.read(self._detail, call, uuid)
        if row.status not in TERMINAL and row.engine_run_id is not None:
            logs = await self._scheduler.worker.logs(row)
            # It may have ended just now, and its files be gone.
            row, view, kept = await self._store.read(self._detail, call, uuid)
            logs = kept if row.status in TERMINAL else logs
        return {**view, "logs": logs_text(logs or b"")}

    def _detail(self, connection: Connection, call: Call, uuid: str) -> tuple[Row[Any], dict[str, Any], bytes | None]:
        row = _mine(connection, call.account_id, uuid)
        logs = connection.execute(select(job_runs.c.logs).where(job_runs.c.uuid == row.uuid)).scalar()
        return row, self._view(connection, row, call.now), logs

    async def cost(self, call: Call, uuid: str) -> dict[str, Any]:
        """What a run has cost so far."""

        def summary(connection: Connection) -> dict[str, Any]:
            return cost_view(connection, _mine(connection, call.account_id, uuid), call.now)

        return await self._store.read(summary)

    def cancel(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """End a run early; the last living one of a job takes the job with it, and is not tried again."""
        reason = cancel_reason(call)
        row = _mine(connection, call.account_id, uuid)
        wish = cancel(row.status)
        if wish == "never":
            raise not_cancellable("job run", row.status)
        if wish != "already":
            self._scheduler.progress.cancel_run(connection, row, reason, call.now)
            call.after_commit(self._scheduler.wake)
            row = _mine(connection, call.account_id, uuid)
        return Answer(200, self._view(connection, row, call.now))

    def _view(self, connection: Connection, row: Row[Any], now: int) -> dict[str, Any]:
        job = find_job(connection, row.job_uuid)
        assert job is not None, row.job_uuid
        return run_view(row, job_secrets.token_of(self._vault, job), now)


_BARE = select(*RUN_COLUMNS).subquery("runs")
_FILTERS = {
    **listing.dated(_BARE),
    "job_uuid": listing.uuids(_BARE.c.job_uuid),
    "node_uuid": listing.uuids(_BARE.c.node_uuid),
    "status": listing.words(_BARE.c.status, _STATUSES),
}


def _mine(connection: Connection, account_id: str, uuid: str) -> Row[Any]:
    row = find_run(connection, uuid)
    if row is None or row.account_id != account_id:
        raise not_found("job run")
    return row
