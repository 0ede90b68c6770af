"""`skerry model`: models are files, and no server runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.island.workers.llm import demo
from tests.cli.command import Skerry

NAME = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"


@pytest.fixture
def skerry(tmp_path: Path) -> Skerry:
    return Skerry(tmp_path / "data", env={"HF_HOME": str(tmp_path / "hf")})


def test_demos_are_made_listed_and_removed(skerry: Skerry) -> None:
    assert skerry("model", "ls").stderr == "no models; `skerry model demo NAME` makes one to try\n"
    made = skerry("model", "demo", NAME, "b")
    assert made.status == 0
    assert made.stderr == f"made {NAME}, b: random weights, so whatever is asked, the text is gibberish\n"
    listed = skerry("model", "ls", "-o", "json").json
    assert listed["schema"] == "skerry.models/1"
    assert [(one["name"], one["about"]) for one in listed["models"]] == [
        ("b", "demo with random weights: gibberish"),
        (NAME, "demo with random weights: gibberish"),
    ]
    again = skerry("model", "demo", "b")
    assert (again.status, "there is a model b already" in again.stderr) == (9, True)
    assert skerry("model", "demo", "b", "--replace").status == 0
    assert skerry("model", "rm", "b").stderr == "removed b\n"
    assert skerry("model", "rm", "b").status == 5
    table = skerry("model", "ls").text.splitlines()
    assert len(table) == 2
    assert table[1].startswith(NAME)


def test_files_are_added(skerry: Skerry, tmp_path: Path) -> None:
    file = tmp_path / "x.Q8_0.gguf"
    demo.write(file)
    assert skerry("model", "add", "org/x", str(file)).stderr == "added org/x:Q8_0, 459 KiB\n"
    added = skerry("model", "add", "org/y", str(file), "--copy", "-o", "json").json
    assert (added["name"], added["quantisation"]) == ("org/y", "Q8_0")
    assert [Path(one["files"][0]).is_symlink() for one in skerry("model", "ls", "-o", "json").json["models"]] == [
        True,
        False,
    ]
    file.write_bytes(b"hello")
    assert "no GGUF file" in skerry("model", "add", "z", str(file)).stderr
    # What has become of it is said where it is listed.
    assert "is no GGUF file" in skerry("model", "ls").text
    assert skerry("model", "add", "../z", str(file)).status == 2


def test_doctor_tells_the_engine_and_the_models(skerry: Skerry) -> None:
    def check() -> dict[str, str]:
        checks: list[dict[str, str]] = skerry("doctor", "-o", "json").json["checks"]
        return next(one for one in checks if one["name"] == "language models")

    assert check()["detail"].endswith("; no model is here: `skerry model pull`, `add`, or `demo` to try")
    skerry("model", "demo", "b", NAME)
    found = check()
    assert found["state"] == "ok"
    assert found["detail"].startswith("llama.cpp 20")
    assert found["detail"].endswith(f"; b, {NAME}")
