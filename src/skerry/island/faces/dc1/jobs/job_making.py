"""Making a job: everything that must hold before money is held, and the row itself, in one transaction (section 3.3).

Whoever makes jobs calls `JobMaker.make` inside a transaction of `Changes.run`: submissions, retries, dispatches, the
catalogue's deployments and the OpenAI-style routes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import claiming, events, images, job_rows, quotas, routing
from skerry.island.faces.dc1.jobs.quoting import Quote, quote
from skerry.island.faces.dc1.jobs.submission import Submission, check_image, components
from skerry.island.faces.dc1.jobs.templates import TEMPLATES
from skerry.island.faces.dc1.money import settling
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.provider.container_specs import ContainerSpecError, default_spec, normal_spec
from skerry.island.provider.params import IMAGE_MODELS, LLM_MODELS, SERVE_MODELS
from skerry.island.provider.task_specs import compact, task_spec
from skerry.island.settings import DC1
from skerry.networks.dc1.signing import sign_task_spec

_SECOND = 1_000_000
_MIB_PER_GIB = 1_024
_NAMED = frozenset(template.model for template in TEMPLATES.values() if template.model)


@dataclass(frozen=True, slots=True)
class Made:
    """A new job.

    Args:
        job: its row.
        provider: whose it is; None while nobody is known.
        position: its place in the queue; None when it waits for no other job.
    """

    job: Row[Any]
    provider: Row[Any] | None
    position: int | None

    @property
    def message(self) -> str | None:
        """About the queue, for the renter; None for a job that can begin at once."""
        if self.job.status != "queued":
            return None
        if self.provider is None:
            told = f"No capable provider is currently available. Your job is queued at position #{self.position}"
            return f"{told} and will start when a matching provider heartbeats."
        told = f"Provider is busy. Your job is #{self.position} in queue"
        return f"{told} and will run automatically when the provider is free."


class JobMaker:
    """Makes jobs.

    Args:
        settings: of the network.
        secret: signs task specs.
    """

    def __init__(self, settings: DC1, secret: str) -> None:
        self._settings = settings
        self._secret = secret

    def make(
        self,
        connection: Connection,
        renter: Row[Any],
        wanted: Submission,
        *,
        provider: Row[Any] | None = None,
        price: Quote | None = None,
        text: str | None = None,
        retried_from: int | None = None,
        room: bool | None = None,
        patience: int = claiming.WAIT_SECONDS,
        now: int,
    ) -> Made:
        """Check what is left to check, in the network's order, hold the money, and write the job down.

        Args:
            renter: who pays; its row as it is in this transaction.
            wanted: the job.
            provider: who carries it out, where that was decided already.
            price: where it was agreed otherwise than by job type and duration.
            text: its task spec, where that is not made of the submission.
            retried_from: number of the job that this one repeats.
            room: whether the provider has room for it, where that was decided already.
            patience: seconds for which it may be queued.
            now: microseconds since 1970.

        Raises:
            Fault: the first check that it does not pass.
        """
        spec = self._container(connection, wanted)
        if provider is None and wanted.provider_id is not None:
            provider = routing.chosen(connection, wanted.provider_id, wanted.min_vram_gb, now=now)
        elif provider is None:
            provider = routing.best(connection, **_needs(wanted, spec), now=now)
            # Whoever was found has room.
            room = provider is not None
        if price is None:
            rank = spec["pricing_class"]
            price = quote(self._settings, wanted.job_type, wanted.duration_minutes, rank, provider)
        self._check_funds(connection, renter, price.halala, now)
        image = wanted.image_override
        check_image(wanted, isinstance(image, str) and images.is_approved(connection, image.strip()))
        if room is None:
            room = provider is not None and provider_rows.working(connection, provider.id) < provider.slots
        if room:
            patience = claiming.longest(wanted.job_type, wanted.duration_minutes, wanted.max_duration_seconds)
        timeout_at = now + patience * _SECOND
        return self._write(connection, renter, wanted, spec, provider, price, text, retried_from, room, timeout_at, now)

    def needs(self, connection: Connection, wanted: Submission) -> dict[str, Any]:
        """What a job needs of a provider, as `routing.best` takes it.

        Raises:
            Fault: 400 for a container spec that is none.
        """
        return _needs(wanted, self._container(connection, wanted))

    def text_of(self, wanted: Submission) -> str:
        """The task spec of a job, as it is signed."""
        if wanted.bundle_id and not wanted.task_spec:
            head = {"job_type": wanted.job_type, "bundle_id": wanted.bundle_id}
            return compact({**head, "components": components(wanted.bundle_id), "params": dict(wanted.params)})
        return task_spec(
            wanted.job_type,
            wanted.params,
            model=wanted.model,
            given=wanted.task_spec,
            llm_models=LLM_MODELS | _NAMED,
            image_models=IMAGE_MODELS | _NAMED,
            serve_models=SERVE_MODELS | _NAMED,
        )

    def test(self, connection: Connection, provider: Row[Any], spec: str, *, now: int) -> Row[Any]:
        """A job of the operator's own that tries a provider out and costs nothing."""
        return job_rows.add(
            connection,
            now,
            job_id=job_rows.new_name(now, "test"),
            provider_id=provider.id,
            job_type="benchmark",
            status="pending",
            params="{}",
            task_spec=spec,
            task_spec_hmac=sign_task_spec(self._secret, spec),
            container_spec="null",
            gpu_requirements="{}",
            duration_minutes="5",
            max_duration_seconds=300,
            timeout_at=now + 300 * _SECOND,
            quote=0,
            rate_per_minute=0,
            pricing_class="standard",
            rank=job_rows.rank("standard"),
            priority=job_rows.USUAL_PRIORITY,
            turn=job_rows.turn(job_rows.USUAL_PRIORITY),
            vram_required_mb=0,
            gpu_count=1,
            compute_type="inference",
        )

    def _container(self, connection: Connection, wanted: Submission) -> dict[str, Any]:
        """The container spec in its normal form; what a template or the submission itself says goes on top."""
        usual = default_spec(wanted.job_type, wanted.pricing_class)
        given = wanted.container_spec
        try:
            spec = usual if given is None else normal_spec(given, lambda image: images.is_approved(connection, image))
        except ContainerSpecError as error:
            raise Fault(400, str(error)) from None
        if given is not None and (wanted.pricing_class != "standard" or not given.get("pricing_class")):
            spec["pricing_class"] = wanted.pricing_class
        if wanted.image and "image" not in spec:
            spec["image"] = wanted.image
        if wanted.env:
            spec["env"] = {**wanted.env, **spec.get("env", {})}
        if wanted.prewarm:
            spec["prewarm_requested"] = True
        return spec

    def _check_funds(self, connection: Connection, renter: Row[Any], halala: int, now: int) -> None:
        balance = settling.balance(connection, renter.account_id)
        if balance <= 0 < halala:
            told = "Balance is zero. Please top up your renter wallet before submitting jobs."
            raise Fault(402, told, balance_halala=balance, required_halala=halala)
        quotas.check(connection, self._settings, renter, halala, now=now)
        if balance < halala:
            short = halala - balance
            raise Fault(
                402,
                "Insufficient balance",
                balance_halala=balance,
                required_halala=halala,
                shortfall_halala=short,
                message=f"Top up at least {math.ceil(short / 100)} SAR to submit this job. POST /api/renters/topup",
            )

    def _write(
        self,
        connection: Connection,
        renter: Row[Any],
        wanted: Submission,
        spec: dict[str, Any],
        provider: Row[Any] | None,
        agreed: Quote,
        text: str | None,
        retried_from: int | None,
        room: bool,
        timeout_at: int,
        now: int,
    ) -> Made:
        status = "pending" if room else "queued"
        text = self.text_of(wanted) if text is None else text
        job_id = job_rows.new_name(now)
        settling.hold(connection, renter.account_id, job_id, agreed.halala, now=now)
        job = job_rows.add(
            connection,
            now,
            job_id=job_id,
            renter_id=renter.id,
            account_id=renter.account_id,
            provider_id=None if provider is None else provider.id,
            job_type=wanted.job_type,
            model=wanted.model,
            status=status,
            params=wire.text(wanted.params),
            task_spec=text,
            task_spec_hmac=sign_task_spec(self._secret, text),
            container_spec=wire.text(spec),
            gpu_requirements=None if wanted.gpu_requirements is None else wire.text(wanted.gpu_requirements),
            template_id=wanted.template_id,
            bundle_id=wanted.bundle_id,
            duration_minutes=repr(wanted.duration_minutes),
            max_duration_seconds=wanted.max_duration_seconds,
            timeout_at=timeout_at,
            quote=agreed.halala,
            rate_per_minute=agreed.rate_per_minute,
            rate_snapshot=agreed.snapshot,
            pricing_class=spec["pricing_class"],
            rank=job_rows.rank(spec["pricing_class"]),
            priority=wanted.priority,
            turn=job_rows.turn(wanted.priority),
            vram_required_mb=_vram_mib(wanted, spec),
            gpu_count=spec["gpu_count"],
            compute_type=spec["compute_type"],
            prewarm=int(wanted.prewarm or bool(spec.get("prewarm_requested"))),
            checkpoint=int(bool(spec.get("enable_checkpoint"))),
            retried_from=retried_from,
        )
        job_rows.add_totals(connection, renter.id, jobs_made=1)
        self._note(connection, job, now)
        return Made(job, provider, job_rows.position(connection, job))

    def _note(self, connection: Connection, job: Row[Any], now: int) -> None:
        waits = "pending provider assignment" if job.status == "pending" else "queued"
        payload = {
            "renter_id": job.renter_id,
            "provider_id": job.provider_id,
            "job_type": job.job_type,
            "model": job.model,
            "pricing_class": job.pricing_class,
            "queue_state": job.status,
            "max_duration_seconds": job.max_duration_seconds,
        }
        told = f"Job submitted and {waits}"
        events.add(connection, job.id, events.SUBMITTED, job.status, "renter", told, payload=payload, now=now)


