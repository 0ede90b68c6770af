"""The network's guide, followed to the letter against an island over real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.island.island import Island
from skerry.island.settings import DC1
from skerry.island.workers.llm.models import ModelStore

SCRIPT = Path(__file__).with_name("dc1_guide.py")
MODELS = ("mistralai/Mistral-7B-Instruct-v0.2", "TinyLlama/TinyLlama-1.1B-Chat-v1.0")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Island]:
    """An island that has the guide's models, tiny and without any sense."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's wheel is not installed")
    data = tmp_path_factory.mktemp("guide") / "data"
    store = ModelStore.of(data, {})
    for name in MODELS:
        store.add_demo(name)
    # The guide looks sixty times a minute, and at this pace fifty times as often.
    with Island(data_dir=data, dc1=DC1(rates=(("all", None),))) as island:
        yield island


def follow(island: Island, *flows: str) -> Any:
    """What the guide's flows saw."""
    environment = {
        "PATH": os.environ["PATH"],
        "DC1_BASE": island.base_url("dc1"),
        "RENTER_KEY": island.key("dc1"),
        "PACE": "0.02",
    }
    done = subprocess.run(
        [sys.executable, SCRIPT, *flows], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_quickstart(here: Island) -> None:
    seen = follow(here, "quickstart")["quickstart"]
    assert seen["balance"] > 0
    assert seen["held"] == 75
    assert seen["statuses"][-1] == "completed", seen
    assert isinstance(seen["response"], str)
    assert 0 <= seen["cost"] <= 75


def test_endpoint(here: Island) -> None:
    seen = follow(here, "endpoint")["endpoint"]
    assert seen["url"].endswith("/v1")
    assert (seen["status"], seen["completed"]) == ("running", "completed")
    assert isinstance(seen["content"], str)
    assert seen["pieces"] > 1
    assert seen["gone"] == 404


def test_batch(here: Island) -> None:
    results = follow(here, "batch")["batch"]
    assert len(results) == 3
    assert all(0 < result["tokens"] <= 256 for result in results)


def test_container(here: Island) -> None:
    out = follow(here, "container")["container"]
    assert out["status"] == "completed", out
    assert out["result_json"] == {"matmul_shape": [60, 60], "device": "cpu"}
    assert out["result"].startswith("CUDA available: False\n")
    assert out["job_id"].startswith("job-")


def test_poll_job(here: Island) -> None:
    seen = follow(here, "polled")["polled"]
    assert seen["status"] == "completed"
    assert seen["cost"] == 10
    assert 0 <= seen["actual"] <= 10


def test_picture_without_the_means(here: Island) -> None:
    seen = follow(here, "picture")["picture"]
    if seen["statuses"][-1] == "completed":
        assert seen["png"] > 100
    else:
        assert "diffus" in seen["error"]
        assert seen["refunded"] is True
