"""Sandboxes without namespaces: what works, what is walled off, and what is left behind (nothing)."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from skerry.island.images.define import Overrides
from skerry.island.images.store import ImageStore
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.egress.proxy import EgressProxy
from skerry.island.sandbox.handles.sandbox import AgentSandbox
from skerry.island.sandbox.linux import landlock
from skerry.island.sandbox.process.driver import ProcessDriver
from skerry.island.sandbox.spec import ExecResult, ExecSpec, GpuDevice, Limits, NetworkPolicy, SandboxSpec, Volume
from tests import processes
from tests.island.sandbox import sandbox_lab

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(landlock.abi() == 0, reason="this kernel offers no Landlock"),
]
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/user", "LANG": "C.UTF-8"}
OPEN = NetworkPolicy(mode="open")
PATIENCE = 60.0
# The machine's own Python, which a sandbox can see; the one that runs these tests may be anywhere.
PYTHON = "/usr/bin/python3"
needs_python = pytest.mark.skipif(not os.path.exists(PYTHON), reason=f"no {PYTHON} to run inside")


class Lab:
    """One driver over one directory."""

    def __init__(self, directory: Path) -> None:
        self.egress = EgressProxy(private_ok=("127.0.0.1",))
        self.state = directory / "state"
        self.driver = ProcessDriver(self.state, ImageStore(directory / "images"), egress=self.egress)
        self._next = 0

    async def box(
        self, id: str = "box", *, network: NetworkPolicy | None = None, limits: Limits | None = None
    ) -> AgentSandbox:
        spec = SandboxSpec(id=id, image="host", network=network or NetworkPolicy(), limits=limits or Limits())
        await self.driver.create(spec)
        return await self.driver.open(id)

    async def run(self, box: AgentSandbox, command: str, **fields: object) -> tuple[ExecResult, str, str]:
        self._next += 1
        spec = ExecSpec(**{"id": f"r{self._next}", "argv": ("/bin/sh", "-c", command), "env": ENV, **fields})  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE):
            process = await box.exec(spec)
            result = await process.wait()
        return result, process.files.stdout.read_text(), process.files.stderr.read_text()

    async def output(self, box: AgentSandbox, command: str, **fields: object) -> str:
        result, out, err = await self.run(box, command, **fields)
        assert result.exit_code == 0, (result, out, err)
        return out.strip()

    async def refused(self, box: AgentSandbox, command: str) -> None:
        result, out, err = await self.run(box, command)
        assert result.exit_code != 0, (command, out)
        assert any(word in err for word in ("denied", "not permitted", "superuser", "Errno 13", "Errno 1]")), (
            command,
            err,
        )

    async def stop(self) -> None:
        await self.driver.stop()
        await self.egress.aclose()
        assert residents(self.state) == [], "processes are left"


def residents(state: Path) -> list[int]:
    """Processes that hold a lock below a state directory: keepers."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                targets = [os.readlink(f"/proc/{name}/fd/{fd}") for fd in os.listdir(f"/proc/{name}/fd")]
            except OSError:
                continue
            if any(target.startswith(str(state)) and target.endswith("/alive") for target in targets):
                found.append(int(name))
    return found


@pytest.fixture
def scratch() -> Iterator[Path]:
    with sandbox_lab.scratch() as directory:
        yield directory


@pytest.fixture
async def lab(scratch: Path) -> AsyncIterator[Lab]:
    made = Lab(scratch)
    await made.driver.start()
    yield made
    await made.stop()


async def test_commands_files_and_terminals(lab: Lab) -> None:
    box = await lab.box()
    home = f"{lab.state}/sandboxes/box/upper/home/user"
    assert await lab.output(box, "pwd; echo $HOME; echo hi > ~/f; cat f") == f"{home}\n{home}\nhi"
    assert await lab.output(box, "cat", stdin=b"given") == "given"
    assert await lab.output(box, "touch $TMPDIR/x && ls $TMPDIR") == "x"
    result, _, _ = await lab.run(box, "kill -9 $$")
    assert (result.exit_code, result.cause) == (137, "signaled")
    result, _, _ = await lab.run(box, "sleep 600", timeout=0.1, grace=0.1)
    assert (result.exit_code, result.cause) == (124, "timeout")
    await box.write_file("/home/user/up/g", io.BytesIO(b"content"), 7, beneath="/home/user")
    assert await lab.output(box, "cat up/g") == "content"
    file, size = await box.open_read("up/g", beneath="/home/user")
    with file:
        assert (size, file.read()) == (7, b"content")
    for path in ("/home/user/../../../../etc/passwd", "/home/user/link"):
        await lab.run(box, "ln -sf /etc/passwd link")
        with pytest.raises(SandboxError):
            await box.open_read(path, beneath="/home/user")
    spec = ExecSpec(id="tty", argv=("/bin/sh", "-c", "test -t 0 && stty size"), env=ENV)
    terminal = await box.terminal(spec, 91, 17)
    try:
        assert (await asyncio.wait_for(terminal.wait(), PATIENCE)).exit_code == 0
        assert b"17 91" in os.read(terminal.fd, 1000)
    finally:
        terminal.close()
    piped = await box.piped(ExecSpec(id="piped", argv=("/bin/sh", "-c", "pwd; cat >&2"), env=ENV))
    os.write(piped.stdin, b"given")
    piped.close_stdin()
    try:
        assert (await asyncio.wait_for(piped.wait(), PATIENCE)).exit_code == 0
        assert os.read(piped.stdout, 1000).decode() == f"{home}\n"
        assert os.read(piped.stderr, 1000) == b"given"
    finally:
        piped.close()


