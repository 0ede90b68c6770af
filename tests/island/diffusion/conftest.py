"""Fixtures of tests that draw."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.island.workers.image import DiffusionWorkers
from tests.island.diffusion import diffusion_lab


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[DiffusionWorkers]:
    """Workers of the stand-in, with the model `org/model`."""
    diffusion_lab.add_model(tmp_path, "org/model")
    async with diffusion_lab.workers_of(tmp_path) as workers:
        yield workers
