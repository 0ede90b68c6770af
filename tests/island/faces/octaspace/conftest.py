"""Fixtures of the OctaSpace face's tests."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.island.faces.octaspace.stage import Stage
from tests.island.faces.stage import begun


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `begun`."""
    return begun(Stage(tmp_path_factory.mktemp("template")))


@pytest.fixture
async def stage(tmp_path: Path, template: Path) -> AsyncIterator[Stage]:
    """The face, open."""
    shutil.copytree(template, tmp_path / "data")
    it = Stage(tmp_path)
    await it.open()
    yield it
    await it.close()
