"""GPUs: what is found in a machine's tree, and what a sandbox then sees of it; ordinary files and devices stand in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.sandbox import gpu_devices
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.gpu_devices import GpuMeans, discover, environment
from skerry.island.sandbox.spec import GpuDevice, SandboxSpec
from tests.island.sandbox.sandbox_lab import ENV, Lab, Root

ONE = GpuDevice(0, "GPU-a")
TWO = GpuDevice(1, "GPU-b")


@pytest.fixture
def machine(scratch: Path) -> Path:
    """The tree of a machine with two GPUs, whose nodes are numbered against the order of their buses."""
    root = scratch / "machine"
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps/nvidia-cap1", "sda"):
        path = root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for bus, uuid, minor in (("0000:01:00.0", "GPU-a", 1), ("0000:02:00.0", "GPU-b", 0)):
        information = root / "proc/driver/nvidia/gpus" / bus / "information"
        information.parent.mkdir(parents=True)
        information.write_text(f"Model: \t\t X\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n")
    libraries = root / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("libcuda.so.550.1", "libnvidia-ml.so.550.1", "libnvidia-ptxjitcompiler.so.550.1", "libc.so.6"):
        (libraries / name).write_text(name)
    (libraries / "libcuda.so.1").symlink_to("libcuda.so.550.1")
    (libraries / "libcuda.so").symlink_to("libcuda.so.1")
    (libraries / "libnvidia-broken.so.1").symlink_to("nowhere")
    (libraries / "libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.550.1")
    (root / "usr/bin").mkdir()
    (root / "usr/bin/nvidia-smi").write_text("#!/bin/sh\necho smi\n")
    (root / "usr/bin/nvidia-smi").chmod(0o755)
    return root


def names(means: GpuMeans) -> list[str]:
    return [name for _, name in means.devices]


SHARED = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps/nvidia-cap1"]


def test_only_the_nodes_of_those_asked_for(machine: Path) -> None:
    assert names(discover([ONE], machine)) == ["nvidia1", *SHARED]
    assert names(discover([TWO], machine)) == ["nvidia0", *SHARED]
    assert names(discover([TWO, ONE], machine)) == ["nvidia0", "nvidia1", *SHARED]
    assert names(discover([GpuDevice(1)], machine)) == ["nvidia1", *SHARED], "by number where no UUID is known"
    assert discover([], machine) == GpuMeans(devices=(), files=())
    assert discover([], Path("/nonexistent")) == GpuMeans(devices=(), files=())
    assert all(source == str(machine / "dev" / name) for source, name in discover([ONE], machine).devices)


def test_the_drivers_files_under_every_name(machine: Path) -> None:
    files = {place: source for source, place in discover([ONE], machine).files}
    libraries = machine / "usr/lib/x86_64-linux-gnu"
    assert files == {
        **dict.fromkeys(
            ("lib64/libcuda.so", "lib64/libcuda.so.1", "lib64/libcuda.so.550.1"), str(libraries / "libcuda.so.550.1")
        ),
        **dict.fromkeys(
            ("lib64/libnvidia-ml.so.1", "lib64/libnvidia-ml.so.550.1"), str(libraries / "libnvidia-ml.so.550.1")
        ),
        "lib64/libnvidia-ptxjitcompiler.so.550.1": str(libraries / "libnvidia-ptxjitcompiler.so.550.1"),
        "bin/nvidia-smi": str(machine / "usr/bin/nvidia-smi"),
    }


def test_what_is_missing_is_named(machine: Path) -> None:
    with pytest.raises(SandboxError, match="/dev/nvidia7"):
        discover([GpuDevice(7)], machine)
    (machine / "dev/nvidiactl").unlink()
    with pytest.raises(SandboxError, match="nvidiactl") as refused:
        discover([ONE], machine)
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


@pytest.fixture
def stand_ins(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The driver finds the tree's libraries, and this machine's own harmless devices under the names of GPUs."""
    devices = {"nvidia0": "zero", "nvidia1": "full", "nvidiactl": "null", "nvidia-uvm": "urandom"}

    def found(gpus: tuple[GpuDevice, ...], root: Path = machine) -> GpuMeans:
        means = discover(gpus, root)
        nodes = tuple((f"/dev/{devices.get(name, 'null')}", name) for _, name in means.devices)
        return GpuMeans(devices=nodes, files=means.files)

    monkeypatch.setattr(gpu_devices, "discover", found)
    return machine


