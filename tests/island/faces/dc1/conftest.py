"""Fixtures of the DC1 face's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.island.faces.dc1.stage import Stage
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
