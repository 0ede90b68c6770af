"""Fixtures of tests that run real relays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.island.workers.vpn import vpn_lab


@pytest.fixture(scope="module")
def built() -> Iterator[vpn_lab.Lab]:
    """The networks of one module's tests."""
    reason = vpn_lab.lacking()
    if reason is not None:
        pytest.skip(reason)
    with vpn_lab.lab() as it:
        yield it


@pytest.fixture
def lab(built: vpn_lab.Lab) -> Iterator[vpn_lab.Lab]:
    """The same, with no relay in it before and after the test."""
    yield built
    asyncio.run(built.relays.recover([]))
