"""The SSH server: who gets in, what runs, how hostile clients fare. OpenSSH's own client is in tests/conformance."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from skerry.island.engine import ssh_server
from skerry.island.engine.errors import Invalid, NotFound
from skerry.money import Money
from tests.island.engine.lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio

KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER = asyncssh.generate_private_key("ecdsa-sha2-nistp256")


def line(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode()


async def allow(lab: Lab, *keys: asyncssh.SSHKey, sandbox: str = "box", **options: Any) -> None:
    await lab.engine.ssh.authorize(lab.account, sandbox, [line(key) for key in keys], **options)


def connect(lab: Lab, key: asyncssh.SSHKey = KEY, user: str = "box", port: int | None = None, **options: Any) -> Any:
    address = lab.engine.ssh.address
    assert address is not None
    return asyncssh.connect(
        address[0],
        port or address[1],
        username=user,
        **{
            "client_keys": [key],
            "known_hosts": None,
            "config": None,
            "agent_path": None,
            "encoding": None,
            "connect_timeout": PATIENCE,
            **options,
        },
    )


async def settled(lab: Lab) -> None:
    """The end of a command is accounted for after its user has been told."""

    async def idle() -> bool:
        state = (await lab.engine.sandboxes.get(lab.account, "box")).state
        return state == "idle" and await lab.engine.leases.current() == []

    await lab.until(idle)
    await lab.books()


async def denied(lab: Lab, **options: Any) -> bool:
    try:
        async with connect(lab, **options):
            return False
    except asyncssh.PermissionDenied:
        return True


async def test_a_command_with_both_streams_and_its_status(lab: Lab) -> None:
    assert lab.engine.ssh.address is None, "nobody can log in, nobody listens"
    await allow(lab, KEY)
    async with connect(lab) as connection:
        done = await connection.run("echo out; echo err >&2; exit 5")
        assert (done.stdout, done.stderr, done.exit_status) == (b"out\n", b"err\n", 5)
        done = await connection.run("kill -KILL $$")
        assert done.exit_signal is not None
        assert (done.exit_status, done.exit_signal[0]) == (-1, "KILL")
        data = os.urandom(3 << 20)
        many = await asyncio.gather(*(connection.run("cat", input=data) for _ in range(3)))
        assert [done.stdout == data for done in many] == [True] * 3
        done = await connection.run("head -c 1", input=data)
        assert (done.stdout, done.exit_status) == (data[:1], 0)
        done = await connection.run("no-such-program")
        assert done.exit_status == 127
    await settled(lab)
    assert await lab.paid() > 0


async def test_where_and_as_what_a_command_runs(lab: Lab) -> None:
    await lab.run("export PLACE=session; cd /usr")
    await allow(lab, KEY, env={"PLACE": "grant"})
    env = {"LANG": "C", "LC_ALL": "C.UTF-8", "PLACE": "client", "LD_PRELOAD": "/x.so"}
    async with connect(lab, env=env) as connection:
        done = await connection.run(
            'echo "$PLACE $LANG $LC_ALL ${LD_PRELOAD-}"; [ "$PWD" = "$(cd; pwd)" ] && echo home'
        )
        assert done.stdout == b"grant C C.UTF-8 \nhome\n"


async def test_a_shell_on_a_terminal(lab: Lab) -> None:
    await allow(lab, KEY)
    async with connect(lab) as connection:
        process = await connection.create_process(term_type="vt100", term_size=(100, 40))
        process.stdin.write(b"tty -s && echo is-a-tty; echo $TERM; exit 3\n")
        output = await asyncio.wait_for(process.stdout.read(), PATIENCE)
        assert b"is-a-tty\r\n" in output
        assert b"vt100\r\n" in output
        assert (await process.wait()).exit_status == 3
        done = await connection.run("echo last words; printf x", term_type="x;rm -rf /")
        assert (done.stdout, done.exit_status) == (b"last words\r\nx", 0)
    await settled(lab)


async def test_the_window_and_signals_reach_a_real_command(tmp_path: Path) -> None:
    lab = Lab(tmp_path, real=True)
    await lab.open()
    await lab.sandbox()
    await allow(lab, KEY)
    async with connect(lab) as connection:
        command = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.02; done"
        process = await connection.create_process(command, term_type="xterm", term_size=(100, 40))
        assert await process.stdout.readline() == b"40 100\r\n"
        process.change_terminal_size(70, 30)
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"30 70\r\n"
        command = "trap 'echo told; exit 9' USR1; echo ready; while :; do sleep 0.02; done"
        process = await connection.create_process(command)
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal("USR1")
        done = await asyncio.wait_for(process.wait(), PATIENCE)
        assert (done.stdout, done.exit_status) == (b"told\n", 9)
    await lab.end()


async def test_whoever_has_no_granted_key_learns_nothing(lab: Lab) -> None:
    await lab.sandbox("other")
    await allow(lab, KEY)
    await allow(lab, OTHER, sandbox="other")
    assert await denied(lab, key=OTHER)
    assert await denied(lab, user="other")
    for user in ("nobody", "root", "../box", "BOX", "б", "x" * 900):
        assert await denied(lab, user=user)
    assert await denied(lab, client_keys=[])
    assert await denied(lab, client_keys=[], password="x", preferred_auth="password,keyboard-interactive,none")
    assert not await denied(lab)


async def test_grants_are_replaced_at_once(lab: Lab) -> None:
    await allow(lab, KEY, OTHER)
    async with connect(lab, KEY) as leaving, connect(lab, OTHER) as staying:
        process = await leaving.create_process("echo on; exec sleep 1000")
        assert await process.stdout.readline() == b"on\n"
        await allow(lab, OTHER)
        await asyncio.wait_for(leaving.wait_closed(), PATIENCE)
        assert (await staying.run("echo still")).stdout == b"still\n"
        assert await denied(lab, key=KEY)
        await allow(lab)
        await asyncio.wait_for(staying.wait_closed(), PATIENCE)
    assert await denied(lab, key=OTHER)
    await settled(lab)


async def test_no_public_key(lab: Lab) -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=1024)
    good = line(KEY).strip()
    for text in (
        "",
        "x",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        line(rsa),
        f"command=x {good}",
        f"{good}\n{good}",
        "ssh-dss AAAA",
    ):
        with pytest.raises(Invalid):
            await lab.engine.ssh.authorize(lab.account, "box", [text])
    with pytest.raises(Invalid, match="cannot be read"):
        await lab.engine.ssh.authorize(lab.account, "box", [good.replace("ssh-ed25519", "ssh-rsa", 1)])
    with pytest.raises(Invalid, match="variable"):
        await allow(lab, KEY, env={"A=B": "c"})
    stranger = await lab.engine.accounts.create("stranger")
    for account, sandbox in ((stranger.id, "box"), (lab.account, "nobox")):
        with pytest.raises(NotFound):
            await lab.engine.ssh.authorize(account, sandbox, [good])
    granted = await lab.engine.ssh.authorize(lab.account, "box", [f"  {good} somebody's laptop\n", good])
    assert granted.public_keys == {KEY.get_fingerprint(): " ".join(good.split()[:2])}


async def test_forwarding_reaches_the_sandboxs_loopback_alone(double: Lab) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await allow(double, KEY)
    async with connect(double) as connection:
        big = b"a" * (3 << 20)
        for host in ("localhost", "127.0.0.1", "::1"):
            reader, writer = await connection.open_connection(host, port)
            writer.write(big)
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), PATIENCE) == big.upper()
        for host, number in (("10.0.0.1", port), ("169.254.169.254", 80), ("localhost", 9)):
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection(host, number)
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", port)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection("/run/x.sock")
        # What is open when everybody leaves.
        reader, writer = await connection.open_connection("localhost", port)
        await double.engine.sandboxes.delete(double.account, "box")
        await asyncio.wait_for(connection.wait_closed(), PATIENCE)
    server.close()


async def test_a_published_port_falls_back_to_the_server(double: Lab) -> None:
    await double.sandbox("other")
    await allow(double, KEY)
    await allow(double, OTHER, sandbox="other")
    published = await double.engine.ports.publish(double.account, "box", 9, ssh=True)
    for user in ("anybody", "other"):
        async with connect(double, user=user, port=published.host_port) as connection:
            assert (await connection.run("echo in")).stdout == b"in\n"
    assert await denied(double, key=OTHER, user="other", port=published.host_port)

    # The sandbox's own server goes first.
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"mine\n")
        writer.close()

    own = await asyncio.start_server(greet, "127.0.0.1", 0)
    inside = own.sockets[0].getsockname()[1]
    published = await double.engine.ports.publish(double.account, "box", inside, ssh=True)
    reader, writer = await asyncio.open_connection(published.host, published.host_port)
    assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"mine\n"
    writer.close()
    own.close()


async def test_the_entrance_is_no_way_around_a_ports_list(double: Lab) -> None:
    await double.sandbox("other")
    await allow(double, KEY)
    await allow(double, KEY, sandbox="other")
    publish = double.engine.ports.publish
    await publish(double.account, "box", 9, allowed=["10.0.0.0/8"], ssh=True)
    await publish(double.account, "other", 9, allowed=["10.0.0.0/8"])
    assert await denied(double)
    assert not await denied(double, user="other"), "that port has nothing to do with logins"
    await double.crash()
    assert await denied(double)
    await double.engine.ports.publish(double.account, "box", 9, allowed=["127.0.0.0/8"], ssh=True)
    assert not await denied(double)


@pytest.mark.parametrize("how", ["close", "crash"])
async def test_key_port_and_grants_outlive_the_server(double: Lab, how: str) -> None:
    await allow(double, KEY)
    address, host_key = double.engine.ssh.address, await double.engine.ssh.host_key()
    async with connect(double) as connection:
        process = await connection.create_process("echo on; exec sleep 1000")
        assert await process.stdout.readline() == b"on\n"
        await (double.engine.close() if how == "close" else double.engine.crash())
        await asyncio.wait_for(connection.wait_closed(), PATIENCE)
    await double.open()
    assert (double.engine.ssh.address, await double.engine.ssh.host_key()) == (address, host_key)
    assert address is not None
    known = asyncssh.import_known_hosts(f"[{address[0]}]:{address[1]} {host_key}\n")
    async with connect(double, known_hosts=known) as connection:
        assert (await connection.run("echo again")).stdout == b"again\n"
    await settled(double)
    path = double.data / "ssh" / "host_ed25519"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_without_an_ssh_server(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ssh_port=None)
    await lab.open()
    await lab.sandbox()
    await allow(lab, KEY)
    assert lab.engine.ssh.address is None
    published = await lab.engine.ports.publish(lab.account, "box", 9, ssh=True)
    reader, writer = await asyncio.open_connection(published.host, published.host_port)
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    writer.close()
    await lab.end()


async def test_the_client_leaves_and_the_command_is_told(lab: Lab) -> None:
    await allow(lab, KEY)
    for options in ({}, {"term_type": "xterm"}):
        async with connect(lab) as connection:
            process = await connection.create_process("echo on; exec sleep 1000", **options)
            assert (await process.stdout.readline()).strip() == b"on"
            assert (await lab.engine.sandboxes.get(lab.account, "box")).state == "running"

        await settled(lab)


async def test_deletion_ends_sessions(lab: Lab) -> None:
    await allow(lab, KEY)
    async with connect(lab) as connection:
        process = await connection.create_process("echo on; exec sleep 1000")
        assert await process.stdout.readline() == b"on\n"
        await lab.engine.sandboxes.delete(lab.account, "box")
        await asyncio.wait_for(connection.wait_closed(), PATIENCE)
    assert await denied(lab)
    assert await lab.engine.leases.current() == []


async def test_a_suspended_sandbox_is_woken(lab: Lab) -> None:
    await allow(lab, KEY)
    async with connect(lab) as connection:
        await connection.run("echo kept > file")
        await settled(lab)
        lab.change(idle_suspend=0.0)
        lab.engine.upkeep._core.settings = lab.settings
        await lab.engine.upkeep.suspend_idle()
        assert (await lab.engine.sandboxes.get(lab.account, "box")).state == "suspended"
        assert (await connection.run("cat file")).stdout == b"kept\n"
        await settled(lab)


async def test_unmetered_sessions_cost_nothing_and_metered_ones_need_money(double: Lab) -> None:
    await allow(double, KEY, metered=False)
    async with connect(double) as connection:
        assert (await connection.run("sleep 0.01; echo free")).stdout == b"free\n"
        assert (await connection.run("echo free", term_type="vt100")).stdout == b"free\r\n"
    assert await double.paid() == 0
    poor = await double.engine.accounts.create("poor")
    await double.engine.ledger.grant(poor.id, Money(1, "USD"), "a cent's hundredth")
    await double.engine.sandboxes.create(poor.id, id="hut", network="arker", image="host")
    await double.engine.ssh.authorize(poor.id, "hut", [line(KEY)])
    async with connect(double, user="hut") as connection:
        done = await connection.run("echo rich")
        assert (done.stdout, done.exit_status) == (b"", 255)
        assert done.stderr.startswith(b"skerry: ")
    await double.books()


async def test_channels_are_bounded(double: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_server, "MOST_CHANNELS", 2)
    await allow(double, KEY)

    async def empty() -> bool:
        """The client knows a moment earlier that a channel is gone."""
        server = double.engine.ssh._server
        assert server is not None
        return all(login._channels == 0 for login in server._logins)

    async with connect(double) as connection:
        for _ in range(2):
            held = [await connection.create_process("exec cat") for _ in range(2)]
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.run("true")
            for process in held:
                process.stdin.write_eof()
                await process.wait()
            await double.until(empty)
        assert await connection.run("true")


async def test_a_client_that_does_not_read_fills_no_memory(double: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_server, "MOST_UNSENT", 1 << 18)
    await allow(double, KEY)
    async with connect(double) as connection:
        command = "i=0; while head -c 65536 /dev/zero; do i=$((i+1)); echo $i > progress; done"
        process = await connection.create_process(command, window=0x7FFFFFFF, max_pktsize=32768)
        await process.stdout.readexactly(1)
        connection._transport.pause_reading()
        server = double.engine.ssh._server
        assert server is not None
        (login,) = server._logins
        progress = double.engine.driver.directory("box") / "files" / "progress"  # type: ignore[attr-defined]

        async def stuck() -> bool:
            if login._writable.is_set():
                return False
            before = progress.read_text()
            await asyncio.sleep(0.3)
            return progress.read_text() == before != ""

        await double.until(stuck)
        assert login._connection is not None
        assert login._connection._transport.get_write_buffer_size() < 1 << 20
        connection._transport.resume_reading()
        await process.stdout.readexactly(8 << 20)
        process.close()


async def test_a_flood_of_variables_is_dropped(double: Lab) -> None:
    await allow(double, KEY)
    env = {f"LC_{chr(65 + n // 26)}{chr(65 + n % 26)}": "x" for n in range(500)}
    async with connect(double, env=env) as connection:
        done = await connection.run("env | grep -c ^LC_")
    assert done.stdout == b"%d\n" % ssh_server.MOST_VARIABLES


async def test_guessing_is_bounded(double: Lab) -> None:
    await allow(double, KEY)
    wrong = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(30)]
    with pytest.raises(asyncssh.DisconnectError) as refused:
        async with connect(double, client_keys=[*wrong, KEY]):
            pytest.fail("thirty wrong keys were taken for patience")
    assert "too many" in str(refused.value)
    assert not await denied(double, client_keys=[*wrong[:6], KEY])


async def test_garbage_and_silence_lock_nobody_out(
    double: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ssh_server, "MOST_PENDING", 4)
    await allow(double, KEY)
    address = double.engine.ssh.address
    assert address is not None
    # What tests before this one have left to the collector says so now.
    gc.collect()
    caplog.clear()
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 70_000,
        b"SSH-2.0-x\r\n" + b"\xff" * 70_000,
        b"SSH-1.5-old\r\n",
        b"",
    ):
        reader, writer = await asyncio.open_connection(*address)
        with contextlib.suppress(ConnectionError):
            writer.write(garbage)
            writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    silent = [await asyncio.open_connection(*address) for _ in range(12)]
    assert not await denied(double)
    # The first of the silent have been closed to make room.
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(silent[0][0].read(), PATIENCE)
    for _, writer in silent:
        writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_login_takes_a_limited_time(double: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_server, "LOGIN_SECONDS", 0.05)
    await allow(double, KEY)
    address = double.engine.ssh.address
    assert address is not None
    reader, writer = await asyncio.open_connection(*address)
    assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"SSH-2.0-Skerry\r\n")
    writer.close()


async def test_commands_stay_out_of_the_log(double: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await allow(double, KEY)
    async with connect(double) as connection:
        await connection.run("echo hunter2")
    assert "hunter2" not in caplog.text
    assert KEY.get_fingerprint() in caplog.text


def test_asyncssh_is_loaded_late() -> None:
    script = "import sys, skerry.island.engine.engine, skerry.island.app; sys.exit('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
