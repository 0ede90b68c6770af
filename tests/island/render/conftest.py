"""Fixtures of tests that render."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from skerry.island.workers.render import RenderWorkers
from skerry.island.workers.render.blender import Blender
from tests.island.render import render_lab
from tests.island.sandbox import sandbox_lab


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory for state, images and sources."""
    with sandbox_lab.scratch() as directory:
        yield directory


@pytest.fixture
def double(scratch: Path) -> Blender:
    """What takes Blender's place."""
    if not render_lab.PYTHON.exists():
        pytest.skip(f"the double for Blender is run by {render_lab.PYTHON}, which is not here")
    return render_lab.double(scratch / "double")


@pytest.fixture
async def workers(scratch: Path, double: Blender) -> AsyncIterator[RenderWorkers]:
    """Workers of the double, one of them for the queue `q`."""
    async with render_lab.opened(scratch, double) as workers:
        await workers.recover(())
        await workers.start("w", queue="q")
        yield workers
