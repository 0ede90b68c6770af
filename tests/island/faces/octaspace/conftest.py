"""Fixtures of the OctaSpace face's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.island.faces.octaspace.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """The face, open."""
    it = Stage(tmp_path)
    await it.open()
    yield it
    await it.close()
