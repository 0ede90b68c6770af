"""Jobs: made, shown, cancelled (protocol sections 3.2, 5.5 and 5.6)."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing, wire
from skerry.island.faces.dispersed.call import Answer, Call, Route
from skerry.island.faces.dispersed.errors import Fault, Issue, invalid, not_found
from skerry.island.faces.dispersed.jobs import billing, job_secrets, job_spec
from skerry.island.faces.dispersed.jobs.job_rows import find_job
from skerry.island.faces.dispersed.jobs.job_spec import TASKS, JobSpec
from skerry.island.faces.dispersed.jobs.job_views import job_view, tokens
from skerry.island.faces.dispersed.jobs.lifecycle import JOB_STATUSES, cancel
from skerry.island.faces.dispersed.jobs.scheduler import Scheduler
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import gpu_registry, jobs
from skerry.island.faces.dispersed.validation import Form
from skerry.island.store.prepared import insertion

LONGEST_REASON = 1_000

_FILTERS = {
    "cpu_count": listing.numbers(jobs.c.cpu_count),
    "gpu_count": listing.numbers(jobs.c.gpu_count),
    "min_ram_gb": listing.numbers(jobs.c.min_ram_gb),
    "min_storage_gb": listing.numbers(jobs.c.min_storage_gb),
    "min_vram_gb": listing.numbers(jobs.c.min_vram_gb),
    "status": listing.words(jobs.c.status, JOB_STATUSES),
    "task": listing.words(jobs.c.task, TASKS),
    "recipe_uuid": listing.uuids(jobs.c.source_recipe_uuid),
    "source_recipe_uuid": listing.uuids(jobs.c.source_recipe_uuid),
}

_MAKE = insertion(
    jobs,
    *("status_reason", "image_size_bytes", "started_at", "completed_at"),
    defaults={"retries": 0},
)


class Jobs:
    """Jobs of the account that asks.

    Args:
        engine: has the database and the vault.
        scheduler: is woken when there is something new for it.
    """

    def __init__(self, engine: Engine, scheduler: Scheduler) -> None:
        self._store = engine.store
        self._vault = engine.vault
        self._scheduler = scheduler

    def routes(self) -> Table:
        """With every alias of section 3.0."""
        cancel_job = Route(self.cancel, kind="write")
        path = "/v1/jobs/{uuid}"
        return [
            ("GET", "/v1/jobs", Route(self.list)),
            ("POST", "/v1/jobs", Route(self.post, kind="write", body=True)),
            ("GET", path, Route(self.get)),
            ("PUT", f"{path}/cancel", cancel_job),
            ("POST", f"{path}/cancel", cancel_job),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """Every job of the account."""

        def shown(row: Row[Any]) -> dict[str, Any]:
            return self.view(row, call.profile.uuid)

        mine = jobs.c.account_id == call.account_id
        return await listing.page(self._store, call.query, jobs, _FILTERS, shown, mine)

    async def get(self, call: Call, uuid: str) -> dict[str, Any]:
        """One job."""
        return self.view(await self._store.read(_mine, call.account_id, uuid), call.profile.uuid)

    def post(self, connection: Connection, call: Call) -> Answer:
        """Ask for work."""
        return self.cook(connection, call, job_spec.parse(call.json), None)

    def cook(self, connection: Connection, call: Call, spec: JobSpec, recipe_uuid: str | None) -> Answer:
        """Make a job of a checked specification, perhaps of a recipe.

        Raises:
            Fault: see `create`.
        """
        row = self.create(connection, call.account_id, spec, now=call.now, source_recipe_uuid=recipe_uuid)
        call.after_commit(self._scheduler.look)
        return Answer(201, self.view(row, call.profile.uuid))

    def create(
        self,
        connection: Connection,
        account_id: str,
        spec: JobSpec,
        *,
        now: int,
        source_recipe_uuid: str | None = None,
    ) -> Row[Any]:
        """Enter a PENDING job; have the scheduler look after the commit.

        Args:
            connection: of a write transaction.
            account_id: the engine's.
            spec: from `job_spec.parse`.
            now: microseconds since 1970.
            source_recipe_uuid: of the recipe it is cooked from.

        Raises:
            Fault: 402 without anything left to spend, 400 for a model of GPU that the registry does not have.
        """
        _check_registry(connection, spec)
        if billing.available(connection, account_id) <= 0:
            raise Fault(402, "INSUFFICIENT_BALANCE", "There is no credit left to spend; add some and try again")
        uuid = wire.new_uuid(now)
        _MAKE(
            connection,
            uuid=uuid,
            account_id=account_id,
            status="PENDING",
            task=spec.task,
            title=spec.title,
            description=spec.description,
            cpu_count=spec.cpu_count,
            gpu_count=spec.gpu_count,
            min_ram_gb=spec.min_ram_gb,
            min_vram_gb=spec.min_vram_gb,
            min_storage_gb=spec.min_storage_gb,
            gpu_name=spec.gpu_name,
            gpu_registry_uuid=spec.gpu_registry_uuid,
            parameters=json.dumps(spec.parameters),
            secrets=job_secrets.make(self._vault, uuid, spec.secrets),
            region_codes=json.dumps(spec.region_codes),
            assign_by_ms=now // 1_000 + spec.max_timeout_assign_ms,
            max_timeout_assign_ms=spec.max_timeout_assign_ms,
            max_timeout_start_ms=spec.max_timeout_start_ms,
            max_timeout_run_ms=spec.max_timeout_run_ms,
            max_retry_count=spec.max_retry_count,
            max_node_count=spec.max_node_count,
            source_recipe_uuid=source_recipe_uuid,
            created_at=now,
            updated_at=now,
        )
        self._scheduler.progress.waits(uuid)
        return _mine(connection, account_id, uuid)

    def cancel(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """End a job early: at once while it waits, else as soon as its nodes have confirmed."""
        reason = cancel_reason(call)
        row = _mine(connection, call.account_id, uuid)
        wish = cancel(row.status)
        if wish == "never":
            raise not_cancellable("job", row.status)
        if wish != "already":
            self._scheduler.progress.cancel_job(connection, row, reason, call.now)
            call.after_commit(self._scheduler.wake)
            row = _mine(connection, call.account_id, uuid)
        return Answer(200, self.view(row, call.profile.uuid))

    def view(self, row: Row[Any], account_uuid: str | None) -> dict[str, Any]:
        """A job as it is sent to its owner."""
        token = job_secrets.token_of(self._vault, row)
        return {**job_view(row, account_uuid), "container_access_tokens": tokens(token)}


def cancel_reason(call: Call) -> str | None:
    """The reason in the body of a cancellation; the body, and the reason, may be missing."""
    if not call.has_body or call.json is None:
        return None
    form = Form(call.json)
    reason = form.optional_text("reason", most=LONGEST_REASON)
    form.check()
    return reason or None


def not_cancellable(what: str, status: str) -> Fault:
    """409 for what has ended by itself."""
    return Fault(409, "JOB_NOT_CANCELLABLE", f"This {what} is {status} and can no longer be cancelled")


def _check_registry(connection: Connection, spec: JobSpec) -> None:
    if spec.gpu_registry_uuid is None:
        return
    known = select(gpu_registry.c.uuid).where(gpu_registry.c.uuid == spec.gpu_registry_uuid)
    if connection.execute(known).first() is None:
        message = "is not in the GPU registry; GET /v1/gpu-registry lists what is"
        raise invalid([Issue("invalid_value", ("gpu_registry_uuid",), message)])


def _mine(connection: Connection, account_id: str, uuid: str) -> Row[Any]:
    row = find_job(connection, uuid)
    if row is None or row.account_id != account_id:
        raise not_found("job")
    return row