async def test_a_shell_waits_here_too(lab: Lab) -> None:
    box = await lab.box()
    wish = {
        "argv": ("bash", "-c", 'IFS= read -r -N 100000 -u 8 text; exec 8<&-; printf + >&9; eval "$text"', "bash"),
        "cwd": "/",
        "keep_state": True,
        "warm": True,
    }
    await lab.output(box, "", state=b"true", **wish)
    agent = lab.driver._live["box"].pid
    assert agent is not None
    assert os.sched_getscheduler(agent) & os.SCHED_RESET_ON_FORK

    def waiting() -> list[int]:
        return processes.children(agent)

    found: list[int] = []

    def ready() -> bool:
        found[:] = waiting()
        return processes.asleep(found)

    await sandbox_lab.until(ready)
    (pid,) = found
    out = await lab.output(box, "", state=b"cd /home/user && pwd; echo $$", **wish)
    assert out == f"{lab.state}/sandboxes/box/upper/home/user\n{pid}"
    await sandbox_lab.until(lambda: len(waiting()) == 1)
    (pid,) = waiting()
    assert (await box.usage()).processes == 0
    assert await lab.driver.suspend("box")
    assert not sandbox_lab.alive(pid)


async def test_the_machine_is_out_of_reach(lab: Lab, scratch: Path) -> None:
    secret = scratch / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    box = await lab.box()
    other = await lab.box("other")
    await lab.output(other, "echo private > ~/f; chmod 644 ~/f")
    for command in (
        f"cat {secret}",
        f"echo x > {secret}",
        f"cat {lab.state}/sandboxes/other/upper/home/user/f",
        f"ls {lab.state}/sandboxes/box/runs",
        "ls /",
        "ls /root || ls /home",
        "cat /etc/shadow",
        "touch /usr/skerry-test",
        "touch /tmp/skerry-test",
        "ls /dev/shm",
        f"tr '\\0' ' ' < /proc/{os.getpid()}/environ",
        "mount -t tmpfs none .",
        "unshare -U true",
    ):
        await lab.refused(box, command)
    assert await lab.output(box, "grep -c . /etc/passwd") != "0"


@pytest.mark.skipif(landlock.abi() < landlock.SCOPE_ABI, reason="Landlock knows no signals before Linux 6.12")
async def test_signals_stay_inside(lab: Lab) -> None:
    box = await lab.box()
    other = await lab.box("other")
    process = await other.exec(ExecSpec(id="victim", argv=("/bin/sh", "-c", "echo $$; sleep 600"), env=ENV))
    pid = b""
    async for piece in process.follow("stdout"):
        pid += piece
        if b"\n" in pid:
            break
    # Who has started them has the lock, too, for a moment.
    await sandbox_lab.until(lambda: len(residents(lab.state)) == 2)
    keeper = residents(lab.state)
    for target in (os.getpid(), int(pid), *keeper):
        await lab.refused(box, f"kill -9 {target}")
    await lab.output(box, "sleep 600 & kill -9 $!")
    await process.cancel(0.1)


@needs_python
async def test_sockets_are_walled_off(lab: Lab) -> None:
    box = await lab.box()
    for family, kind in (("AF_INET", "SOCK_STREAM"), ("AF_INET6", "SOCK_STREAM"), ("AF_INET", "SOCK_DGRAM")):
        await lab.refused(box, f"{PYTHON} -c 'from socket import *; socket({family}, {kind})'")
    with pytest.raises(SandboxError) as caught:
        await box.dial(22)
    assert caught.value.reason in ("refused", "start")


