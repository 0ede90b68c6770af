"""Runs in a shell that waited for them differ in nothing from those in a fresh one."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.island.engine.lab import Lab
from tests.processes import asleep, children, state

pytestmark = pytest.mark.anyio

# Everything that a shell knows of itself and its surroundings, without what differs between any two processes.
PROBE = r"""
echo "$0 $# $- $SHLVL $PWD $OLDPWD $((SECONDS / 30)) $BASH_SUBSHELL ${BASH_SOURCE[*]} ${FUNCNAME[*]} $LINENO"
umask; ulimit -a; shopt -p; trap -p; jobs; alias; times | head -0; hash
export -p | grep -vi '_proxy='; declare -F; set -o
[ "$PPID" = 1 ] && echo of the agent
[ "$BASHPID" = "$$" ] && echo itself
for fd in /proc/$$/fd/*; do echo "${fd##*/} $(readlink "$fd" | sed 's/[0-9]//g')"; done
cat /proc/$$/oom_score_adj; tr '\0' ' ' < /proc/$$/cmdline; readlink /proc/$$/cwd /proc/$$/exe
mapfile -t status < /proc/$$/status
for line in "${status[@]}"; do [[ $line =~ Sig[^Q]|Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups ]] && echo "$line"; done
set -- $(sed 's/.*) //' /proc/$$/stat); [ "$3 $4" = "$$ $$" ] && echo leads its group and its session
"""


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Lab]:
    """An engine over this machine's own driver, with one sandbox `box`."""
    it = Lab(tmp_path, real=True)
    await it.open()
    await it.sandbox()
    yield it
    await it.end()


def shells(lab: Lab, sandbox: str = "box") -> list[int]:
    """Processes that live in a sandbox beside its agent and were started by it, by their number on this machine."""
    return children(lab.engine.driver._live[sandbox].pid)


async def waits(lab: Lab, sandbox: str = "box") -> int:
    """The shell that waits in a sandbox."""
    found: list[int] = []

    async def one() -> bool:
        # What the run before left may be ending still.
        found[:] = shells(lab, sandbox)
        return asleep(found)

    await lab.until(one)
    return found[0]


