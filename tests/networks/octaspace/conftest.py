"""A plain server for the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks.octaspace.server import PlainServer, running


@pytest.fixture
def plain_server() -> Iterator[PlainServer]:
    """A running server that shows what came."""
    with running() as known:
        yield known
        known.stalled.set()
