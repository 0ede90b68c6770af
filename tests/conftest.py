"""Fixtures shared by every test."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors",
        metavar="DIR_OR_FILE",
        default=None,
        help="replay the recorded cases found here in place of those in tests/vectors/data",
    )


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, which the island is built on."""
    return "asyncio"
