"""Runs inside the agent: start a command, pump its output into log files, end it in time, tell how it ended."""

from __future__ import annotations

import binascii
import errno
import fcntl
import json
import os
import resource
import signal
import stat
import struct
import termios
import time

from skerry.island.sandbox import agent_processes as processes
from skerry.island.sandbox.agent_user import spawn_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from skerry.island.sandbox.agent import Agent, Client

STATE_LIMIT = 1 << 20
_INLINE_STATE = 24_000
_CHUNK = 65_536
_LEFT_IN_PIPE = 2 << 20
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RESET = (signal.SIGPIPE, signal.SIGXFSZ)
_RSS_INTERVAL = 0.2
_STATE_PAUSE = 0.002


class Refusal(Exception):
    """A request that cannot be done; `reason` is one of `driver.SandboxError`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Stream:
    """One output of a run: the read end of its pipe and the file that keeps the first `cap` bytes."""

    __slots__ = ("cap", "dropped", "fd", "kept", "run", "sink")

    def __init__(self, run: Run | None, fd: int, sink: int, cap: int) -> None:
        self.run = run
        self.fd = fd
        self.sink = sink
        self.cap = cap
        self.kept = 0
        self.dropped = 0

    def take(self, data: bytes) -> None:
        """Keep what fits; a full disk or a cut file costs output, never the run."""
        room = min(len(data), self.cap - self.kept)
        done = 0
        try:
            while done < room:
                done += os.write(self.sink, data[done:room] if done or room < len(data) else data)
        except OSError:
            pass
        self.kept += done
        self.dropped += len(data) - done


class StateStream(Stream):
    """What a command writes to descriptor 9, kept in memory until it ends."""

    __slots__ = ("chunks",)

    def __init__(self, run: Run, fd: int) -> None:
        super().__init__(run, fd, -1, STATE_LIMIT)
        self.chunks: list[bytes] = []

    def take(self, data: bytes) -> None:
        """Keep up to the limit; a longer state is cut, and `dropped` tells."""
        part = data[: self.cap - self.kept]
        self.chunks.append(part)
        self.kept += len(part)
        self.dropped += len(data) - len(part)


class Run:
    """A command from its start to its end."""

    __slots__ = (
        "ended_by",
        "err",
        "hard",
        "id",
        "out",
        "pid",
        "record",
        "short_of_memory",
        "started",
        "state",
        "watchers",
    )

    def __init__(self, id: str, record: int) -> None:
        self.id = id
        self.record = record
        self.pid = 0
        self.out: Stream | None = None
        self.err: Stream | None = None
        self.state: StateStream | None = None
        self.started = time.monotonic_ns()
        self.ended_by: str | None = None
        self.hard = False
        self.short_of_memory = False
        self.watchers: list[tuple[Client, int, str, int]] = []

    def streams(self) -> list[Stream]:
        """Its pipes."""
        return [stream for stream in (self.out, self.err, self.state) if stream is not None]


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
        self._soft_files = soft_files
        self.by_id: dict[str, Run] = {}
        self._by_pid: dict[int, Run] = {}
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._oom_adjust = oom_adjust

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
        sinks = fds[:3]
        rest = fds[3:]
        stdin = rest.pop(0) if request.get("stdin") else self._null
        state_in = rest.pop(0) if request.get("state") else None
        run = Run(request["run"], sinks[2])
        actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_DUP2, stdin, 0)]
        child_ends: list[int] = []
        try:
            for index in (0, 1):
                read, write = os.pipe2(os.O_CLOEXEC)
                child_ends.append(write)
                # Only our end: the flag belongs to the open file, and programs expect a blocking standard output.
                os.set_blocking(read, False)
                output = Stream(run, read, sinks[index], request["cap"])
                if index == 0:
                    run.out = output
                else:
                    run.err = output
                actions.append((os.POSIX_SPAWN_DUP2, write, index + 1))
                if request.get("merge"):
                    actions.append((os.POSIX_SPAWN_DUP2, write, 2))
                    os.close(sinks.pop(1))
                    break
            if state_in is not None:
                actions.append((os.POSIX_SPAWN_DUP2, state_in, 8))
            if request.get("keep"):
                read, write = os.pipe2(os.O_CLOEXEC)
                child_ends.append(write)
                os.set_blocking(read, False)
                run.state = StateStream(run, read)
                actions.append((os.POSIX_SPAWN_DUP2, write, 9))
            try:
                run.pid = self._spawn(request, actions)
            except _NotStarted as error:
                messages = run.err or run.out
                assert messages is not None
                messages.take(f"skerry: {error}\n".encode(errors="surrogateescape"))
                code = error.code
                return lambda: self._finish(run, code, "not_found", 0, 0)
        except BaseException as error:
            for stream in run.streams():
                os.close(stream.fd)
            for sink in sinks:
                os.close(sink)
            if isinstance(error, OSError):
                raise Refusal("limits", f"no pipe for {request['argv'][0]}: {error.strerror}") from None
            raise
        finally:
            for fd in child_ends:
                os.close(fd)
            if stdin != self._null:
                os.close(stdin)
            if state_in is not None:
                os.close(state_in)
        self._enter(run, request)
        for stream in run.streams():
            self._agent.watch(stream.fd, self._reader(stream))
        return lambda: None

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
            run = Run(request["run"], -1)
            run.pid = self._spawn(request, actions)
        except _NotStarted as error:
            os.close(master)
            raise Refusal("not_found", str(error)) from None
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self._enter(run, request)
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
        run = Run(request["run"], -1)
        try:
            for number in range(3):
                read, write = os.pipe2(os.O_CLOEXEC)
                near.append(write if number else read)
                far.append(read if number else write)
            run.pid = self._spawn(request, [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(near)])
        except BaseException as error:
            for fd in far:
                os.close(fd)
            if isinstance(error, _NotStarted):
                raise Refusal("not_found", str(error)) from None
            if isinstance(error, OSError):
                raise Refusal("limits", f"no pipe for {request['argv'][0]}: {error.strerror}") from None
            raise
        finally:
            for fd in near:
                os.close(fd)
        self._enter(run, request)
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
            run = self._by_pid.pop(pid, None)
            if run is not None:
                code, cause = self._verdict(run, status)
                self._finish(run, code, cause, round((usage.ru_utime + usage.ru_stime) * 1e9), usage.ru_maxrss * 1024)
        self._agent.after(0.0, self.reap)

    def signal(self, request: dict[str, Any]) -> None:
        """Send a signal to a run's session. Raises Refusal `not_found`."""
        processes.signal_session(self._running(request).pid, request["signal"])

    def cancel(self, request: dict[str, Any]) -> None:
        """End a run: SIGTERM, then SIGKILL. Raises Refusal `not_found`."""
        self._end(self._running(request), "cancelled", request["grace"])

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

    def _enter(self, run: Run, request: dict[str, Any]) -> None:
        self.by_id[run.id] = run
        self._by_pid[run.pid] = run
        timeout = request.get("timeout")
        if timeout is not None:
            self._agent.after(timeout, lambda: self._end(run, "timeout", request["grace"]))
        if self._rss_limit is not None and not self._watching_rss:
            self._watching_rss = True
            self._agent.after(_RSS_INTERVAL, self._check_memory)

    def _spawn(self, request: dict[str, Any], actions: list[tuple[Any, ...]]) -> int:
        argv, env, user = request["argv"], request["env"], request.get("user")
        try:
            os.chdir(request["cwd"])
        except (OSError, ValueError) as error:
            raise _NotStarted(127, f"cannot enter {request['cwd']}: {_why(error)}") from None
        if self._oom_adjust is not None:
            # The kernel shall take a command, not the agent, when memory runs out; children inherit the figure.
            os.write(self._oom_adjust, b"500")
        hard = 0
        if self._soft_files is not None:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._soft_files, hard))
        try:
            path = _locate(argv[0], env)
            try:
                return self._posix_spawn(path, argv, env, actions, user)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                return self._posix_spawn("/bin/sh", ["/bin/sh", path, *argv[1:]], env, actions, user)
        except ValueError as error:
            raise Refusal("unsupported", str(error)) from None
        except (FileNotFoundError, NotADirectoryError):
            raise _NotStarted(127, f"{argv[0]}: command not found") from None
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.E2BIG):
                raise Refusal("limits", f"cannot start {argv[0]}: {error.strerror}") from None
            raise _NotStarted(126, f"{argv[0]}: {error.strerror}") from None
        finally:
            if self._soft_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            if self._oom_adjust is not None:
                os.write(self._oom_adjust, b"0")
            os.chdir("/")

    def _posix_spawn(
        self, path: str, argv: list[str], env: dict[str, str], actions: list[tuple[Any, ...]], user: list[int] | None
    ) -> int:
        if user is not None:
            return spawn_as(user, path, argv, env, actions, _RESET)
        return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_RESET)

    def _reader(self, stream: Stream) -> Callable[[int], None]:
        return lambda _: self._readable(stream)

    def _readable(self, stream: Stream) -> None:
        try:
            data = os.read(stream.fd, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._agent.unwatch(stream.fd)
            os.close(stream.fd)
            stream.fd = -1
            return
        run = stream.run
        if run is None:
            return  # a straggler of an ended run: read, so that it lives on, and dropped
        stream.take(data)
        if stream is run.state:
            self._look_later(stream)
        elif run.watchers:
            self._tell_watchers(run, "stdout" if stream is run.out else "stderr", stream.kept)

    def _look_later(self, stream: Stream) -> None:
        """A shell writes its state line by line, at its very end: waking for each line costs more than all else."""

        def again() -> None:
            if stream.fd >= 0:
                self._agent.watch(stream.fd, self._reader(stream))

        self._agent.unwatch(stream.fd)
        self._agent.after(_STATE_PAUSE, again)

    def _tell_watchers(self, run: Run, name: str, kept: int) -> None:
        waiting = []
        for watcher in run.watchers:
            client, n, stream, offset = watcher
            if stream == name and kept > offset:
                client.reply(n, {"size": kept, "ended": False})
            else:
                waiting.append(watcher)
        run.watchers = waiting

    def _end(self, run: Run, cause: str, grace: float) -> None:
        if self.by_id.get(run.id) is not run:
            return
        if run.ended_by is None:
            run.ended_by = cause
        processes.signal_session(run.pid, signal.SIGTERM)
        processes.signal_session(run.pid, signal.SIGCONT)
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
        result: dict[str, Any] = {
            "run": run.id,
            "exit_code": code,
            "cause": cause,
            "stdout_bytes": 0 if run.out is None else run.out.kept,
            "stderr_bytes": 0 if run.err is None else run.err.kept,
            "dropped_bytes": sum(s.dropped for s in (run.out, run.err) if s is not None),
            "cpu_ns": cpu_ns,
            "max_rss_bytes": max_rss,
            "wall_ns": time.monotonic_ns() - run.started,
        }
        state = None if run.state is None else b"".join(run.state.chunks)
        if run.record >= 0:
            line = {**result, "state_bytes": None if state is None else len(state)}
            try:
                os.write(run.record, json.dumps(line).encode() + b"\n" + (state or b""))
            except OSError:
                pass  # a full disk: whoever is connected still learns the end
            os.close(run.record)
        if state is None:
            result["state"] = None
        elif len(state) <= _INLINE_STATE:
            result["state"] = binascii.b2a_base64(state, newline=False).decode()
        for client, n, stream_name, _ in run.watchers:
            output = run.out if stream_name == "stdout" else run.err
            client.reply(n, {"size": 0 if output is None else output.kept, "ended": True})
        self._agent.broadcast({"event": "exit", **result})

    def _drain(self, stream: Stream) -> None:
        """Take what is in the pipe of an ended run without waiting for whoever else holds it."""
        left = _LEFT_IN_PIPE
        while stream.fd >= 0 and left > 0:
            try:
                data = os.read(stream.fd, _CHUNK)
            except BlockingIOError:
                break
            if data:
                stream.take(data)
                left -= len(data)
            else:
                self._agent.unwatch(stream.fd)
                os.close(stream.fd)
                stream.fd = -1
        if stream.sink >= 0:
            os.close(stream.sink)
            stream.sink = -1
        elif stream.fd >= 0:
            self._agent.unwatch(stream.fd)
            os.close(stream.fd)
            stream.fd = -1
        stream.run = None

    def _oom_kills(self) -> int:
        if self._oom_fd is None:
            return 0
        for line in os.pread(self._oom_fd, 4096, 0).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
        return 0

    def _check_memory(self) -> None:
        entries = processes.table()
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


class _NotStarted(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _locate(name: str, env: dict[str, str]) -> str:
    """The program a name stands for, in the PATH of the command's own environment."""
    if "/" in name:
        return name
    for directory in env.get("PATH", _DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            found = os.stat(path)
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o111:
            return path
    raise FileNotFoundError(errno.ENOENT, name)
