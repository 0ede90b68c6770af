"""A loopback server for transports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.io.server import LoopbackServer, start


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """A running loopback server."""
    known, running, thread = start()
    yield known
    known.release.set()
    running.shutdown()
    running.server_close()
    thread.join()