@pytest.mark.anyio
async def test_a_sandbox_sees_its_own_and_no_other(lab: Lab, stand_ins: Path) -> None:
    plain = await lab.box("plain")
    await lab.driver.create(SandboxSpec(id="box", image="host", gpus=(TWO,)))
    box = await lab.driver.open("box")
    assert await lab.output(box, "ls -d /dev/nvidia*; ls /dev/nvidia-caps; head -c 3 /dev/nvidia0 | od -An -tx1") == (
        "/dev/nvidia-caps\n/dev/nvidia-uvm\n/dev/nvidia-uvm-tools\n/dev/nvidia0\n/dev/nvidiactl\n"
        "nvidia-cap1\n 00 00 00\n"
    )
    assert await lab.output(plain, "ls /dev | grep -c nvidia || true") == "0\n"
    assert await lab.output(box, "echo $NVIDIA_VISIBLE_DEVICES $CUDA_VISIBLE_DEVICES") == "GPU-b 0\n"
    assert await lab.output(plain, "echo [$NVIDIA_VISIBLE_DEVICES$LD_LIBRARY_PATH]") == "[]\n"
    for harm in ("mknod /dev/nvidia1 c 195 1", "mknod /tmp/x c 195 1"):
        assert (await lab.run(box, harm))[0].exit_code != 0
    await lab.driver.kill("box")
    assert await lab.output(await lab.driver.open("box"), "ls /dev/nvidia?") == "/dev/nvidia0\n"
    await lab.driver.fork("box", SandboxSpec(id="child", image="host"))
    assert await lab.output(await lab.driver.open("child"), "ls /dev | grep -c nvidia || true") == "0\n"


@pytest.mark.anyio
async def test_the_drivers_files_are_shown_in_images_that_lack_them(lab: Lab, stand_ins: Path) -> None:
    # An image of its own, with a few programs of this machine in it instead of all of /usr.
    directory = lab.directory / "own"
    (directory / "usr/local").mkdir(parents=True)
    for name in ("dev", "proc", "sys", "tmp", "etc", "home", "m"):
        (directory / name).mkdir()
    links = {name: os.readlink(f"/{name}") for name in ("bin", "lib", "lib64") if os.path.islink(f"/{name}")}
    for name in links:
        (directory / name).symlink_to(f"m/{name}")
    host = lab.images.rootfs

    def rootfs(image_id: str) -> Root:
        return Root(directory, ((Path("/usr"), "/m"),)) if image_id == "own" else host(image_id)

    lab.images.rootfs = rootfs  # type: ignore[method-assign]
    await lab.driver.create(SandboxSpec(id="box", image="own", gpus=(ONE,)))
    box = await lab.driver.open("box")
    env = {**ENV, "PATH": "/m/bin"}
    shown = await lab.output(box, "ls /usr/local/nvidia/lib64; nvidia-smi; echo $PATH $LD_LIBRARY_PATH", env=env)
    assert shown.splitlines() == [
        *("libcuda.so", "libcuda.so.1", "libcuda.so.550.1", "libnvidia-ml.so.1", "libnvidia-ml.so.550.1"),
        "libnvidia-ptxjitcompiler.so.550.1",
        "smi",
        "/m/bin:/usr/local/nvidia/bin /usr/local/nvidia/lib64",
    ]
    assert await lab.output(box, "cat /usr/local/nvidia/lib64/libcuda.so", env=env) == "libcuda.so.550.1"
    for harm in ("echo x > /usr/local/nvidia/lib64/libcuda.so", "touch /usr/local/nvidia/x"):
        assert (await lab.run(box, harm, env=env))[0].exit_code != 0
    # Nothing of it is left in what the sandbox has written.
    upper = lab.driver._builder.layers.upper("box")
    assert list((upper / "usr/local/nvidia").iterdir()) == []


@pytest.mark.anyio
async def test_a_gpu_that_is_not_there_is_refused_at_once(lab: Lab, stand_ins: Path) -> None:
    with pytest.raises(SandboxError) as refused:
        await lab.driver.create(SandboxSpec(id="box", image="host", gpus=(GpuDevice(7),)))
    assert refused.value.reason == "unsupported"
    assert await lab.driver.ids() == []
