"""Programs of jobs in real sandboxes: well-behaved, broken, hostile, cancelled, lost."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pwd
from typing import Any

import pytest

from skerry.island.images.define import Overrides
from skerry.island.images.registry import Registry
from skerry.island.provider.records import Outcome
from skerry.networks.dc1.signing import sign_task_spec
from tests.held import Held
from tests.island.provider.memory_platform import SECRET, Row
from tests.island.provider.provider_lab import ProviderLab

pytestmark = pytest.mark.anyio


def script(lab: ProviderLab, text: str, **fields: Any) -> Row:
    params = {"script": text, **fields.pop("params", {})}
    return lab.platform.submit("custom_container", params, **fields)


def outcome(row: Row) -> Outcome:
    assert row.outcome is not None
    return row.outcome


async def test_a_script_runs_and_its_output_is_the_result(lab: ProviderLab) -> None:
    text = 'import os, sys\nprint("[dc1-phase] loading_model")\nprint("مرحبا", os.environ["WHO"])\n'
    text += 'print("careful", file=sys.stderr)\nprint("DC1_RESULT_JSON:" + \'{"answer": 42}\')\n'
    row = await lab.done(script(lab, text, params={"env": {"WHO": "you", "N": 3}}))
    assert row.status == "completed", row.outcome
    assert outcome(row).result == '[dc1-phase] loading_model\nمرحبا you\nDC1_RESULT_JSON:{"answer": 42}\n'
    assert outcome(row).exit_code == 0
    assert outcome(row).gpu_seconds > 0
    assert outcome(row).gpu_seconds == round(outcome(row).gpu_seconds, 3)
    assert "loading_model" in row.phases
    assert sorted((line.level, line.message) for line in row.lines) == [("info", "مرحبا you"), ("warn", "careful")]
    await lab.clean()


async def test_a_script_that_fails_says_why(lab: ProviderLab) -> None:
    row = await lab.done(script(lab, 'import sys\nprint("so far")\nprint("no luck", file=sys.stderr)\nsys.exit(3)'))
    assert row.status == "failed"
    assert outcome(row).exit_code == 3
    assert outcome(row).error == "Script exited with status 3: no luck"
    assert outcome(row).result == "so far\n"
    assert not outcome(row).transient


async def test_another_interpreter_and_no_network(lab: ProviderLab) -> None:
    text = "#!/bin/sh\necho shell; cat /proc/net/dev | grep -c eth; exit 0\n"
    row = await lab.done(script(lab, text))
    assert outcome(row).result == "shell\n0\n"
    reach = "import socket\ntry:\n socket.create_connection(('1.1.1.1', 53), 2)\nexcept OSError as e:\n print('shut')"
    row = await lab.done(script(lab, reach))
    assert outcome(row).result == "shut\n"


async def test_a_broken_result_line_is_told_as_it_is(lab: ProviderLab) -> None:
    row = await lab.done(script(lab, 'print("DC1_RESULT_JSON:{broken")\nprint("after")'))
    assert row.status == "completed"
    assert outcome(row).result == "DC1_RESULT_JSON:{broken\nafter\n"


async def test_a_flood_is_bounded_and_the_result_survives_it(lab: ProviderLab) -> None:
    text = 'for n in range(300000):\n print("line %06d of many" % n)\nprint("DC1_RESULT_JSON:" + "[" + "1," * 9 + "1]")'
    row = await lab.done(script(lab, text))
    result = outcome(row).result
    assert len(result) < 2.1 * 1024 * 1024
    assert result.startswith("line 000000")
    assert "bytes of output are left out here" in result
    assert result.endswith("\nDC1_RESULT_JSON:[1,1,1,1,1,1,1,1,1,1]\n")
    assert len(row.lines) == 5001
    assert "the log ends here" in row.lines[-1].message


async def test_phases_without_end_are_not_all_told(lab: ProviderLab) -> None:
    text = "for n in range(2000):\n print('[dcp-phase]', ('generating', 'formatting')[n % 2])\nprint('end')"
    row = await lab.done(script(lab, text))
    assert len(row.phases) == 100
    assert [line.message for line in row.lines] == ["end"]


async def test_a_job_that_takes_too_long_is_ended(lab: ProviderLab) -> None:
    text = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('on', flush=True)\ntime.sleep(600)"
    )
    # Else a slow start would be a part of its time.
    lab.platform.now = lambda: None
    row = await lab.done(script(lab, text, max_duration_seconds=2))
    assert row.status == "failed"
    assert outcome(row).error == "Job timed out: it may run for 2 seconds (max_duration_seconds)"
    assert outcome(row).gpu_seconds >= 2
    await lab.clean()


async def test_a_cancelled_job_ends_at_once_whatever_it_ignores(lab: ProviderLab) -> None:
    text = "import signal, time\nfor n in (1, 2, 15):\n signal.signal(n, signal.SIG_IGN)\nprint('on', flush=True)\n"
    row = script(lab, text + "time.sleep(600)")
    await lab.said(row, "on")
    lab.platform.cancel(row)
    await lab.done(row)
    assert row.reports == 0
    await lab.clean()


async def test_a_fork_bomb_stays_in_its_sandbox(lab: ProviderLab) -> None:
    text = "import os\nmade = 0\ntry:\n for _ in range(2000):\n  if os.fork() == 0:\n   import time; time.sleep(600)\n"
    text += "  made += 1\nexcept OSError:\n print('stopped', made < 64)\n"
    row = await lab.done(script(lab, text))
    assert outcome(row).result == "stopped True\n"
    await lab.clean()


async def test_memory_is_bounded(lab: ProviderLab) -> None:
    row = await lab.done(script(lab, "x = [b'x' * (1 << 20) for _ in range(2000)]\nprint(len(x))"))
    assert row.status == "failed"
    assert "memory" in (outcome(row).error or "").lower(), outcome(row)


async def test_an_image_says_where_and_as_whom(lab: ProviderLab) -> None:
    await lab.engine.images.define("mine", "host", overrides=Overrides(working_dir="/tmp", user="nobody"))
    text = 'import os\nprint(os.getcwd(), os.environ["USER"], os.getuid())\n'
    row = await lab.done(script(lab, text, params={"image_override": "mine"}))
    where, whom, number = outcome(row).result.split()
    # A sandbox of a plain user's island has only one user id, which counts as root there.
    several = os.geteuid() == 0
    assert (where, whom, int(number)) == ("/tmp", "nobody", pwd.getpwnam("nobody").pw_uid if several else 0)
    await lab.engine.images.define("broken", "host", overrides=Overrides(user="no-such-user"))
    row = await lab.done(script(lab, text, params={"image_override": "broken"}))
    assert "no-such-user" in (outcome(row).error or "")
    await lab.clean()


async def test_an_image_that_is_not_to_be_had(lab: ProviderLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Registry.__init__.__kwdefaults__, "pause", 0.01)
    row = await lab.done(script(lab, "print(1)", params={"image_override": "127.0.0.1:9/nowhere/image:latest"}))
    assert row.status == "failed"
    assert "image" in (outcome(row).error or "")
    await lab.clean()


async def test_a_program_survives_its_provider(lab: ProviderLab) -> None:
    text = (
        "import os, time\nprint('began', os.getpid(), flush=True)\nopen('here', 'a').write('x')\n"
        "while not os.path.exists('go'): time.sleep(0.05)\nprint('ended', open('here').read(), flush=True)"
    )
    row = script(lab, text)
    await lab.said(row, "began")
    await lab.crash()
    sandboxes, _ = await lab.engine.sandboxes.list(lab.engine.account_id)
    await lab.engine.sandboxes.write_file(
        lab.engine.account_id, sandboxes[0].id, "/home/user/go", io.BytesIO(b""), 0, beneath="/home/user"
    )
    await lab.done(row)
    assert row.status == "completed", row.outcome
    assert outcome(row).result.splitlines()[-1] == "ended x"
    assert [line.message.split()[0] for line in row.lines] == ["began", "ended"]
    assert row.reports == 1
    await lab.clean()


async def test_a_program_that_ended_while_nobody_watched(lab: ProviderLab) -> None:
    program = Held("print('on', flush=True)", "print('off')")
    row = script(lab, program.python)
    await lab.said(row, "on")
    await lab.loop.close()
    await asyncio.to_thread(program.release)
    ended = await lab.engine.runs.wait((await lab.engine.runs.list(lab.engine.account_id))[0].id)
    taken = await lab.engine.driver.result(ended.sandbox_id, ended.id)
    assert taken is not None
    await lab.crash()
    await lab.done(row)
    assert outcome(row).result == "on\noff\n"
    assert outcome(row).gpu_seconds == round(taken.wall_ns / 1e9, 3)
    assert row.reports == 1


async def test_what_a_crash_left_of_a_job_that_is_over_is_removed(lab: ProviderLab) -> None:
    row = script(lab, "import time\nprint('on', flush=True)\ntime.sleep(600)")
    await lab.said(row, "on")
    await lab.loop.close()
    lab.platform.cancel(row)
    await lab.crash()
    await lab.clean()


async def test_a_benchmark_times_something_real(lab: ProviderLab) -> None:
    given = {"benchmark": "matmul", "matrix_size": 128, "iterations": 2}
    row = await lab.done(lab.platform.submit("benchmark", given=given))
    assert row.status == "completed", row.outcome
    result = json.loads(outcome(row).result.rpartition("DC1_RESULT_JSON:")[2])
    assert result["benchmark"] == "matmul"
    assert result["iterations"] == 2
    assert result["gflops"] > 0
    assert result["seconds"] > 0


@pytest.mark.parametrize("job_type", ["training", "rendering", "rag-pipeline"])
async def test_a_job_of_another_type_runs_its_own_script(lab: ProviderLab, job_type: str) -> None:
    row = await lab.done(lab.platform.submit(job_type, {"script": "print('mine')", "epochs": 3}))
    assert outcome(row).result == "mine\n"
    row = await lab.done(lab.platform.submit(job_type, {"epochs": 3}))
    assert row.status == "failed"
    assert "params.script" in (outcome(row).error or "")


async def test_a_platform_that_sends_the_program_alone(lab: ProviderLab) -> None:
    row = lab.platform.submit("llm_inference", task_spec_raw="#!/usr/bin/env python3\nprint('hi')\n")
    row.job = type(row.job)(**{**_fields(row), "params": None})
    await lab.done(row)
    assert outcome(row).result == "hi\n"


async def test_what_was_not_signed_is_not_run(lab: ProviderLab) -> None:
    row = script(lab, "print('evil')")
    row.job = type(row.job)(**{**_fields(row), "task_spec_raw": row.job.task_spec_raw.replace("evil", "worse")})
    await lab.done(row)
    assert row.status == "failed"
    assert outcome(row).error == "The signature of this job's task spec is wrong"
    assert outcome(row).gpu_seconds == 0
    unsigned = script(lab, "print('evil')", task_spec_hmac=None)
    await lab.done(unsigned)
    assert outcome(unsigned).error == "The task spec of this job is not signed"


async def test_signed_words_win_over_parameters(lab: ProviderLab) -> None:
    raw = '{"image_override":"dc1/general-worker:latest","script":"print(\'signed\')"}'
    row = script(lab, "print('unsigned')", task_spec_raw=raw, task_spec_hmac=sign_task_spec(SECRET, raw))
    await lab.done(row)
    assert outcome(row).result == "signed\n"


async def test_a_name_that_is_a_path_harms_nobody(lab: ProviderLab) -> None:
    row = await lab.done(script(lab, "print('fine')", job_id="../../../../tmp/x\n"))
    assert outcome(row).result == "fine\n"
    await lab.clean()


def _fields(row: Row) -> dict[str, Any]:
    return {name: getattr(row.job, name) for name in row.job.__dataclass_fields__}
