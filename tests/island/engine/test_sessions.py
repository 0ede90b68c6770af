"""Sessions: one command after another inside, beside each other outside, kept over everything."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from skerry.island.engine.errors import Invalid, NotFound
from tests.island.engine.lab import Lab

pytestmark = pytest.mark.anyio


async def test_state_stays_between_commands_and_over_a_restart(lab: Lab) -> None:
    await lab.run("cd /usr; export A=1; B=2; f() { echo f; }; exit 5")
    _, out, _ = await lab.run("pwd; echo $A $B; f")
    assert out == "/usr\n1 2\nf\n"
    session = await lab.engine.sessions.default("box")
    assert (session.cwd, session.env["A"], session.default, session.state) == ("/usr", "1", True, "idle")
    await lab.crash()
    assert (await lab.run("pwd; echo $A $B; f"))[1] == "/usr\n1 2\nf\n"
    await lab.engine.close()
    await lab.open()
    assert (await lab.run("pwd; echo $A $B; f"))[1] == "/usr\n1 2\nf\n"


async def test_the_first_command_begins_at_home(lab: Lab) -> None:
    _, out, _ = await lab.run(
        'echo "$LANG $TERM $USER"; [ "$PWD" = "$HOME" ] && echo home; cd /; cd; pwd; echo "$HOME"'
    )
    lines = out.splitlines()
    assert lines[:2] == ["C.UTF-8 dumb root", "home"]
    assert lines[2] == lines[3]
    assert (await lab.engine.sessions.default("box")).cwd == "/home/user"


async def test_first_come_first_served(lab: Lab) -> None:
    waits = "until [ -e all ]; do sleep 0.01; done"
    runs = [await lab.submit(f"n=$((n+1)); echo $n; {waits}; sleep 0.0{number % 3}") for number in range(8)]
    states = [run.state for run in runs]
    assert states == ["running", *["pending"] * 7]
    await lab.touch("all")
    outs = [(await lab.engine.runs.output(await lab.finish(run)))[0] for run in runs]
    assert outs == [f"{number + 1}\n".encode() for number in range(8)]
    ended = [await lab.engine.runs.get(lab.account, "box", run.id) for run in runs]
    for earlier, later in pairwise(ended):
        assert earlier.ended_at is not None
        assert later.started_at is not None
        assert earlier.ended_at <= later.started_at


async def test_sessions_run_beside_each_other(lab: Lab) -> None:
    first = await lab.submit("mkfifo meet; echo from-first > meet; cat meet")
    other = await lab.engine.sessions.create(lab.account, "box")
    second = await lab.submit(
        "until [ -p meet ]; do sleep 0.01; done; cat meet; echo from-second > meet", session_id=other.id
    )
    assert (first.state, second.state) == ("running", "running")
    first, second = await lab.finish(first), await lab.finish(second)
    outs = [(await lab.engine.runs.output(run))[0] for run in (first, second)]
    assert outs == [b"from-second\n", b"from-first\n"]


async def test_sessions_are_apart(lab: Lab) -> None:
    other = await lab.engine.sessions.create(lab.account, "box", cwd="/usr", env={"A": "it's"})
    await lab.run("A=here; cd /")
    _, out, _ = await lab.run('pwd; echo "$A"; A=there', session_id=other.id)
    assert out == "/usr\nit's\n"
    assert (await lab.run("echo $A; pwd"))[1] == "here\n/\n"
    listed = await lab.engine.sessions.list(lab.account, "box")
    assert [(session.default, session.cwd) for session in listed] == [(True, "/"), (False, "/usr")]


async def test_a_busy_session_says_so(double: Lab) -> None:
    run = await double.submit("sleep 600")
    session = await double.engine.sessions.default("box")
    assert session.state == "running"
    assert (await double.engine.sandboxes.get(double.account, "box")).state == "running"
    await double.engine.runs.cancel(double.account, "box", run.id)
    assert (await double.engine.sessions.default("box")).state == "idle"
    assert (await double.engine.sandboxes.get(double.account, "box")).state == "idle"


async def test_deleting_a_session_cancels_its_runs(double: Lab) -> None:
    session = await double.engine.sessions.create(double.account, "box")
    running = await double.submit("echo begun; sleep 600", session_id=session.id)
    await double.wrote(running, "begun")
    queued = await double.submit("touch never", session_id=session.id)
    assert await double.engine.sessions.delete(double.account, "box", session.id)
    for run in (running, queued):
        assert (await double.engine.runs.get(double.account, "box", run.id)).state == "cancelled"
    assert (await double.run("ls never"))[0].exit_code != 0
    with pytest.raises(NotFound):
        await double.submit("true", session_id=session.id)
    with pytest.raises(NotFound):
        await double.engine.sessions.get(double.account, "box", session.id)
    await double.books()


async def test_the_default_session_stays(double: Lab) -> None:
    default = await double.engine.sessions.default("box")
    with pytest.raises(Invalid):
        await double.engine.sessions.delete(double.account, "box", default.id)


async def test_sessions_of_other_sandboxes_and_accounts_do_not_exist(double: Lab) -> None:
    await double.sandbox("second")
    session = await double.engine.sessions.create(double.account, "second")
    other = await double.engine.accounts.create("other")
    for call in (
        double.submit("true", session_id=session.id),
        double.submit("true", session_id="nothing"),
        double.submit(["true"], session_id=session.id),
        double.engine.sessions.get(double.account, "box", session.id),
        double.engine.sessions.delete(double.account, "box", session.id),
        double.engine.sessions.get(other.id, "second", session.id),
        double.engine.sessions.list(other.id, "box"),
        double.engine.sessions.create(other.id, "box"),
        double.engine.sessions.create(double.account, "nothing"),
        double.engine.sessions.default("nothing"),
    ):
        with pytest.raises(NotFound):
            await call


@pytest.mark.parametrize("fields", [{"cwd": "relative"}, {"cwd": "/a\0"}, {"env": {"a-b": ""}}, {"env": {"a": "\0"}}])
async def test_impossible_sessions(double: Lab, fields: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        await double.engine.sessions.create(double.account, "box", **fields)  # type: ignore[arg-type]


async def test_a_fork_inherits_the_default_session_and_goes_its_own_way(lab: Lab) -> None:
    await lab.run("mkdir -p sub; cd sub; A=1; echo one > file")
    await lab.engine.sandboxes.fork(lab.account, "box", id="child")
    assert (await lab.run('echo $A; basename "$PWD"; cat file; A=2; echo two > file', "child"))[1] == "1\nsub\none\n"
    assert (await lab.run("echo $A; cat file"))[1] == "1\none\n"


async def test_a_directory_that_was_removed_meanwhile(lab: Lab) -> None:
    other = await lab.engine.sessions.create(lab.account, "box")
    await lab.run("mkdir gone; cd gone")
    assert (await lab.run("rmdir gone", session_id=other.id))[0].exit_code == 0
    run, out, _ = await lab.run("echo still here")
    assert (run.exit_code, out) == (0, "still here\n")


async def test_what_changes_nothing_is_seen_to_change_nothing(double: Lab) -> None:
    await double.run("A=1")
    writes: list[str] = []
    states = double.engine._states
    original = states.save

    def save(*arguments: object) -> None:
        writes.append("x")
        original(*arguments)  # type: ignore[arg-type]

    states.save = save  # type: ignore[method-assign, assignment]
    for _ in range(3):
        await double.run("true")
    assert writes == []
    await double.run("A=2")
    await double.run("echo $A")
    assert len(writes) == 1


async def test_many_sessions_at_once(double: Lab) -> None:
    sessions = [await double.engine.sessions.create(double.account, "box") for _ in range(5)]
    await asyncio.gather(*(double.run(f"A={number}", session_id=session.id) for number, session in enumerate(sessions)))
    await double.crash()
    outs = await asyncio.gather(*(double.run("echo $A", session_id=session.id) for session in sessions))
    assert [out for _, out, _ in outs] == [f"{number}\n" for number in range(5)]
