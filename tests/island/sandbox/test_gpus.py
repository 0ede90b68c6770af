"""Sandboxes with GPUs: what they see of them; harmless devices and ordinary files stand in for the machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skerry.island.sandbox import gpu_devices
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.gpu_devices import GpuMeans, discover
from skerry.island.sandbox.spec import GpuDevice, SandboxSpec
from tests.island.sandbox.sandbox_lab import ENV, Lab, Root

ONE = GpuDevice(0, "GPU-a")
TWO = GpuDevice(1, "GPU-b")


@pytest.fixture
def stand_ins(gpu_machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The driver finds the tree's libraries, and this machine's own harmless devices under the names of GPUs."""
    devices = {"nvidia0": "zero", "nvidia1": "full", "nvidiactl": "null", "nvidia-uvm": "urandom"}

    def found(gpus: tuple[GpuDevice, ...], root: Path = gpu_machine) -> GpuMeans:
        means = discover(gpus, root)
        nodes = tuple((f"/dev/{devices.get(name, 'null')}", name) for _, name in means.devices)
        return GpuMeans(devices=nodes, files=means.files)

    monkeypatch.setattr(gpu_devices, "discover", found)
    return gpu_machine


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
