"""Fixtures of the Dispersed face's tests."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skerry.island.engine import gpus, nodes
from tests.island.faces.dispersed.network import Network
from tests.island.faces.dispersed.stage import Stage
from tests.island.faces.stage import begun, copied


@pytest.fixture(autouse=True)
def machine() -> Iterator[None]:
    """Two processors and no GPU, whatever there is here."""
    detect = nodes.detect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpus, "detect", lambda: ())
        patch.setattr(nodes, "detect", lambda settings: replace(detect(settings), cpu_millis=2_000))
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `begun`."""
    return begun(Stage(tmp_path_factory.mktemp("template")))


@pytest.fixture
async def stage(tmp_path: Path, template: Path) -> AsyncIterator[Stage]:
    """The face, open."""
    async with copied(Stage(tmp_path), template) as it:
        yield it


@pytest.fixture
async def network(tmp_path: Path, template: Path) -> AsyncIterator[Network]:
    """An open network in time that stands still."""
    shutil.copytree(template, tmp_path / "data")
    it = Network(tmp_path)
    await it.open()
    yield it
    await it.end()