@needs_python
@pytest.mark.skipif(landlock.abi() < landlock.NET_ABI, reason="Landlock knows no TCP ports before Linux 6.7")
async def test_the_proxy_is_the_only_way_out(lab: Lab) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        box = await lab.box(network=OPEN)
        fetch = f"{PYTHON} -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:{port}/\").read())'"
        assert await lab.output(box, f"unset no_proxy NO_PROXY; {fetch}") == "b'hello'"
        await lab.refused(box, fetch)
        await lab.refused(box, f"{PYTHON} -c 'from socket import *; create_server((\"\", 0))'")
        await lab.refused(box, f"{PYTHON} -c 'from socket import *; socket(AF_INET, SOCK_DGRAM)'")
        await lab.driver.reconfigure("box", network=NetworkPolicy(mode="allow", hosts=("example.com",)))
        _, out, err = await lab.run(box, f"unset no_proxy NO_PROXY; {fetch}")
        assert "403" in err, out
        assert lab.egress.usage("box").connections == 1
    finally:
        server.close()
        await server.wait_closed()


async def test_forks_are_copies(lab: Lab) -> None:
    box = await lab.box()
    await lab.output(box, "echo one > f; ln -s f link; mkdir d; echo deep > d/g; chmod 600 f")
    report = await lab.driver.fork("box", SandboxSpec(id="child", image="host"))
    assert report.method in ("copy", "reflink")
    child = await lab.driver.open("child")
    assert await lab.output(child, "cat link d/g; echo two > f; cat f") == "one\ndeep\ntwo"
    assert await lab.output(box, "cat f") == "one"
    # A session that started in the parent goes on in the child.
    inherited = f"{lab.state}/sandboxes/box/upper/home/user/d"
    assert await lab.output(child, "pwd; cat g", cwd=inherited) == f"{inherited.replace('/box/', '/child/')}\ndeep"
    state = f"cd {inherited}".encode()
    assert await lab.output(child, ". /proc/self/fd/8; pwd", state=state) == inherited.replace("/box/", "/child/")


async def test_a_running_parent_is_forked_standing_still(lab: Lab) -> None:
    box = await lab.box()
    process = await box.exec(
        ExecSpec(id="writer", argv=("/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > n; done"), env=ENV)
    )
    await sandbox_lab.until(lambda: (lab.state / "sandboxes/box/upper/home/user/n").exists())
    report = await lab.driver.fork("box", SandboxSpec(id="child", image="host"))
    assert report.frozen_ns > 0
    before = (lab.state / "sandboxes/box/upper/home/user/n").read_text()
    await sandbox_lab.until(lambda: (lab.state / "sandboxes/box/upper/home/user/n").read_text() != before)
    await process.cancel(0.1)
    assert (await process.wait()).cause == "cancelled"
    await lab.output(await lab.driver.open("child"), "test -e n")


async def test_nothing_outlives_a_kill(lab: Lab) -> None:
    box = await lab.box()
    # The same test may be going on beside this one, as another user.
    mark = str(10**9 + secrets.randbelow(10**8))
    command = f"sleep {mark}1 & setsid sh -c 'sleep {mark}2 & exec sleep {mark}3' & echo ok"
    assert await lab.output(box, command) == "ok"

    async def all_started() -> bool:
        return (await box.usage()).processes >= 3

    await sandbox_lab.until(all_started)
    assert not await lab.driver.suspend("box"), "daemons keep a sandbox awake"
    await lab.driver.kill("box")
    assert not any(mark.encode() in processes.command(pid) for pid in processes.every())
    assert await lab.output(await lab.driver.open("box"), "echo again") == "again"
    assert await lab.driver.suspend("box")
    await lab.driver.remove("box")
    assert await lab.driver.ids() == []


async def test_a_sandbox_that_ends_its_own_agent_is_lost_whole(lab: Lab) -> None:
    lost: list[tuple[str, str]] = []

    async def note(sandbox_id: str, cause: str) -> None:
        lost.append((sandbox_id, cause))

    lab.driver.on_lost(note)
    box = await lab.box()
    daemon = await box.exec(ExecSpec(id="daemon", argv=("/bin/sh", "-c", "setsid sleep 986 & wait"), env=ENV))
    agent = lab.driver._live["box"].pid
    assert agent is not None
    os.kill(agent, signal.SIGKILL)
    assert (await asyncio.wait_for(daemon.wait(), PATIENCE)).cause == "lost"
    await sandbox_lab.until(lambda: lost == [("box", "died")])
    assert residents(lab.state) == []
    assert await lab.output(await lab.driver.open("box"), "echo again") == "again"


async def test_limits(lab: Lab) -> None:
    box = await lab.box(limits=Limits(open_files=50, disk_bytes=1 << 20, pids=64))
    assert await lab.output(box, "ulimit -n") == "50"
    result, _, _ = await lab.run(box, "head -c 2000000 /dev/zero > big")
    assert result.exit_code != 0
    assert (lab.state / "sandboxes/box/upper/home/user/big").stat().st_size <= 1 << 20


