"""Fixtures of the provider's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.island.provider.provider_lab import ProviderLab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ProviderLab]:
    """A provider at work."""
    it = await ProviderLab(tmp_path).open()
    yield it
    await it.end()
