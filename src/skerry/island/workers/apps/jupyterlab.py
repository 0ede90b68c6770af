"""JupyterLab: notebooks, an editor and terminals in the browser, from the Python package index."""

from __future__ import annotations

import json
from pathlib import Path

from skerry.island.engine.errors import Unsupported
from skerry.island.workers.apps.python import choose, environment, pip
from skerry.island.workers.apps.recipe import Recipe, Say, first_secret, inside, write_program
from skerry.island.workers.making import step

NAME = "jupyterlab"
PORT = 8888
# Sandboxes reach the internet by a proxy that `httpx` takes for one of SOCKS, too.
_WANTED = ("jupyterlab>=4.6,<5", "httpx[socks]")
_TRY_SECONDS = 300.0

# It would ask whether to fetch news, and look for newer versions of itself.
_OVERRIDES = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
_START = f"""\
#!/bin/sh
# Starts JupyterLab in a sandbox; further arguments go to it.
: "${{SHELL:=$(command -v bash || command -v sh)}}"
export SHELL
# Kernels look there only if it is there when they start.
mkdir -p "$(python -m site --user-site)"
{first_secret("JUPYTER_TOKEN", "token")}
exec jupyter-lab --ip=127.0.0.1 --port={PORT} --no-browser --allow-root \\
    --ServerApp.allow_remote_access=True --ServerApp.root_dir=/home/user \\
    --LabApp.extension_manager=readonly "$@"
"""


def _make(fresh: Path, python: str | None, say: Say) -> tuple[str, list[Path]]:
    chosen = choose(python)
    home = Path(chosen.home).resolve()
    # Sandboxes see all of it; of the machine's own they do anyway.
    if fresh.resolve().is_relative_to(home) and not home.is_relative_to("/usr"):
        raise Unsupported(f"{chosen.executable} belongs to {home}, which would be shown to sandboxes; name another")
    say(f"making an environment with {chosen.executable}")
    interpreter = environment(chosen, fresh)
    say("installing JupyterLab from the Python package index")
    pip(interpreter, *_WANTED)
    say("trying it")
    version = step(
        str(interpreter), "-m", "jupyterlab", "--version", failing="JupyterLab does not start", limit=_TRY_SECONDS
    )
    _move(fresh, fresh, Path(inside(NAME)))
    write_program(fresh / "bin" / f"start-{NAME}", _START)
    overrides = fresh / "share/jupyter/lab/settings/overrides.json"
    overrides.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    overrides.write_text(json.dumps(_OVERRIDES))
    overrides.chmod(0o644)
    # Notebooks also import what the machine's Python has, and what `pip install` puts into the home directory.
    settings = fresh / "pyvenv.cfg"
    text = settings.read_text()
    settings.write_text(text.replace("include-system-site-packages = false", "include-system-site-packages = true"))
    return version.strip(), [home]


def _move(directory: Path, made_at: Path, shown_at: Path) -> None:
    """Let an environment's scripts begin with the interpreter where it will be seen."""
    for path in (directory / "bin").iterdir():
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            path.write_bytes(content.replace(bytes(made_at), bytes(shown_at)))


JUPYTERLAB = Recipe(name=NAME, title="JupyterLab", size="250 MB", port=PORT, make=_make)
