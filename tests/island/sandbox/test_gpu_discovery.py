"""What a sandbox with GPUs needs, found in the tree of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.gpu_devices import GpuMeans, discover, environment
from skerry.island.sandbox.spec import GpuDevice

ONE = GpuDevice(0, "GPU-a")
TWO = GpuDevice(1, "GPU-b")


def names(means: GpuMeans) -> list[str]:
    return [name for _, name in means.devices]


SHARED = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps/nvidia-cap1"]


def test_only_the_nodes_of_those_asked_for(gpu_machine: Path) -> None:
    assert names(discover([ONE], gpu_machine)) == ["nvidia1", *SHARED]
    assert names(discover([TWO], gpu_machine)) == ["nvidia0", *SHARED]
    assert names(discover([TWO, ONE], gpu_machine)) == ["nvidia0", "nvidia1", *SHARED]
    assert names(discover([GpuDevice(1)], gpu_machine)) == ["nvidia1", *SHARED], "by number where no UUID is known"
    assert discover([], gpu_machine) == GpuMeans(devices=(), files=())
    assert discover([], Path("/nonexistent")) == GpuMeans(devices=(), files=())
    assert all(source == str(gpu_machine / "dev" / name) for source, name in discover([ONE], gpu_machine).devices)


def test_the_drivers_files_under_every_name(gpu_machine: Path) -> None:
    files = {place: source for source, place in discover([ONE], gpu_machine).files}
    libraries = gpu_machine / "usr/lib/x86_64-linux-gnu"
    assert files == {
        **dict.fromkeys(
            ("lib64/libcuda.so", "lib64/libcuda.so.1", "lib64/libcuda.so.550.1"), str(libraries / "libcuda.so.550.1")
        ),
        **dict.fromkeys(
            ("lib64/libnvidia-ml.so.1", "lib64/libnvidia-ml.so.550.1"), str(libraries / "libnvidia-ml.so.550.1")
        ),
        "lib64/libnvidia-ptxjitcompiler.so.550.1": str(libraries / "libnvidia-ptxjitcompiler.so.550.1"),
        "bin/nvidia-smi": str(gpu_machine / "usr/bin/nvidia-smi"),
    }


def test_what_is_missing_is_named(gpu_machine: Path) -> None:
    with pytest.raises(SandboxError, match="/dev/nvidia7"):
        discover([GpuDevice(7)], gpu_machine)
    (gpu_machine / "dev/nvidiactl").unlink()
    with pytest.raises(SandboxError, match="nvidiactl") as refused:
        discover([ONE], gpu_machine)
    assert refused.value.reason == "unsupported"


def test_the_variables() -> None:
    assert environment([], {"A": "1"}) == {"A": "1"}
    env = environment([TWO, GpuDevice(3)], {"PATH": "/bin", "LD_LIBRARY_PATH": "/mine"})
    assert env == {
        "NVIDIA_VISIBLE_DEVICES": "GPU-b,3",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "PATH": "/bin:/usr/local/nvidia/bin",
        "LD_LIBRARY_PATH": "/mine:/usr/local/nvidia/lib64",
    }
    assert environment([ONE], {"CUDA_VISIBLE_DEVICES": ""}) == {
        "NVIDIA_VISIBLE_DEVICES": "GPU-a",
        "CUDA_VISIBLE_DEVICES": "",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64",
    }


@given(env=st.dictionaries(st.sampled_from(["PATH", "LD_LIBRARY_PATH", "A"]), st.text(max_size=20)))
def test_the_variables_do_not_grow(env: dict[str, str]) -> None:
    once = environment([ONE], env)
    assert environment([ONE], once) == once
