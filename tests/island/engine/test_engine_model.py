"""Any history of runs, cancellations, forks and crashes: sessions keep their order and state, the books stay right."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skerry.ids import new_ulid
from skerry.island.engine.idempotency import IdempotencyKey
from tests.island.engine.lab import Lab

SESSIONS = st.integers(0, 1)


class Islands(RuleBasedStateMachine):
    """Two sessions count aloud; each run adds one, whatever happens to the server in between."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.lab = Lab(Path(self.folder.name))
        self.count = [0, 0]
        self.expected: dict[str, int | None] = {}
        self.keys: dict[str, str] = {}
        self.waiting: list[str] = []

        async def work() -> list[str]:
            await self.lab.open()
            await self.lab.sandbox()
            default = await self.lab.engine.sessions.default("box")
            other = await self.lab.engine.sessions.create(self.lab.account, "box")
            return [default.id, other.id]

        self.sessions = self.runner.run(work())

    def _submit(self, session: int, key: str | None) -> None:
        id = new_ulid()
        bound = None if key is None else IdempotencyKey("s", key, f"{session}")
        command = "n=$((n+1)); echo $n"
        run = self.runner.run(self.lab.submit(command, id=id, session_id=self.sessions[session], idempotency=bound))
        if key is not None and key in self.keys:
            assert run.id == self.keys[key]
            return
        assert run.id == id
        if key is not None:
            self.keys[key] = id
        self.count[session] += 1
        self.expected[id] = self.count[session]
        self.waiting.append(id)

    @rule(session=SESSIONS)
    def submit(self, session: int) -> None:
        self._submit(session, None)

    @rule(session=SESSIONS, key=st.sampled_from("ab"))
    def submit_keyed(self, session: int, key: str) -> None:
        self._submit(session, f"{key}{session}")

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(self.waiting))
        run = self.runner.run(self.lab.finish(id))
        assert run.state == "completed"

    @rule(session=SESSIONS, begun=st.booleans())
    def cancel_one(self, session: int, begun: bool) -> None:
        """Something that never ends is cancelled; it must leave no trace in the session."""

        async def work() -> None:
            run = await self.lab.submit("n=1000; echo begun; sleep 600", session_id=self.sessions[session])
            if begun:
                await self.lab.wrote(run, "begun")
            assert await self.lab.engine.runs.cancel(self.lab.account, "box", run.id)
            ended = await self.lab.finish(run)
            assert ended.state == "cancelled"

        self.runner.run(work())

    @precondition(lambda self: self.waiting)
    @rule()
    def crash(self) -> None:
        """The server dies once nothing is in the moment between being started and being known to run."""

        async def work() -> None:
            jobs = self.lab.engine._dispatcher.jobs

            async def settled() -> bool:
                return all(job.process is not None or not job.started for job in jobs.values())

            await self.lab.until(settled)
            await self.lab.crash()

        self.runner.run(work())

    @rule()
    def restart(self) -> None:
        async def work() -> None:
            for id in self.waiting:
                await self.lab.finish(id)
            await self.lab.engine.close()
            await self.lab.open()

        self.runner.run(work())

    @invariant()
    def the_books_are_right(self) -> None:
        if hasattr(self, "sessions"):
            assert self.runner.run(self.lab.engine.ledger.audit()) == []

    def teardown(self) -> None:
        if not hasattr(self, "sessions"):
            return

        async def work() -> None:
            spent = 0
            for id, number in self.expected.items():
                run = await self.lab.finish(id)
                assert run.state == "completed", run
                assert (await self.lab.engine.runs.output(run))[0] == f"{number}\n".encode()
            await self.lab.books()
            for run in await self.lab.engine.runs.list(self.lab.account):
                spent += run.cost.amount if run.cost else 0
            assert await self.lab.paid() == spent

        try:
            self.runner.run(work())
        finally:
            self.runner.run(self.lab.end())
            self.runner.close()
            self.folder.cleanup()


TestIslands = Islands.TestCase
TestIslands.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
