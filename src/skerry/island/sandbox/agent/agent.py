"""The resident agent of one sandbox: executes, opens terminals, dials ports, reads and writes files.

It lives inside the sandbox (as PID 1 of its process namespace, or as a child subreaper where there is none), knows
nothing of the server but the sockets it was given, and goes on without it: it pumps output into the log files,
enforces timeouts and writes exit records whether or not anyone listens. It imports nothing after it was started and
uses only the standard library, so that a root file system needs no Python.

Wire protocol
=============
`SOCK_SEQPACKET` unix sockets. One packet is one JSON object in UTF-8 on one line, perhaps with a newline and plain
bytes (its tail) after it, with descriptors attached by `SCM_RIGHTS`. JSON of more than 60,000 bytes travels as
`{"big": true, "n": ...}` with a memory file holding it as the *first* descriptor, the packet's own descriptors after
it. Any number of servers may be connected; each gets every event.

Requests carry `n` (a number chosen by the caller) and `op`. Replies repeat `n` with `"ok": true` and the answer, or
`"ok": false`, `reason` (a reason of `driver.SandboxError`) and `message`. Replies may come out of order. Packets
without `n` from the agent are events.

Operations: fields, then [descriptors sent along], then what the answer holds and its [descriptors].

hello       -> `version`, `runs` (ids still running), `unrecorded` (of those that ended, ids whose record has no room on
            the disk), `port` (egress listener or null)
exec        `run`, `argv`, `env`, `cwd`, `timeout` (seconds or null), `grace` (seconds), `cap` (kept bytes per stream),
            `stdin`, `state`, `keep`, `warm`, `merge` (booleans; with `merge` both outputs go to the stdout file),
            `user` (null, or uid, gid and further groups), `like` (with it `argv`, `env`, `cwd` and `keep` are left out:
            they are those of the same server's last `warm` that named a program);
            [stdout file, stderr file, record file, then standard input
            if `stdin`, then the file for descriptor 8 if `state`; content that is short comes as the tail instead]
            -> `pid`; an `exit` event follows, at once if the program cannot be started. With `warm`, a program that
            `warm` has started may go on with it
warm        `argv`, `env`, `cwd`, `keep`, or `like` as in `exec`: start this program ahead of its run; `argv` null: end
            the one that waits
terminal    `run`, `argv`, `env`, `cwd`, `timeout`, `grace`, `columns`, `rows` -> `pid`, [master]; `exit` follows
piped       `run`, `argv`, `env`, `cwd`, `timeout`, `grace` -> `pid`, [write end of its standard input, read ends of
            its output and its errors]; `exit` follows; the agent keeps none of the output
signal      `run`, `signal`: to the run's whole session
cancel      `run`, `grace`, `hang_up`: SIGTERM now, with `hang_up` SIGHUP before it, SIGKILL after `grace` seconds
watch       `run`, `stream` (`stdout`, `stderr`), `offset` -> `size`, `ended`: answered once the log is longer than
            `offset`, or the run has ended or is unknown
dial        `host`, `port`, `udp` -> [connected socket]
open        `path`, `beneath` -> `size`, [file opened for reading]
create      `path`, `beneath`, `mode` -> `token`, [temporary file beside the target]
commit      `token`: the file is in place
abort       `token`: the file is gone; a lost connection aborts too
listen      -> `port`, [listening TCP socket on 127.0.0.1 of the sandbox]
status      -> `runs`, `processes` (alive, without the agent)
freeze      SIGSTOP to every process
thaw        SIGCONT to those; a lost connection thaws too
retire      -> `idle`; when true the agent ends right after this answer and has read no later request

Event `exit`: `run`, `exit_code`, `cause`, `stdout_bytes`, `stderr_bytes`, `dropped_bytes`, `cpu_ns`, `max_rss_bytes`,
`wall_ns`, `state_bytes` (null without a state); the state is the tail, absent when only the record has it for its size.

The record file holds the same, always with the state; an empty or cut record means that the run's end is unknown.
"""

from __future__ import annotations

import heapq
import json
import os
import select
import signal
import socket
import time

from skerry.island.sandbox.agent import processes
from skerry.island.sandbox.agent.client import Client
from skerry.island.sandbox.agent.dial import dial, dial_datagrams
from skerry.island.sandbox.agent.files import Files
from skerry.island.sandbox.agent.refusal import Refusal
from skerry.island.sandbox.agent.runs import Runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VERSION = 3
# What `json.loads` would find out and build each time.
_DECODER = json.JSONDecoder()