async def test_what_it_cannot_give_is_said(lab: Lab, scratch: Path) -> None:
    barriers = lab.driver.barriers()
    assert barriers.driver == "process"
    assert "landlock" in barriers.active
    assert {"mount-namespace", "pid-namespace", "network-namespace"} <= {name for name, _ in barriers.missing}
    assert ("own-user-id" in barriers.active) == (os.geteuid() == 0)
    with pytest.raises(SandboxError) as caught:
        await lab.driver.create(SandboxSpec(id="x", image="nothing"))
    assert caught.value.reason == "unknown_image"
    with pytest.raises(SandboxError) as caught:
        await lab.driver.open("nobody")
    assert caught.value.reason == "unknown_sandbox"
    for given in ({"volumes": (Volume("host", "/data"),)}, {"gpus": (GpuDevice(0),)}):
        with pytest.raises(SandboxError, match="user namespaces") as caught:
            await lab.driver.create(SandboxSpec(id="x", image="host", **given))
        assert caught.value.reason == "unsupported"
    images = ImageStore(scratch / "images")
    (scratch / "file").write_text("x")
    (scratch / "tree").mkdir()
    plain = await images.define("plain", "host", overrides=Overrides(env={"A": "1"}))
    filed = await images.define("filed", "host", files=[(scratch / "file", "/opt/file")])
    shown = await images.define("shown", "host", trees=[(scratch / "tree", "/opt/tree")])
    await lab.driver.create(SandboxSpec(id="plain", image=plain.id))
    await lab.driver.open("plain")
    for image in (filed, shown):
        with pytest.raises(SandboxError, match="needs mounts") as caught:
            await lab.driver.create(SandboxSpec(id="x", image=image.id))
        assert caught.value.reason == "unsupported"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give each sandbox a user of its own")
async def test_each_sandbox_is_a_user(lab: Lab) -> None:
    first, second = await lab.box("a"), await lab.box("b")
    ids = {int(await lab.output(box, "id -u")) for box in (first, second)}
    assert len(ids) == 2
    assert 0 not in ids
    assert await lab.output(first, "id -G") in {str(uid) for uid in ids}


@pytest.mark.skipif(os.geteuid() != 0, reason="a closed data directory of root")
async def test_below_a_closed_directory_root_goes_without_powers(scratch: Path) -> None:
    closed = scratch / "closed"
    closed.mkdir(mode=0o700)
    lab = Lab(closed)
    await lab.driver.start()
    try:
        box = await lab.box()
        assert await lab.output(box, "id -u; grep CapEff /proc/self/status") == "0\nCapEff:\t0000000000000000"
        await lab.refused(box, "cat /etc/shadow")
        assert "own-user-id" in {name for name, _ in lab.driver.barriers().missing}
    finally:
        await lab.stop()


async def test_a_umask_closes_no_sandbox_to_its_own_commands(scratch: Path) -> None:
    before = os.umask(0o077)
    try:
        lab = Lab(scratch)
        await lab.driver.start()
        try:
            assert await lab.output(await lab.box(), "echo content > f; cat f") == "content"
        finally:
            await lab.stop()
    finally:
        os.umask(before)


async def test_work_survives_the_servers_death(scratch: Path) -> None:
    program = """
        import asyncio, os, pathlib, sys
        from skerry.island.images.store import ImageStore
        from skerry.island.sandbox.process.driver import ProcessDriver
        from skerry.island.sandbox.spec import ExecSpec, SandboxSpec
        async def main():
            base = pathlib.Path(sys.argv[1])
            driver = ProcessDriver(base / "state", ImageStore(base / "images"))
            await driver.start()
            await driver.create(SandboxSpec(id="box", image="host"))
            box = await driver.open("box")
            env = {"PATH": "/usr/bin:/bin"}
            slow = "while ! test -e go; do sleep 0.05; done; echo done"
            await box.exec(ExecSpec(id="slow", argv=("/bin/sh", "-c", slow), env=env))
            print("ready", flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """
    lab = Lab(scratch)
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(scratch)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with server:
            assert server.stdout is not None
            assert server.stderr is not None
            ready = await asyncio.to_thread(server.stdout.readline)
            server.kill()
            assert ready == "ready\n", await asyncio.to_thread(server.stderr.read)
        await lab.driver.start()
        box = await lab.driver.find("box")
        assert box is not None
        process = await box.attach("slow")
        assert process is not None
        assert await lab.output(box, "touch go; echo new") == "new"
        assert (await asyncio.wait_for(process.wait(), PATIENCE)).exit_code == 0
        assert process.files.stdout.read_text() == "done\n"
    finally:
        server.kill()
        await lab.stop()


async def test_a_taken_socket_is_no_agent(lab: Lab) -> None:
    await lab.driver.create(SandboxSpec(id="box", image="host"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(lab.state / "sandboxes/box/agent.sock"))
    assert await lab.driver.find("box") is None
    assert await lab.output(await lab.driver.open("box"), "echo fine") == "fine"
