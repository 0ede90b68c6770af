"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skerry.island.clock import VirtualClock
from tests.addresses import own_address
from tests.island.engine.lab import Lab


@pytest.fixture(params=["double", "machine"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """An open engine with one sandbox `box`, once over the double and once over this machine's own driver."""
    it = Lab(tmp_path, real=request.param == "machine", host=own_address())
    await it.open()
    await it.sandbox()
    yield it
    await it.end()


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[Lab]:
    """The same over the double alone."""
    it = Lab(tmp_path, host=own_address())
    await it.open()
    await it.sandbox()
    yield it
    await it.end()


@pytest.fixture
def clock() -> VirtualClock:
    """Time that stands still."""
    return VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def timeless(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Lab]:
    """An engine over the double, in time that stands still."""
    it = Lab(tmp_path, clock=clock, idle_suspend=300.0, host=own_address())
    await it.open()
    await it.sandbox()
    yield it
    await it.end()
