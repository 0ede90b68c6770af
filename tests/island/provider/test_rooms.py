"""Sandboxes and GPUs of jobs over an engine that believes to have two GPUs; and what is remembered of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.island.engine import gpus
from skerry.island.engine.errors import NoCapacity
from skerry.island.engine.records import Gpu
from skerry.island.provider import account, rooms
from skerry.island.provider.course import Bookmark
from skerry.island.provider.daemon import DaemonOptions
from skerry.island.provider.journal import KEPT_SECONDS, Journal
from skerry.island.provider.records import Outcome, ProviderJob, failure
from tests.island.engine.lab import Lab

pytestmark = pytest.mark.anyio

CARDS = tuple(Gpu(index=index, name="H100", memory_bytes=80 << 30, uuid=f"GPU-{index}") for index in range(2))


def job(number: int, attempt: int = 1) -> ProviderJob:
    return ProviderJob(id=number, job_id=f"job-{number}", job_type="training", attempt=attempt)


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setattr(gpus, "detect", lambda: CARDS)
    it = Lab(tmp_path)
    await it.open()
    yield it
    await it.end()


async def test_gpus_belong_to_one_job_at_a_time(lab: Lab) -> None:
    engine = lab.engine
    assert await rooms.take_gpus(engine, job(1), 1) == (0,)
    assert await rooms.take_gpus(engine, job(1), 1) == (0,)
    assert await rooms.take_gpus(engine, job(2), 1) == (1,)
    with pytest.raises(NoCapacity, match="0 are free"):
        await rooms.take_gpus(engine, job(3), 1)
    with pytest.raises(NoCapacity, match="this machine has 2"):
        await rooms.take_gpus(engine, job(4), 3)
    await rooms.leave(engine, job(1))
    assert await rooms.take_gpus(engine, job(3), 1) == (0,)
    # After a crash only what goes on keeps its own.
    engine = await lab.crash()
    await rooms.sweep(engine, [job(2)])
    assert await rooms.take_gpus(engine, job(5), 1) == (0,)
    with pytest.raises(NoCapacity):
        await rooms.take_gpus(engine, job(6), 1)
    assert await rooms.take_gpus(engine, job(2), 1) == (1,)


async def test_only_sandboxes_of_living_jobs_are_kept(lab: Lab) -> None:
    engine = lab.engine
    for one in (job(1), job(2), job(2, attempt=2)):
        await engine.sandboxes.create(
            engine.account_id, id=rooms.room_id(one, 1), network=rooms.NETWORK, image="host", metered=False
        )
    await lab.sandbox("box")
    await rooms.sweep(engine, [job(2, attempt=2)])
    found, _ = await engine.sandboxes.list(engine.account_id)
    assert {sandbox.id for sandbox in found} == {"box", rooms.room_id(job(2, attempt=2), 1)}
    assert await rooms.exists(engine, job(2, attempt=2))
    assert not await rooms.exists(engine, job(1))


def test_the_journal_keeps_the_first_word(tmp_path: Path) -> None:
    moment = [datetime(2026, 1, 1, tzinfo=UTC)]
    journal = Journal(tmp_path, lambda: moment[0])
    claimed = replace(job(1), claimed_at=moment[0], params={"script": "x", "n": [1]}, task_spec_raw="سؤال")
    journal.claimed(claimed)
    journal.claimed(job(2))
    assert Journal(tmp_path).going() == [job(2), claimed]
    first = Outcome(success=True, result="سؤال\n", gpu_seconds=1.25, exit_code=0)
    assert journal.decided(claimed, first) == first
    assert journal.decided(claimed, failure("second")) == first
    again = Journal(tmp_path, lambda: moment[0])
    assert again.outcome(claimed) == first
    assert again.going() == [job(2), claimed]
    again.settled(claimed)
    assert again.going() == [job(2)]
    # Within the hour it is known; another attempt of the same job is another matter.
    assert again.outcome(claimed) == first
    assert again.outcome(replace(claimed, attempt=2)) is None
    moment[0] += timedelta(seconds=KEPT_SECONDS + 1)
    assert again.outcome(claimed) is None
    again.drop(job(2))
    assert list(tmp_path.iterdir()) == []


def test_a_broken_journal_and_a_broken_bookmark_harm_nobody(tmp_path: Path) -> None:
    (tmp_path / "dc1-0.json").write_text("{")
    journal = Journal(tmp_path)
    assert journal.going() == []
    journal.claimed(job(1))
    assert Journal(tmp_path).going() == [job(1)]
    for text in ("", "[]", '{"lines": "x"}', '{"stdout": 3}'):
        (tmp_path / "mark.json").write_text(text)
        assert Bookmark(tmp_path / "mark.json").lines == 0
    mark = Bookmark(tmp_path / "mark.json")
    mark.keep({"a.stdout": 7}, 2)
    mark.keep({"a.stderr": 9}, 1)
    again = Bookmark(tmp_path / "mark.json")
    assert (again.places, again.lines) == ({"a.stdout": 7, "a.stderr": 9}, 3)


def test_an_account_is_its_owners_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="skerry provider register"):
        account.load(tmp_path)
    kept = account.Account(base_url="https://dc1.example", provider_id=7, api_key="dc1-provider-secret", name="rig")
    path = account.keep(tmp_path, kept)
    assert path.stat().st_mode & 0o777 == 0o600
    assert account.load(tmp_path) == kept
    assert "secret" not in repr(kept)
    path.write_text('{"base_url": "file:///etc/passwd", "provider_id": 1, "api_key": "k", "name": "n"}')
    with pytest.raises(ConfigurationError, match="http"):
        account.load(tmp_path)
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        account.load(tmp_path)


def test_a_daemon_that_cannot_be_is_refused(tmp_path: Path) -> None:
    kept = account.Account(base_url="https://dc1.example", provider_id=7, api_key="k", name="rig")
    with pytest.raises(ConfigurationError, match="no IP address"):
        DaemonOptions(data_dir=tmp_path, account=kept, provider_ip="rig.example")
    for ports in (range(80, 90), range(8100, 8100), range(65000, 70000)):
        with pytest.raises(ConfigurationError, match="8100-8199"):
            DaemonOptions(data_dir=tmp_path, account=kept, ports=ports)
