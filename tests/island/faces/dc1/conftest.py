"""Fixtures of the DC1 face's tests."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.island.faces.dc1.stage import Stage


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory after its first start; copying it takes a third of the time of making another."""
    directory = tmp_path_factory.mktemp("template")

    async def make() -> None:
        stage = Stage(directory)
        await stage.open()
        await stage.close()

    asyncio.run(make())
    return directory / "data"


@pytest.fixture
async def stage(tmp_path: Path, template: Path) -> AsyncIterator[Stage]:
    """The face, open."""
    shutil.copytree(template, tmp_path / "data")
    it = Stage(tmp_path)
    await it.open()
    yield it
    await it.close()
