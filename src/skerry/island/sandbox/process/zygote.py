"""The zygote of the process driver: it starts agents behind Landlock and filters, where namespaces are forbidden.

Each agent has a keeper, its parent, which stands outside the walls, is out of reach of signals from inside, and
inherits every process that loses its own parent. When the agent ends, for whatever reason, the keeper ends everything
that is left, and then itself. It holds the sandbox's lock file meanwhile: who can lock that file knows that nothing
lives.

A request is one JSON packet with descriptors [control socket, listening socket, lock file, listener of the egress proxy
if `port`, the OOM count file if `oom`, `entries` control group files]: `paths` ([path, kind] pairs for `landlock`),
`port` (of the proxy, or null), `uid` (to become, or null), `directories` (to make once inside), `internet` and `unix`
(for `socket_filter`), `rlimits`, `soft_files`, `rss_limit`, `oom`, `entries`. It answers on the control socket as
the zygote of `namespace` does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket

from skerry.island.promptness import be_prompt
from skerry.island.sandbox.agent import processes, start
from skerry.island.sandbox.agent.agent import Agent
from skerry.island.sandbox.linux import landlock, seccomp
from skerry.island.sandbox.linux import syscalls as sc
from skerry.island.sandbox.process import socket_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROGRAM = seccomp.program(sc.MACHINE)
_ABI = landlock.abi()


def main(fd: int) -> None:
    """Serve requests from the socket `fd` until it ends."""
    start.serve(fd, _build)


def _build(request: dict[str, Any], control: socket.socket, fds: list[int], requests: socket.socket) -> None:
    if os.fork() == 0:
        requests.close()
        _keep(request, control, fds)


def _keep(request: dict[str, Any], control: socket.socket, fds: list[int]) -> None:
    """In the keeper: never returns."""
    try:
        os.setsid()
        start.rename("skerry-keeper")
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)
        pid = os.fork()
        if pid == 0:
            _become_agent(request, control, fds)
        control.send(json.dumps({"pid": pid}).encode())
        lock = fds[2]
        for descriptor in (control.detach(), *fds[1:]):
            if descriptor != lock:
                os.close(descriptor)
        while os.waitpid(-1, 0)[0] != pid:
            continue
        _end_all()
    except BaseException as error:
        start.report(control, error)
    os._exit(0)


def _end_all() -> None:
    """Kill whoever is left until nobody is."""
    while True:
        for entry in processes.table():
            try:
                os.kill(entry.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        select.select([], [], [], 0.002)


def _become_agent(request: dict[str, Any], control: socket.socket, fds: list[int]) -> None:
    """In the agent: never returns."""
    try:
        os.setsid()
        os.umask(0o022)
        be_prompt()
        start.reset_signals()
        start.rename("skerry-agent")
        sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)
        for entry in fds[len(fds) - request["entries"] :]:
            os.write(entry, b"0")
        rules = landlock.ruleset(_ABI, request["paths"], () if request["port"] is None else (request["port"],))
        adjust = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        given = fds[3 : len(fds) - request["entries"]]
        kept = start.settle([control.fileno(), fds[1], adjust, rules, *given])
        control.detach()
        control_fd, listener_fd, adjust, rules, *rest = kept
        control = socket.socket(fileno=control_fd)
        listener = socket.socket(fileno=listener_fd)
        egress = None if request["port"] is None else socket.socket(fileno=rest.pop(0))
        start.confine_resources(request["rlimits"])
        _confine(request, rules)
        for directory in request["directories"]:
            _make_directory(directory)
        resident = Agent(
            control,
            listener,
            oom_fd=rest[0] if rest else None,
            oom_adjust=adjust,
            rss_limit=request["rss_limit"],
            soft_files=request["soft_files"],
            egress=egress,
        )
        # From here on the agent's process id is what whoever connects is told by the kernel.
        listener.listen(16)
        control.send(b'{"ready":true}')
        resident.serve()
    except BaseException as error:
        start.report(control, error)
    os._exit(1)


def _confine(request: dict[str, Any], rules: int) -> None:
    uid = request["uid"]
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    elif os.geteuid() == 0:
        sc.keep_capabilities(())
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict(rules)
    os.close(rules)
    sockets = socket_filter.program(sc.MACHINE, internet=request["internet"], unix=request["unix"])
    for program in (sockets, _PROGRAM):
        if program is not None:
            sc.install_seccomp(program)


def _make_directory(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError:
        pass  # whatever the sandbox put in its place, a command's `cwd` tells
