"""Fixtures of tests of language models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.island.workers.llm import LlmWorkers, llama
from tests.island.llm import llm_lab


@pytest.fixture(autouse=True)
def engine() -> None:
    """The engine, without which there is nothing to test."""
    if llama.find() is None:
        pytest.skip(llama.MISSING)


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's proxy is between a client and what it asks on this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[LlmWorkers]:
    """Workers with two models."""
    async with llm_lab.opened(tmp_path, llm_lab.MISTRAL, "tiny") as workers:
        yield workers
