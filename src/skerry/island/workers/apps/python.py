"""The Python that environments of apps are made with."""

from __future__ import annotations

import sys
from pathlib import Path

from skerry.island.engine.errors import Unsupported
from skerry.island.workers.making import Python, examine, step

_LEAST = (3, 10)
_VENV = "import ensurepip, venv"


def choose(named: str | None) -> Python:
    """The interpreter that is named, or the first that fits; the machine's own before others, since sandboxes see it.

    Raises:
        Unsupported: it does not fit, or none does.
    """
    if named is not None:
        return _fitting(named)
    own = getattr(sys, "_base_executable", sys.executable)
    known = [own, "/usr/local/bin/python3", "/usr/bin/python3"]
    for name in sorted(known, key=lambda it: not Path(it).resolve().is_relative_to("/usr")):
        try:
            return _fitting(name)
        except Unsupported:
            continue
    raise Unsupported("no Python from 3.10 on that can make environments; on Debian: apt-get install python3-venv")


def environment(python: Python, directory: Path) -> Path:
    """Make an environment; its interpreter."""
    step(python.executable, "-m", "venv", str(directory), failing="the environment could not be made")
    return directory / "bin" / "python"


def pip(interpreter: Path, *wanted: str) -> None:
    """Install packages that are ready to run.

    Raises:
        Unsupported: with pip's last line; without a network that is about packages that nobody has.
    """
    words = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", *wanted)
    names = ", ".join(wanted)
    step(str(interpreter), *words, failing=f"pip could not fetch {names} (is a package index within reach?)")


def _fitting(name: str) -> Python:
    found = examine(name)
    if found is None:
        raise Unsupported(f"{name} does not run as a Python")
    if found.version < _LEAST:
        raise Unsupported(f"{name} is too old; 3.10 is the least")
    step(found.executable, "-I", "-c", _VENV, failing=f"{name} cannot make environments (python3-venv on Debian)")
    return found
