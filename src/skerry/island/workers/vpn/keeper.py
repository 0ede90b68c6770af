"""The resident first process of a relay: it moves the endpoint's traffic inside, minds the program, and counts.

It is process 1 of the relay's namespaces, so that nothing there outlives it, and it outlives the server that had it
made. Its endpoint sockets were made outside and stay there; everything else of it is inside. Whoever may enter the
relay's directory can ask it, one JSON packet per connection: `{"op": "status"}` answers what it is and has moved,
`{"op": "stop"}` the final counters, after which it is gone.

Loaded by `build` and therefore kept small: standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import time

from skerry.island.sandbox.linux import seccomp
from skerry.island.sandbox.linux import syscalls as sc
from skerry.island.workers.vpn import room, rules, uplinks
from skerry.island.workers.vpn.forward_tcp import TcpForwarder
from skerry.island.workers.vpn.forward_udp import UdpForwarder
from skerry.island.workers.vpn.gauges import gauge
from skerry.island.workers.vpn.loop import READ, Loop
from skerry.island.workers.vpn.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COUNTS = struct.Struct("<QQ")
"""The file `traffic`: bytes from the user, bytes to the user."""
_SECCOMP = seccomp.program(sc.MACHINE)
_WATCH, _COUNT = 0.01, 0.5
_PACKET = 65_536
_FILES = 8192


class Keeper:
    """One relay from the inside.

    Args:
        plan: see `recipes`.
        held: descriptors by name: `control` (listening), `traffic`, `log`, and `tcp`, `udp` if there are such.
        report: whom to tell that the relay serves, or why not; then closed.
    """

    def __init__(self, plan: dict[str, Any], held: dict[str, int], report: socket.socket) -> None:
        self._loop = Loop()
        self._report: socket.socket | None = report
        self._traffic = held["traffic"]
        self._log = held["log"]
        self._control = socket.socket(fileno=held["control"])
        self._control.setblocking(False)
        self._gauge = gauge(plan["gauge"])
        self._program = Program(plan["argv"], plan["environment"], self._loop)
        self._ready = False
        self._stopping: socket.socket | None = None
        self._base = COUNTS.unpack(os.pread(self._traffic, COUNTS.size, 0).ljust(COUNTS.size, b"\0"))
        self._now = (0, 0)
        self._written = self._base
        self._due = 0.0
        self._tcp: TcpForwarder | None = None
        self._udp: UdpForwarder | None = None
        port = plan["port"]
        if "tcp" in held:
            listener = socket.socket(fileno=held["tcp"])
            listener.setblocking(False)
            self._tcp = TcpForwarder(self._loop, listener, port)
        if "udp" in held:
            outer = socket.socket(fileno=held["udp"])
            outer.setblocking(False)
            self._udp = UdpForwarder(self._loop, outer, port)

    def serve(self) -> None:
        """Run until told to stop, or until the program has failed too often."""
        self._loop.watch(self._control.fileno(), READ, self._accept)
        self._start()
        self._loop.run(self._tick)

    def _start(self) -> None:
        self._gauge.started()
        self._ready = False
        self._program.start()

    def _tick(self) -> float:
        now = time.monotonic()
        if self._program.ended():
            if self._gauge.restarts:
                self._base, self._now = self._total(), (0, 0)
            if self._report is not None:
                self._tell({"error": f"{self._program.name} {self._program.cause()}"})
            if self._program.given_up:
                os.ftruncate(self._log, 0)
                os.pwrite(self._log, self._program.cause().encode(errors="replace"), 0)
                self._loop.stop()
            elif self._program.may_start(now):
                self._start()
            return _WATCH
        if not self._ready:
            self._ready = self._gauge.ready()
            if self._ready:
                self._tell({"ready": True})
        if now >= self._due:
            self._due = now + _COUNT
            self._count()
            if self._udp is not None:
                self._udp.sweep()
        return _COUNT if self._ready else _WATCH

    def _tell(self, message: dict[str, Any]) -> None:
        report, self._report = self._report, None
        if report is not None:
            try:
                report.send(json.dumps(message).encode())
            except OSError:
                pass  # whoever had us built is gone; the next one finds us
            report.close()

    def _total(self) -> tuple[int, int]:
        return self._base[0] + self._now[0], self._base[1] + self._now[1]

    def _count(self) -> None:
        read = self._gauge.read()
        if read is not None:
            # Never backwards, whatever a program that is just ending says.
            self._now = max(self._now[0], read[0]), max(self._now[1], read[1])
        if self._total() != self._written:
            self._written = self._total()
            os.pwrite(self._traffic, COUNTS.pack(*self._written), 0)

    def _accept(self, _: int) -> None:
        try:
            connection, _ = self._control.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._loop.watch(connection.fileno(), READ, lambda _: self._answer(connection))

    def _answer(self, connection: socket.socket) -> None:
        self._loop.forget(connection.fileno())
        answer: dict[str, Any] = {}
        try:
            packet = connection.recv(_PACKET)
            if packet:
                answer = self._do(json.loads(packet)["op"])
                connection.send(json.dumps(answer).encode())
        except (OSError, ValueError, KeyError, TypeError):
            pass
        connection.close()

    def _do(self, op: str) -> dict[str, Any]:
        if op == "stop":
            # In this order: no more traffic, the last counts, the end of everything that knows the credentials.
            for forwarder in (self._tcp, self._udp):
                if forwarder is not None:
                    forwarder.close()
            self._count()
            self._program.kill()
            self._loop.stop()
        elif op == "status":
            self._count()
        else:
            return {"error": f"unknown operation {op!r}"}
        received, sent = self._total()
        return {
            "received": received,
            "sent": sent,
            "ready": self._ready,
            "restarts": self._program.restarts,
            "log": self._program.tail(),
        }


def main(plan: dict[str, Any], held: dict[str, int], builder: socket.socket, *, outer: bool) -> None:
    """In the relay's first process, born into its namespaces: never returns.

    Args:
        plan: see `recipes`.
        held: descriptors by name; all others but `builder`'s are closed.
        builder: the socket to `build`.
        outer: whether the builder is root, and maps us to another user.
    """
    try:
        os.setsid()
        os.umask(0o077)
        keep = {builder.fileno(), *held.values()}
        _close_all_but(keep)
        devices = _become_root(builder, plan, outer=outer)
        sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
        # Before there is any interface, so that not even its first packets are other than ours.
        _prepare_network(routes=plan["tunnel"] is not None)
        builder.send(b'{"isolated":true}')
        packet = builder.recv(_PACKET)
        if not packet:
            os._exit(1)
        room.enter(plan["files"], devices, tun=plan["tunnel"] is not None)
        socket.sethostname("relay")
        _make_network(plan, json.loads(packet))
        _confine(plan["capabilities"])
        Keeper(plan, held, builder).serve()
        os._exit(0)
    except BaseException as error:
        try:
            builder.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        except OSError:
            pass
    os._exit(1)


def _close_all_but(keep: set[int]) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the listing's own
    for fd in keep:
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                pass  # reserved by the C library
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _become_root(builder: socket.socket, plan: dict[str, Any], *, outer: bool) -> int | None:
    """Be root of the new user namespace; the tree of devices, if the builder gave one."""
    if outer:
        packet, fds, _, _ = socket.recv_fds(builder, _PACKET, 1)
        if not packet:
            os._exit(1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])
        return fds[0] if fds else None
    user, group = plan["user"], plan["group"]
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        _write(f"/proc/self/{name}", text)
    return None


def _prepare_network(*, routes: bool) -> None:
    # Through the machine's /proc, which shows each process its own network; ours will be read-only.
    try:
        _write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")
    except OSError:
        pass  # no IPv6 on this machine; the filter drops it anyhow
    if routes:
        _write("/proc/sys/net/ipv4/ip_forward", "1")


def _make_network(plan: dict[str, Any], uplink: dict[str, Any]) -> None:
    interface = uplink["interface"]
    lines = ["link set lo up"]
    if "gateway" in uplink:
        lines += [
            f"addr add {uplink['address']} dev {interface}",
            f"link set {interface} up",
            f"route add default via {uplink['gateway']}",
        ]
    tunnel = plan["tunnel"]
    if tunnel is not None:
        # Persistent, so that addresses and rules stay when the program is started again; and its own, so that it can
        # take it without the power over all of this network.
        name = tunnel["interface"]
        lines += [
            f"tuntap add dev {name} mode tun user 0",
            f"addr add {tunnel['address']} dev {name}",
            f"link set {name} mtu {tunnel['mtu']} up",
        ]
    _run(["ip", "-batch", "-"], "".join(f"{line}\n" for line in lines))
    through = None if tunnel is None else (tunnel["interface"], tunnel["network"])
    _run(
        ["nft", "-f", "-"],
        rules.inside(
            uplink=interface,
            port=plan["port"],
            tunnel=through,
            closed=[*plan["closed"], *uplink["own"]],
            allowed=plan["allowed"],
        ),
    )


def _run(command: list[str], text: str) -> None:
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, env={"PATH": uplinks.PATH}, timeout=60, check=False
    )
    if done.returncode != 0:
        raise OSError(f"{command[0]} in the relay: {done.stderr.decode(errors='replace').strip()[-400:]}")


def _confine(capabilities: list[int]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sc.keep_capabilities(tuple(capabilities))
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    if _SECCOMP is None:
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    else:
        sc.install_seccomp(_SECCOMP)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
