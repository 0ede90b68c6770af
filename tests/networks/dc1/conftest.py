"""A small marketplace for the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks.dc1.server import Marketplace, start


@pytest.fixture
def marketplace() -> Iterator[Marketplace]:
    """A running marketplace with one provider."""
    known, running, thread = start()
    yield known
    known.release.set()
    running.shutdown()
    running.server_close()
    thread.join()
