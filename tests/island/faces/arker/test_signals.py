"""Signals to what a session runs (protocol section 3.4)."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.engine import Engine
from skerry.island.faces.arker.face import ArkerFace
from tests.island.engine.lab import PATIENCE
from tests.island.faces import stage

pytestmark = pytest.mark.anyio


class Stage(stage.Stage):
    """The face over the double."""

    network = "arker"

    def make(self, engine: Engine) -> ArkerFace:
        return ArkerFace(engine)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The parsed answer, which must be a success."""
        headers = {"authorization": f"Bearer {self.key}"}
        answer = await self.exchange("POST", path, headers, json.dumps(body).encode())
        assert answer.status == 200, answer.body
        return answer.json


async def test_a_signal_reaches_a_run_whose_program_is_just_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, datetime(2026, 1, 1, tzinfo=UTC))
    asked = asyncio.Event()

    async def begin_late(step: str, *_: str) -> None:
        if step == "exec":
            await asked.wait()

    stage.lab.on_step = begin_late
    await stage.open()
    begun = stage.lab.engine.runs.begun

    async def ask(run_id: str, **how: Any) -> str | None:
        asked.set()
        return await begun(run_id, **how)

    monkeypatch.setattr(stage.lab.engine.runs, "begun", ask)
    vm = (await stage.post("/v1/vms/ubuntu/fork", {}))["vm_id"]
    run = (await stage.post(f"/v1/vms/{vm}/run", {"command": "exec sleep 600", "background": True}))["run_id"]
    assert (await stage.post(f"/v1/vms/{vm}/run", {"command": "", "signal": "KILL"}))["exit_code"] == 0
    ended = await asyncio.wait_for(stage.lab.engine.runs.wait(run), PATIENCE)
    assert (ended.cause, ended.exit_code) == ("signaled", 137)
    await stage.close()
