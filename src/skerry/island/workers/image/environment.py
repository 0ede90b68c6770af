"""Which Python draws here: the environment made by `skerry diffusion install`, or the one that the owner names."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from skerry.island.engine.errors import Unsupported
from skerry.island.workers.image.choices import ENVIRONMENT, DiffusionChoices

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "accelerate")
"""What an environment must have; torch is looked for first, because it is what people lack."""

LEAST_DIFFUSERS = (0, 42)
"""The first release whose words our script uses."""

HOW = "run: skerry diffusion install"
_ASK_SECONDS = 60.0
# Looks without importing: torch takes seconds.
_LOOK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A Python with diffusers.

    Args:
        python: its interpreter.
        versions: of `PACKAGES`, by name.
    """

    python: Path
    versions: tuple[tuple[str, str], ...]


def find(state_dir: Path, choices: DiffusionChoices) -> Environment:
    """The environment to draw with: the one the owner names, else the one in the state directory.

    Raises:
        Unsupported: there is none; the message says what to do.
    """
    if choices.python is None:
        python = state_dir / ENVIRONMENT / "bin" / "python"
        if not _is_there(python, "diffusers"):
            raise Unsupported(f"diffusers is not installed; {HOW}")
        what = str(state_dir / ENVIRONMENT)
    else:
        named = choices.python
        what = f"SKERRY_DIFFUSION_PYTHON names {named}, which"
        python = named / "bin" / "python" if _is_there(named, what) and named.is_dir() else named
        if not _is_there(python, what):
            raise Unsupported(f"{what} holds no Python; {HOW}")
    versions = look(python)
    if versions is None:
        raise Unsupported(f"{what} does not run; {HOW}")
    missing = [name for name in PACKAGES if name not in dict(versions)]
    if missing:
        raise Unsupported(f"{what} lacks {', '.join(missing)}; {HOW}")
    diffusers = dict(versions)["diffusers"]
    if _release(diffusers) < LEAST_DIFFUSERS:
        least = ".".join(map(str, LEAST_DIFFUSERS))
        raise Unsupported(f"{what} has diffusers {diffusers}, older than {least}; {HOW}")
    return Environment(python=python, versions=versions)


def _is_there(path: Path, what: str) -> bool:
    """Whether a path leads anywhere. Raises Unsupported where this user may not even look."""
    try:
        return path.exists()
    except OSError as error:
        raise Unsupported(f"{what} cannot be used by this user: {error.strerror or error}; {HOW}") from None


def unready(state_dir: Path, choices: DiffusionChoices) -> str | None:
    """None when pictures can be drawn here, else what to do about it."""
    try:
        find(state_dir, choices)
    except Unsupported as error:
        return error.message
    return None


def look(python: Path) -> tuple[tuple[str, str], ...] | None:
    """Which of the packages a Python has; None if it does not run."""
    try:
        # An installation changes the packages' directory, so that what was seen before it counts no more.
        stamps = tuple(
            place.stat().st_mtime_ns for place in (python, *python.parent.parent.glob("lib/*/site-packages"))
        )
    except OSError:
        return None
    return _look(python, stamps)


def _release(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


@functools.lru_cache(maxsize=16)
def _look(python: Path, stamps: tuple[int, ...]) -> tuple[tuple[str, str], ...] | None:
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", _LOOK, *PACKAGES],
            capture_output=True,
            timeout=_ASK_SECONDS,
            check=True,
            text=True,
        )
        found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return tuple((name, str(found[name])) for name in PACKAGES if name in found)