def inside(pid: int) -> int:
    """The number by which the sandbox knows a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])


async def test_nothing_tells_one_that_waited(machine: Lab) -> None:
    probe = f"{PROBE}echo $$ >&2"
    await machine.run("true")
    pid = await waits(machine)
    number = inside(pid)
    os.kill(pid, signal.SIGKILL)
    first, cold, shell = await machine.run(probe)
    assert (first.exit_code, "leads its group and its session" in cold) == (0, True)
    assert int(shell) != number
    await machine.sandbox("other")
    await machine.run("true", "other")
    number = inside(await waits(machine, "other"))
    second, warm, shell = await machine.run(probe, "other")
    assert (second.exit_code, warm) == (0, cold)
    assert int(shell) == number


async def test_state_goes_from_run_to_run(machine: Lab) -> None:
    await machine.run("cd /usr; export A=1; B=(2 3); f() { echo f$1; }; alias g=f; set -o noglob; umask 077")
    for number in range(3):
        await waits(machine)
        _, out, error = await machine.run(f"pwd; echo $A ${{B[1]}} *; f {number}; g x; umask; N=$((N+1)); echo $N")
        assert (out, error) == (f"/usr\n1 3 *\nf{number}\nfx\n0077\n{number + 1}\n", "")
    await waits(machine)
    await machine.run("cd /; unset A; exit 3")
    await waits(machine)
    assert (await machine.run("pwd; echo ${A-none} $N"))[1] == "/\nnone 3\n"


async def test_sessions_share_nothing_through_it(machine: Lab) -> None:
    other = await machine.engine.sessions.create(machine.account, "box", cwd="/tmp", env={"A": "other"})
    await machine.run("A=mine; cd /usr")
    for _ in range(2):
        await waits(machine)
        assert (await machine.run("echo $A $PWD", session_id=other.id))[1] == "other /tmp\n"
        await waits(machine)
        assert (await machine.run("echo $A $PWD"))[1] == "mine /usr\n"
    await waits(machine)
    assert (await machine.run("echo ${A-none} $PWD", sessionless=True))[1] == "none /home/user\n"


async def test_variables_and_input_for_one_run(machine: Lab) -> None:
    await machine.run("export A=kept")
    await waits(machine)
    assert (await machine.run("echo $A", env={"A": "once", "LC_ALL": "C"}))[1] == "once\n"
    await waits(machine)
    assert (await machine.run("read line; echo $A $line ${LC_ALL-none}", stdin=b"given\n"))[1] == "kept given none\n"
    await waits(machine)
    assert (await machine.run("cat; echo $A"))[1] == "kept\n"


async def test_a_directory_that_goes_while_it_waits(machine: Lab) -> None:
    await machine.run("mkdir /tmp/here; cd /tmp/here")
    pid = await waits(machine)
    # It holds nothing of the session's: neither the directory nor a file.
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert (await machine.run(["rmdir", "/tmp/here"]))[0].exit_code == 0
    assert (await machine.run("pwd"))[1] == "/home/user\n"


async def test_a_sandbox_whose_descriptors_have_no_names(machine: Lab) -> None:
    await machine.run("A=1; rm /dev/fd")
    for number in range(2):
        await waits(machine)
        assert (await machine.run(f"ls /dev/fd; echo run {number} >&2"))[2].endswith(f"run {number}\n")


async def test_limits_of_time_and_wishes_to_stop(machine: Lab) -> None:
    await machine.run("A=1")
    await waits(machine)
    ended, _, error = await machine.run("A=2; sleep 600", timeout=0.2)
    assert (ended.cause, ended.exit_code) == ("timeout", 124)
    assert "time limit" in error
    await waits(machine)
    run = await machine.submit("A=3; echo begun; sleep 600")
    await machine.wrote(run, "begun")
    assert await machine.engine.runs.cancel(machine.account, "box", run.id)
    await waits(machine)
    assert (await machine.run("echo $A"))[1] == "1\n"
    await machine.books()


async def test_a_command_that_kills_its_shell(machine: Lab) -> None:
    await machine.run("A=1")
    await waits(machine)
    ended, out, _ = await machine.run("A=2; echo x >> count; cat count; kill -9 $$")
    assert (ended.cause, ended.exit_code, out) == ("signaled", 137, "x\n")
    await waits(machine)
    assert (await machine.run("echo $A; cat count"))[1] == "1\nx\n"
    await machine.books()


async def test_one_that_is_killed_while_it_waits(machine: Lab) -> None:
    await machine.run("A=1")
    number = inside(await waits(machine))
    await machine.run(["/bin/sh", "-c", f"kill -9 {number}"])
    assert (await machine.run("echo x >> count; echo $A; cat count"))[1] == "1\nx\n"
    pid = await waits(machine)
    os.kill(pid, signal.SIGSTOP)

    async def stands() -> bool:
        return state(pid) == "T"

    await machine.until(stands)
    run = await machine.submit("A=2; echo x >> count; cat count")
    os.kill(pid, signal.SIGKILL)
    ended = await machine.finish(run)
    assert (ended.exit_code, ended.attempts) == (0, 1)
    assert await machine.engine.runs.output(ended) == (b"x\nx\n", b"")
    assert (await machine.run("echo $A"))[1] == "2\n"
    await machine.books()


async def test_a_server_that_dies_while_it_waits_or_runs(machine: Lab) -> None:
    await machine.run("A=1")
    pid = await waits(machine)
    await machine.crash()

    async def gone() -> bool:
        return not Path(f"/proc/{pid}").exists()

    await machine.until(gone)
    assert (await machine.run("echo $A"))[1] == "1\n"
    await waits(machine)
    run = await machine.submit("echo begun; A=2; echo x >> count; until [ -e go ]; do sleep 0.01; done; cat count")
    await machine.wrote(run, "begun")
    await machine.crash()
    assert (await machine.run(["touch", "/home/user/go"]))[0].exit_code == 0
    ended = await machine.finish(run)
    assert (ended.exit_code, ended.attempts) == (0, 1)
    assert await machine.engine.runs.output(ended) == (b"begun\nx\n", b"")
    assert (await machine.run("echo $A"))[1] == "2\n"
    await machine.books()


async def test_background_work_stays_and_is_not_mistaken(machine: Lab) -> None:
    await machine.run("true")
    await waits(machine)
    _, out, _ = await machine.run("sleep 600 & echo $!; jobs -p")
    started, listed = out.split()
    assert started == listed
    assert (await machine.run(f"kill -0 {started} && echo lives; jobs"))[1] == "lives\n"
    child = await machine.engine.sandboxes.fork(machine.account, "box", id="child")
    assert (await machine.run("pwd", child.id))[1] == "/home/user\n"
    await machine.run(f"kill {started}")


async def test_an_idle_sandbox_is_forked_and_sleeps_all_the_same(machine: Lab) -> None:
    await machine.run("A=1; echo content > file")
    pid = await waits(machine)
    await machine.engine.sandboxes.fork(machine.account, "box", id="child")
    assert not Path(f"/proc/{pid}").exists()
    assert (await machine.run("echo $A; cat file", "child"))[1] == "1\ncontent\n"
    assert (await machine.run("echo $A; A=2", "child"))[1] == "1\n"
    assert (await machine.run("echo $A"))[1] == "1\n"
    await waits(machine)
    assert await machine.engine.driver.suspend("box")
    assert (await machine.run("echo $A"))[1] == "1\n"
