"""Fixtures of tests that run real sandboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.island.sandbox import sandbox_lab


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory for state and images."""
    with sandbox_lab.scratch() as directory:
        yield directory


@pytest.fixture
async def lab(scratch: Path) -> AsyncIterator[sandbox_lab.Lab]:
    """A driver of its own for one test."""
    async with sandbox_lab.lab(scratch) as it:
        yield it


@pytest.fixture
async def box(lab: sandbox_lab.Lab) -> sandbox_lab.AgentSandbox:
    """A live sandbox."""
    return await lab.box()
