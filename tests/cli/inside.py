"""The command line inside the test's own process: quicker than a process of its own, and with the same ending."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry.cli.main import main
from tests.cli.command import Outcome, counts
from tests.networks.dispersed.server import OWNER_KEY, PUBLIC_KEY, SECRET_KEY, SignedServer

Run = Callable[..., Outcome]


def runner(directory: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[bytes]) -> Run:
    """A function that runs a command line on a data directory, with nothing of ours in the environment.

    Args:
        directory: the island's.
        monkeypatch: of the test.
        capture: `capsysbinary` of the test.
    """
    for name in os.environ:
        if counts(name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SKERRY_DATA_DIR", str(directory))
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*words: str, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capture.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, out, err.decode())

    return run


def pretend_island(directory: Path, server: SignedServer) -> None:
    """Make a data directory say that this server, in this process, is its island, and that it speaks Dispersed."""
    directory.mkdir()
    facts = {"url": server.url, "pid": os.getpid(), "version": "1", "started_at": "2026-01-01T00:00:00Z"}
    keys = {"arker": "ark_live_x", "dispersed": PUBLIC_KEY, "dispersed_secret": SECRET_KEY}
    (directory / "server.json").write_text(json.dumps(facts))
    (directory / "owner.key").write_text(OWNER_KEY)
    (directory / "credentials.json").write_text(json.dumps({"account": "acc", "keys": keys}))
