"""Fixtures of the Dispersed face's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.island.faces.dispersed.network import Network
from tests.island.faces.dispersed.stage import Stage


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """An open network in time that stands still."""
    it = Network(tmp_path)
    await it.open()
    yield it
    await it.end()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """The face, open."""
    it = Stage(tmp_path)
    await it.open()
    yield it
    await it.close()
