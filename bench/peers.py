"""The peers that can run beside the island on this machine, and what each costs to run one command."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

COMMAND = "true"


def bubblewrap() -> list[str] | None:
    """Arguments for a fresh sandbox over the machine's own /usr, or None where it is not installed."""
    if not shutil.which("bwrap"):
        return None
    arguments = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
    arguments += ["--tmpfs", "/tmp", "--dir", "/home/user"]
    for name in ("bin", "sbin", "lib", "lib64"):
        path = Path("/") / name
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), f"/{name}"]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return arguments


def works(arguments: list[str]) -> bool:
    """Whether the peer really runs a command here."""
    return subprocess.run(arguments, capture_output=True, check=False).returncode == 0


def one_shot_peers() -> dict[str, Callable[[], object]]:
    """Peers that start, run `true` and end: the price of a new sandbox elsewhere."""
    peers: dict[str, Callable[[], object]] = {}
    wrapped = bubblewrap()
    if wrapped and works([*wrapped, "sh", "-c", COMMAND]):
        peers["bubblewrap"] = lambda: subprocess.run([*wrapped, "sh", "-c", COMMAND], check=True)
    container = oci_bundle()
    if container:
        peers["crun"] = container
    peers["subprocess"] = lambda: subprocess.run(["sh", "-c", COMMAND], check=True)
    return peers


def oci_bundle() -> Callable[[], object] | None:
    """A crun or runc container over /usr, when one of them agrees to run here."""
    program = shutil.which("crun") or shutil.which("runc")
    if not program:
        return None
    bundle = Path(tempfile.mkdtemp(prefix="skerry-bench-oci-"))
    rootfs = bundle / "rootfs"
    for name in ("usr", "proc", "dev", "tmp"):
        (rootfs / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (rootfs / name).symlink_to(f"usr/{name}")
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
    ]
    namespaces = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]
    config = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", COMMAND], "cwd": "/", "env": ["PATH=/usr/bin"]},
        "root": {"path": "rootfs"},
        "mounts": mounts,
        "linux": {"namespaces": namespaces},
    }
    (bundle / "config.json").write_text(json.dumps(config))
    counter = iter(range(1_000_000))

    def run() -> object:
        name = f"skerry-bench-{os.getpid()}-{next(counter)}"
        return subprocess.run(
            [program, "--cgroup-manager=disabled", "run", "--bundle", str(bundle), name],
            check=True,
            capture_output=True,
        )

    try:
        run()
    except (subprocess.CalledProcessError, OSError):
        shutil.rmtree(bundle, ignore_errors=True)
        return None
    return run


async def burst(arguments: list[str], count: int) -> None:
    """Start `count` of them at once and wait for all."""

    async def one() -> None:
        process = await asyncio.create_subprocess_exec(*arguments)
        if await process.wait() != 0:
            raise RuntimeError(f"{arguments[0]} failed in the burst")

    await asyncio.gather(*(one() for _ in range(count)))
