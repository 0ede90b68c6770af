"""A small marketplace for the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.networks.dc1.server import Marketplace, running


@pytest.fixture
def marketplace() -> Iterator[Marketplace]:
    """A running marketplace with one provider."""
    with running() as known:
        yield known
        known.release.set()
