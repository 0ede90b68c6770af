"""The documents are tests: every python and console block runs, every link leads somewhere.

`sh` blocks are for reading. In `console` blocks, lines after `$` are run by bash in one session per document, and what
follows is compared with the output, `...` standing for anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Skerry

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEADLINE = 600
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(document.read_text()) if kind == language]


def with_blocks(language: str) -> list[Path]:
    return [document for document in DOCUMENTS if blocks(document, language)]


MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"


class Reader:
    """Whoever follows the documents, with an island; what the last one has left is used by the next."""

    def __init__(self, command: Skerry) -> None:
        self.command = command
        self._variables: dict[str, str] = {}
        self._left: list[int] = []

    @property
    def environment(self) -> dict[str, str]:
        """What he has after `skerry up --detach` and `eval "$(skerry env)"`, with a model that DC1's pages ask."""
        if not self._left or self._left != self._written():
            for words in (("up", "--detach"), ("model", "demo", "--replace", MODEL)):
                done = self.command(*words)
                assert done.status == 0, done.stderr
            self._variables = self.command("env", "-o", "json").json["variables"]
            self._left = self._written()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**self.command.environment, **self._variables, "PATH": path}

    def _written(self) -> list[int]:
        """When the island was started, its keys and the model made; 0 for what is not there."""
        files = [self.command.data_dir / name for name in ("server.json", "credentials.json", f"models/{MODEL}.gguf")]
        return [path.stat().st_mtime_ns if path.exists() else 0 for path in files]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    command = Skerry(tmp_path_factory.mktemp("docs") / "island")
    yield Reader(command)
    command("down", "--force")


@pytest.fixture
def environment(reader: Reader) -> dict[str, str]:
    return reader.environment


@pytest.mark.parametrize("document", with_blocks("python"), ids=name_of)
def test_python_blocks_run(document: Path, environment: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / "blocks.py"
    program.write_text("\n\n".join(blocks(document, "python")))
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", with_blocks("console"), ids=name_of)
def test_console_blocks_do_what_they_show(document: Path, environment: dict[str, str], tmp_path: Path) -> None:
    script, expected = ["exec 2>&1"], []
    for block in blocks(document, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                expected.append("")
                script += [f"echo '>>> {len(expected)}'", line[2:]]
            else:
                expected[-1] += f"{line}\n"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    shown = re.split(r"^>>> \d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert len(shown) == len(expected), done.stdout
    for want, got in zip(expected, shown, strict=True):
        pattern = re.escape(want.rstrip()).replace(re.escape("..."), ".*")
        assert re.fullmatch(pattern, got.rstrip(), re.DOTALL), f"expected:\n{want}\ngot:\n{got}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text()):
        if "://" not in target and not target.startswith("#"):
            assert (document.parent / target.partition("#")[0]).exists(), target


def test_the_exit_statuses_in_the_documents_are_those_of_the_program() -> None:
    from skerry.cli import exits

    table = (ROOT / "docs/how-to/command-line.md").read_text().partition("## Exit statuses")[2]
    documented = {int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    known = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert documented == {value for value in known if value < 100}


def test_every_command_is_documented() -> None:
    from skerry.cli.main import ROOT_COMMANDS

    text = (ROOT / "docs/how-to/command-line.md").read_text()
    for name in ROOT_COMMANDS:
        assert re.search(rf"[`/ ]{name}\b", text), name