def again(job: Row[Any]) -> Submission:
    """What a job was, to be submitted once more."""
    requirements = wire.decode(job.gpu_requirements.encode()) if job.gpu_requirements else None
    spec = wire.decode(job.container_spec.encode())
    return Submission(
        job_type=job.job_type,
        duration_minutes=wire.number(job.duration_minutes),
        provider_id=job.provider_id,
        params=wire.decode(job.params.encode()),
        model=job.model,
        priority=job.priority,
        gpu_requirements=requirements,
        container_spec=spec,
        template_id=job.template_id,
        bundle_id=job.bundle_id,
        pricing_class=job.pricing_class,
        prewarm=bool(job.prewarm),
        max_duration_seconds=job.max_duration_seconds,
    )


def anywhere(wanted: Submission) -> Submission:
    """The same for whichever provider fits."""
    return replace(wanted, provider_id=None)


def _needs(wanted: Submission, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "vram_mib": _vram_mib(wanted, spec),
        "gpu_type": wanted.gpu_type,
        "gpu_count": spec["gpu_count"],
        "compute_type": spec["compute_type"],
    }


def _vram_mib(wanted: Submission, spec: dict[str, Any]) -> int:
    return max(int(spec["vram_required_mb"]), math.ceil(wanted.min_vram_gb * _MIB_PER_GIB))
