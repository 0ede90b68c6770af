"""Fetching models, from a hub of our own on loopback that speaks as the Hugging Face hub does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

from skerry.island.engine.errors import Conflict, EngineError, Forbidden, Invalid, NotFound
from skerry.island.workers.llm import ModelStore, demo, hub
from tests.cli.command import Skerry
from tests.island.llm.llm_lab import opened
from tests.loopback import Handler, serving

COMMIT = "0" * 40


@dataclass
class Hub:
    """What it has, and what it was asked for."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    quantised: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, to which the library is led."""
    found = Hub()

    class Answering(Handler):
        def do_GET(self) -> None:
            path = unquote(self.path.partition("?")[0])
            found.asked.append(path)
            if path == "/api/models":
                self.answer(200, json.dumps([{"id": name} for name in found.quantised]).encode())
                return
            name, _, file = path.removeprefix("/api/models/").strip("/").partition("/resolve/main/")
            if name not in found.files or (file and file not in found.files[name]):
                code = "EntryNotFound" if name in found.files else "RepoNotFound"
                self.answer(404, b"{}", {"X-Error-Code": code})
            elif name in found.gated:
                self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif file:
                content = found.files[name][file]
                tag = hashlib.sha256(content).hexdigest()
                self.answer(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"'})
            else:
                siblings = [{"rfilename": file, "size": len(content)} for file, content in found.files[name].items()]
                about = {"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
                self.answer(200, json.dumps(about).encode())

        do_HEAD = do_GET

    with serving(Answering) as found.url:
        for name, value in environment(found, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield found


def environment(there: Hub, directory: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": there.url,
        "HF_HOME": str(directory / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Usually ten seconds, for which a busy machine may stand still.
        "HF_HUB_ETAG_TIMEOUT": "60",
        "HF_HUB_DOWNLOAD_TIMEOUT": "60",
        "NO_PROXY": "127.0.0.1",
    }


def pull(directory: Path, *words: str) -> tuple[int, str]:
    """The command, which reads where the hub is when it is loaded."""
    ours = {name: os.environ[name] for name in environment(Hub(), directory)}
    done = Skerry(directory, env=ours)("model", "pull", *words)
    return done.status, done.stderr


def test_a_models_best_file_is_fetched(there: Hub, tmp_path: Path) -> None:
    there.files["org/m-GGUF"] = {
        "README.md": b"x",
        "m.Q8_0.gguf": demo.content(),
        "m.Q4_K_M.gguf": demo.content(),
        "mmproj-m.gguf": b"x",
        "m-00001-of-00002.gguf": b"x",
    }
    status, said = pull(tmp_path, "org/m", "--from", "org/m-GGUF")
    assert (status, said.splitlines()[-1]) == (0, "fetched org/m:Q4_K_M, 459 KiB")
    store = ModelStore(tmp_path / "models")
    assert [(one.full_name, one.path.read_bytes() == demo.content()) for one in store.ls()] == [("org/m:Q4_K_M", True)]
    assert not any("Q8_0" in path for path in there.asked)
    assert list((store.home / hub.INCOMING).iterdir()) == []
    with pytest.raises(Conflict, match="org/m:Q4_K_M already"):
        hub.pull(store, "org/m", repository="org/m-GGUF", endpoint=there.url)
    hub.pull(store, "org/m:q8_0", repository="org/m-GGUF", endpoint=there.url)
    assert [one.full_name for one in store.ls()] == ["org/m:Q4_K_M", "org/m:Q8_0"]


def test_parts_of_a_model_come_together(there: Hub, tmp_path: Path) -> None:
    there.files["org/m"] = {f"Q6_K/m.Q6_K-{part:05}-of-00002.gguf": demo.content() for part in (2, 1)}
    store = ModelStore(tmp_path / "models")
    model = hub.pull(store, "org/m", endpoint=there.url)
    assert store.ls() == [model]
    assert (model.full_name, len(model.files)) == ("org/m:Q6_K", 2)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        (
            "org/m",
            NotFound,
            "has no GGUF file on the hub; name one of these by --from, if you trust its owner: somebody/m-",
        ),
        ("org/n:Q2_K", NotFound, "has no quantisation Q2_K on the hub; it has Q8_0"),
        ("org/none", NotFound, "the hub has no such repository"),
        ("org/secret", Forbidden, "to those who accepted its terms"),
        ("org/bad", Invalid, r"bad\.gguf is cut short"),
        ("../m", Invalid, "no name of a model"),
    ],
)
def test_what_the_hub_has_not_is_said_with_what_to_do(
    there: Hub, tmp_path: Path, name: str, kind: type[EngineError], words: str
) -> None:
    there.files["org/m"] = {"model.safetensors": b"x", "config.json": b"{}"}
    there.files["org/n"] = there.files["org/secret"] = {"n.Q8_0.gguf": demo.content()}
    there.files["org/bad"] = {"bad.gguf": demo.content()[:3000]}
    there.gated.add("org/secret")
    there.quantised = ["somebody/m-GGUF", "other/m-GGUF"]
    store = ModelStore(tmp_path / "models")
    with pytest.raises(kind, match=words):
        hub.pull(store, name, endpoint=there.url)
    assert store.ls() == []


def test_without_a_network_it_fails_at_once(tmp_path: Path) -> None:
    environ = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    done = Skerry(tmp_path, env=environ)("model", "pull", "org/m")
    assert done.status == 8
    assert "the hub cannot be reached from here" in done.stderr
    offline = Skerry(tmp_path, env={**environ, "HF_HUB_OFFLINE": "1"})("model", "pull", "org/m")
    assert (offline.status, "the hub cannot be reached from here" in offline.stderr) == (8, True)


@pytest.mark.anyio
async def test_a_job_fetches_what_it_needs(there: Hub, tmp_path: Path) -> None:
    there.files["org/m"] = {"m.Q4_0.gguf": demo.content()}
    phases: list[str] = []

    async def on_phase(phase: str) -> None:
        phases.append(phase)

    store = ModelStore(tmp_path / "models")
    async with opened(tmp_path, "tiny", default_model="tiny", fetch=hub.fetcher(store)) as workers:
        answer = await workers.complete("org/m", "a", max_tokens=1, on_phase=on_phase)
        assert (answer.model, phases[0]) == ("org/m", "downloading_model")
        # One that the hub has not has the default stand in, and is not asked for again at once.
        for _ in range(2):
            assert (await workers.complete("org/none", "a", max_tokens=1)).model == "tiny"
        assert there.asked.count("/api/models/org/none") == 1
    async with opened(tmp_path, "tiny", hub=True) as workers:
        with pytest.raises(NotFound, match="the hub has no such repository"):
            await workers.complete("org/none", "a", max_tokens=1)


def test_the_server_does_not_load_it() -> None:
    code = "import sys, skerry.island.workers.llm.hub, skerry.island.workers.llm as llm; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"xllamacpp", "huggingface_hub", "openai", "numpy", "gguf", "httpx2"} & set(loaded)
