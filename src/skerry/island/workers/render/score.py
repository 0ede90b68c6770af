"""How fast this machine renders: a fixed scene, measured once for each machine, Blender and set of devices.

The unit is samples per minute: passes of one sample per pixel over the fixed scene at 480 by 270, as Cycles computes
them. It compares machines that were measured by the same scene, and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from skerry.island.engine.errors import Unsupported
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import ExecSpec, SandboxSpec
from skerry.island.workers.render.attempt import HOME, Means, environment, put_script, remove_sandbox, threads
from skerry.island.workers.render.room import BLENDER
from skerry.island.workers.render.said import said_lines
from skerry.times import rfc3339

SCENE = 1
"""Changes with the scene or how it is measured: scores of different scenes cannot be compared."""

_SCRIPT = "score_script.py"
_SECONDS = 600.0
_FILE = "score.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What was measured.

    Args:
        score: samples per minute; see the module.
        samples: of one pass.
        seconds: of each measured pass.
        blender: its version.
        devices: what it computed on.
        fingerprint: of the machine; see `fingerprint`.
        measured_at: when, RFC 3339.
    """

    score: float
    samples: int
    seconds: tuple[float, ...]
    blender: str
    devices: tuple[str, ...]
    fingerprint: str
    measured_at: str


def fingerprint(means: Means, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the score depends on: processor, how many, the bound on them, GPUs, Blender, and the scene itself."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    model = next((line for line in lines if line.startswith("model name")), platform.machine())
    gpus = [device.uuid for _, device in sorted(means.gpus.items())]
    parts = [model, os.cpu_count(), means.limits.cpu_millis, gpus, means.blender.kind, means.blender.version, SCENE]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read(state_dir: Path, means: Means) -> Score | None:
    """The score of this machine as it is now; None when it was not measured since it changed."""
    try:
        kept = json.loads((state_dir / _FILE).read_bytes())
        score = Score(**{**kept, "seconds": tuple(kept["seconds"]), "devices": tuple(kept["devices"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return score if score.fingerprint == fingerprint(means) else None


def keep(state_dir: Path, score: Score) -> None:
    """Remember a score."""
    state_dir.mkdir(parents=True, exist_ok=True)
    fresh = state_dir / f".{_FILE}"
    fresh.write_text(json.dumps(asdict(score), indent=2) + "\n")
    fresh.replace(state_dir / _FILE)


async def measure(means: Means, gpus: Sequence[int], now: datetime) -> Score:
    """Render the fixed scene in a sandbox, on these GPUs or on the CPU.

    Raises:
        Unsupported: it could not be rendered; the message says why.
    """
    id = f"score-{secrets.token_hex(8)}"
    devices = tuple(means.gpus[index] for index in gpus)
    said: list[str] = []
    found = None
    try:
        await means.driver.create(SandboxSpec(id=id, image=BLENDER, limits=means.limits, gpus=devices))
        sandbox = await means.driver.open(id)
        await put_script(sandbox, _SCRIPT)
        task = json.dumps({"gpu": bool(gpus), "threads": threads(means.limits)})
        command = means.blender.command(_SCRIPT, task)
        spec = ExecSpec(id="score", argv=command, env=environment({}), cwd=HOME, timeout=_SECONDS, merge_output=True)
        process = await sandbox.exec(spec)
        async for word, rest in said_lines(process.follow("stdout")):
            if word == "score":
                found = json.loads(rest)
            said.append(rest)
        result = await process.wait()
    except (SandboxError, ValueError) as error:
        raise Unsupported(f"the score cannot be measured here: {error}") from None
    finally:
        await asyncio.shield(remove_sandbox(means.driver, id))
    if found is None:
        why = said[-1] if said else f"Blender ended with status {result.exit_code} ({result.cause})"
        raise Unsupported(f"the score cannot be measured here: {why}")
    seconds = tuple(round(float(value), 4) for value in found["seconds"])
    return Score(
        score=round(60 * found["samples"] / sorted(seconds)[len(seconds) // 2], 1),
        samples=int(found["samples"]),
        seconds=seconds,
        blender=means.blender.version,
        devices=tuple(found["devices"]),
        fingerprint=fingerprint(means),
        measured_at=rfc3339(now),
    )
