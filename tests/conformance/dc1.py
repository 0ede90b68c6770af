"""What the scenarios of DC1 share: an island with a language model, clients of both kinds, an audit of its books."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, select

from skerry.island.clock import SystemClock
from skerry.island.faces.dc1.tables import jobs
from skerry.island.island import Island
from skerry.island.settings import DC1
from skerry.island.workers.llm.models import ModelStore
from skerry.networks.dc1.outputs import JobOutput
from tests.conformance.blocking import blocking

T = TypeVar("T")
PATIENCE = 60.0
TINY = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
ASKED = [{"role": "user", "content": "Tell me about Vision 2030"}]
OFTEN = 0.02
"""Seconds between two looks."""


class Skipping(SystemClock):
    """The machine's clock, which can be put forward.

    Attributes:
        ahead: seconds by which it has been.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@contextmanager
def models_island(data: Path, **choices: Any) -> Iterator[Island]:
    """An island that has a tiny language model without any sense, and no limits of rate unless they are asked for.

    Args:
        data: its directory.
        choices: of `Settings.dc1`.
    """
    pytest.importorskip("xllamacpp", reason="llama.cpp's wheel is not installed")
    ModelStore.of(data, {}).add_demo(TINY)
    with Island(data_dir=data, dc1=DC1(**{"rate_limits": False, **choices})) as island:
        yield island


@contextmanager
def renting(island: Island, kind: str, **options: Any) -> Iterator[Any]:
    """A client of the island: its first renter, unless another key is among the options."""
    with ExitStack() as stack:
        if kind == "sync":
            yield stack.enter_context(island.dc1(environ={}, **options))
        else:
            yield stack.enter_context(blocking(island.async_dc1(environ={}, **options)))


def eventually(question: Callable[[], T], what: str) -> T:
    """The first true answer to a question asked often."""
    end = time.monotonic() + PATIENCE
    while not (answer := question()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:g} s"
        time.sleep(OFTEN)
    return answer


def ended(client: Any, job_id: str) -> JobOutput:
    """What came of a job."""
    output = client.jobs.wait(job_id, timeout=PATIENCE, poll_interval=OFTEN)
    assert isinstance(output, JobOutput)
    return output


def script(client: Any, text: str, **more: Any) -> str:
    """Submit a program; its job's name."""
    body = {"job_type": "custom_container", "duration_minutes": 1, "params": {"script": text}, **more}
    return str(client.jobs.create(**body).job.id)


def audited(island: Island) -> None:
    """Every book is in order, nothing that has ended is held for, and no sandbox of a job is left."""
    assert island.call(island.engine.ledger.audit()) == []

    def live(connection: Connection) -> list[str]:
        over = ("completed", "failed", "cancelled")
        return [row.job_id for row in connection.execute(select(jobs.c.job_id).where(jobs.c.status.not_in(over)))]

    assert island.call(island.engine.store.read(live)) == []

    def rooms() -> bool:
        sandboxes, _ = island.call(island.engine.sandboxes.list(island.engine.account_id))
        return not [sandbox for sandbox in sandboxes if sandbox.network == "dc1"]

    assert eventually(rooms, "the end of the last sandbox")
