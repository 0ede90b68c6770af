"""The small single-threaded process that builds sandboxes: its children become their agents.

A multi-threaded server must not fork, and a fork of it would carry its memory into every sandbox. The zygote loads this
package's few modules once and shares their pages with all agents. It reads requests from one socket and ends when that
does; agents live on. For each request it forks the sandbox's first process straight into its new namespaces and does
what only a process outside can do: map owners, mount the overlay.

A request is one JSON packet with descriptors [control socket, listening socket, the OOM count file if `oom`, `entries`
control group files into which the first process writes itself]: `id`, `home`, `state_dir`, `lowers` (top first, image
last), `upper`, `work`, `scratch` (any directory to mount on, seen by the zygote only), `binds` ([source, target]
pairs), `devices` ([source, name in /dev] pairs), `shelved` ([source, path below `shelf`] pairs), `map` ([first id on
the machine, count]), `group` (our own, for maps of one id), `outer` (whether the zygote has the powers to map ids and
mount), `shm_bytes`, `rlimits` ({name: value}), `soft_files`, `rss_limit`, `oom`, `entries`. A request of more than
60,000 bytes travels as `{"big": true}` with a memory file as its last descriptor.

On the control socket the zygote sends `{"pid": <id on this machine>}`, and the agent, when all is done,
`{"ready": true}`; from then on it speaks the protocol of `agent.agent`. A failure is `{"error": text, "errno":
number or null}`.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct

from skerry.island.promptness import be_prompt
from skerry.island.sandbox.agent import start
from skerry.island.sandbox.agent.agent import Agent
from skerry.island.sandbox.linux import seccomp
from skerry.island.sandbox.linux import syscalls as sc
from skerry.island.sandbox.namespace import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMESPACES = sc.CLONE_NEWUSER | sc.CLONE_NEWNS | sc.CLONE_NEWPID | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWNET
# What root of a container is expected to have: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
# net_bind_service, net_raw, sys_chroot, audit_write, setfcap.
_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31)
_SIOCSIFFLAGS, _IFF_UP, _IFF_LOOPBACK = 0x8914, 0x1, 0x8
_PROGRAM = seccomp.program(sc.MACHINE)


def main(fd: int) -> None:
    """Serve build requests from the socket `fd` until it ends."""
    withdrawn = False

    def build(request: dict[str, Any], control: socket.socket, fds: list[int], _: socket.socket) -> None:
        nonlocal withdrawn
        if request["outer"] and not withdrawn:
            mounts.withdraw()
            withdrawn = True
        _build(request, control, fds)

    start.serve(fd, build)


def _build(request: dict[str, Any], control: socket.socket, fds: list[int]) -> None:
    outer, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = sc.fork_into(_NAMESPACES)
        if pid == 0:
            outer.close()
            _become_agent(request, control, fds, inner)
        control.send(json.dumps({"pid": pid}).encode())
        trees: list[int] = []
        if request["outer"]:
            first, count = request["map"]
            start.write(f"/proc/{pid}/uid_map", f"0 {first} {count}")
            start.write(f"/proc/{pid}/gid_map", f"0 {first} {count}")
            userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            try:
                trees = mounts.outer_mounts(request, userns)
            finally:
                os.close(userns)
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", trees))] if trees else []
            outer.sendmsg([b"go"], rights)
        finally:
            for tree in trees:
                os.close(tree)
    finally:
        outer.close()
        inner.close()


def _become_agent(request: dict[str, Any], control: socket.socket, fds: list[int], zygote: socket.socket) -> None:
    """In the sandbox's first process: never returns."""
    try:
        os.setsid()
        os.umask(0o022)
        be_prompt()
        start.rename("skerry-agent")
        # Once undumpable, the process could no longer open this file of its own.
        adjust = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        for entry in fds[len(fds) - request["entries"] :]:
            os.write(entry, b"0")
        # In its group, so that the group looks like the root of them all from here.
        sc.unshare(sc.CLONE_NEWCGROUP)
        packet, ancillary, _, _ = zygote.recvmsg(16, socket.CMSG_SPACE(1024), socket.MSG_CMSG_CLOEXEC)
        zygote.close()
        if not packet:
            os._exit(1)  # the zygote has reported
        if request["outer"]:
            received = array.array("i")
            for _, _, data in ancillary:
                received.frombytes(data)
            overlay, *trees = received
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            os.setgroups([])
            sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
            mounts.attach_stage(overlay)
        else:
            uid, gid = request["map"][0], request["group"]
            start.write("/proc/self/setgroups", "deny")
            start.write("/proc/self/uid_map", f"0 {uid} 1")
            start.write("/proc/self/gid_map", f"0 {gid} 1")
            sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
            trees = mounts.inner_mounts(request)
        mounts.assemble(request, trees)
        socket.sethostname(request["id"])
        _loopback_up()
        _make_home(request["home"])
        _confine(request)
        oom = fds[2:3] if request["oom"] else []
        control_fd, listener_fd, adjust, *rest = start.settle([control.fileno(), fds[1], adjust, *oom])
        control.detach()
        control = socket.socket(fileno=control_fd)
        listener = socket.socket(fileno=listener_fd)
        resident = Agent(
            control,
            listener,
            oom_fd=rest[0] if rest else None,
            oom_adjust=adjust,
            rss_limit=request["rss_limit"],
            soft_files=request["soft_files"],
        )
        # From here on the agent's process id is what whoever connects is told by the kernel.
        listener.listen(16)
        control.send(b'{"ready":true}')
        resident.serve()
    except BaseException as error:
        start.report(control, error)
    os._exit(1)


def _confine(request: dict[str, Any]) -> None:
    start.confine_resources(request["rlimits"])
    sc.keep_capabilities(_CAPABILITIES)
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    if _PROGRAM is None:
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    else:
        sc.install_seccomp(_PROGRAM)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_LOOPBACK)
        fcntl.ioctl(probe.fileno(), _SIOCSIFFLAGS, request)


def _make_home(home: str) -> None:
    try:
        os.makedirs(home, mode=0o755, exist_ok=True)
    except OSError:
        pass  # whatever the sandbox put in its place, a command's `cwd` tells
