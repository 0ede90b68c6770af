"""Making the diffusion environment: torch, diffusers and what they need, in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from skerry.island.engine.errors import Invalid, Unsupported
from skerry.island.workers.image import environment
from skerry.island.workers.image.choices import MODELS, DiffusionChoices
from skerry.island.workers.image.environment import Environment
from skerry.island.workers.image.models import DEMO, check_name

TORCH = "torch>=2.9,<3"
"""What is installed unless the owner names another build."""

REQUIREMENTS = (
    "diffusers>=0.42.1,<0.43",
    "transformers>=5.24,<6",
    "safetensors>=0.8,<1",
    "accelerate>=1.15,<2",
    "pillow>=12",
)

_LEAST_PYTHON = (3, 10)
_TRY_SECONDS = 300.0
_DEMO_SECONDS = 300.0
_ABOUT = "import json, sys; print(json.dumps([*sys.version_info[:2]]))"
_TRY = "import torch; from diffusers import DiffusionPipeline; print('cuda' if torch.cuda.is_available() else 'cpu')"
_DEMO_SCRIPT = Path(__file__).with_name("demo_script.py")


def install(
    directory: Path,
    *,
    python: str | None = None,
    torch: str = TORCH,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Environment, str]:
    """Make the environment, in place of one that is there; it appears when it is whole and has been tried.

    Args:
        directory: where it shall be.
        python: the interpreter to make it with; ours otherwise.
        torch: the requirement of torch, such as `torch==2.13.0`.
        say: told what goes on.

    Returns:
        The environment, and what it computes on: `cuda` or `cpu`.

    Raises:
        Unsupported: the interpreter does not fit, or a step failed; the message says which.
    """
    if not torch.startswith("torch") or any(letter.isspace() for letter in torch):
        raise Invalid(f"{torch!r} does not require torch; write something like torch==2.13.0")
    interpreter = python or str(getattr(sys, "_base_executable", sys.executable))
    about = _call(interpreter, "-I", "-c", _ABOUT, failing=f"{interpreter} does not run as a Python")
    if tuple(json.loads(about)) < _LEAST_PYTHON:
        raise Unsupported(f"{interpreter} is older than Python 3.10, which diffusers needs; name another with --python")
    fresh = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    try:
        say(f"making an environment with {interpreter}")
        _call(interpreter, "-m", "venv", str(fresh), failing="the environment could not be made")
        inner = str(fresh / "bin" / "python")
        pip = (inner, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir")
        say(f"installing {torch}: a processor's build has 1 GB, one for GPUs several")
        _call(*pip, "--only-binary=:all:", torch, failing="pip could not install torch")
        say("installing diffusers")
        # With torch named again, what needs it takes the build that is there.
        _call(*pip, "--only-binary=:all:", torch, *REQUIREMENTS, failing="pip could not install diffusers")
        say("trying it")
        device = _call(inner, "-I", "-c", _TRY, failing="diffusers does not start", limit=_TRY_SECONDS).split()[-1]
        _swap(fresh, directory)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    found = environment.find(directory.parent, DiffusionChoices(python=directory))
    return found, device


def make_demos(found: Environment, state_dir: Path, names: Sequence[str]) -> list[Path]:
    """Write small models with random weights under some names; a folder that is no demo is never replaced.

    Args:
        found: the environment that makes them.
        state_dir: has the models directory.
        names: as `<org>/<name>`.

    Returns:
        Their folders.

    Raises:
        Invalid: a name is none, or belongs to a model that is no demo.
        Unsupported: they could not be made.
    """
    folders = [(state_dir / MODELS / check_name(name)).absolute() for name in names]
    for name, folder in zip(names, folders, strict=True):
        if folder.exists() and not (folder / DEMO).is_file():
            raise Invalid(f"{folder} is no demo, and stays; take another name than {name}")
        folder.parent.mkdir(parents=True, exist_ok=True)
    task = json.dumps({"folders": [str(folder) for folder in folders], "marker": DEMO})
    command = (str(found.python), "-I", "-B", str(_DEMO_SCRIPT), task)
    _call(*command, failing="the demo could not be made", limit=_DEMO_SECONDS)
    return folders


def _call(*command: str, failing: str, limit: float | None = None) -> str:
    """Run a step; its output."""
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, env=quiet)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unsupported(f"{failing}: {error}") from None
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise Unsupported(f"{failing}: {lines[-1] if lines else f'status {done.returncode}'}")
    return done.stdout


def _swap(fresh: Path, directory: Path) -> None:
    old = directory.with_name(f"{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if os.path.lexists(directory):
        directory.rename(old)
    fresh.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
