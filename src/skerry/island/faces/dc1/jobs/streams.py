"""What a job writes and what happens to it, as it happens (section 3.5): server-sent events that end with the job.

A stream reads rows after those that it has told, in parts of bounded size, and then waits for a change. So a slow
client loses nothing and holds nothing up: what it has not read yet is read from the database when it does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.jobs import events, job_access, job_rows, job_views, telemetry
from skerry.island.faces.dc1.jobs.changes import Changes, Watch
from skerry.island.ground.waiting import first_of
from skerry.island.store.values import micros

_AT_ONCE = 500
_MOST = 2**31 - 1
_KEEP_ALIVE_SECONDS = 15.0
_STEPS = {
    "queued": "job_queued",
    "pending": "provider_assigned",
    "assigned": "job_starting",
    "pulling": "job_starting",
    "running": "job_running",
    "paused": "job_running",
    "completed": "job_completed",
    "failed": "job_failed",
    "cancelled": "job_failed",
}


@dataclass(frozen=True, slots=True)
class _Part:
    """What a stream sends next.

    Args:
        frames: events, as they are sent.
        position: after what is told then.
        more: whether there may be more at once.
        job: its row, as it was when this was read.
    """

    frames: list[bytes]
    position: Any
    more: bool
    job: Row[Any]


Reading = Callable[[Connection, int, Any, int], _Part]
"""Reads what a stream sends next: of a job, by its number, after a position, at a moment."""


class Streams:
    """Three streams of a job.

    Args:
        engine: open.
        changes: tells when there is something to read.
    """

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes

    def routes(self) -> Sequence[Route]:
        """Reads that last as long as their job."""
        job = "/api/jobs/{job_id}"
        return [
            Route(method="GET", path=f"{job}/logs/stream", handler=self.logs, access=ANYBODY),
            Route(method="GET", path=f"{job}/stream", handler=self.status, access=ANYBODY),
            Route(method="GET", path=f"{job}/lifecycle/stream", handler=self.lifecycle, access=ANYBODY),
        ]

    async def logs(self, call: Call, job_id: str) -> Answer:
        """Each line of the log after `since`."""
        return await self._answer(call, job_id, _lines, call.whole("since", _last_seen(call), 0, _MOST), named=False)

    async def lifecycle(self, call: Call, job_id: str) -> Answer:
        """Each event after `since_sequence`."""
        since = call.whole("since_sequence", _last_seen(call), 0, _MOST)
        return await self._answer(call, job_id, _events, since, named=False)

    async def status(self, call: Call, job_id: str) -> Answer:
        """Each state of the job from the present one on."""
        return await self._answer(call, job_id, _states, "", named=True)

    async def _answer(self, call: Call, job_id: str, read: Reading, position: Any, *, named: bool) -> Answer:
        # Who may not read it is told so, before a stream begins.
        job = await self._engine.store.read(job_access.readable, call.caller, job_id)
        return Answer.stream(self._frames(job.id, read, position, named=named))

    async def _frames(self, job: int, read: Reading, position: Any, *, named: bool) -> AsyncIterator[bytes]:
        with self._changes.watching(job) as watch:
            while True:
                part = await self._engine.store.read(read, job, position, self._now())
                position = part.position
                if part.frames:
                    yield b"".join(part.frames)
                if part.more:
                    continue
                if part.job.status in job_rows.TERMINAL:
                    yield _end(part.job, self._now(), named=named)
                    return
                if self._changes.closed:
                    return
                if not await self._changed(watch):
                    yield b": still here\n\n"

    async def _changed(self, watch: Watch) -> bool:
        """Wait for a change; False when there was none for so long that a proxy might think the connection dead."""
        async with first_of(watch.changed(), self._engine.clock.sleep(_KEEP_ALIVE_SECONDS)) as (changed, _):
            return changed.done()

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def frame(value: Any, event: str = "", number: int | None = None) -> bytes:
    """One server-sent event.

    Args:
        value: what it says, sent as JSON, which has no line ends of its own.
        event: its name; clients without a handler for it do not see named ones.
        number: by which a client that reconnects says what it has seen.
    """
    head = (f"id: {number}\n" if number is not None else "") + (f"event: {event}\n" if event else "")
    return head.encode() + b"data: " + wire.encode(value) + b"\n\n"


def _end(job: Row[Any], now: int, *, named: bool) -> bytes:
    told = {"status": job.status, "ts": now // 1_000}
    return frame(told, "end") if named else frame({"type": "end", **told})


def _last_seen(call: Call) -> int:
    """What a browser has seen that reconnects."""
    told = call.headers.get("last-event-id", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) <= 9 else 0


def _lines(connection: Connection, job: int, position: int, now: int) -> _Part:
    found, _ = telemetry.lines_after(connection, job, position, _AT_ONCE)
    frames = [
        frame(
            {
                "schema_version": wire.SCHEMA_VERSION,
                "type": "log",
                "event_type": "job.log",
                "line_no": line.line_no,
                "level": line.level,
                "line": line.message,
                "logged_at": wire.iso(line.logged_at),
                "ts": line.logged_at // 1_000,
            }
        )
        for line in found
    ]
    last = found[-1].line_no if found else position
    return _Part(frames, last, len(found) == _AT_ONCE, job_rows.get(connection, job))


def _events(connection: Connection, job: int, position: int, now: int) -> _Part:
    row = job_rows.get(connection, job)
    found, _ = events.since(connection, job, position, _AT_ONCE)
    frames = [frame(events.view(event, row.job_id)) for event in found]
    last = found[-1].sequence_no if found else position
    return _Part(frames, last, len(found) == _AT_ONCE, row)


def _states(connection: Connection, job: int, position: str, now: int) -> _Part:
    """The state, once for each; states that came and went between two looks are not told."""
    row = job_rows.get(connection, job)
    if row.status == position:
        return _Part([], position, False, row)
    elapsed = job_views.elapsed_micros(row, now)
    event = _STEPS[row.status]
    told = {
        "event": event,
        "status": row.status,
        "provider_id": row.provider_id,
        "elapsed_sec": None if elapsed is None else round(elapsed / 1_000_000),
        "tokens_used": job_views.tokens(row),
        "cost_usd": job_views.cost_usd(row),
    }
    return _Part([frame(told, event)], row.status, False, row)
