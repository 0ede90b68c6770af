"""Fixtures shared by every test."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.unsynced import unsynced


def pytest_configure() -> None:
    unsynced()
    # How long an example takes says more of the machine than of what is tested.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")
    # What is collected stays to the end; looking for garbage in it takes a third of collecting, and more later.
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


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


@pytest.fixture
def signals_end_programs() -> Iterator[None]:
    """Programs that the test starts are ended by Ctrl-C and by the end of their terminal, as people know them.

    Whoever started the tests may ignore that, nohup(1) and every shell for what it puts into the background, and then
    all that they start ignores it too.
    """
    ignored = [n for n in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
