"""Finding a Blender, and making the environment for one, with doubles for the interpreter and for Blender."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.cli.main import cli
from skerry.island.engine.errors import Unsupported
from skerry.island.workers.render import blender, install

INTERPRETER = """#!/bin/sh
# What a Python says of itself, and a venv and a pip that do no work.
PATH=/usr/bin:/bin
case "$*" in
    "-I -c import json"*) echo '[MAJOR, MINOR, "'"$0"'", "/usr"]' ;;
    "-I -c "*) exec PYTHON "$@" ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip install "*) echo "$*" >"$(dirname "$0")/asked"; [ -z "" ] || { echo "no such package" >&2; exit 1; } ;;
    "-c import bpy"*) echo "Color management: fallback"; echo "5.2.3 LTS" ;;
    *) exit 9 ;;
esac
"""


def interpreter(directory: Path, major: int, minor: int) -> Path:
    path = directory / f"python{major}.{minor}"
    text = INTERPRETER.replace("MAJOR", str(major)).replace("MINOR", str(minor)).replace("PYTHON", sys.executable)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "LIBRARIES", {"libc.so.6": "libc6"})
    monkeypatch.delenv("SKERRY_RENDER_ENVIRONMENT", raising=False)


def test_an_environment_is_made_whole(tmp_path: Path) -> None:
    place = tmp_path / "state" / "environment"
    said: list[str] = []
    made = install.install(place, python=str(interpreter(tmp_path, 3, 13)), say=said.append)
    assert (made.kind, made.version, made.release) == ("bpy", "5.2.3", (5, 2))
    assert made.program == place.resolve() / "bin" / "python"
    assert made.trees == (place.resolve(),)
    asked = (place / "bin" / "asked").read_text()
    assert f"bpy=={install.RELEASES[3, 13]}" in asked
    assert "--only-binary=:all:" in asked
    assert said
    assert [path.name for path in place.parent.iterdir()] == ["environment"]
    assert blender.find(place.parent, {"PATH": ""}) == made
    # Again, in place of the first.
    (place / "old").touch()
    install.install(place, python=str(interpreter(tmp_path, 3, 11)))
    assert not (place / "old").exists()
    assert made.command("s.py", "{}") == (str(made.program), "-s", "-B", "s.py", "--", "{}")


def test_a_failed_installation_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "environment"
    python = interpreter(tmp_path, 3, 11)
    first = install.install(place, python=str(python))
    # The copy in the new environment is the one that asks pip.
    python.write_text(python.read_text().replace('[ -z "" ]', "false"))
    with pytest.raises(Unsupported, match="pip could not install bpy: no such package"):
        install.install(place, python=str(python))
    assert blender.from_environment(place) == first
    assert not place.with_name("environment.new").exists()


def test_a_python_without_a_bpy_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"no bpy for Python 3\.12; bpy comes for Python 3\.11 and 3\.13"):
        install.install(tmp_path / "e", python=str(interpreter(tmp_path, 3, 12)))
    with pytest.raises(Unsupported, match="does not run as a Python"):
        install.install(tmp_path / "e", python=str(tmp_path / "nothing"))
    assert not (tmp_path / "e").exists()


def test_missing_libraries_are_named_with_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "LIBRARIES", {"libc.so.6": "libc6", "libnowhere.so.9": "libnowhere9"})
    python = str(interpreter(tmp_path, 3, 11))
    assert install.missing_libraries(python, ["libc.so.6", "libnowhere.so.9"]) == ["libnowhere.so.9"]
    with pytest.raises(Unsupported, match=r"apt-get install libnowhere9$"):
        install.install(tmp_path / "e", python=python)


def test_broken_environments_are_not_found(tmp_path: Path) -> None:
    place = tmp_path / "environment"
    assert blender.from_environment(place) is None
    install.install(place, python=str(interpreter(tmp_path, 3, 11)))
    (place / "bin" / "python").unlink()
    assert blender.from_environment(place) is None
    for text in ("", "{", "[]", '{"version": "5.0.1"}'):
        (place / blender.MARKER).write_text(text)
        assert blender.from_environment(place) is None


def test_the_program_on_the_path(tmp_path: Path) -> None:
    tools = tmp_path / "opt"
    tools.mkdir()
    program = tools / "blender"
    program.write_text("#!/bin/sh\necho Read prefs; echo 'Blender 4.5.1 LTS'\n")
    program.chmod(0o755)
    found = blender.from_path(str(tools))
    assert found is not None
    assert (found.kind, found.version, found.trees) == ("program", "4.5.1", (tools.resolve(),))
    assert found.command("s.py", "{}")[-4:] == ("-P", "s.py", "--", "{}")
    other = tmp_path / "other"
    other.mkdir()
    (other / "blender").write_text("#!/bin/sh\nexit 1\n")
    (other / "blender").chmod(0o755)
    assert blender.from_path(str(other)) is None


def test_the_command_line(tmp_path: Path) -> None:
    def run(*words: str, path: str = "") -> tuple[int, str, str]:
        env = {"PATH": path, "SKERRY_DATA_DIR": str(tmp_path / "data")}
        done = CliRunner().invoke(cli, ["render", *words], env=env)
        return done.exit_code, done.stdout, done.stderr

    code, out, err = run("ls")
    assert code == 0
    assert "skerry render install" in out + err
    python = interpreter(tmp_path, 3, 13)
    code, _, err = run("install", "--python", str(python), path="/usr/bin:/bin")
    assert (code, "Blender 5.2.3 is in" in err) == (0, True), err
    code, out, _ = run("ls", "-o", "json")
    assert [found["kind"] for found in json.loads(out)["blenders"]] == ["bpy"]
    code, out, _ = run("score", "-o", "json")
    assert (code, json.loads(out)["score"]) == (0, None)
    code, _, err = run("install", "--python", str(interpreter(tmp_path, 3, 12)), path="/usr/bin:/bin")
    assert code != 0