class Agent:
    """The event loop of one sandbox.

    Args:
        first: a connection that exists already, or None.
        listener: the socket on which later servers connect, bound and listening, or None.
        oom_fd, oom_adjust, rss_limit, soft_files: see `runs.Runs`.
        egress: what `listen` hands out, where the agent may not make it itself.
    """

    def __init__(
        self,
        first: socket.socket | None,
        listener: socket.socket | None,
        *,
        oom_fd: int | None = None,
        oom_adjust: int | None = None,
        rss_limit: int | None = None,
        soft_files: int | None = None,
        egress: socket.socket | None = None,
    ) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = 0
        self._clients: list[Client] = []
        self._egress = egress
        self.runs = Runs(self, oom_fd=oom_fd, oom_adjust=oom_adjust, rss_limit=rss_limit, soft_files=soft_files)
        self.files = Files()
        self._wake_on_child()
        self._listener = listener
        if listener is not None:
            listener.setblocking(False)
            self.watch(listener.fileno(), self._accept)
        if first is not None:
            self._clients.append(Client(self, first))

    def _wake_on_child(self) -> None:
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        self._wake_write = write

        def collect(_: int) -> None:
            try:
                os.read(read, 4096)
            except BlockingIOError:
                pass
            self.runs.reap()

        self.watch(read, collect)

    def serve(self) -> None:
        """Run for the life of the sandbox."""
        while True:
            delay = -1.0
            if self._timers:
                delay = max(0.0, self._timers[0][0] - time.monotonic())
            for fd, events in self._poll.poll(delay, 64):
                handler = self._handlers.get(fd)
                if handler is not None:
                    self._guarded(handler, events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                self._guarded(heapq.heappop(self._timers)[2])

    def _guarded(self, function: Callable[..., object], *args: object) -> None:
        """One failure must not end everybody's processes: tell the servers and go on."""
        try:
            function(*args)
        except Exception as error:
            self.broadcast(json.dumps({"event": "fault", "text": f"{type(error).__name__}: {error}"}).encode())

    def watched(self, fd: int, handler: Callable[[int], object]) -> bool:
        """Whether this handler still waits for that descriptor."""
        return self._handlers.get(fd) is handler

    def watch(self, fd: int, handler: Callable[[int], object]) -> None:
        """Call `handler(events)` whenever `fd` can be read."""
        self._handlers[fd] = handler
        self._poll.register(fd, select.EPOLLIN)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on a watched descriptor."""
        self._poll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Stop watching; harmless when it was not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, function: Callable[[], object]) -> None:
        """Call once, `seconds` from now."""
        self._sequence += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._sequence, function))

    def broadcast(self, event: bytes) -> None:
        """Tell every connected server."""
        for client in list(self._clients):
            client.send_packet(event, [])

    def forget(self, client: Client) -> None:
        """Drop what belonged to a client that left."""
        self._clients.remove(client)
        self.runs.forget(client)
        self.files.forget(client)
        if not self._clients:
            # Nobody is left who counts those that wait in all sandboxes.
            self.runs.warm.discard()

    def _accept(self, _: int) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        self._clients.append(Client(self, connection))

    def handle(self, client: Client, packet: bytes, fds: list[int]) -> None:
        """Do what a packet asks."""
        head, _, tail = packet.partition(b"\n")
        request, _ = _DECODER.raw_decode(head.decode())
        n = request["n"]
        try:
            if request.get("big"):
                if not fds:
                    raise Refusal("limits", "the agent has no room for more descriptors")
                memory = fds.pop(0)
                request = json.loads(os.pread(memory, os.fstat(memory).st_size, 0))
                os.close(memory)
            operation = _OPERATIONS.get(request["op"])
            if operation is None:
                raise Refusal("unsupported", f"this agent cannot do {request['op']}")
            request["tail"] = tail
            operation(self, client, request, fds)
        except Refusal as refusal:
            client.send({"n": n, "ok": False, "reason": refusal.reason, "message": refusal.message}, [])
        except Exception as error:
            client.send({"n": n, "ok": False, "reason": "start", "message": f"{type(error).__name__}: {error}"}, [])

    def hello(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Who is here."""
        port = None if self._egress is None else self._egress.getsockname()[1]
        known = {"runs": list(self.runs.by_id), "unrecorded": self.runs.unrecorded}
        client.reply(request["n"], {"version": VERSION, "port": port, **known})

    def exec(self, client: Client, request: dict[str, Any], fds: list[int]) -> None:
        """Start a command."""
        if request.get("like"):
            request.update(client.program)
        then = self.runs.exec(request, fds)
        run = self.runs.by_id.get(request["run"])
        client.reply(request["n"], {"pid": 0 if run is None else run.pid})
        then()

    def warm(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Have a shell wait for the next run, or none."""
        if request.get("like"):
            request.update(client.program)
        elif request["argv"] is not None:
            client.program = {name: request[name] for name in ("argv", "env", "cwd", "keep")}
        self.runs.warm.start(request)
        client.reply(request["n"], {})

    def terminal(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Start a command on a pseudo-terminal."""
        run, master = self.runs.terminal(request)
        client.reply(request["n"], {"pid": run.pid}, [master])

    def piped(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Start a command whose streams the server holds."""
        run, ends = self.runs.piped(request)
        client.reply(request["n"], {"pid": run.pid}, ends)

    def signal(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Signal a run."""
        self.runs.signal(request)
        client.reply(request["n"], {})

    def cancel(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """End a run."""
        self.runs.cancel(request)
        client.reply(request["n"], {})

    def watch_log(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Tell when a log has grown."""
        self.runs.watch(client, request)

    def open(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Open a file for reading."""
        fd, size = self.files.open(request["path"], request["beneath"])
        client.reply(request["n"], {"size": size}, [fd])

    def create(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Open a temporary file that `commit` puts in place."""
        token, fd = self.files.create(client, request["path"], request["beneath"], request["mode"])
        client.reply(request["n"], {"token": token}, [fd])

    def commit(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Put a written file in place."""
        self.files.commit(request["token"])
        client.reply(request["n"], {})

    def abort(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Drop a written file."""
        self.files.abort(request["token"])
        client.reply(request["n"], {})

    def listen(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Hand out the listener through which the sandbox's traffic leaves; made on first use."""
        if self._egress is None:
            egress = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                egress.bind(("127.0.0.1", 0))
                egress.listen(128)
            except OSError as error:
                egress.close()
                raise Refusal("unsupported", f"no loopback in the sandbox: {error.strerror}") from None
            self._egress = egress
        port = self._egress.getsockname()[1]
        client.reply(request["n"], {"port": port}, [os.dup(self._egress.fileno())])

    def status(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """What lives here."""
        alive = sum(entry.pid != self.runs.warm.pid for entry in processes.table())
        client.reply(request["n"], {"runs": list(self.runs.by_id), "processes": alive})

    def freeze(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Stop everything until `thaw`."""
        client.frozen = [*(client.frozen or ()), *processes.stop_all()]
        client.reply(request["n"], {"processes": len(client.frozen)})

    def thaw(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Let everything go on."""
        stopped, client.frozen = client.frozen, None
        processes.continue_all(stopped or [])
        client.reply(request["n"], {})

    def retire(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """End the agent if nothing lives here."""
        self.runs.warm.discard(wait=True)
        self.runs.reap()
        idle = not self.runs.by_id and not processes.table()
        client.reply(request["n"], {"idle": idle})
        if idle:
            os._exit(0)

    def dial(self, client: Client, request: dict[str, Any], _: list[int]) -> None:
        """Connect to a port of the sandbox; a server that listens only on ::1 is found too."""
        host = request["host"]
        if request.get("udp"):
            dial_datagrams(client, request["n"], host, request["port"])
            return
        hosts = ["127.0.0.1", "::1"] if host in ("127.0.0.1", "localhost") else [host]
        dial(self, client, request["n"], hosts, request["port"])


_OPERATIONS = {
    "hello": Agent.hello,
    "exec": Agent.exec,
    "warm": Agent.warm,
    "terminal": Agent.terminal,
    "piped": Agent.piped,
    "signal": Agent.signal,
    "cancel": Agent.cancel,
    "watch": Agent.watch_log,
    "open": Agent.open,
    "create": Agent.create,
    "commit": Agent.commit,
    "abort": Agent.abort,
    "listen": Agent.listen,
    "status": Agent.status,
    "freeze": Agent.freeze,
    "thaw": Agent.thaw,
    "retire": Agent.retire,
    "dial": Agent.dial,
}


def _nothing(*_: object) -> None:
    """SIGCHLD needs a handler to wake the loop; the work is done there."""
