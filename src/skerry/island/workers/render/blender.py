"""Which Blender renders here: an environment made by `skerry render install`, or the machine's `blender` program."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skerry.island.engine.errors import Unsupported

STATE = "render"
"""Name of the render workers' directory in an island's data directory."""

ENVIRONMENT = "environment"
MARKER = "skerry-render.json"
VARIABLE = "SKERRY_RENDER_ENVIRONMENT"

_ASK_SECONDS = 60.0
_VERSION = re.compile(r"^Blender (\d+\.\d+(?:\.\d+)?)", re.MULTILINE)
_HOW = "install one with `skerry render install` (about 1 GB), or with Debian's `blender` package"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blender:
    """A Blender that can be started.

    Args:
        kind: `bpy` is Blender as a Python module in an environment of its own, `program` is the usual one.
        program: the environment's Python, or the program.
        version: such as `5.0.1`.
        trees: directories outside of /usr that it needs to see, at their own paths.
    """

    kind: Literal["bpy", "program"]
    program: Path
    version: str
    trees: tuple[Path, ...] = ()

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor number, which decide what files it can read."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    def command(self, script: str, *arguments: str) -> tuple[str, ...]:
        """How it is made to run a script, whose arguments stand after `--`."""
        if self.kind == "bpy":
            return (str(self.program), "-s", "-B", script, "--", *arguments)
        options = ("-b", "--factory-startup", "-noaudio", "--python-exit-code", "1")
        return (str(self.program), *options, "-P", script, "--", *arguments)


def find(state_dir: Path, environ: Mapping[str, str] = os.environ) -> Blender:
    """The Blender to use: `SKERRY_RENDER_ENVIRONMENT`, the environment in the state directory, the program on PATH.

    Raises:
        Unsupported: there is none; the message says what to do.
    """
    named = environ.get(VARIABLE)
    if named:
        found = from_environment(Path(named))
        if found is None:
            raise Unsupported(f"{VARIABLE} names {named}, which holds no render environment; {_HOW}")
        return found
    found = from_environment(state_dir / ENVIRONMENT) or from_path(environ.get("PATH"))
    if found is None:
        raise Unsupported(f"no Blender is here; {_HOW}")
    return found


def candidates(state_dir: Path, environ: Mapping[str, str] = os.environ) -> list[Blender]:
    """Every Blender that is here, the one that `find` takes first."""
    named = environ.get(VARIABLE)
    looked = [from_environment(Path(named)) if named else None, from_environment(state_dir / ENVIRONMENT)]
    return [found for found in (*looked, from_path(environ.get("PATH"))) if found is not None]


def available(state_dir: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """None when Blender can run here, else what to do about it."""
    try:
        find(state_dir, environ)
    except Unsupported as error:
        return error.message
    return None


def from_environment(directory: Path) -> Blender | None:
    """The Blender of a finished environment; None where there is none, or its Python has gone."""
    try:
        marker = json.loads((directory / MARKER).read_bytes())
        version, base = str(marker["version"]), Path(marker["python_home"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Sandboxes take no path with symbolic links.
    home = directory.resolve()
    python = home / "bin" / "python"
    if not python.exists():
        return None
    trees = [home, base.resolve()]
    return Blender(
        kind="bpy",
        program=python,
        version=version,
        trees=tuple(tree for tree in trees if not tree.is_relative_to("/usr")),
    )


def from_path(path: str | None) -> Blender | None:
    """The `blender` program, if it answers when asked for its version."""
    program = shutil.which("blender", path=path)
    if program is None:
        return None
    real = Path(program).resolve()
    version = _version_of(real, real.stat().st_mtime_ns)
    if version is None:
        return None
    # As its makers hand it out, it is a directory with everything that it needs.
    trees = () if real.is_relative_to("/usr") else (real.parent,)
    return Blender(kind="program", program=real, version=version, trees=trees)


@functools.lru_cache(maxsize=8)
def _version_of(program: Path, changed: int) -> str | None:
    try:
        answer = subprocess.run(
            [str(program), "--version"], capture_output=True, timeout=_ASK_SECONDS, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(answer.stdout)
    return found[1] if found else None
