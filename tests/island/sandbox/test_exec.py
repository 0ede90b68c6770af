"""Commands: how they start, what they get, how they end, what is kept of them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import signal

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handles import live
from skerry.island.sandbox.handles.sandbox import AgentSandbox
from skerry.island.sandbox.spec import Limits
from tests.island.sandbox.sandbox_lab import ENV, LIMITS, PATIENCE, Lab, until

pytestmark = pytest.mark.anyio


async def test_a_command_gets_what_it_was_given(lab: Lab, box: AgentSandbox) -> None:
    result, out, err = await lab.run(
        box,
        ("sh", "-c", 'pwd; printf "%s|" "$X" "$@"; cat; echo oops >&2; exit 3', "sh", "a b", "ü\udcff", ""),
        cwd="/tmp",
        env={**ENV, "X": "värde"},
        stdin=b"in\0put",
    )
    assert (result.exit_code, result.cause) == (3, "exited")
    assert out == b"/tmp\nv\xc3\xa4rde|a b|\xc3\xbc\xff||in\0put"
    assert err == b"oops\n"
    assert (result.stdout_bytes, result.stderr_bytes, result.dropped_bytes) == (len(out), 5, 0)
    assert result.cpu_ns > 0
    assert result.max_rss_bytes > 0
    assert result.wall_ns > 0
    assert result.state is None


async def test_environment_is_exactly_what_was_given(lab: Lab, box: AgentSandbox) -> None:
    assert await lab.output(box, ("/usr/bin/env",), env={"ONLY": "this"}) == "ONLY=this\n"


async def test_large_input(lab: Lab, box: AgentSandbox) -> None:
    data = os.urandom(3 << 20)
    out = await lab.output(box, "sha256sum", stdin=data)
    assert out.split()[0] == hashlib.sha256(data).hexdigest()


async def test_what_could_not_be_asked_for_is_not_counted_as_going_on(
    lab: Lab, box: AgentSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(data: bytes) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(live, "memory_file", full)
        with pytest.raises(OSError, match="Too many"):
            await box.exec(lab.spec("cat", stdin=b"x"))
    assert await lab.driver.suspend(box.id)


async def test_standard_input_is_empty_by_default(lab: Lab, box: AgentSandbox) -> None:
    assert await lab.output(box, "wc -c") == "0\n"


@pytest.mark.parametrize(
    ("argv", "cwd", "code", "text"),
    [
        (("no-such-program",), "/", 127, b"no-such-program: command not found"),
        (("/no/such/program",), "/", 127, b"command not found"),
        (("/etc/passwd",), "/", 126, b"Permission denied"),
        (("true",), "/nowhere", 127, b"cannot enter /nowhere"),
    ],
)
async def test_a_program_that_cannot_be_started(
    lab: Lab, box: AgentSandbox, argv: tuple[str, ...], cwd: str, code: int, text: bytes
) -> None:
    result, _, err = await lab.run(box, argv, cwd=cwd)
    assert (result.exit_code, result.cause) == (code, "not_found")
    assert text in err


async def test_a_script_without_interpreter_line_goes_to_the_shell(lab: Lab, box: AgentSandbox) -> None:
    await lab.output(box, "echo 'echo got $1' > /tmp/script; chmod +x /tmp/script")
    assert await lab.output(box, ("/tmp/script", "this")) == "got this\n"


async def test_death_by_signal(lab: Lab, box: AgentSandbox) -> None:
    result, _, _ = await lab.run(box, "kill -SEGV $$")
    assert (result.exit_code, result.cause) == (128 + signal.SIGSEGV, "signaled")


async def test_signals_have_their_defaults_again(lab: Lab, box: AgentSandbox) -> None:
    ignored = await lab.output(box, "grep SigIgn /proc/self/status")
    # The C library itself keeps two of its own out of the way of what posix_spawn starts.
    assert int(ignored.split()[1], 16) & ~0x180000000 == 0


async def test_no_descriptor_leaks_into_commands(lab: Lab, box: AgentSandbox) -> None:
    assert (await lab.output(box, "ls /proc/self/fd")).split() == ["0", "1", "2", "3"]


async def test_timeout_ends_the_whole_session(lab: Lab, box: AgentSandbox) -> None:
    for seconds in LIMITS:
        result, out, _ = await lab.run(box, "sleep 1000 & echo $!; sleep 1000", timeout=seconds)
        assert (result.exit_code, result.cause) == (124, "timeout")
        if out:
            break

    async def gone() -> bool:
        return (await lab.run(box, f"test -e /proc/{int(out)}"))[0].exit_code == 1

    await until(gone)


async def test_timeout_of_one_who_ignores_sigterm(lab: Lab, box: AgentSandbox) -> None:
    result, _, _ = await lab.run(box, "trap '' TERM; while :; do sleep 1; done", timeout=0.2, grace=0.2)
    assert (result.exit_code, result.cause) == (124, "timeout")


async def test_cancel(lab: Lab, box: AgentSandbox) -> None:
    process = await box.exec(lab.spec("sleep 1000"))
    await process.cancel()
    result = await asyncio.wait_for(process.wait(), PATIENCE)
    assert (result.exit_code, result.cause) == (143, "cancelled")
    await process.cancel()


async def test_cancel_of_one_who_ignores_sigterm(lab: Lab, box: AgentSandbox) -> None:
    process = await box.exec(lab.spec("trap '' TERM; echo ready; while :; do sleep 1; done"))
    async for _ in process.follow("stdout"):
        break
    await process.cancel(grace=0.1)
    result = await asyncio.wait_for(process.wait(), PATIENCE)
    assert (result.exit_code, result.cause) == (137, "cancelled")


async def test_signal_reaches_the_session(lab: Lab, box: AgentSandbox) -> None:
    process = await box.exec(lab.spec("trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done"))
    async for _ in process.follow("stdout"):
        break
    await process.signal(signal.SIGUSR1)
    assert (await asyncio.wait_for(process.wait(), PATIENCE)).exit_code == 5
    assert process.files.stdout.read_bytes() == b"ready\ncaught\n"


async def test_state_goes_in_and_out(lab: Lab, box: AgentSandbox) -> None:
    state = os.urandom(300_000)
    result, _, _ = await lab.run(box, "cat <&8 >&9; printf tail >&9", state=state, keep_state=True)
    assert result.state == state + b"tail"
    result, _, _ = await lab.run(box, "printf small >&9", keep_state=True)
    assert result.state == b"small"
    result, _, _ = await lab.run(box, "true", keep_state=True)
    assert result.state == b""
    assert await lab.driver.result("box", "run1") is not None


async def test_state_is_cut_at_a_mebibyte(lab: Lab, box: AgentSandbox) -> None:
    result, _, _ = await lab.run(box, "head -c 2000000 /dev/zero >&9; true", keep_state=True)
    assert result.exit_code == 0
    assert result.state == bytes(1 << 20)


async def test_output_beyond_the_limit_is_counted(lab: Lab) -> None:
    box = await lab.box(limits=Limits(output_bytes=100_000))
    result, out, err = await lab.run(box, "yes | head -c 5000000; head -c 10 /dev/zero >&2")
    assert (result.exit_code, result.stdout_bytes, result.stderr_bytes) == (0, 100_000, 10)
    assert result.dropped_bytes == 4_900_000
    assert (len(out), len(err)) == (100_000, 10)


async def test_output_is_followed_as_it_appears(lab: Lab, box: AgentSandbox) -> None:
    process = await box.exec(lab.spec("echo one; while ! test -e /tmp/go; do sleep 0.02; done; echo two"))
    seen = b""
    async with asyncio.timeout(PATIENCE):
        async for chunk in process.follow("stdout"):
            seen += chunk
            if seen == b"one\n":
                await lab.run(box, "touch /tmp/go")
    assert seen == b"one\ntwo\n"
    rest = b"".join([chunk async for chunk in process.follow("stdout", 4)])
    assert rest == b"two\n"
    assert [chunk async for chunk in process.follow("stderr")] == []


async def test_a_daemon_holding_the_pipes_delays_nothing_and_lives_on(lab: Lab, box: AgentSandbox) -> None:
    result, out, _ = await lab.run(box, "(while :; do echo noise; sleep 0.01; done) & echo $!")
    assert result.exit_code == 0
    daemon = int(out.split()[-1]) if out.split()[-1] != b"noise" else int(next(w for w in out.split() if w != b"noise"))
    assert (await lab.run(box, f"sleep 0.1; test -e /proc/{daemon}"))[0].exit_code == 0
    assert (await box.usage()).processes >= 1
    assert await lab.driver.suspend("box") is False
    await lab.run(box, f"kill -9 {daemon}")


async def test_a_command_that_closes_its_output(lab: Lab, box: AgentSandbox) -> None:
    result, out, _ = await lab.run(box, "echo before; exec >&- 2>&- <&-; sleep 0.1; exit 4")
    assert (result.exit_code, out) == (4, b"before\n")


async def test_huge_arguments_and_environment(lab: Lab, box: AgentSandbox) -> None:
    env = {**ENV, **{f"V{i}": "x" * 1000 for i in range(200)}}
    argument = "y" * 100_000
    out = await lab.output(box, ("sh", "-c", "echo ${#1} ${#V199}", "sh", argument), env=env)
    assert out == "100000 1000\n"
    with pytest.raises(SandboxError) as caught:
        await box.exec(lab.spec(("true", "z" * 3_000_000)))
    assert caught.value.reason == "limits"
    assert await lab.output(box, "echo fine") == "fine\n"


@pytest.mark.parametrize(
    "fields", [{"argv": ("a\0b",)}, {"env": {"A": "\0"}}, {"env": {"": "x"}}, {"env": {"A=B": "x"}}, {"argv": ()}]
)
async def test_commands_that_no_system_could_start(lab: Lab, box: AgentSandbox, fields: dict[str, object]) -> None:
    with pytest.raises(SandboxError) as caught:
        await box.exec(lab.spec("true", **fields))
    assert caught.value.reason == "unsupported"


async def test_run_ids_are_file_names_and_unique_while_running(lab: Lab, box: AgentSandbox) -> None:
    with pytest.raises(SandboxError) as caught:
        await box.exec(lab.spec("true", id="../escape"))
    assert caught.value.reason == "path"
    process = await box.exec(lab.spec("sleep 1000", id="same"))
    with pytest.raises(SandboxError) as caught:
        await box.exec(lab.spec("true", id="same"))
    assert caught.value.reason == "exists"
    await process.cancel()
    await process.wait()
    assert await lab.output(box, "echo again", id="same") == "again\n"


async def test_many_at_once(lab: Lab, box: AgentSandbox) -> None:
    outputs = await asyncio.gather(*(lab.output(box, f"sleep 0.05; echo {i}") for i in range(40)))
    assert outputs == [f"{i}\n" for i in range(40)]


async def test_waiting_is_repeatable_and_cancelling_a_waiter_harms_nobody(lab: Lab, box: AgentSandbox) -> None:
    process = await box.exec(lab.spec("sleep 0.2; exit 7"))
    first = asyncio.create_task(process.wait())
    second = asyncio.create_task(process.wait())
    await asyncio.sleep(0)
    first.cancel()
    assert (await asyncio.wait_for(second, PATIENCE)).exit_code == 7
    assert (await process.wait()).exit_code == 7


async def test_terminal(lab: Lab, box: AgentSandbox) -> None:
    terminal = await box.terminal(lab.spec("tty; stty size; read line; stty size; echo got $line; exit 6"), 100, 40)
    loop = asyncio.get_running_loop()
    seen = b""
    more = asyncio.Event()

    def readable() -> None:
        nonlocal seen
        try:
            data = os.read(terminal.fd, 4096)
        except OSError:
            data = b""
        seen += data
        if not data:
            loop.remove_reader(terminal.fd)
        more.set()

    loop.add_reader(terminal.fd, readable)
    try:
        async with asyncio.timeout(PATIENCE):
            while b"40 100" not in seen:
                more.clear()
                await more.wait()
            await terminal.resize(120, 50)
            os.write(terminal.fd, b"hello\n")
            result = await terminal.wait()
            while b"got hello" not in seen:
                more.clear()
                await more.wait()
        assert result.exit_code == 6
        assert b"/dev/pts/0" in seen
        assert b"50 120" in seen
    finally:
        loop.remove_reader(terminal.fd)
        terminal.close()


async def test_pipes_are_the_callers(lab: Lab, box: AgentSandbox) -> None:
    """More than any log would keep passes, nothing is written down, and what is missing is said."""
    piped = await box.piped(lab.spec("wc -c; echo err >/dev/stderr; exit 6", id="piped"))
    data = bytes(1 << 20)

    def feed() -> None:
        os.set_blocking(piped.stdin, True)
        for _ in range(20):
            os.write(piped.stdin, data)
        piped.close_stdin()

    await asyncio.wait_for(asyncio.to_thread(feed), PATIENCE)
    result = await asyncio.wait_for(piped.wait(), PATIENCE)
    assert (result.exit_code, result.cause) == (6, "exited")
    assert os.read(piped.stdout, 100).strip() == b"20971520"
    assert os.read(piped.stderr, 100) == b"err\n"
    assert os.read(piped.stdout, 100) == b"", "nobody else holds the other end"
    piped.close()
    piped.close()
    going = await box.piped(lab.spec("echo on; exec sleep 1000", id="going"))
    with pytest.raises(SandboxError) as caught:
        await box.piped(lab.spec("true", id="going"))
    assert caught.value.reason == "exists"
    await going.cancel()
    assert (await asyncio.wait_for(going.wait(), PATIENCE)).exit_code in (129, 143)
    going.close()
    with pytest.raises(SandboxError) as caught:
        await box.piped(lab.spec(("no-such-program",)))
    assert caught.value.reason == "not_found"


async def test_terminal_cancel_and_missing_program(lab: Lab, box: AgentSandbox) -> None:
    with pytest.raises(SandboxError) as caught:
        await box.terminal(lab.spec(("no-such-shell",)), 80, 24)
    assert caught.value.reason == "not_found"
    terminal = await box.terminal(lab.spec("trap '' HUP; sleep 1000"), 80, 24)
    await terminal.cancel()
    result = await asyncio.wait_for(terminal.wait(), PATIENCE)
    terminal.close()
    assert result.cause == "cancelled"


@pytest.mark.parametrize(("family", "host"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
async def test_dial(lab: Lab, box: AgentSandbox, family: str, host: str) -> None:
    server = (
        f"import socket\ns=socket.socket(socket.{family})\ns.bind(({host!r},8000))\ns.listen()\nprint(flush=True)\n"
        "c,_=s.accept()\nc.sendall(c.recv(100).upper())\nc.close()"
    )
    process = await box.exec(lab.spec(("python3", "-c", server)))
    async for _ in process.follow("stdout"):
        break
    connection = await box.dial(8000)
    reader, writer = await asyncio.open_connection(sock=connection)
    writer.write(b"hello")
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b"HELLO"
    writer.close()
    await writer.wait_closed()
    await process.wait()
    for port in (8000, 0, 99_999):
        with pytest.raises(SandboxError) as caught:
            await box.dial(port)
        assert caught.value.reason == "refused"


async def test_usage(lab: Lab, box: AgentSandbox) -> None:
    await lab.output(box, "head -c 3000000 /dev/urandom > /home/user/file")
    process = await box.exec(lab.spec("sleep 1000"))
    usage = await box.usage()
    assert usage.processes >= 1
    assert usage.disk_bytes is not None
    assert usage.disk_bytes >= 3_000_000
    await process.cancel()
    await process.wait()
