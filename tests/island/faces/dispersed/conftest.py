"""Fixtures of the Dispersed face's tests."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.island.faces.dispersed.network import Network
from tests.island.faces.dispersed.stage import Stage
from tests.island.faces.stage import begun, copied


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
