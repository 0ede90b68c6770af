"""The book of render jobs: whatever happens in whatever order, frames are neither lost nor counted twice."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from skerry.island.workers.render import RenderSpec, book, counts
from skerry.island.workers.render.book import MOST_TRIES, Book
from skerry.island.workers.render.values import Claim, WorkerRecord

NOW = datetime(2026, 8, 12, 9, tzinfo=UTC)


class Rendering(RuleBasedStateMachine):
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self._directory = TemporaryDirectory()
        self._path = Path(self._directory.name) / "render.db"
        self.book = Book(self._path)
        self.made = 0
        self.rendered: set[tuple[str, int]] = set()
        self.book.now(book.put_worker, WorkerRecord(id="w", queue="q", lanes=((),)))

    def teardown(self) -> None:
        self.book.close()
        self._directory.cleanup()

    @rule(frames=st.integers(1, 12), step=st.integers(1, 3), batch=st.none() | st.integers(1, 4))
    def submit(self, frames: int, step: int, batch: int | None) -> None:
        self.made += 1
        spec = RenderSpec(first=1, last=frames, step=step, batch=batch)
        self.book.now(book.add_job, f"j{self.made}", "q", "", spec, "{}", NOW)

    @rule(target=claims, sharers=st.integers(1, 4))
    def take(self, sharers: int) -> object:
        self.made += 1
        claim = self.book.now(book.claim, f"c{self.made}", "w", 0, sharers)
        return multiple() if claim is None else claim

    @rule(claim=claims, data=st.data())
    def finish(self, claim: Claim, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(claim.frames))
        fresh = self.book.now(book.frame_done, claim.job_id, number, NOW)
        assert fresh == ((claim.job_id, number) not in self.rendered)
        self.rendered.add((claim.job_id, number))

    @rule(claim=consumes(claims), data=st.data(), hopeless=st.sampled_from([None, None, None, "broken"]))
    def give_back(self, claim: Claim, data: st.DataObject, hopeless: str | None) -> None:
        blamed = data.draw(st.sets(st.sampled_from(claim.frames)))
        for _ in range(2):
            self.book.now(book.settle, claim, dict.fromkeys(blamed, "why"), hopeless, NOW)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        jobs = self.book.now(book.jobs, "q")
        if jobs:
            self.book.now(book.cancel_job, data.draw(st.sampled_from(jobs)).id, NOW)

    @rule()
    def crash(self) -> None:
        self.book.close()
        self.book = Book(self._path)

    @invariant()
    def every_frame_is_accounted_for(self) -> None:
        held = {(claim.job_id, number) for claim in self.book.now(book.claims) for number in claim.frames}
        assert self.book.now(book.frame_counts, NOW).total == len(self.rendered)
        for job in self.book.now(book.jobs, None):
            frames = self.book.now(book.frames, job.id)
            assert [frame.number for frame in frames] == list(job.spec.frames())
            for frame in frames:
                where = (job.id, frame.number)
                assert (frame.state == "done") == (where in self.rendered)
                if frame.state == "rendering":
                    assert where in held
                assert frame.tries <= MOST_TRIES
            if job.state in ("finished", "failed"):
                assert not any(held_job == job.id for held_job, _ in held)
                assert {frame.state for frame in frames} <= {"done", "failed"}
                assert (job.state == "failed") == any(frame.state == "failed" for frame in frames)
            elif job.state == "queued":
                assert not any(held_job == job.id for held_job, _ in held)


TestRendering = Rendering.TestCase
TestRendering.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


def test_lanes_leave_each_other_their_part(tmp_path: Path) -> None:
    it = Book(tmp_path / "render.db")
    it.now(book.put_worker, WorkerRecord(id="w", queue="q", lanes=((0,), (1,))))
    it.now(book.add_job, "j", "q", "", RenderSpec(first=1, last=16), "{}", NOW)
    shares = []
    while (claim := it.now(book.claim, f"c{len(shares)}", "w", 0, 2)) is not None:
        shares.append(len(claim.frames))
    assert shares == [4, 3, 3, 2, 1, 1, 1, 1]
    assert it.now(book.job, "j").state == "rendering"
    it.close()


def test_a_job_is_over_once_all_who_rendered_it_have_said_so(tmp_path: Path) -> None:
    it = Book(tmp_path / "render.db")
    it.now(book.put_worker, WorkerRecord(id="w", queue="q", lanes=((0,), (1,))))
    it.now(book.add_job, "j", "q", "", RenderSpec(first=1, last=2), "{}", NOW)
    first, second = (it.now(book.claim, f"c{lane}", "w", lane, 2) for lane in range(2))
    for number in (1, 2):
        it.now(book.frame_done, "j", number, NOW)
    assert it.now(book.settle, first, {}, None, NOW).state == "rendering"
    assert it.now(book.settle, second, {}, None, NOW).state == "finished"
    it.close()


def test_counts_by_week_begin_on_mondays() -> None:
    db = sqlite3.connect(":memory:")
    db.executescript(book._SCHEMA)
    monday = datetime(2026, 8, 10, tzinfo=UTC)
    for moment in (monday - timedelta(seconds=1), monday, monday + timedelta(days=6, hours=23), NOW):
        counts.add(db, moment)
    found = counts.read(db, NOW)
    assert (found.total, found.last_day) == (4, 2)
    assert found.by_week == {"2026-08-03": 1, "2026-08-10": 3}
    db.close()


def test_the_frames_of_a_job_have_one_extension(tmp_path: Path) -> None:
    it = Book(tmp_path / "render.db")
    it.now(book.add_job, "told", "q", "", RenderSpec(first=1, last=2, format="JPEG"), "{}", NOW)
    assert not it.now(book.settle_extension, "told", "png")
    it.now(book.add_job, "open", "q", "", RenderSpec(first=1, last=2, format=None), "{}", NOW)
    assert it.now(book.settle_extension, "open", "exr")
    assert it.now(book.settle_extension, "open", "exr")
    assert not it.now(book.settle_extension, "open", "png")
    assert [job.extension for job in it.now(book.jobs, "q")] == ["jpg", "exr"]
    it.close()
