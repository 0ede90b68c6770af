"""Making the render environment: Blender as a Python module, `bpy`, in a virtual environment of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from skerry.island.engine.errors import Unsupported
from skerry.island.workers.making import Python, examine, step, whole
from skerry.island.workers.render.blender import MARKER, Blender, from_environment

RELEASES = {(3, 11): "5.0.1", (3, 13): "5.2.3"}
"""Which `bpy` is installed for which Python; there is none for 3.12."""

LIBRARIES = {
    "libX11.so.6": "libx11-6",
    "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libXext.so.6": "libxext6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libGL.so.1": "libgl1",
}
"""What `bpy` needs of the machine, and the Debian packages that have it."""

_MISSING = """
import ctypes, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name)
"""
_TRY = "import bpy; print(bpy.app.version_string)"
_ASK_SECONDS = 60.0
_TRY_SECONDS = 300.0


def install(directory: Path, *, python: str | None = None, say: Callable[[str], None] = lambda text: None) -> Blender:
    """Make the environment, in place of one that is there; it appears when it is whole and has been tried.

    Args:
        directory: where it shall be.
        python: the interpreter to make it with; the first fitting one otherwise.
        say: told what goes on.

    Raises:
        Unsupported: no fitting Python, or something is missing; the message says what to do.
    """
    chosen = choose_python(python)
    release = RELEASES[chosen.version]
    missing = missing_libraries(chosen.executable, LIBRARIES)
    if missing:
        packages = " ".join(LIBRARIES[name] for name in missing)
        raise Unsupported(f"bpy needs libraries that are not here; on Debian and Ubuntu: apt-get install {packages}")
    with whole(directory) as fresh:
        say(f"making an environment with {chosen.executable}")
        step(chosen.executable, "-m", "venv", str(fresh), failing="the environment could not be made")
        say(f"installing bpy {release}, about 400 MB to fetch and 1 GB to keep")
        wanted = ("--only-binary=:all:", "--no-cache-dir", f"bpy=={release}")
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        step(str(fresh / "bin" / "python"), *pip, failing="pip could not install bpy")
        say("trying it")
        version = step(str(fresh / "bin" / "python"), "-c", _TRY, failing="bpy does not start", limit=_TRY_SECONDS)
        # Blender says `5.2.3 LTS`, and on its first start perhaps other things before.
        said = re.search(r"^(\d+\.\d+\.\d+)\b", version, re.MULTILINE)
        marker = {"version": said[1] if said else release, "python_home": chosen.home}
        (fresh / MARKER).write_text(json.dumps(marker) + "\n")
    found = from_environment(directory)
    assert found is not None
    return found


def choose_python(named: str | None = None) -> Python:
    """The interpreter to use: the one that is named, or the first of ours and those on PATH that has a `bpy`.

    Raises:
        Unsupported: it has no `bpy`, or none has.
    """
    if named is not None:
        found = examine(named)
        if found is None:
            raise Unsupported(f"{named} does not run as a Python")
        if found.version not in RELEASES:
            raise Unsupported(f"there is no bpy for Python {_dotted(found.version)}; {_offer()}")
        return found
    own = getattr(sys, "_base_executable", sys.executable)
    names = [own, *(f"python{_dotted(version)}" for version in sorted(RELEASES, reverse=True)), "/usr/bin/python3"]
    for name in names:
        found = examine(name)
        if found is not None and found.version in RELEASES:
            return found
    raise Unsupported(f"no fitting Python is here: {_offer()}, or use Debian's `blender` package instead")


def missing_libraries(python: str, names: Iterable[str]) -> list[str]:
    """Those of the libraries that a Python cannot load here."""
    answer = subprocess.run(
        [python, "-I", "-c", _MISSING, *names], check=True, capture_output=True, timeout=_ASK_SECONDS, text=True
    )
    return answer.stdout.split()


def _offer() -> str:
    return "bpy comes for Python " + " and ".join(_dotted(version) for version in sorted(RELEASES))


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
