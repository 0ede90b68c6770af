"""What the official client signs, as it was recorded, sent to the face: everything is believed, and answered in shape.

The recorded requests name objects by fixed UUIDs; the objects are made here and given those.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from skerry.island.faces.dispersed import tables, wire
from skerry.island.faces.dispersed.account import key_pairs
from skerry.island.faces.dispersed.account.key_pairs import KeyPair
from tests.island.faces.dispersed.stage import Answer, Stage
from tests.island.faces.dispersed.test_job_spec import KEY
from tests.vectors.cases import DATA
from tests.vectors.dispersed_cases import SignedCase, load

_JOB = "019582a6-27fc-731d-af0a-594f04d6d0d5"  # and an account, an API key and an SSH key
_RECIPE = "0198c000-aaaa-7bbb-8ccc-ddddeeeeffff"
_RUN = "0198b000-1111-7222-8333-444455556666"  # and a model of a GPU
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OBJECTS = {
    "accounts.getMe": (200, "account"),
    "accounts.getBalance": (200, "account_balance"),
    "jobs.get": (200, "job"),
    "jobs.create": (201, "job"),
    "jobs.cancel": (200, "job"),
    "jobRuns.cancel": (200, "job_run"),
    "jobRuns.getCostSummary": (200, "job_run_cost_summary"),
    "jobRecipes.create": (201, "job_recipe"),
    "jobRecipes.update": (200, "job_recipe"),
    "jobRecipes.fork": (201, "job_recipe"),
    "jobRecipes.cook": (201, "job"),
    "jobRecipes.createFromJob": (201, "job_recipe"),
    "apiKeys.revoke": (200, "api_key"),
    "sshPublicKeys.update": (200, "ssh_public_key"),
    "sshPublicKeys.delete": (204, None),
}
"""What each call is answered with (sections 3.0 and 3.2 to 3.9); all others are lists."""

_NO_JOB = "it is signed well, and is no job"
_CUT = "the key was cut when it was written down"
REFUSED = {
    "query-bracket-key-order-decoded": (400, "VALIDATION_ERROR", "there are no such filters (section 3.1)"),
    "path-encoded-slash-in-segment": (404, "NOT_FOUND", "no job has such a UUID (section 2.7)"),
    "path-encoded-space-and-utf8": (404, "NOT_FOUND", "no job has such a UUID (section 2.7)"),
    "query-on-post-with-body": (400, "VALIDATION_ERROR", _NO_JOB),
    "post-empty-array": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-nested-key-order": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-unicode-raw-utf8": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-string-escapes": (400, "BAD_REQUEST", "no text here holds NUL"),
    "body-floats-integral": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-floats-fractional": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-integers": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-null-boolean": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-array-order-kept": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-key-order-case-underscore": (400, "VALIDATION_ERROR", _NO_JOB),
    "body-top-level-array": (400, "VALIDATION_ERROR", _NO_JOB),
    "job-create-persistent": (400, "VALIDATION_ERROR", _CUT),
    "ssh-key-create": (400, "VALIDATION_ERROR", _CUT),
}
"""What is believed and then refused for what it says, with the code and the reason."""


async def _world(stage: Stage) -> None:
    """The objects that the recorded requests name."""
    docker = {"type": "docker", "parameters": {"image": "example/base"}}
    # So many GPUs are nowhere: what is made here stays as it is.
    payload = {"title": "t", "task": "BATCH", "gpu_count": 64, "max_timeout_run_ms": 600_000, "parameters": docker}
    other = await stage.ok("POST", "/v1/jobs", payload, 201)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "new_uuid", lambda now: _JOB)
        await stage.ok("POST", "/v1/jobs", payload, 201)
        await stage.ok("POST", "/v1/ssh-public-keys", {"public_key": KEY}, 201)
        patch.setattr(wire, "new_uuid", lambda now: _RECIPE)
        await stage.ok("POST", "/v1/job-recipes", {"name": "r", "payload": payload}, 201)
        patch.setattr(key_pairs, "new_uuid", lambda now: _JOB)
        await stage.grant()
    stamps = {"created_at": stage.now, "updated_at": stage.now, "started_at": stage.now, "start_by": stage.now}
    await stage.insert(
        tables.job_runs,
        uuid=_RUN,
        job_uuid=other["uuid"],
        account_id=stage.lab.account,
        node_uuid=_RUN,
        slot=0,
        attempt=0,
        status="RUNNING",
        snapshot="{}",
        node_urls="[]",
        hourly_rate=690_000,
        gpu_count=1,
        **stamps,
    )

    def rename(connection: Connection) -> None:
        models, accounts = tables.gpu_registry, tables.profiles
        first = connection.scalars(select(models.c.uuid)).first()
        connection.execute(models.update().where(models.c.uuid == first).values(uuid=_RUN))
        own = accounts.c.account_id == stage.lab.account
        connection.execute(accounts.update().where(own).values(uuid=_JOB))

    await stage.lab.engine.store.run(rename)


async def _send(stage: Stage, case: SignedCase) -> Answer:
    inputs, content = case.inputs, case.content
    now = _EPOCH + timedelta(milliseconds=inputs["timestamp_ms"])
    stage.clock.jump((now - stage.clock.now()).total_seconds())
    pair = KeyPair(inputs["public_key"], inputs["secret_key"])

    def forget(connection: Connection) -> None:
        # All cases have the same nonce, and some the same public key with another secret.
        connection.execute(tables.nonces.delete())
        connection.execute(tables.api_keys.delete().where(tables.api_keys.c.public_key == pair.public_key))

    await stage.lab.engine.store.run(forget)
    stage.face._authentication._known.clear()
    await stage.grant(pair=pair)
    body = (content["canonical_body"] or "").encode()
    # A client sends methods in upper case, however they are given to it.
    return await stage.send(inputs["method"].upper(), content["wire_target"], content["headers"], body)


def _fault(case: SignedCase, answer: Answer) -> str | None:
    if case.name in REFUSED:
        status, code, _ = REFUSED[case.name]
        return None if (answer.status, answer.code) == (status, code) else f"not {status} {code}"
    status, kind = OBJECTS.get((case.call or {}).get("method", ""), (200, "list"))
    if answer.status != status:
        return f"not {status}"
    if kind is None:
        return "a body" if answer.body else None
    found: dict[str, Any] = json.loads(answer.body)
    if kind == "list":
        return None if found.keys() == {"data", "page", "limit", "total"} else "no envelope"
    return None if found["object"] == kind else f"not a {kind}"


def test_all_are_believed_and_answered_in_shape(tmp_path: Path, template: Path) -> None:
    shutil.copytree(template, tmp_path / "data")
    cases = [case for case in load(DATA / "dispersed.json") if case.kind == "sign"]

    async def play() -> list[str]:
        stage = Stage(tmp_path)
        await stage.open()
        try:
            await _world(stage)
            # The cases sign the path as a service at the root of its own host has it.
            stage.mount, stage.host = "", "dispersed.localhost"
            answers = [(case, await _send(stage, case)) for case in cases]
        finally:
            stage.mount = "/dispersed"
            await stage.close()
        found = ((case.name, _fault(case, answer), answer) for case, answer in answers)
        return [f"{name}: {fault}: {answer.status} {answer.body[:300]!r}" for name, fault, answer in found if fault]

    assert not asyncio.run(play())
    assert REFUSED.keys() < {case.name for case in cases}
