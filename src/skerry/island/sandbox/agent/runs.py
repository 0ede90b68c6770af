"""Runs inside the agent: start a command, pump its output into log files, end it in time, tell how it ended."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import termios
import time

from skerry.island.sandbox.agent import processes
from skerry.island.sandbox.agent.pipes import CHUNK, Pipes, Stream, memory_file, read_state
from skerry.island.sandbox.agent.refusal import Refusal
from skerry.island.sandbox.agent.spawn import NotStarted, Spawner
from skerry.island.sandbox.agent.warm import WarmShell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from skerry.island.sandbox.agent.agent import Agent
    from skerry.island.sandbox.agent.client import Client

_INLINE_STATE = 48_000
_MOST_UNRECORDED = 1000
_RSS_INTERVAL = 0.2
_POLITELY: tuple[int, ...] = (signal.SIGTERM,)


class Run:
    """A command from its start to its end.

    Attributes:
        id: its run.
        request: what began it.
        record: the file for the record of its end, or -1.
        out, err: its outputs; None where the server holds them, and `err` also where both are one.
        state: the file behind its descriptor 9, or -1.
        warm: whether it was given to a shell that waited, and still counts as not begun if that shell wrote no state.
        cpu_before: nanoseconds of processor time that its process had used before the run was its own.
    """

    __slots__ = (
        *("cpu_before", "ended_by", "err", "hard", "id", "out", "pid", "record", "request", "short_of_memory"),
        *("started", "state", "warm", "watchers"),
    )

    def __init__(self, request: dict[str, Any], record: int) -> None:
        self.id: str = request["run"]
        self.request = request
        self.record = record
        self.pid = 0
        self.out: Stream | None = None
        self.err: Stream | None = None
        self.state = -1
        self.warm = False
        self.cpu_before = 0
        self.started = time.monotonic_ns()
        self.ended_by: str | None = None
        self.hard = False
        self.short_of_memory = False
        self.watchers: list[tuple[Client, int, str, int]] = []

    def streams(self) -> list[Stream]:
        """Its outputs."""
        return [stream for stream in (self.out, self.err) if stream is not None]

    def connect(self, pipes: Pipes) -> None:
        """Take over our ends of what its process writes to."""
        for stream, fd in zip(self.streams(), (pipes.out, pipes.err), strict=False):
            stream.fd = fd
        self.state = pipes.state


class Runs:
    """All runs of one agent.

    Args:
        agent: event loop, timers and clients.
        oom_fd: a file of the control group with an `oom_kill` count, or None.
        oom_adjust: our own `/proc/self/oom_score_adj`, open for writing, or None.
        rss_limit: bytes of resident memory over all processes beyond which the largest is killed, for machines
            whose control groups are closed to us; None leaves it to the kernel.
        soft_files: descriptors that a command may have open, where that is fewer than the agent itself needs.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        oom_fd: int | None = None,
        oom_adjust: int | None = None,
        rss_limit: int | None = None,
        soft_files: int | None = None,
    ) -> None:
        self._agent = agent
        self._oom_fd = oom_fd
        self._oom_seen = self._oom_kills()
        self._rss_limit = rss_limit
        self._watching_rss = False
        self.by_id: dict[str, Run] = {}
        self.unrecorded: list[str] = []
        self._by_pid: dict[int, Run] = {}
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._spawner = Spawner(oom_adjust=oom_adjust, soft_files=soft_files)
        self.warm = WarmShell(agent, self._spawner, self._null)

    def exec(self, request: dict[str, Any], fds: list[int]) -> Callable[[], None]:
        """Start a command; returns what must be called after the reply was sent.

        Raises:
            Refusal: `limits` when the sandbox has no room for another process, `exists` for a running id.
        """
        wanted = 3 + bool(request.get("stdin")) + bool(request.get("state"))
        if request["run"] in self.by_id or len(fds) != wanted:
            for fd in fds:
                os.close(fd)
            if len(fds) != wanted:
                raise Refusal("limits", "the agent has no room for more descriptors")
            raise Refusal("exists", f"run {request['run']} is going on")
        # First of all: while it goes on, so do we.
        may_wait = request.get("warm") and request.get("keep") and not request.get("stdin")
        waiting = self.warm.take(request) if may_wait else None
        sinks = fds[:3]
        rest = fds[3:]
        stdin = rest.pop(0) if request.get("stdin") else self._null
        state_in = rest.pop(0) if request.get("state") else -1
        run = Run(request, sinks[2])
        run.out = messages = Stream(run, sinks[0], request["cap"])
        if request.get("merge"):
            os.close(sinks.pop(1))
        else:
            run.err = messages = Stream(run, sinks[1], request["cap"])
        try:
            if waiting is not None:
                run.pid, run.cpu_before, run.warm = waiting.pid, waiting.cpu_ns, True
                run.connect(waiting.pipes)
            else:
                self._start(run, stdin, state_in)
        except NotStarted as error:
            messages.take(f"skerry: {error}\n".encode(errors="surrogateescape"))
            code = error.code
            return lambda: self._finish(run, code, "not_found", 0, 0)
        except BaseException as error:
            for sink in sinks:
                os.close(sink)
            if isinstance(error, OSError):
                raise Refusal("limits", f"no pipe for {request['argv'][0]}: {error.strerror}") from None
            raise
        finally:
            if stdin != self._null:
                os.close(stdin)
            if state_in >= 0:
                os.close(state_in)
        self._enter(run)
        return lambda: None

    def _start(self, run: Run, stdin: int, state_in: int) -> None:
        """Start a run's process. Raises NotStarted, Refusal, OSError."""
        pipes = Pipes(keep=bool(run.request.get("keep")), merge=bool(run.request.get("merge")))
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), *pipes.actions]
        made = -1
        try:
            if tail := run.request.get("tail"):
                state_in = made = memory_file(tail)
            if state_in >= 0:
                actions.append((os.POSIX_SPAWN_DUP2, state_in, 8))
            run.pid = self._spawn(run.request, actions)
        except BaseException:
            pipes.close()
            raise
        finally:
            if made >= 0:
                os.close(made)
        pipes.given()
        run.connect(pipes)

    def _spawn(self, request: dict[str, Any], actions: list[tuple[Any, ...]]) -> int:
        try:
            return self._spawner.spawn(request, actions)
        except Refusal:
            if not self.warm.pid:
                raise
        # What waits for work must not take the room of what has some.
        self.warm.discard(wait=True)
        return self._spawner.spawn(request, actions)

    def terminal(self, request: dict[str, Any]) -> tuple[Run, int]:
        """Start a command on a new pseudo-terminal; returns the run and the master descriptor, which is the caller's.

        Raises:
            Refusal: as `exec`; also `not_found` when the program cannot be started.
        """
        if request["run"] in self.by_id:
            raise Refusal("exists", f"run {request['run']} is going on")
        try:
            master, slave = os.openpty()
        except OSError as error:
            raise Refusal("limits", f"no pseudo-terminal: {error.strerror}") from None
        try:
            name = os.ttyname(slave)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", request["rows"], request["columns"], 0, 0))
            # Opening it first thing in a new session makes it the controlling terminal.
            actions: list[tuple[Any, ...]] = [
                (os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ]
            run = Run(request, -1)
            run.pid = self._spawn(request, actions)
        except NotStarted as error:
            os.close(master)
            raise Refusal("not_found", str(error)) from None
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self._enter(run)
        return run, master

    def piped(self, request: dict[str, Any]) -> tuple[Run, list[int]]:
        """Start a command on pipes of its own; returns the run and the far ends of them, which are the caller's.

        Raises:
            Refusal: `limits` and `exists` as `exec`; `not_found` when the program cannot be started.
        """
        if request["run"] in self.by_id:
            raise Refusal("exists", f"run {request['run']} is going on")
        near: list[int] = []
        far: list[int] = []
        run = Run(request, -1)
        try:
            for number in range(3):
                read, write = os.pipe2(os.O_CLOEXEC)
                near.append(write if number else read)
                far.append(read if number else write)
            run.pid = self._spawn(request, [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(near)])
        except BaseException as error:
            for fd in far:
                os.close(fd)
            if isinstance(error, NotStarted):
                raise Refusal("not_found", str(error)) from None
            if isinstance(error, OSError):
                raise Refusal("limits", f"no pipe for {request['argv'][0]}: {error.strerror}") from None
            raise
        finally:
            for fd in near:
                os.close(fd)
        self._enter(run)
        return run, far

    def reap(self) -> None:
        """Collect every ended process, ours and those that others left to the agent."""
        for _ in range(1000):
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.warm.reaped(pid)
            run = self._by_pid.pop(pid, None)
            if run is not None and not self._begun_again(run, status):
                code, cause = self._verdict(run, status)
                cpu_ns = round((usage.ru_utime + usage.ru_stime) * 1e9) - run.cpu_before
                self._finish(run, code, cause, max(0, cpu_ns), usage.ru_maxrss * 1024)
        self._agent.after(0.0, self.reap)

    def signal(self, request: dict[str, Any]) -> None:
        """Send a signal to a run's session. Raises Refusal `not_found`."""
        run = self._running(request)
        # Its end is wished for, whether it has begun or not.
        run.warm = False
        processes.signal_session(run.pid, request["signal"])

    def cancel(self, request: dict[str, Any]) -> None:
        """End a run: SIGHUP if wished, SIGTERM, then SIGKILL. Raises Refusal `not_found`."""
        first = (signal.SIGHUP, *_POLITELY) if request.get("hang_up") else _POLITELY
        self._end(self._running(request), "cancelled", request["grace"], first)

    def watch(self, client: Client, request: dict[str, Any]) -> None:
        """Answer when a log is longer than `offset`, or the run is over."""
        run = self.by_id.get(request["run"])
        if run is None:
            client.reply(request["n"], {"size": 0, "ended": True})
            return
        stream = run.out if request["stream"] == "stdout" else run.err
        kept = 0 if stream is None else stream.kept
        if kept > request["offset"]:
            client.reply(request["n"], {"size": kept, "ended": False})
        else:
            run.watchers.append((client, request["n"], request["stream"], request["offset"]))

    def forget(self, client: Client) -> None:
        """Drop the watches of a client that left."""
        for run in self.by_id.values():
            run.watchers = [watcher for watcher in run.watchers if watcher[0] is not client]

    def _running(self, request: dict[str, Any]) -> Run:
        run = self.by_id.get(request["run"])
        if run is None:
            raise Refusal("not_found", f"run {request['run']} is not going on")
        return run

    def _enter(self, run: Run) -> None:
        self.by_id[run.id] = run
        self._listen(run)
        timeout = run.request.get("timeout")
        if timeout is not None:
            self._agent.after(timeout, lambda: self._end(run, "timeout", run.request["grace"]))
        if self._rss_limit is not None and not self._watching_rss:
            self._watching_rss = True
            self._agent.after(_RSS_INTERVAL, self._check_memory)

    def _listen(self, run: Run) -> None:
        self._by_pid[run.pid] = run
        for stream in run.streams():
            self._agent.watch(stream.fd, self._reader(stream))

    def _begun_again(self, run: Run, status: int) -> bool:
        """Start a run whose waiting shell was killed before it had begun with it: nothing of it has happened."""
        if not run.warm or not os.WIFSIGNALED(status) or read_state(run.state):
            return False
        for stream in run.streams():
            self._hang_up(stream)
        os.close(run.state)
        run.state, run.cpu_before, run.warm = -1, 0, False
        try:
            self._start(run, self._null, -1)
        except (NotStarted, Refusal, OSError):
            return False
        self._listen(run)
        return True

    def _reader(self, stream: Stream) -> Callable[[int], None]:
        return lambda _: self._readable(stream)

    def _readable(self, stream: Stream) -> None:
        try:
            data = os.read(stream.fd, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._hang_up(stream)
            return
        run = stream.run
        if run is None:
            return  # a straggler of an ended run: read, so that it lives on, and dropped
        stream.take(data)
        if run.watchers:
            self._tell_watchers(run, "stdout" if stream is run.out else "stderr", stream.kept)

    def _hang_up(self, stream: Stream) -> None:
        if stream.fd >= 0:
            self._agent.unwatch(stream.fd)
            os.close(stream.fd)
            stream.fd = -1

    def _tell_watchers(self, run: Run, name: str, kept: int) -> None:
        waiting = []
        for watcher in run.watchers:
            client, n, stream, offset = watcher
            if stream == name and kept > offset:
                client.reply(n, {"size": kept, "ended": False})
            else:
                waiting.append(watcher)
        run.watchers = waiting

    def _end(self, run: Run, cause: str, grace: float, first: tuple[int, ...] = _POLITELY) -> None:
        if self.by_id.get(run.id) is not run:
            return
        # Its end is wished for, whether it has begun or not.
        run.warm = False
        if run.ended_by is None:
            run.ended_by = cause
        for number in (*first, signal.SIGCONT):
            processes.signal_session(run.pid, number)
        self._agent.after(grace, lambda: self._end_hard(run))

    def _end_hard(self, run: Run) -> None:
        going = self.by_id.get(run.id) is run
        run.hard = run.hard or going
        processes.signal_session(run.pid, signal.SIGKILL, leader_gone=not going)

    def _verdict(self, run: Run, status: int) -> tuple[int, str]:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
        if run.ended_by == "timeout":
            return 124, "timeout"
        if run.ended_by == "cancelled":
            return (137 if run.hard and number == signal.SIGKILL else 143), "cancelled"
        if code == 137:
            seen, self._oom_seen = self._oom_seen, self._oom_kills()
            if self._oom_seen > seen or run.short_of_memory:
                return 137, "out_of_memory"
        if number == signal.SIGXFSZ:
            return code, "disk_full"
        return code, "signaled" if number else "exited"

    def _finish(self, run: Run, code: int, cause: str, cpu_ns: int, max_rss: int) -> None:
        self.by_id.pop(run.id, None)
        for stream in run.streams():
            self._drain(stream)
        state = None
        if run.state >= 0:
            state = read_state(run.state)
            os.close(run.state)
        line = {
            "event": "exit",
            "run": run.id,
            "exit_code": code,
            "cause": cause,
            "stdout_bytes": 0 if run.out is None else run.out.kept,
            "stderr_bytes": 0 if run.err is None else run.err.kept,
            "dropped_bytes": sum(stream.dropped for stream in run.streams()),
            "cpu_ns": cpu_ns,
            "max_rss_bytes": max_rss,
            "wall_ns": time.monotonic_ns() - run.started,
            "state_bytes": None if state is None else len(state),
        }
        packet = json.dumps(line).encode() + b"\n" + (state or b"")
        if run.record >= 0:
            try:
                os.write(run.record, packet)
            except OSError:
                # A full disk: whoever is connected still learns the end, and who comes later that there was one.
                self.unrecorded = [*self.unrecorded[1 - _MOST_UNRECORDED :], run.id]
            os.close(run.record)
        if len(packet) > _INLINE_STATE:
            packet = packet[: packet.index(b"\n")]
        for client, n, stream_name, _ in run.watchers:
            output = run.out if stream_name == "stdout" else run.err
            client.reply(n, {"size": 0 if output is None else output.kept, "ended": True})
        self._agent.broadcast(packet)

    def _drain(self, stream: Stream) -> None:
        """Take what is in the pipe of an ended run without waiting for whoever else holds it."""
        if stream.fd >= 0 and stream.drain():
            self._hang_up(stream)
        os.close(stream.sink)
        stream.run = None

    def _oom_kills(self) -> int:
        if self._oom_fd is None:
            return 0
        for line in os.pread(self._oom_fd, 4096, 0).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
        return 0

    def _check_memory(self) -> None:
        entries = [entry for entry in processes.table() if entry.pid != self.warm.pid]
        if not entries:
            self._watching_rss = False
            return
        if self._rss_limit is not None and sum(entry.resident for entry in entries) > self._rss_limit:
            largest = max(entries, key=lambda entry: entry.resident)
            run = self._by_pid.get(largest.session)
            if run is not None:
                run.short_of_memory = True
            try:
                os.kill(largest.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._agent.after(_RSS_INTERVAL, self._check_memory)
