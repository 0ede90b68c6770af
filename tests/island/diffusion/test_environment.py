"""Finding and making the environment, with doubles for the interpreter and for pip, and what commands say of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.cli import doctor
from skerry.cli.main import cli
from skerry.island.engine.errors import Invalid, Unsupported
from skerry.island.workers.image import DiffusionChoices, DiffusionWorkers, environment, install
from tests.island.diffusion.diffusion_lab import add_model

ABSENT = "diffusers is not installed; run: skerry diffusion install"
VERSIONS = {"torch": "2.13.0", "diffusers": "0.42.1", "transformers": "5", "safetensors": "1", "accelerate": "1"}

# What a Python says of itself, a venv and a pip that do no work, and a torch that is there once pip was asked twice.
INTERPRETER = """#!/bin/sh
PATH=/usr/bin:/bin
place=$(dirname "$0")
case "$*" in
    *"from importlib.metadata"*) echo 'FOUND' ;;
    "-I -c import json"*) echo '[3, MINOR]' ;;
    "-I -c import torch"*) echo "a warning"; echo cpu ;;
    "-I -B "*demo_script.py*) echo "$*" >"$place/asked-demo"; exit ENDS ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip install "*) echo "$*" >>"$place/asked"; [ PIP = 0 ] || { echo "no such package" >&2; exit 1; } ;;
    *) exit 9 ;;
