"""Submissions: every check in its order, what is held, who gets the job, and repetitions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.jobs import images, job_rows
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.store import ledger
from skerry.money import Money
from skerry.networks.dc1.signing import verify_task_spec
from tests.answers import Answer
from tests.island.faces.dc1.hosts import host, row
from tests.island.faces.dc1.stage import SECRET, Stage

pytestmark = pytest.mark.anyio

LLM = {"job_type": "llm_inference", "duration_minutes": 5, "params": {"prompt": "hi"}}
SUBMIT = "/api/jobs/submit"


async def submit(stage: Stage, **changes: Any) -> Answer:
    body = {name: value for name, value in {**LLM, **changes}.items() if value is not ...}
    return await stage.rent("POST", SUBMIT, body)


def wrong(field: str, message: str) -> dict[str, Any]:
    return {"error": "Validation failed", "fields": [{"field": field, "message": message}]}


REFUSED: list[tuple[dict[str, Any], int, dict[str, Any]]] = [
    (
        {"duration_minutes": 0.05},
        400,
        wrong("duration_minutes", "Too small: expected number to be >=0.1"),
    ),
    ({"duration_minutes": 1441}, 400, wrong("duration_minutes", "Too big: expected number to be <=1440")),
    ({"duration_minutes": "5"}, 400, wrong("duration_minutes", "Invalid input: expected number, received string")),
    ({"duration_minutes": True}, 400, wrong("duration_minutes", "Invalid input: expected number, received boolean")),
    ({"provider_id": 0}, 400, wrong("provider_id", "Too small: expected number to be >0")),
    ({"provider_id": 1.5}, 400, wrong("provider_id", "Invalid input: expected int, received number")),
    ({"provider_id": 2**40}, 400, wrong("provider_id", "Too big: expected number to be <=2147483647")),
    ({"job_type": 7}, 400, wrong("job_type", "Invalid input: expected string, received number")),
    ({"job_type": "x" * 65}, 400, wrong("job_type", "Too big: expected string to have <=64 characters")),
    ({"params": []}, 400, wrong("params", "Invalid input: expected record, received array")),
    ({"params": {"model": "m" * 300}}, 400, wrong("params.model", "Too big: expected string to have <=256 characters")),
    (
        {"params": {"model": "a\x00b"}},
        400,
        wrong("params.model", "Invalid input: string must not contain NUL characters"),
    ),
    ({"priority": [1]}, 400, wrong("priority", "Invalid input: expected string, received array")),
    ({"priority": "1" * 33}, 400, wrong("priority", "Too big: expected string to have <=32 characters")),
    (
        {"gpu_requirements": {"min_vram_gb": 0}},
        400,
        wrong("gpu_requirements.min_vram_gb", "Too small: expected number to be >0"),
    ),
    (
        {"gpu_requirements": {"gpu_type": 4090}},
        400,
        wrong("gpu_requirements.gpu_type", "Invalid input: expected string, received number"),
    ),
    ({"task_spec": "import os"}, 400, wrong("task_spec", "Invalid input: expected record, received string")),
    ({"model": "a b"}, 400, wrong("model", r"Invalid string: must match pattern /^[\w.\-/:@]+$/")),
    ({"prewarm_requested": "yes"}, 400, wrong("prewarm_requested", "Invalid input: expected boolean, received string")),
    ({"max_duration_seconds": 86_401}, 400, wrong("max_duration_seconds", "Too big: expected number to be <=86400")),
    ({"env_vars": "A=1"}, 400, wrong("env_vars", "Invalid input: expected record, received string")),
    ({"webhook": "x"}, 400, wrong("(root)", 'Unrecognized key: "webhook"')),
    ({"bundle_id": "nope"}, 404, {"error": "Bundle 'nope' not found", "available_bundles": ["arabic-rag"]}),
    ({"template_id": "nope"}, 404, {"error": "Template 'nope' not found"}),
    ({"job_type": ...}, 400, {"error": "Missing required fields: job_type (or templateId), duration_minutes"}),
    ({"duration_minutes": ...}, 400, {"error": "Missing required fields: job_type (or templateId), duration_minutes"}),
    (
        {"job_type": "mining"},
        400,
        {
            "error": "Invalid job_type. Allowed: image_generation, llm-inference, llm_inference, rendering, training, "
            "benchmark, custom_container, vllm_serve, rag-pipeline"
        },
    ),
    (
        {"gpu_requirements": {"gpu_type": "GTX 1080"}},
        400,
        {
            "error": "Invalid gpu_requirements.gpu_type 'GTX 1080'. Allowed values: H200, H100, A100, L40S, L40, "
            "RTX4090, RTX4080, RTX3090, RTX3080",
            "code": "INVALID_GPU_TYPE",
        },
    ),
    ({"container_spec": {}}, 400, {"error": "container_spec.image_type is required"}),
    (
        {"container_spec": {"image_type": "llm", "image": "evil/miner:latest"}},
        400,
        {"error": "container_spec.image is not approved. Use GET /api/containers/registry for allowed images."},
    ),
    *(
        (
            {"container_spec": {"image_type": "llm", "vram_required_mb": size}},
            400,
            {"error": "container_spec.vram_required_mb must be a whole number between 0 and 1024000000"},
        )
        for size in (-1, 10**9 * 2, 10**30, 1e308)
    ),
    ({"provider_id": 9999}, 404, {"error": "Provider not found"}),
    (
        {"job_type": "custom_container", "params": {"image_override": "BAD IMAGE"}},
        400,
        {"error": "params.image_override: Invalid container image reference"},
    ),
    (
        {"job_type": "custom_container", "params": {"imageOverride": "evil/miner:latest"}},
        400,
        {
            "error": "params.image_override is not in the approved image registry. "
            "Use GET /api/containers/registry for allowed images.",
            "code": "IMAGE_NOT_APPROVED",
        },
    ),
]


async def test_refused(stage: Stage) -> None:
    for changes, status, body in REFUSED:
        answer = await submit(stage, **changes)
        assert (answer.status, answer.json) == (status, body), changes
    assert await stage.jobs() == 0
    assert (await stage.balance()).amount == 100_000


async def test_weak_notebook_tokens(stage: Stage) -> None:
    for token in (None, "", " jupyter ", "dc1jupyter", "password", "token"):
        for more in ({"job_type": ..., "template_id": "jupyter-gpu"}, {"job_type": "training"}):
            params = {"script_type": "jupyter", "NOTEBOOK_TOKEN": token}
            answer = await submit(stage, params=params, **more)
            assert (answer.status, answer.json["code"]) == (400, "WEAK_NOTEBOOK_TOKEN"), token
    strong = {"script_type": "jupyter", "NOTEBOOK_TOKEN": "7a1c0c1e-1c5e-4b34-a5b8-0f6f4c4b7f11"}
    assert (await submit(stage, job_type="training", params=strong)).status == 201


async def test_several_mistakes_are_told_at_once(stage: Stage) -> None:
    answer = await submit(stage, duration_minutes=0, params=3, webhook=1)
    assert [issue["field"] for issue in answer.json["fields"]] == ["duration_minutes", "params", "(root)"]


async def test_bodies_that_are_no_objects(stage: Stage) -> None:
    for body in (b"[]", b"3", b'"x"', b"null"):
        answer = await stage.send("POST", SUBMIT, {"x-renter-key": stage.key, "Content-Type": "application/json"}, body)
        assert answer.status == 400
        assert answer.json["fields"][0]["field"] == "(root)"


async def test_numbers_beyond_numbers(stage: Stage) -> None:
    for number in ("1e999", "-1e999", "NaN", "Infinity"):
        body = json.dumps({**LLM, "params": {"x": "HERE"}}).replace('"HERE"', number).encode()
        answer = await stage.send("POST", SUBMIT, {"x-renter-key": stage.key, "Content-Type": "application/json"}, body)
        assert (answer.status, answer.json) == (400, {"error": "Invalid JSON"})


async def test_keys(stage: Stage) -> None:
    told = "Renter API key required (x-renter-key header or renter_key query)"
    answer = await stage.ask("POST", SUBMIT, LLM)
    assert (answer.status, answer.json) == (401, {"error": told})
    answer = await stage.rent("POST", SUBMIT, LLM, key="dc1-renter-" + "0" * 32)
    assert (answer.status, answer.json) == (403, {"error": "Invalid or inactive renter API key"})
    assert (await stage.ask("POST", f"{SUBMIT}?renter_key={stage.key}", LLM)).status == 201
    # The header wins.
    answer = await stage.rent("POST", f"{SUBMIT}?renter_key={stage.key}", LLM, key="nope")
    assert answer.status == 403


async def test_a_suspended_renter(stage: Stage) -> None:
    await stage.lab.engine.store.run(renter_rows.change, 1, stage.now, status="suspended")
    answer = await submit(stage)
    assert (answer.status, answer.json) == (403, {"error": "Invalid or inactive renter API key"})


async def test_what_is_answered(stage: Stage) -> None:
    mine = await host(stage)
    answer = await submit(stage, provider_id=mine.id, params={"prompt": "hi", "model": "microsoft/phi-2"})
    assert answer.status == 201
    job = answer.json["job"]
    kept = await row(stage, job["job_id"])
    assert answer.json == {
        "success": True,
        "job": {
            "id": 1,
            "job_id": job["job_id"],
            "provider_id": mine.id,
            "renter_id": 1,
            "job_type": "llm_inference",
            "model": "microsoft/phi-2",
            "status": "pending",
            "submitted_at": "2026-03-22T19:30:00.000Z",
            "started_at": None,
            "duration_minutes": 5,
            "cost_halala": 75,
            "max_duration_seconds": 1800,
            "timeout_at": "2026-03-22 20:00:00.000",
            "gpu_requirements": None,
            "container_spec": {
                "image_type": "llm",
                "vram_required_mb": 0,
                "gpu_count": 1,
                "compute_type": "inference",
                "pricing_class": "standard",
            },
            "workspace_volume_name": f"dcp-job-{job['job_id']}",
            "checkpoint_enabled": False,
            "task_spec_signed": True,
            "priority": 2,
            "pricing_class": "standard",
            "prewarm_requested": False,
            "queue_position": None,
        },
    }
    assert job["job_id"].startswith("job-1774207800000-")
    assert verify_task_spec(SECRET, kept.task_spec, kept.task_spec_hmac)
    assert (await stage.balance()).amount == 100_000 - 75
    await stage.audit()


async def test_params_are_kept_exactly(stage: Stage) -> None:
    params = {
        "prompt": "  if a < b and c > d: <b>مرحبا</b> \n",
        "seed": None,
        "nested": {"list": [1, 2.5, True, None, {"x": "\u2028"}]},
        "maxTokens": "64.9",
    }
    job = (await submit(stage, params=params)).json["job"]
    kept = await row(stage, job["job_id"])
    assert json.loads(kept.params) == params
    training = (await submit(stage, job_type="training", params=params)).json["job"]
    kept = await row(stage, training["job_id"])
    assert json.loads(kept.task_spec) == {"job_type": "training", "params": params}
    assert "مرحبا" in kept.task_spec
    container = {"script": "print(1 < 2)\n", "imageOverride": "dc1/base-worker:latest"}
    job = (await submit(stage, job_type="custom_container", params=container)).json["job"]
    kept = await row(stage, job["job_id"])
    assert kept.task_spec == '{"image_override":"dc1/base-worker:latest","script":"print(1 < 2)\\n"}'


async def test_priorities(stage: Stage) -> None:
    usual = (11, -1, "x", "", 2.0, 2.5, None)
    for given, kept in [(1, 1), (3, 3), ("1", 1), (" 3 ", 3), (0, 0), (10, 10), *((other, 2) for other in usual)]:
        assert (await submit(stage, priority=given)).json["job"]["priority"] == kept, given


async def test_flat_prices(stage: Stage) -> None:
    held = 0
    for job_type, minutes, hold in (
        ("llm_inference", 5, 75),
        ("llm-inference", 1.5, 23),
        ("llm_inference", 1.1, 17),
        ("training", 1, 25),
        ("rendering", 1.5, 30),
        ("image_generation", 10, 200),
        ("vllm_serve", 60, 1200),
        ("custom_container", 0.35, 4),
        ("benchmark", 5, 50),
        ("rag-pipeline", 2, 20),
    ):
        job = (await submit(stage, job_type=job_type, duration_minutes=minutes)).json["job"]
        assert job["cost_halala"] == hold, job_type
        held += hold
        assert (await stage.lab.engine.ledger.held(stage.lab.engine.account_id, "SAR")).amount == held


async def test_gpu_prices(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dc1={"pricing": "gpu"})
    await stage.open()
    try:
        assert (await submit(stage)).json["job"]["cost_halala"] == 45
        mine = await host(stage)
        for pricing_class, hold in (("priority", 11), ("standard", 9), ("economy", 8)):
            job = (await submit(stage, provider_id=mine.id, pricing_class=pricing_class)).json["job"]
            assert job["cost_halala"] == hold
        assert (await submit(stage, pricing_class="bogus")).json["job"]["pricing_class"] == "standard"
        kept = await row(stage, job["job_id"])
        assert json.loads(kept.rate_snapshot)["gpu_model"] == "NVIDIA GeForce RTX 4090"
    finally:
        await stage.close()


async def test_limits_of_time(stage: Stage) -> None:
    for given, kept in ((60, 60), (3600, 3600), (59, 1800), (3601, 1800), (90.5, 1800), (120.0, 120), (-5, 1800)):
        answer = await submit(stage, max_duration_seconds=given)
        assert answer.json["job"]["max_duration_seconds"] == kept, given


async def test_serving_has_the_time_that_is_paid(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, provider_id=mine.id, job_type="vllm_serve", duration_minutes=60)).json["job"]
    assert job["max_duration_seconds"] == 1800
    assert job["timeout_at"] == "2026-03-22 20:30:00.000"


async def test_templates(stage: Stage) -> None:
    answer = await submit(stage, job_type=..., template_id="llama3-8b", params={"prompt": "hi", "model": None})
    job = answer.json["job"]
    assert job["job_type"] == "llm-inference"
    assert job["gpu_requirements"] == {"min_vram_gb": 16}
    assert job["container_spec"]["image"] == "dc1/llm-worker:latest"
    assert job["container_spec"]["image_type"] == "llm"
    kept = await row(stage, job["job_id"])
    assert kept.template_id == "llama3-8b"
    assert kept.vram_required_mb == 16 * 1024
    assert json.loads(kept.params)["prompt"] == "hi"
    assert job["model"] == json.loads(kept.params)["model"]
    # What the submission itself says goes before.
    answer = await submit(stage, job_type="training", template_id="llama3-8b", gpu_requirements={"min_vram_gb": 3})
    assert (answer.json["job"]["job_type"], answer.json["job"]["gpu_requirements"]) == ("training", {"min_vram_gb": 3})


async def test_bundles(stage: Stage) -> None:
    job = (await submit(stage, job_type=..., bundle_id="arabic-rag")).json["job"]
    assert (job["job_type"], job["bundle_id"], job["gpu_requirements"]) == (
        "rag-pipeline",
        "arabic-rag",
        {"min_vram_gb": 24},
    )
    assert len(job["bundle_components"]) == 3
    spec = json.loads((await row(stage, job["job_id"])).task_spec)
    assert list(spec) == ["job_type", "bundle_id", "components", "params"]


async def test_container_specs(stage: Stage) -> None:
    given = {
        "vram_required_mb": 4096,
        "image_type": "llm",
        "enable_checkpoint": True,
        "gpu_count": 1,
        "model_id": "m",
        "image": "vllm/vllm-openai:latest",
        "env": {"A": 1},
        "pricing_class": "priority",
    }
    job = (await submit(stage, container_spec=given, env_vars={"B": "2"}, prewarm_requested=True)).json["job"]
    assert list(job["container_spec"].items()) == [
        ("image_type", "llm"),
        ("vram_required_mb", 4096),
        ("gpu_count", 1),
        ("compute_type", "inference"),
        ("pricing_class", "priority"),
        ("model_id", "m"),
        ("image", "vllm/vllm-openai:latest"),
        ("env", {"B": "2", "A": "1"}),
        ("enable_checkpoint", True),
        ("prewarm_requested", True),
    ]
    assert (job["checkpoint_enabled"], job["prewarm_requested"], job["pricing_class"]) == (True, True, "priority")


async def test_approved_images(stage: Stage) -> None:
    def approve(connection: Connection) -> None:
        images.approve(connection, "mine/tool:1", image_type="custom", description=None, digest=None, now=stage.now)

    await stage.lab.engine.store.run(approve)
    answer = await submit(stage, job_type="custom_container", params={"image_override": "mine/tool:1"})
    assert answer.status == 201


async def test_providers_that_cannot(stage: Stage) -> None:
    mine = await host(stage)
    answer = await submit(stage, provider_id=mine.id, gpu_requirements={"min_vram_gb": 24})
    assert (answer.status, answer.json) == (
        400,
        {
            "error": "Provider does not meet GPU requirements",
            "required_vram_gb": 24,
            "provider_vram_gb": 23.98828125,
        },
    )
    assert (await submit(stage, provider_id=mine.id, gpu_requirements={"min_vram_gb": 23.9})).status == 201
    # What is put into the row stays there: nobody looks whether the provider is still there.
    await stage.face.service._providing._absence.rounds.stop()
    for values, status in (
        ({"status": "offline"}, "offline"),
        ({"status": "online", "paused": 1}, "paused"),
        ({"paused": 0, "suspended": 1}, "suspended"),
        ({"suspended": 0, "approval": "rejected"}, "rejected"),
        ({"approval": "approved", "status": "degraded", "last_heartbeat": stage.now - 601_000_000}, "degraded"),
    ):
        await stage.lab.engine.store.run(provider_rows.change, mine.id, stage.now, **values)
        answer = await submit(stage, provider_id=mine.id)
        assert (answer.status, answer.json) == (
            400,
            {"error": "Provider is not online", "provider_status": status},
        )
    fresh = await host(stage, "fresh", beats=False)
    assert (await submit(stage, provider_id=fresh.id)).json["provider_status"] == "registered"


async def test_the_order_of_checks(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dc1={"daily_jobs": 0, "monthly_spend": 0, "opening_balance": Money(0, "SAR")})
    await stage.open()
    try:
        mine = await host(stage)
        body: dict[str, Any] = {
            "duration_minutes": 0,
            "bundle_id": "nope",
            "template_id": "nope",
            "job_type": "mining",
            "gpu_requirements": {"gpu_type": "x", "min_vram_gb": 999},
            "params": {"script_type": "jupyter", "image_override": "BAD IMAGE"},
            "container_spec": {},
            "provider_id": 9999,
        }
        repairs: list[tuple[str, dict[str, Any]]] = [
            ("Validation failed", {"duration_minutes": 5}),
            ("Bundle 'nope' not found", {"bundle_id": None}),
            ("Template 'nope' not found", {"template_id": None}),
            ("Invalid job_type", {"job_type": "training"}),
            ("Invalid gpu_requirements.gpu_type", {"gpu_requirements": {"min_vram_gb": 999}}),
            ("NOTEBOOK_TOKEN", {"job_type": "custom_container"}),
            ("container_spec.image_type", {"container_spec": None}),
            ("Provider not found", {"provider_id": mine.id}),
            ("Provider does not meet", {"gpu_requirements": None}),
            ("Balance is zero", {}),
        ]
        for told, repair in repairs:
            answer = await stage.rent("POST", SUBMIT, body)
            assert answer.json["error"].startswith(told)
            body |= repair
        grant = stage.lab.engine.ledger.grant
        await grant(stage.lab.engine.account_id, Money(1, "SAR"), "a")
        for limits, told in (
            ({"daily_jobs": 0, "monthly_spend": 0}, "Daily job submission quota exceeded"),
            ({"daily_jobs": 9, "monthly_spend": 0}, "Monthly spend quota exceeded"),
            ({"daily_jobs": 9, "monthly_spend": 999}, "Insufficient balance"),
        ):
            await stage.lab.engine.store.run(renter_rows.change, 1, stage.now, **limits)
            assert (await stage.rent("POST", SUBMIT, body)).json["error"] == told
        await grant(stage.lab.engine.account_id, Money(999, "SAR"), "b")
        answer = await stage.rent("POST", SUBMIT, body)
        assert answer.json["error"] == "params.image_override: Invalid container image reference"
        assert await stage.jobs() == 0
    finally:
        await stage.close()


async def test_money_that_is_not_there(stage: Stage) -> None:
    def leave(connection: Connection, halala: int) -> None:
        account = ledger.owner(stage.lab.engine.account_id)
        gone = ledger.balance(connection, account, "SAR") - halala
        entries = {account: Money(-gone, "SAR"), "grant": Money(gone, "SAR")}
        ledger.transfer(connection, f"test:{halala}", entries, memo="", now=stage.now)

    await stage.lab.engine.store.run(leave, 74)
    answer = await submit(stage)
    assert (answer.status, answer.json) == (
        402,
        {
            "error": "Insufficient balance",
            "balance_halala": 74,
            "required_halala": 75,
            "shortfall_halala": 1,
            "message": "Top up at least 1 SAR to submit this job. POST /api/renters/topup",
        },
    )
    await stage.lab.engine.store.run(leave, 0)
    answer = await submit(stage)
    assert (answer.status, answer.json) == (
        402,
        {
            "error": "Balance is zero. Please top up your renter wallet before submitting jobs.",
            "balance_halala": 0,
            "required_halala": 75,
        },
    )


async def test_quotas(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dc1={"daily_jobs": 2, "monthly_spend": 200})
    await stage.open()
    try:
        first = (await submit(stage)).json["job"]["job_id"]
        assert (await submit(stage)).status == 201
        answer = await submit(stage)
        assert (answer.status, answer.json) == (
            429,
            {"error": "Daily job submission quota exceeded", "daily_jobs_limit": 2, "submitted_today": 2},
        )
        assert "retry-after" not in answer.headers
        # Nobody looks after jobs meanwhile: what waits for a day would be given up.
        await stage.face.service.working.watch.stop()
        stage.clock.advance(86_400)
        answer = await submit(stage)
        assert answer.json == {
            "error": "Monthly spend quota exceeded",
            "monthly_spend_limit_halala": 200,
            "spent_this_month_halala": 150,
            "requested_halala": 75,
        }
        # What was given back is not spent.
        assert (await stage.rent("POST", f"/api/jobs/{first}/cancel")).status == 200
        assert (await submit(stage)).status == 201
        stage.clock.advance(10 * 86_400)
        assert (await submit(stage)).status == 201
    finally:
        await stage.close()


async def test_queues(stage: Stage) -> None:
    answer = await submit(stage)
    assert answer.json["queued"] is True
    assert answer.json["job"]["provider_id"] is None
    assert answer.json["message"] == (
        "No capable provider is currently available. Your job is queued at position #1 and will start when a matching "
        "provider heartbeats."
    )
    mine = await host(stage)
    assert (await mine.claim())["job_id"] == answer.json["job"]["job_id"]
    second = await submit(stage, provider_id=mine.id)
    assert (second.json["job"]["status"], second.json["job"]["queue_position"]) == ("queued", 2)
    assert second.json["job"]["timeout_at"] is None
    assert second.json["message"] == (
        "Provider is busy. Your job is #2 in queue and will run automatically when the provider is free."
    )
    # A better class and a better priority go ahead.
    third = await submit(stage, provider_id=mine.id, pricing_class="priority", priority=3)
    fourth = await submit(stage, provider_id=mine.id, pricing_class="priority", priority=1)
    assert [third.json["job"]["queue_position"], fourth.json["job"]["queue_position"]] == [2, 2]
    names = [second, fourth, third]
    await mine.finish(answer.json["job"]["job_id"])
    order = []
    for _ in names:
        order.append((await mine.claim())["job_id"])
        await mine.finish(order[-1])
    assert order == [fourth.json["job"]["job_id"], third.json["job"]["job_id"], second.json["job"]["job_id"]]


async def test_the_best_provider(stage: Stage) -> None:
    small = await host(stage, "small")
    await small.beat(gpu_status={"gpu_name": "RTX 4080", "gpu_vram_mib": 16 * 1024})
    large = await host(stage, "large")
    await large.beat(gpu_status={"gpu_name": "NVIDIA H100 80GB HBM3", "gpu_vram_mib": 80 * 1024})

    async def routed(**more: Any) -> int | None:
        answer = await submit(stage, **more)
        found: int | None = answer.json["job"]["provider_id"]
        await stage.rent("POST", f"/api/jobs/{answer.json['job']['job_id']}/cancel")
        return found

    assert await routed() == small.id
    assert await routed(gpu_requirements={"min_vram_gb": 17}) == large.id
    assert await routed(gpu_requirements={"min_vram_gb": 81}) is None
    assert await routed(gpu_requirements={"gpu_type": "rtx-4080"}) == small.id
    assert await routed(gpu_requirements={"gpu_type": "H100"}) == large.id
    assert await routed(gpu_requirements={"gpu_type": "A100"}) is None
    assert await routed(container_spec={"image_type": "llm", "vram_required_mb": 20_000}) == large.id
    assert await routed(container_spec={"image_type": "llm", "gpu_count": 2}) is None
    busy = await submit(stage, provider_id=small.id)
    assert busy.json["job"]["status"] == "pending"
    assert await routed() == large.id
    await submit(stage, provider_id=large.id)
    assert await routed() is None


async def test_a_request_that_is_repeated(stage: Stage) -> None:
    async def keyed(key: str, body: Any = LLM, header: str = "x-idempotency-key") -> Answer:
        return await stage.ask("POST", SUBMIT, body, headers={"x-renter-key": stage.key, header: key})

    first = await keyed("abc")
    again = await keyed("abc")
    assert (first.status, again.status) == (201, 200)
    assert again.json == {**first.json, "idempotent": True}
    assert await stage.jobs() == 1
    answer = await keyed("abc", {**LLM, "duration_minutes": 6})
    assert answer.status == 409
    assert (await keyed("other")).status == 201
    assert (await keyed("x" * 129)).status == 400
    # Refusals are not remembered.
    assert (await keyed("later", {**LLM, "provider_id": 99})).status == 404
    stage.clock.advance(299)
    assert (await keyed("abc")).status == 200
    stage.clock.advance(2)
    assert (await keyed("abc")).status == 201
    assert (await stage.lab.engine.ledger.held(stage.lab.engine.account_id, "SAR")).amount == 3 * 75


async def test_a_repetition_after_a_crash(stage: Stage) -> None:
    headers = {"x-renter-key": stage.key, "x-idempotency-key": "k"}
    first = await stage.ask("POST", SUBMIT, LLM, headers=headers)
    await stage.again()
    again = await stage.ask("POST", SUBMIT, LLM, headers=headers)
    assert again.json["job"] == first.json["job"]
    assert await stage.jobs() == 1
    await stage.audit()


async def test_many_at_once_spend_no_more_than_there_is(stage: Stage) -> None:
    answers = await asyncio.gather(*(submit(stage, duration_minutes=1_000) for _ in range(12)))
    assert sorted({answer.status for answer in answers}) == [201, 402]
    assert [answer.status for answer in answers].count(201) == 100_000 // 15_000
    assert (await stage.balance()).amount == 100_000 - 6 * 15_000
    await stage.audit()


async def test_total_jobs_are_counted_once(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, provider_id=mine.id)).json["job"]["job_id"]
    await mine.claim()
    stage.clock.advance(43)
    await mine.finish(job)
    renter = await stage.lab.engine.store.read(renter_rows.find, 1)
    assert renter is not None
    assert (renter.total_jobs, renter.total_spent) == (1, 11)


async def test_limits(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dc1={"rate_limits": True})
    await stage.open()
    try:
        for _ in range(30):
            answer = await submit(stage)
            assert answer.status == 201
        assert answer.headers["ratelimit-remaining"] == "0"
        answer = await submit(stage)
        assert (answer.status, answer.json) == (
            429,
            {"error": "Rate limit exceeded", "retryAfterSeconds": 60, "retryAfterMs": 60_000},
        )
        assert answer.headers["retry-after"] == "60"
    finally:
        await stage.close()


def test_names_of_jobs() -> None:
    names = {job_rows.new_name(1_742_671_800_000_000) for _ in range(200)}
    assert len(names) == 200
    assert all(name.startswith("job-1742671800000-") and len(name) == 24 for name in names)


async def test_holds_have_rows(stage: Stage) -> None:
    await submit(stage)
    assert await stage.count(tables.jobs) == 1
    assert await stage.count(tables.events) == 1
