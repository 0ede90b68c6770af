"""Runs that are not over yet, and the order in which a session takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from skerry.island.engine.errors import Invalid
from skerry.island.engine.records import RunRecord, SandboxRecord
from skerry.island.sandbox.driver import Process
from skerry.island.sandbox.spec import UserIds


class Request(msgspec.Struct, frozen=True):
    """What is needed to begin a run, also again: kept with its row.

    Args:
        text: for a shell, or None.
        argv: program and arguments when there is no text.
        env: variables for this run only.
        timeout: seconds from its start.
        stdin: what it reads.
        cwd: where a program without shell starts; None is the home directory.
        metered: priced and paid for by the engine.
        merge_output: standard error goes into standard output.
        user: as whom, None for root.
    """

    text: str | None
    argv: tuple[str, ...]
    env: dict[str, str]
    timeout: float | None
    stdin: bytes
    cwd: str | None = None
    metered: bool = True
    merge_output: bool = False
    user: UserIds | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Request)


def encode_request(request: Request) -> bytes:
    """As bytes for the store."""
    return _encoder.encode(request)


def decode_request(content: bytes) -> Request:
    """From the store."""
    return _decoder.decode(content)


def exec_id(run_id: str, attempt: int) -> str:
    """The driver's name for an attempt; each has logs of its own."""
    return run_id if attempt == 1 else f"{run_id}--{attempt}"


def check_command(command: str | Sequence[str]) -> None:
    """Refuse what no program can be given.

    Raises:
        Invalid: NUL or undecodable text, or no program.
    """
    words = (command,) if isinstance(command, str) else command
    if not words or (not isinstance(command, str) and not words[0]):
        raise Invalid("there is no program to run")
    for word in words:
        if "\0" in word:
            raise Invalid("a command cannot contain a NUL character")
        try:
            word.encode()
        except UnicodeEncodeError:
            raise Invalid("a command must be valid text") from None


class Job:
    """One run from its acceptance to its recorded end.

    Attributes:
        record: as last stored.
        ready: accepted by the store; it may start when its turn comes.
        process: the attempt that goes on, once started.
        stop: why it shall end early, None if it shall not.
        grace: seconds between SIGTERM and SIGKILL where it shall end before its process is known.
        done: its record once the end is stored.
        begun: set once its process runs, or is known to be impossible.
        held_up: set once it had to wait for room on the disk to begin.
        began: monotonic time of the present attempt's start, None before it.
        found: the present attempt began before this server did.
        note: what shall be added to its standard error.
    """

    __slots__ = (
        *("began", "begun", "done", "found", "grace", "held_up", "lane", "note", "process", "ready"),
        *("record", "request", "sandbox", "started", "stop", "task"),
    )

    def __init__(self, record: RunRecord, request: Request, sandbox: SandboxRecord, lane: str | None) -> None:
        self.record = record
        self.request = request
        self.sandbox = sandbox
        self.lane = lane
        self.ready = False
        self.started = False
        self.process: Process | None = None
        self.stop: str | None = None
        self.grace = 0.0
        self.began: float | None = None
        self.begun = asyncio.Event()
        self.held_up = asyncio.Event()
        self.found = False
        self.note: str | None = None
        self.task: asyncio.Task[None] | None = None
        self.done = _promise()

    def renew(self, error: Exception) -> None:
        """Tell those who wait that the end cannot be recorded now; later ones wait for it anew."""
        if not self.done.done():
            self.done.set_exception(error)
        self.done = _promise()

    @property
    def exec_id(self) -> str:
        """The driver's name for the present attempt."""
        return exec_id(self.record.id, self.record.attempts)


class Lanes:
    """First come, first served within a session; sessions beside each other."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Job]] = {}

    def enter(self, job: Job) -> None:
        """Take a place."""
        if job.lane is not None:
            self._lanes.setdefault(job.lane, deque()).append(job)

    def free(self, lane: str | None) -> bool:
        """Whether who enters now is the first."""
        return lane is None or lane not in self._lanes

    def first(self, job: Job) -> bool:
        """Whether its turn has come."""
        return job.lane is None or self._lanes[job.lane][0] is job

    def leave(self, job: Job) -> Job | None:
        """Give up the place; the job whose turn has come by that, if any."""
        if job.lane is None:
            return None
        lane = self._lanes.get(job.lane)
        if lane is None or job not in lane:
            return None
        was_first = lane[0] is job
        lane.remove(job)
        if not lane:
            del self._lanes[job.lane]
            return None
        return lane[0] if was_first else None

    def occupied(self, lane: str) -> bool:
        """Whether a session has anything to do."""
        return lane in self._lanes


def _promise() -> asyncio.Future[RunRecord]:
    future: asyncio.Future[RunRecord] = asyncio.get_running_loop().create_future()
    future.add_done_callback(_seen)
    return future


def _seen(future: asyncio.Future[RunRecord]) -> None:
    # Nobody may be waiting for a run's end; its error is then no news to anyone.
    if not future.cancelled():
        future.exception()
