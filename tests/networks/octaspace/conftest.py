"""A plain server for the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks.octaspace.server import PlainServer, start


@pytest.fixture
def plain_server() -> Iterator[PlainServer]:
    """A running server that shows what came."""
    known, running, thread = start()
    yield known
    known.stalled.set()
    running.shutdown()
    running.server_close()
    thread.join()
