"""One job while it is carried out: what its platform hears of it, in order, without holding up the work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from skerry.island.clock import Clock
from skerry.island.ground.waiting import give_up
from skerry.island.provider.platform import Platform, PlatformError, PlatformUnavailable
from skerry.island.provider.records import PHASES, Level, LogLine, ProviderJob
from skerry.island.provider.stdout import phase_of
from skerry.island.provider.task_specs import MARKER

MOST_LINES = 5_000
"""Lines of one job that are logged; its result has what comes after them."""

MOST_PHASES = 100
"""Changes of phase that are told; a program that prints them without end tells nobody anything."""

_AT_ONCE = 500
_MOST_LINE = 2_000
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0

log = logging.getLogger("skerry.provider")


class Bookmark:
    """How far a job's streams have been told to the platform, kept over a crash.

    Args:
        path: of its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.places: dict[str, int] = {}
        self.lines = 0
        try:
            kept = json.loads(path.read_text())
            self.lines = int(kept.pop("lines"))
            self.places = {str(name): int(place) for name, place in kept.items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            pass

    def keep(self, places: dict[str, int], lines: int) -> None:
        """Note that streams were told up to these places."""
        self.places |= places
        self.lines += lines
        spare = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            spare.write_text(json.dumps({"lines": self.lines, **self.places}))
            os.replace(spare, self._path)
        except OSError as error:
            log.warning("lines of a job may be told twice after a crash: %s", error)

    def drop(self) -> None:
        """It is not needed any more."""
        self._path.unlink(missing_ok=True)


class Course:
    """Phases and lines of one job on their way to the platform; open with `async with`.

    Args:
        platform: hears them.
        job: whose.
        clock: for pauses.
        bookmark: how far its output was told before.
        gather: seconds for which lines are gathered before they are told.
    """

    def __init__(
        self, platform: Platform, job: ProviderJob, clock: Clock, bookmark: Bookmark, *, gather: float = 0.2
    ) -> None:
        self.job = job
        self._gather = gather
        self.bookmark = bookmark
        self._platform = platform
        self._clock = clock
        self._waiting: deque[tuple[str | LogLine, str, int]] = deque()
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()
        self._phase: str | None = None
        self._changes = 0
        self._accepted = bookmark.lines
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Course:
        self._task = asyncio.get_running_loop().create_task(self._send(), name=f"telling of {self.job.job_id}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await give_up(self._task)

    @property
    def full(self) -> bool:
        """Whether no more lines are logged."""
        return self._accepted > MOST_LINES

    def phase(self, word: str) -> None:
        """The job is in another phase; words that the network does not know are not told."""
        if word in PHASES and word != self._phase and self._changes < MOST_PHASES:
            self._phase = word
            self._changes += 1
            self._put(word, "", 0)

    async def hear(self, word: str) -> None:
        """The same, for those who await whom they tell."""
        self.phase(word)

    def say(self, message: str, level: Level = "info") -> None:
        """A line of our own for the job's log."""
        self._line(message, level, "", 0)

    def output(self, lines: Iterable[tuple[str, int]], stream: str, level: Level) -> None:
        """Lines that the job's program wrote.

        Args:
            lines: each with the place in its stream up to which it goes.
            stream: which.
            level: theirs.
        """
        for text, place in lines:
            word = phase_of(text)
            if word is not None:
                self.phase(word)
            elif not text.startswith(MARKER):
                self._line(text, level, stream, place)

    async def serves(self, port: int) -> str:
        """Tell that the job answers on a port, as often as it takes; where renters reach it.

        Raises:
            PlatformRefused: the platform does not want to know.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._platform.endpoint_ready(self.job, port)
            except PlatformUnavailable as error:
                log.warning("cannot tell where job %s serves: %s", self.job.job_id, error)
                await self._clock.sleep(error.retry_after or pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def told(self, seconds: float) -> None:
        """Wait until all was told, or for so long."""
        self._hurry.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    def _line(self, text: str, level: Level, stream: str, place: int) -> None:
        if self._accepted > MOST_LINES:
            return
        self._accepted += 1
        if self._accepted > MOST_LINES:
            text, level = f"[the log ends here after {MOST_LINES} lines; the job goes on]", "warn"
        for begin in range(0, min(len(text), 10 * _MOST_LINE), _MOST_LINE):
            self._put(LogLine(level, text[begin : begin + _MOST_LINE]), stream, place)

    def _put(self, what: str | LogLine, stream: str, place: int) -> None:
        self._waiting.append((what, stream, place))
        self._some.set()
        self._idle.clear()

    async def _send(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            await self._some.wait()
            if isinstance(self._waiting[0][0], LogLine):
                # Lines come in bursts; one call for many.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._gather):
                        await self._hurry.wait()
            batch = self._next()
            try:
                await self._tell(batch)
            except PlatformUnavailable as error:
                await self._clock.sleep(error.retry_after or pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            except PlatformError as error:
                log.info("the platform does not take news of job %s: %s", self.job.job_id, error)
            except Exception:
                # News that cannot be told must not keep later ones from being told.
                log.exception("news of job %s is lost", self.job.job_id)
            pause = _FIRST_PAUSE
            places = {stream: place for _, stream, place in batch if stream}
            lines = sum(isinstance(what, LogLine) for what, _, _ in batch)
            if lines:
                self.bookmark.keep(places, lines)
            for _ in batch:
                self._waiting.popleft()
            if not self._waiting:
                self._some.clear()
                self._idle.set()

    def _next(self) -> list[tuple[str | LogLine, str, int]]:
        """The phase that comes next, or the lines before it."""
        if not isinstance(self._waiting[0][0], LogLine):
            return [self._waiting[0]]
        batch: list[tuple[str | LogLine, str, int]] = []
        for item in self._waiting:
            if not isinstance(item[0], LogLine) or len(batch) == _AT_ONCE:
                break
            batch.append(item)
        return batch

    async def _tell(self, batch: list[tuple[str | LogLine, str, int]]) -> None:
        first = batch[0][0]
        if isinstance(first, LogLine):
            await self._platform.log(self.job, [what for what, _, _ in batch if isinstance(what, LogLine)])
        else:
            await self._platform.progress(self.job, first)
