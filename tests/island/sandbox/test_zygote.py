"""What an agent carries around: as little as it can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import skerry
from skerry.island.sandbox.namespace import launcher
from tests.island.sandbox.sandbox_lab import Lab

LOADED = """
import sys
class Stop(Exception): pass
def stop(**_): raise Stop
import socket
socket.socket = stop
try:
    exec(sys.argv[4])
except Stop:
    print(*sorted(sys.modules))
"""


@pytest.mark.parametrize("zygote", ["namespace.zygote", "process.zygote"])
def test_only_small_modules_are_loaded(zygote: str) -> None:
    source = str(Path(skerry.__file__).parent.parent)
    command = [sys.executable, "-I", "-S", "-c", LOADED, source, "0", zygote, launcher._BOOT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"skerry.island.sandbox.{zygote}" in loaded
    heavy = {
        "asyncio",
        "typing",
        "dataclasses",
        "inspect",
        "msgspec",
        "logging",
        "subprocess",
        "threading",
        "traceback",
    }
    assert not heavy & loaded
    foreign = {name for name in loaded if name.startswith("skerry.") and not name.startswith("skerry.island")}
    assert not foreign


@pytest.mark.anyio
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the memory map of an undumpable process")
async def test_memory_of_an_agent(lab: Lab) -> None:
    box = await lab.box()
    for _ in range(20):
        await lab.output(box, "true")
    rollup = Path(f"/proc/{lab.pid('box')}/smaps_rollup").read_text()
    pss = int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    # Less than four mebibytes where it was measured; other versions of Python differ somewhat.
    assert pss < 8 << 10