esac
"""


def interpreter(
    directory: Path, *, minor: int = 11, pip: int = 0, found: dict[str, str] = VERSIONS, ends: int = 0
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "python"
    text = INTERPRETER.replace("MINOR", str(minor)).replace("PIP", str(pip)).replace("ENDS", str(ends))
    path.write_text(text.replace("FOUND", json.dumps(found)))
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def only_what_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SKERRY_DIFFUSION_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-cache"))


@pytest.mark.anyio
async def test_without_an_environment_the_reason_is_said(tmp_path: Path) -> None:
    add_model(tmp_path, "org/model")
    async with DiffusionWorkers(tmp_path, choices=DiffusionChoices()) as workers:
        assert workers.unready() == ABSENT
        assert [model.name for model in workers.models()] == ["org/model"]
        with pytest.raises(Unsupported, match=ABSENT):
            await workers.generate("org/model", "a lighthouse")


def test_a_named_python_or_its_directory_is_used(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "env" / "bin")
    for named in (python, tmp_path / "env"):
        found = environment.find(tmp_path, DiffusionChoices(python=named))
        assert (found.python, dict(found.versions)) == (python, VERSIONS)
        assert environment.unready(tmp_path, DiffusionChoices(python=named)) is None


def test_a_named_python_that_does_not_do_says_why(tmp_path: Path) -> None:
    def reason(python: Path) -> str | None:
        return environment.unready(tmp_path, DiffusionChoices(python=python))

    assert reason(tmp_path / "none") == (
        f"SKERRY_DIFFUSION_PYTHON names {tmp_path}/none, which holds no Python; run: skerry diffusion install"
    )
    bare = interpreter(tmp_path / "bare", found={"diffusers": "0.42.1", "torch": "2"})
    assert "lacks transformers, safetensors, accelerate; run:" in (reason(bare) or "")
    old = interpreter(tmp_path / "old", found={**VERSIONS, "diffusers": "0.9.2"})
    assert "has diffusers 0.9.2, older than 0.42; run:" in (reason(old) or "")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert "does not run" in (reason(broken) or "")


def test_a_named_python_that_may_not_be_looked_at_says_why(tmp_path: Path) -> None:
    # Nobody can look at a name of that length; other users' directories cannot be looked at in the same way.
    hidden = tmp_path / ("x" * 300)
    for named in (hidden, hidden / "bin" / "python"):
        found = environment.unready(tmp_path, DiffusionChoices(python=named))
        assert found is not None
        assert "cannot be used by this user" in found


def test_an_environment_is_made_whole(tmp_path: Path) -> None:
    place, said = tmp_path / "state" / "venv", list[str]()
    python = interpreter(tmp_path / "ours")
    found, device = install.install(place, python=str(python), torch="torch==2.13.0", say=said.append)
    assert (found.python, device) == (place / "bin" / "python", "cpu")
    first, second = (place / "bin" / "asked").read_text().splitlines()
    assert first.endswith("--only-binary=:all: torch==2.13.0")
    assert "torch==2.13.0 diffusers>=0.42.1,<0.43" in second
    assert len(said) == 4
    assert [path.name for path in place.parent.iterdir()] == ["venv"]
    assert environment.find(tmp_path / "state", DiffusionChoices()) == found
    # Again, in place of the first.
    (place / "old").touch()
    install.install(place, python=str(python))
    assert not (place / "old").exists()
    assert install.TORCH in (place / "bin" / "asked").read_text()


def test_a_failed_installation_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "state" / "venv"
    install.install(place, python=str(interpreter(tmp_path / "good")))
    with pytest.raises(Unsupported, match="pip could not install torch: no such package"):
        install.install(place, python=str(interpreter(tmp_path / "bad", pip=1)))
    assert environment.unready(tmp_path / "state", DiffusionChoices()) is None
    assert [path.name for path in place.parent.iterdir()] == ["venv"]


def test_what_cannot_make_one_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"older than Python 3\.10.*--python"):
        install.install(tmp_path / "e", python=str(interpreter(tmp_path, minor=9)))
    with pytest.raises(Unsupported, match="does not run as a Python"):
        install.install(tmp_path / "e", python=str(tmp_path / "nothing"))
    for requirement in ("--index-url=x", "numpy", "torch evil", "torch\n-e ."):
        with pytest.raises(Invalid, match="does not require torch"):
            install.install(tmp_path / "e", python=str(interpreter(tmp_path)), torch=requirement)
    assert not (tmp_path / "e").exists()


def test_a_demo_never_replaces_a_model(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "bin")
    found = environment.Environment(python=python, versions=())
    mine = add_model(tmp_path, "org/mine")
    with pytest.raises(Invalid, match="is no demo, and stays"):
        install.make_demos(found, tmp_path / "diffusion", ["org/new", "org/mine"])
    assert (mine / "wish").exists()
    with pytest.raises(Invalid, match="is no name"):
        install.make_demos(found, tmp_path / "diffusion", ["../evil"])
    assert not (tmp_path / "bin" / "asked-demo").exists()
    assert install.make_demos(found, tmp_path / "diffusion", ["org/new"]) == [tmp_path / "diffusion/models/org/new"]
    failing = environment.Environment(python=interpreter(tmp_path / "bad", ends=3), versions=())
    with pytest.raises(Unsupported, match="the demo could not be made: status 3"):
        install.make_demos(failing, tmp_path / "diffusion", ["org/new"])


def test_the_command_line_says_what_there_is(tmp_path: Path) -> None:
    def run(*words: str, **variables: str) -> dict[str, object]:
        done = CliRunner().invoke(
            cli, ["diffusion", *words, "--data-dir", str(tmp_path), "-o", "json"], env=variables, standalone_mode=False
        )
        assert done.exception is None, done.output
        found: dict[str, object] = json.loads(done.stdout)
        return found

    add_model(tmp_path, "org/model")
    absent = run("status")
    assert (absent["schema"], absent["ready"], absent["reason"]) == ("skerry.diffusion/1", False, ABSENT)
    python = interpreter(tmp_path / "bin")
    ready = run("status", SKERRY_DIFFUSION_PYTHON=str(python))
    assert (ready["ready"], ready["reason"], ready["versions"]) == (True, None, VERSIONS)
    assert ready["models"] == [
        {"name": "org/model", "folder": f"{tmp_path}/diffusion/models/org/model", "source": "folder", "demo": False}
    ]


def test_doctor_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = doctor._diffusion(tmp_path)
    assert (check.name, check.state, check.detail) == ("pictures", "missing", ABSENT)
    monkeypatch.setenv("SKERRY_DIFFUSION_PYTHON", str(interpreter(tmp_path / "bin")))
    (check,) = doctor._diffusion(tmp_path)
    assert check.state == "ok"
    assert check.detail.startswith("diffusers 0.42.1, torch 2.13.0, ")
    monkeypatch.setenv("SKERRY_DIFFUSION_HUB", "perhaps")
    (check,) = doctor._diffusion(tmp_path)
    assert "is unreadable" in check.detail
