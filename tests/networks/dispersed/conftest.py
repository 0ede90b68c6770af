"""A verifying server for the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks.dispersed.server import SignedServer, start


@pytest.fixture
def signed_server() -> Iterator[SignedServer]:
    """A running server that answers only what it can verify."""
    known, running, thread = start()
    yield known
    running.shutdown()
    running.server_close()
    thread.join()
