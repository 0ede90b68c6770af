"""The recorded conversation with the real service, played against the face."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.island.faces.dc1.replay import BEFORE, Replay
from tests.island.faces.dc1.stage import Stage
from tests.vectors.cases import DATA

APART = {
    "observed.provider.register.sdk_os_case": "taken here, it would have the address of the registration after it",
    "observed.provider.heartbeat.nokey_header_only": "taken here, it would name another daemon than the one before it",
    "observed.jobs.submit.params_null_value": "taken here, it would be the first job, ahead of all others",
    "observed.jobs.submit.prewarm_bug": "taken here, it would keep the provider busy",
}
"""What was refused there and would change the rest of the conversation here; tested elsewhere."""

CASES: list[dict[str, Any]] = [
    case
    for case in json.loads((DATA / "dc1.json").read_text(encoding="utf-8"))
    if case["case"].startswith("observed.")
    and not case["case"].startswith(("observed.old.", "observed.rl."))
    and case["case"] not in APART
]

_COUNTED = {".job.gpu_seconds_used": "the time is kept where it is asked for"}
DIFFERENT: dict[str, dict[str, str]] = {
    "observed.jobs.get.completed": {
        **_COUNTED,
        ".job.logs_jsonl": "the log has a route of its own",
        ".job.result": "results are kept to the byte",
    },
    "observed.jobs.get.failed": _COUNTED,
    "observed.jobs.get.after_complete": {**_COUNTED, ".job.duration_seconds": "it is known how long a job ran"},
    "observed.jobs.stream.terminal": {"": "numbers of time and money within a text"},
    "observed.daemon.poll.custom": {".job.task_spec.script": "scripts are kept to the byte"},
    "observed.renter.jobs": {".jobs[0].started_at": "a job that ended was begun"},
    "observed.dispatch.create": {"header x-ratelimit-remaining": "no such header where nothing is limited"},
    "observed.admin.dashboard": {".stats.active_renters": "the island's own account is a renter too"},
    "observed.provider.job_history": {".jobs[0].error": "why a job failed is not forgotten"},
}
"""What the face does otherwise, by case and member, with the reason."""


MENDED = {
    "observed.system.unknown_route": 404,
    "observed.renter.register.html_stripped": 201,
    "observed.renter.register.bad_json": 400,
    "observed.daemon.verify_hmac_local": 200,
    "observed.jobs.invoice": 200,
    "observed.jobs.output.image.no_accept": 200,
    "observed.jobs.output.vllm.serving": 200,
    "observed.jobs.complete.renter_vllm": 200,
    "observed.jobs.result.legacy": 200,
    "observed.renter.me.invoices": 200,
    "observed.dispatch.complete": 200,
    "observed.provider.me.metrics": 200,
}
"""Where the service is wrong, with the status that its recording says is right."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """The whole conversation."""

    async def play() -> Replay:
        stage = Stage(tmp_path_factory.mktemp("replay"), dc1={"pricing": "gpu", "auto_approve": False})
        await stage.open()
        replay = Replay(stage)
        try:
            for case in CASES:
                try:
                    if case["case"] in BEFORE:
                        await BEFORE[case["case"]](replay)
                    await replay.play(case)
                except (AssertionError, KeyError) as error:
                    replay.faults[case["case"]] = [f"not played: {error}"[:400]]
        finally:
            await stage.close()
        return replay

    return asyncio.run(play())


@pytest.mark.parametrize("name", [case["case"] for case in CASES if case["emulate"] is not False])
def test_as_recorded(name: str, played: Replay) -> None:
    different = DIFFERENT.get(name, {})
    wrong = [fault for fault in played.faults[name] if not any(fault.startswith(member) for member in different)]
    assert not wrong, "\n".join(wrong)


def test_what_was_wrong_is_right(played: Replay) -> None:
    assert played.mended == MENDED


def test_data_is_where_it_was() -> None:
    assert isinstance(DATA, Path)
    assert len(CASES) > 170
