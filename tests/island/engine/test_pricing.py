"""Prices are exact, and always rounded up to the smallest unit."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.engine import gpus, nodes
from skerry.island.engine.errors import Invalid
from skerry.island.engine.leases import cost, size
from skerry.island.engine.nodes import Nodes
from skerry.island.engine.records import Gpu, Node
from skerry.island.sandbox.spec import Limits
from skerry.island.settings import Settings
from skerry.money import Money
from skerry.units import GIB, MIB

NODE = Node(
    id="local",
    name="n",
    cpu_millis=4000,
    memory_bytes=8 * GIB,
    disk_bytes=100 * GIB,
    gpus=(),
    state="ready",
    cpu_hour=Money(40_000, "USD"),
    memory_gib_hour=Money(5_000, "USD"),
    gpu_hour=Money(1_000_000, "USD"),
)


@given(
    cpu=st.integers(0, 64_000),
    memory=st.integers(0, 1 << 40),
    gpu=st.integers(0, 8),
    wall=st.integers(0, 10**18),
)
def test_cost_is_the_exact_price_rounded_up(cpu: int, memory: int, gpu: int, wall: int) -> None:
    hours = Fraction(wall, 3600 * 10**9)
    exact = (Fraction(cpu, 1000) * 40_000 + Fraction(memory, GIB) * 5_000 + gpu * 1_000_000) * hours
    charged = cost(NODE, cpu, memory, gpu, wall).amount
    assert exact <= charged < exact + 1


def test_costs_in_figures() -> None:
    assert cost(NODE, 1000, 2 * GIB, 0, 3600 * 10**9) == Money(50_000, "USD")
    assert cost(NODE, 1000, 2 * GIB, 0, 1) == Money(1, "USD")
    assert cost(NODE, 1000, 2 * GIB, 0, 0) == Money(0, "USD")
    assert cost(NODE, 1000, 2 * GIB, 0, -5) == Money(0, "USD")


def test_what_is_charged_without_bounds() -> None:
    assert size(NODE, Limits()) == (1000, 2 * GIB)
    assert size(replace(NODE, cpu_millis=500, memory_bytes=GIB), Limits()) == (500, GIB)
    assert size(NODE, Limits(cpu_millis=2500, memory_bytes=MIB)) == (2500, MIB)


def test_limits_are_measured_against_the_node() -> None:
    machine = Nodes(NODE)
    machine.check(Limits())
    machine.check(Limits(cpu_millis=4000, memory_bytes=8 * GIB, disk_bytes=100 * GIB))
    with pytest.raises(Invalid, match=r"4\.5 processors of CPU were asked for; this machine has 4 processors"):
        machine.check(Limits(cpu_millis=4500))
    with pytest.raises(Invalid, match="9 GiB of memory were asked for; this machine has 8 GiB"):
        machine.check(Limits(memory_bytes=9 * GIB))
    for limits in (Limits(disk_bytes=0), Limits(open_files=0), Limits(output_bytes=-1)):
        with pytest.raises(Invalid):
            machine.check(limits)
    fitted = machine.fitting(Limits(cpu_millis=9000, memory_bytes=16 * GIB, disk_bytes=None))
    assert (fitted.cpu_millis, fitted.memory_bytes, fitted.disk_bytes) == (4000, 8 * GIB, None)


def test_this_machine(tmp_path: Path) -> None:
    found = nodes.detect(Settings(data_dir=tmp_path))
    assert found.cpu_millis >= 1000
    assert found.memory_bytes > 100 * MIB
    assert found.disk_bytes > 0
    assert found.labels["architecture"]


def test_gpus_as_the_tool_tells_them() -> None:
    table = "0, NVIDIA A100-SXM4-80GB, 81920, GPU-1\n1, NVIDIA L4, 23034, GPU-2\n[N/A]\n2, x, [N/A], y\n"
    assert gpus.parse(table) == (
        Gpu(index=0, name="NVIDIA A100-SXM4-80GB", memory_bytes=81920 * MIB, uuid="GPU-1"),
        Gpu(index=1, name="NVIDIA L4", memory_bytes=23034 * MIB, uuid="GPU-2"),
    )
    assert gpus.parse("No devices were found\n") == ()


def test_gpus_as_the_kernel_tells_them(tmp_path: Path) -> None:
    card = tmp_path / "0000:01:00.0"
    card.mkdir()
    (card / "information").write_text("Model: \t\t NVIDIA L4\nIRQ:   3\nGPU UUID: \t GPU-1\nBus Type: PCIe\n")
    (tmp_path / "other").mkdir()
    assert gpus.from_proc(tmp_path) == (Gpu(index=0, name="NVIDIA L4", memory_bytes=0, uuid="GPU-1"),)
    assert gpus.from_proc(tmp_path / "nowhere") == ()


def test_a_tool_that_fails_shows_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(gpus, "_TIMEOUT", 60.0)
    assert subprocess.run([str(tool)]).returncode == 9
    assert gpus.detect(tmp_path / "nowhere") == ()
    tool.write_text("#!/bin/sh\necho '0, X, 1024, GPU-1'\n")
    assert gpus.detect(tmp_path / "nowhere") == (Gpu(index=0, name="X", memory_bytes=1024 * MIB, uuid="GPU-1"),)
