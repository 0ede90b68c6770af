"""A command line and, for those who ask, an island of its own behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Skerry
from tests.cli.hosted import Hosted, serve
from tests.cli.inside import Run, runner
from tests.networks.dispersed.server import SignedServer, start


@pytest.fixture
def skerry(tmp_path: Path) -> Iterator[Skerry]:
    """The command on an empty data directory; whatever island it starts is stopped."""
    command = Skerry(tmp_path / "island")
    yield command
    command("down", "--force")


@pytest.fixture(scope="session")
def island(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Skerry]:
    """The command with an island that runs for all who need no other."""
    command = Skerry(tmp_path_factory.mktemp("cli") / "island")
    started = command("up", "--detach")
    try:
        assert started.status == 0, started.stderr
        yield command
    finally:
        command("down", "--force")


@pytest.fixture
def server() -> Iterator[SignedServer]:
    """A server that answers only what it can verify."""
    known, running, thread = start()
    yield known
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are asked for more often than people would."""
    monkeypatch.setattr("skerry.cli.octaspace.POLL", 0.02)


@pytest.fixture
def hosted() -> Iterator[Hosted]:
    """A server in the place of the hosted OctaSpace."""
    with serve() as known:
        yield known


@pytest.fixture
def away(
    tmp_path: Path, hosted: Hosted, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """The command line with the hosted network in its environment, and no island."""
    it = runner(tmp_path / "none", monkeypatch, capsysbinary)
    monkeypatch.setenv("OCTA_API_KEY", "k" * 64)
    monkeypatch.setenv("OCTA_BASE_URL", hosted.url)
    return it
