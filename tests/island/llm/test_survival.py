"""What is left of engine processes when their parent is killed: nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.island.llm.llm_lab import lives, opened, until

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
async def test_no_process_outlives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.island.llm.survivor", str(tmp_path), "tiny"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(lives(pid) for pid in pids)
        parent.send_signal(how)
    await until(lambda: not any(lives(pid) for pid in pids))
    async with opened(tmp_path, "tiny") as workers:
        assert (await workers.complete("tiny", "x", max_tokens=1)).completion_tokens == 1
