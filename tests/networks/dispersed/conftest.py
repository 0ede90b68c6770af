"""A verifying server for the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks.dispersed.server import SignedServer, running


@pytest.fixture
def signed_server() -> Iterator[SignedServer]:
    """A running server that answers only what it can verify."""
    with running() as known:
        yield known
