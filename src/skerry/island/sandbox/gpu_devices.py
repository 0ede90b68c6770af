"""What of this machine a sandbox with NVIDIA GPUs gets: their device nodes, the driver's libraries, its variables.

The discovery is a pure function over a directory tree, so that it can be tested without any GPU. Images bring the CUDA
libraries; those of the driver must fit the kernel module and come from the machine. They are shown in
`/usr/local/nvidia`, where images made for GPUs look for them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import GpuDevice

PLACE = "/usr/local/nvidia"
_SHARED_NODES = ("nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_LIBRARY_DIRECTORIES = (
    "usr/local/nvidia/lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
)
_LIBRARIES = re.compile(
    r"(?:libcuda|libcudadebugger|libnvcuvid|libnvoptix|libnvidia-[a-z0-9-]+"
    r"|libGLX_nvidia|libEGL_nvidia|libGLESv[12]_(?:CM_)?nvidia|libvdpau_nvidia)\.so(?:\.[0-9.]+)?"
)
_PROGRAM_DIRECTORIES = ("usr/bin", "usr/local/nvidia/bin")
_PROGRAMS = ("nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
_DATA = (
    ("etc/vulkan/icd.d/nvidia_icd.json", "share/vulkan/icd.d/nvidia_icd.json"),
    ("usr/share/vulkan/icd.d/nvidia_icd.json", "share/vulkan/icd.d/nvidia_icd.json"),
    ("usr/share/glvnd/egl_vendor.d/10_nvidia.json", "share/glvnd/egl_vendor.d/10_nvidia.json"),
    ("usr/share/nvidia/nvoptix.bin", "share/nvidia/nvoptix.bin"),
)
_MOST_FILES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMeans:
    """What is mounted for GPUs.

    Args:
        devices: node on the machine, and its name in the sandbox's /dev.
        files: file on the machine, and its path below `PLACE`.
    """

    devices: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]


def discover(gpus: Sequence[GpuDevice], root: Path = Path("/")) -> GpuMeans:
    """Find what these GPUs need.

    Args:
        gpus: which; none of the others' nodes is in the answer.
        root: of the machine; another directory in tests.

    Raises:
        SandboxError: `unsupported`: a GPU, or the driver's control node, is not there.
    """
    minors = _minors(root)
    devices = []
    for gpu in gpus:
        name = f"nvidia{minors.get(gpu.uuid, gpu.index)}"
        if not _exists(root / "dev" / name):
            raise SandboxError("unsupported", f"GPU {gpu.index} has no device node /dev/{name} on this machine")
        devices.append(name)
    if gpus and not _exists(root / "dev" / "nvidiactl"):
        raise SandboxError("unsupported", "this machine has no /dev/nvidiactl; is the NVIDIA driver loaded?")
    if gpus:
        devices += ["nvidiactl", *(name for name in _SHARED_NODES if _exists(root / "dev" / name))]
        devices += [f"nvidia-caps/{name}" for name in _names(root / "dev" / "nvidia-caps")]
    files: dict[str, str] = {}
    for source, place in _driver_files(root) if gpus else ():
        # What lies in /var is covered while a sandbox is put together.
        real = os.path.realpath(source)
        if os.path.isfile(real) and not real.startswith("/var/") and len(files) < _MOST_FILES:
            files.setdefault(place, real)
    return GpuMeans(
        devices=tuple((str(root / "dev" / name), name) for name in devices),
        files=tuple((source, place) for place, source in sorted(files.items())),
    )


def environment(gpus: Sequence[GpuDevice], env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command in a sandbox with GPUs; what `env` says of them wins.

    CUDA counts the GPUs whose nodes it can open, from zero.
    """
    if not gpus:
        return dict(env)
    numbers = ",".join(str(number) for number in range(len(gpus)))
    own = {
        "NVIDIA_VISIBLE_DEVICES": ",".join(gpu.uuid or str(gpu.index) for gpu in gpus),
        "CUDA_VISIBLE_DEVICES": numbers,
    }
    libraries = env.get("LD_LIBRARY_PATH", "")
    found = {**own, **env}
    found["LD_LIBRARY_PATH"] = _with(libraries, f"{PLACE}/lib64")
    if "PATH" in env:
        found["PATH"] = _with(env["PATH"], f"{PLACE}/bin")
    return found


def _with(paths: str, path: str) -> str:
    return paths if path in paths.split(":") else f"{paths}:{path}" if paths else path


def _minors(root: Path) -> dict[str, int]:
    """Number of the device node by UUID, as the kernel module tells it."""
    found = {}
    for information in (root / "proc/driver/nvidia/gpus").glob("*/information"):
        text = information.read_text(errors="replace")
        uuid = re.search(r"^GPU UUID:\s*(\S+)$", text, re.MULTILINE)
        minor = re.search(r"^Device Minor:\s*(\d+)$", text, re.MULTILINE)
        if uuid and minor:
            found[uuid[1]] = int(minor[1])
    return found


def _driver_files(root: Path) -> Iterator[tuple[Path, str]]:
    for directory in _LIBRARY_DIRECTORIES:
        for name in _names(root / directory):
            if _LIBRARIES.fullmatch(name):
                yield root / directory / name, f"lib64/{name}"
    for directory in _PROGRAM_DIRECTORIES:
        for name in _PROGRAMS:
            yield root / directory / name, f"bin/{name}"
    for source, place in _DATA:
        yield root / source, place


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
