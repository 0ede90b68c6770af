"""A loopback server for transports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.io.server import LoopbackServer, running


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """A running loopback server."""
    with running() as known:
        yield known
        known.release.set()
