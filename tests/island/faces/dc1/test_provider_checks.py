"""Verification, benchmarks, and what makes a machine a provider."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from skerry.island.faces.dc1.providers.verification import chain
from tests.held import PATIENCE
from tests.island.faces.dc1.hosts import GPU, Host, host, provider_row
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio

TOLD = {"gpu_name": GPU["gpu_name"], "gpu_vram_mib": 24564, "driver_version": "550.54"}


async def challenge(stage: Stage, mine: Host) -> dict[str, Any]:
    """What the provider is asked."""
    answer = await stage.administer("POST", "/api/verification/challenge", {"provider_id": mine.id})
    assert answer.status == 201
    (asked,) = (await mine.get("/api/verification/pending"))["challenges"]
    assert asked["challenge_id"] == answer.json["challenge"]["challenge_id"]
    found: dict[str, Any] = asked
    return found


async def test_an_honest_answer(stage: Stage) -> None:
    mine = await host(stage)
    asked = await challenge(stage, mine)
    proof = chain(asked["nonce"], str(GPU["gpu_name"]), 24564, asked["rounds"])
    body = {**TOLD, "challenge_id": asked["challenge_id"], "proof": proof}
    other = await host(stage, "other")
    assert (await other.post("/api/verification/submit", **body)).status == 404
    answer = await mine.post("/api/verification/submit", **body)
    assert answer.json == {
        "success": True,
        "status": "verified",
        "score": 100,
        "flags": [],
        "challenge_id": asked["challenge_id"],
    }
    assert (await mine.post("/api/verification/submit", **body)).status == 409
    assert (await mine.get("/api/verification/pending"))["challenges"] == []


async def test_another_gpu_than_was_said(stage: Stage) -> None:
    mine = await host(stage)
    asked = await challenge(stage, mine)
    proof = chain(asked["nonce"], "GTX 1060", 6144, asked["rounds"])
    body = {"gpu_name": "GTX 1060", "gpu_vram_mib": 6144, "challenge_id": asked["challenge_id"], "proof": proof}
    answer = await mine.post("/api/verification/submit", **body)
    assert (answer.json["status"], answer.json["score"]) == ("failed", 20)
    assert answer.json["flags"] == ["gpu_name_differs", "vram_differs", "driver_version_missing"]
    row = await provider_row(stage, mine.id)
    assert (row.suspended, row.status) == (1, "suspended")
    assert await mine.claim() is None


async def test_wrong_proofs(stage: Stage) -> None:
    mine = await host(stage)
    for proof in ("", "0" * 64, None, 5, "é", []):
        asked = await challenge(stage, mine)
        answer = await mine.post("/api/verification/submit", **TOLD, challenge_id=asked["challenge_id"], proof=proof)
        assert answer.json["flags"] == ["wrong_proof"]
        assert answer.json["status"] == "failed"
        await stage.administer("POST", f"/api/admin/providers/{mine.id}/unsuspend")


async def test_challenges_end(stage: Stage) -> None:
    mine = await host(stage)
    asked = await challenge(stage, mine)
    stage.clock.advance(601)
    answer = await mine.post("/api/verification/submit", **TOLD, challenge_id=asked["challenge_id"], proof="x")
    assert answer.status == 409
    for _ in range(5):
        answer = await stage.administer("POST", "/api/verification/challenge", {"provider_id": mine.id})
        assert answer.status == 201
    answer = await stage.administer("POST", "/api/verification/challenge", {"provider_id": mine.id})
    assert answer.status == 409
    for ident in (None, 999, "x", [], True):
        answer = await stage.administer("POST", "/api/verification/challenge", {"provider_id": ident})
        assert answer.status in (400, 404)
    assert (await stage.host_as(mine.key, "POST", "/api/verification/challenge", {"provider_id": 1})).status == 401


async def test_at_once(stage: Stage) -> None:
    mine = await host(stage)
    answer = await mine.post("/api/verification/auto", **TOLD)
    assert (answer.json["status"], answer.json["score"]) == ("verified", 100)
    answer = await mine.post("/api/verification/auto", **{**TOLD, "gpu_name": "H100"})
    assert (answer.json["status"], answer.json["score"]) == ("suspect", 60)
    assert (await provider_row(stage, mine.id)).suspended == 0
    answer = await mine.post("/api/verification/auto", gpu_vram_mib="x", gpu_name=[])
    assert answer.json["status"] == "failed"


async def test_benchmarks(stage: Stage) -> None:
    mine = await host(stage)
    target = f"/api/providers/{mine.id}/benchmark-submit"
    for body, word in (
        ({"tflops": 82.6, "bandwidth_gbps": 1008, "tokens_per_second": 90}, "A"),
        ({"tflops": 82.6, "bandwidth_gbps": 400}, "B"),
        ({"gflops_fp16": 25_000}, "B"),
        ({"tokens_per_sec": 1}, "C"),
    ):
        answer = await mine.post(target, **body)
        assert (answer.status, answer.json["tier"]) == (200, word)
    assert (await mine.post("/api/benchmark/run", tflops=70)).json["tier"] == "A"
    for body in ({}, {"tflops": -1}, {"tflops": "x"}, {"tflops": 1e9}, {"bandwidth_gbps": []}):
        answer = await mine.post(target, **body)
        assert (answer.status, answer.json["error"]) == (400, "Validation failed")


async def test_versions(stage: Stage) -> None:
    mine = await host(stage)
    told = (await stage.ask("GET", "/api/daemon/latest-version")).json
    assert told["latest_version"] == "3.3.0"
    target = f"/api/providers/download/daemon?check_only=true&key={mine.key}"
    assert (await stage.ask("GET", target)).json == told


async def test_installer(stage: Stage, tmp_path: Path) -> None:
    mine = await host(stage, "it's $(touch pwned) `x` \" \\ # {y}", email="farm@example.sa")
    stage.host = "evil'$(touch pwned):80"
    target = f"/api/providers/installer?key={mine.key}&os=linux"
    answer = await stage.ask("GET", target)
    assert answer.headers["cache-control"] == "no-store"
    script = answer.body.decode()
    # What the script would do, with what it calls replaced by a witness.
    witness = tmp_path / "python"
    witness.write_text('#!/bin/sh\nprintf "%s\\n" "$SKERRY_ACCOUNT_URL" "$SKERRY_ACCOUNT_NAME" "$SKERRY_ACCOUNT_KEY"\n')
    witness.chmod(0o700)
    home = tmp_path / "home"
    (home / "venv/bin").mkdir(parents=True)
    shutil.copy(witness, home / "venv/bin/python")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SKERRY_PROVIDER_HOME": str(home), "PYTHON": "sh"}
    ran = subprocess.run(
        ["sh", "-s", "--", "--no-run"],
        input=script,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert ran.stdout.splitlines()[-3:] == [
        "http://evil'$(touch pwned):80/dc1",
        "it's $(touch pwned) `x` \" \\ # {y}",
        mine.key,
    ]
    assert not list(tmp_path.rglob("pwned"))
    assert (await stage.ask("GET", f"/api/providers/setup?key={mine.key}")).body == answer.body
    for query, status in (
        ("key=nope", 401),
        ("", 400),
        (f"key={mine.key}&os=windows", 400),
        (f"key={mine.key}&os=x", 400),
    ):
        answer = await stage.ask("GET", f"/api/providers/installer?{query}")
        assert answer.status == status
        assert "nope" not in answer.body.decode()


async def test_the_program_that_the_installer_runs_is_one(stage: Stage) -> None:
    mine = await host(stage)
    script = (await stage.ask("GET", f"/api/providers/installer?key={mine.key}")).body.decode()
    ast.parse(script.split("<<'PROGRAM'\n")[1].split("PROGRAM\n")[0])


async def test_daemon(stage: Stage) -> None:
    mine = await host(stage, "it's \"\\ {account} '''", email="farm@example.sa")
    stage.host = "a\"b'c"
    program = (await stage.ask("GET", f"/api/providers/download/daemon?key={mine.key}")).body.decode()
    literals = [
        node.args[0].value
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "loads"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert json.loads(str(literals[0])) == {
        "base_url": "http://a\"b'c/dc1",
        "provider_id": mine.id,
        "api_key": mine.key,
        "name": "it's \"\\ {account} '''",
    }
