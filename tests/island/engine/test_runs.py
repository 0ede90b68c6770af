"""Runs from their acceptance to their end."""

from __future__ import annotations

import asyncio
import signal

import pytest

from skerry.ids import new_ulid
from skerry.island.engine import engine
from skerry.island.engine.errors import Conflict, Invalid, NotFound, PaymentRequired, Unavailable, Unsupported
from skerry.island.sandbox.spec import ExecSpec, Limits
from skerry.money import Money
from tests.island.engine.double import DoubleProcess, DoubleSandbox
from tests.island.engine.lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio


async def test_a_command_gives_its_output_and_status(lab: Lab) -> None:
    run, out, err = await lab.run("echo out; echo err >&2; exit 3")
    assert (run.state, run.cause, run.exit_code, out, err) == ("completed", "exited", 3, "out\n", "err\n")
    assert (run.stdout_bytes, run.stderr_bytes, run.dropped_bytes, run.attempts) == (4, 4, 0, 1)
    assert run.cost is not None
    assert run.cost.amount > 0
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.started_at <= run.ended_at
    assert await lab.engine.runs.get(lab.account, "box", run.id) == run
    assert await lab.paid() == run.cost.amount
    await lab.books()


async def test_standard_input_environment_and_labels(lab: Lab) -> None:
    run, out, _ = await lab.run('cat; echo "$A"', stdin=b"given\n", env={"A": "it's"}, labels={"k": "v"})
    assert out == "given\nit's\n"
    assert run.labels == {"k": "v"}


async def test_a_program_with_arguments_needs_no_shell(lab: Lab) -> None:
    run, out, _ = await lab.run(["printf", "%s|", "a b", "$HOME", "'"])
    assert (run.exit_code, out) == (0, "a b|$HOME|'|")
    assert run.session_id is None
    assert run.command == """printf '%s|' 'a b' '$HOME' ''"'"''"""


async def test_a_program_starts_where_it_is_told_to(lab: Lab) -> None:
    _, out, _ = await lab.run(["pwd"], cwd="/usr/bin")
    assert out == "/usr/bin\n"
    for command, cwd in (("pwd", "/usr"), (["pwd"], "usr"), (["pwd"], "/a\0b")):
        with pytest.raises(Invalid):
            await lab.submit(command, cwd=cwd)


async def test_a_program_runs_as_a_user_of_the_image(lab: Lab) -> None:
    for user in ("nobody-there", "user:absent"):
        with pytest.raises(Invalid):
            await lab.submit(["true"], user=user)
    with pytest.raises(Invalid, match="root"):
        await lab.submit("true", user="user")
    root, mine, others = [(await lab.run(["id", "-u"], user=user))[1] for user in ("root", None, "user")]
    assert root == mine
    if lab.real and "mapped-ids" in lab.engine.driver.barriers().active:
        assert (root, others) == ("0\n", "1000\n")
    else:
        assert others == root


async def test_a_program_may_have_variables_that_no_shell_knows(lab: Lab) -> None:
    _, out, _ = await lab.run(["env"], env={"a.b-c": "1", "D": "2"})
    assert {"a.b-c=1", "D=2"} <= set(out.splitlines())
    for command, name in (("env", "a.b"), (["env"], "a=b"), (["env"], "")):
        with pytest.raises(Invalid):
            await lab.submit(command, env={name: "1"})


async def test_errors_go_into_the_output_in_the_order_written(lab: Lab) -> None:
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"
    for command in (script, ["sh", "-c", script]):
        run, out, err = await lab.run(command, merge_output=True)
        assert out == "".join(f"out {i}\nerr {i}\n" for i in (1, 2, 3))
        assert (err, run.stdout_bytes, run.stderr_bytes) == ("", len(out), 0)


async def test_what_the_engine_adds_to_merged_output_is_merged_too(lab: Lab) -> None:
    run, out, err = await lab.outrun(["sh", "-c", "echo begun; sleep 600"], merge_output=True)
    assert out.startswith("begun\nskerry: ended after ")
    assert (err, run.exit_code, run.stdout_bytes) == ("", 124, len(out))


async def test_an_unmetered_run_costs_nothing_and_needs_no_balance(lab: Lab) -> None:
    await lab.sandbox("paid")
    balance = await lab.engine.ledger.balance(lab.account)
    await lab.engine.ledger.transfer("spent", {f"account:{lab.account}": -balance, "elsewhere": balance})
    with pytest.raises(PaymentRequired):
        await lab.submit("true", "paid")
    with pytest.raises(PaymentRequired):
        await lab.sandbox("poor")
    await lab.sandbox("free", metered=False)
    run = await lab.submit("echo begun; sleep 600", "free", metered=False)
    await lab.wrote(run, "begun")
    assert await lab.engine.leases.current() == []
    assert (await lab.engine.ledger.held(lab.account)).amount == 0
    await lab.engine.upkeep.extend_holds()
    await lab.engine.runs.cancel(lab.account, "free", run.id)
    assert (await lab.finish(run)).cost == Money(0, "USD")
    await lab.books()


async def test_programs_that_do_not_exist(lab: Lab) -> None:
    by_shell, _, err = await lab.run("nosuchprogram")
    assert (by_shell.exit_code, by_shell.state) == (127, "completed")
    assert "nosuchprogram" in err
    direct, _, _ = await lab.run(["nosuchprogram"])
    assert (direct.exit_code, direct.cause) == (127, "not_found")


async def test_text_beside_every_session(lab: Lab) -> None:
    await lab.run("cd /usr; A=1")
    run, out, _ = await lab.run("echo [$A]; pwd; A=2", sessionless=True)
    assert out.startswith("[]\n/")
    assert "/usr\n" not in out
    # Nothing but what it wrote: there is no session to keep, so no state finds its way into the output.
    assert out.count("\n") == 2
    assert run.session_id is None
    _, out, _ = await lab.run("echo $A")
    assert out == "1\n"


async def test_a_time_limit_ends_it(lab: Lab) -> None:
    run, out, err = await lab.outrun("A=1; echo begun; sleep 600")
    assert out == "begun\n"
    assert run.stderr_bytes == len(err)
    _, out, _ = await lab.run("echo [$A]")
    assert out == "[]\n"
    await lab.books()


async def test_cancelling_what_goes_on(lab: Lab) -> None:
    run = await lab.submit("echo begun; sleep 600")
    await lab.wrote(run, "begun")
    # It ends when it is told to, with all the time it may need for that.
    assert await lab.engine.runs.cancel(lab.account, "box", run.id, grace=PATIENCE)
    ended = await lab.finish(run)
    assert (ended.state, ended.cause, ended.exit_code) == ("cancelled", "cancelled", 143)
    assert not await lab.engine.runs.cancel(lab.account, "box", run.id)
    await lab.books()


async def test_cancelling_what_is_just_being_started_leaves_it_the_time_to_end(
    double: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = DoubleSandbox.exec
    asked = asyncio.Event()

    async def slowly(sandbox: DoubleSandbox, spec: ExecSpec) -> DoubleProcess:
        process = await started(sandbox, spec)
        await asked.wait()
        return process

    monkeypatch.setattr(DoubleSandbox, "exec", slowly)
    run = await double.submit("trap 'sleep 0.1; echo tidied; exit 1' TERM; echo begun; while :; do sleep 0.02; done")
    await double.wrote(run, "begun")
    cancelling = asyncio.ensure_future(double.engine.runs.cancel(double.account, "box", run.id, grace=PATIENCE))

    async def wished() -> bool:
        return double.engine._dispatcher.jobs[run.id].stop is not None

    await double.until(wished)
    asked.set()
    assert await cancelling
    ended = await double.finish(run)
    assert (ended.exit_code, (await double.engine.runs.output(ended))[0]) == (143, b"begun\ntidied\n")


async def test_cancelling_what_does_not_want_to_end(lab: Lab) -> None:
    run = await lab.submit("trap '' TERM; echo begun; while :; do sleep 0.1; done")
    await lab.wrote(run, "begun")
    assert await lab.engine.runs.cancel(lab.account, "box", run.id, grace=0.1)
    assert (await lab.finish(run)).exit_code == 137


async def test_cancelling_what_waits_for_its_turn(lab: Lab) -> None:
    first = await lab.submit("echo begun; sleep 600")
    second = await lab.submit("echo never")
    third = await lab.submit("echo third")
    assert (first.state, second.state) == ("running", "pending")
    assert await lab.engine.runs.cancel(lab.account, "box", second.id)
    ended = await lab.finish(second)
    assert (ended.state, ended.exit_code, ended.started_at, ended.cost) == ("cancelled", 143, None, Money(0, "USD"))
    assert (await lab.engine.runs.get(lab.account, "box", first.id)).state == "running"
    await lab.engine.runs.cancel(lab.account, "box", first.id)
    assert (await lab.finish(third)).state == "completed"
    assert await lab.engine.runs.output(ended) == (b"", b"")
    await lab.books()


async def test_signals_reach_the_command(lab: Lab) -> None:
    run = await lab.submit("trap 'echo caught; exit 9' USR1; echo begun; while :; do sleep 0.05; done")
    await lab.wrote(run, "begun")

    async def told() -> bool:
        # What it wrote can be seen before its starter has returned.
        return await lab.engine.runs.signal(lab.account, "box", run.id, signal.SIGUSR1)

    await lab.until(told)
    ended = await lab.finish(run)
    out, _ = await lab.engine.runs.output(ended)
    assert (ended.exit_code, out) == (9, b"begun\ncaught\n")
    assert not await lab.engine.runs.signal(lab.account, "box", run.id, signal.SIGUSR1)


async def test_following_a_stream(lab: Lab) -> None:
    run = await lab.submit("for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.05; done; exit 1")
    async with asyncio.timeout(PATIENCE):
        out = b"".join([chunk async for chunk in lab.engine.runs.follow(run.id)])
        err = b"".join([chunk async for chunk in lab.engine.runs.follow(run.id, "stderr", 3)])
    assert (out, err) == (b"1\n2\n3\n", b"e2\ne3\n")
    with pytest.raises(Invalid):
        await anext(lab.engine.runs.follow(run.id, "other"))
    with pytest.raises(NotFound):
        await anext(lab.engine.runs.follow("nothing"))


async def test_following_what_has_not_begun(double: Lab) -> None:
    first = await double.submit("sleep 0.3")
    second = await double.submit("echo second")
    async with asyncio.timeout(PATIENCE):
        assert b"".join([chunk async for chunk in double.engine.runs.follow(second.id)]) == b"second\n"
    await double.finish(first)


async def test_waiting_for_a_while(double: Lab) -> None:
    run = await double.submit("echo begun; sleep 600")
    seen = await double.engine.runs.wait(run.id, timeout=0.05)
    assert (seen.state, seen.exit_code) == ("running", None)
    assert await double.engine.runs.busy()
    assert await double.engine.runs.list(double.account, "box", active=True) == [seen]
    await double.engine.runs.cancel(double.account, "box", run.id)
    assert not await double.engine.runs.busy()
    with pytest.raises(NotFound):
        await double.engine.runs.wait("nothing")


async def test_runs_of_others_do_not_exist(double: Lab) -> None:
    run, _, _ = await double.run("true")
    other = await double.engine.accounts.create("other")
    for call in (
        double.engine.runs.get(other.id, "box", run.id),
        double.engine.runs.get(double.account, "elsewhere", run.id),
        double.engine.runs.cancel(other.id, "box", run.id),
        double.engine.runs.signal(other.id, "box", run.id, 15),
        double.engine.runs.submit(other.id, "box", id="x", command="true"),
    ):
        with pytest.raises(NotFound):
            await call
    assert await double.engine.runs.list(other.id) == []
    assert (await double.engine.runs.get(double.account, None, run.id)).id == run.id


async def test_newest_first(double: Lab) -> None:
    await double.sandbox("second")
    ids = [(await double.run("true", sandbox))[0].id for sandbox in ("box", "second", "box")]
    runs = double.engine.runs
    assert [run.id for run in await runs.list(double.account)] == ids[::-1]
    assert [run.id for run in await runs.list(double.account, "box")] == [ids[2], ids[0]]
    assert [run.id for run in await runs.list(double.account, limit=1)] == [ids[2]]


async def test_ids_are_used_once(double: Lab) -> None:
    await double.run("true", id="one")
    paid = await double.paid()
    with pytest.raises(Conflict):
        await double.submit("echo again", id="one")
    first, second = await asyncio.gather(
        double.submit("true", id="two"), double.submit("true", id="two"), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in (first, second)) == ["Conflict", "RunRecord"]
    await double.finish("two")
    assert await double.paid() > paid
    await double.books()


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("a\0b", {}),
        ("\ud800", {}),
        ([], {}),
        (["", "x"], {}),
        (["a", "b\0"], {}),
        ("true", {"timeout": 0}),
        ("true", {"timeout": -1.0}),
        ("true", {"timeout": float("nan")}),
        ("true", {"env": {"a=b": "1"}}),
        ("true", {"env": {"a": "\0"}}),
        ("true", {"id": "a/b"}),
        ("true", {"id": ""}),
    ],
)
async def test_impossible_requests_leave_nothing(
    double: Lab, command: str | list[str], fields: dict[str, object]
) -> None:
    with pytest.raises(Invalid):
        await double.submit(command, **fields)
    assert await double.engine.runs.list(double.account) == []
    await double.books()


async def test_limits_of_a_single_run(double: Lab) -> None:
    with pytest.raises(Unsupported, match="memory_bytes"):
        await double.submit("true", limits=Limits(memory_bytes=1 << 30))
    present = (await double.engine.sandboxes.get(double.account, "box")).limits
    assert (await double.run("true", limits=Limits(memory_bytes=present.memory_bytes)))[0].exit_code == 0


async def test_without_money_nothing_begins(tmp_path) -> None:
    lab = Lab(tmp_path, opening_balance=Money(1, "USD"))
    await lab.open()
    await lab.sandbox()
    with pytest.raises(PaymentRequired, match="add credit"):
        await lab.submit("true", timeout=3000)
    assert await lab.engine.runs.list(lab.account) == []
    assert not await lab.engine.runs.busy()
    await lab.books()
    await lab.engine.ledger.grant(lab.account, Money(10**9, "USD"), "more")
    assert (await lab.run("echo on", timeout=3000))[1] == "on\n"
    await lab.end()


async def test_a_caller_that_gives_up_while_the_run_is_accepted(double: Lab) -> None:
    first = await double.submit("sleep 0.1")
    submitting = asyncio.ensure_future(double.submit("echo done", id="given-up"))
    while "given-up" not in double.engine._dispatcher.jobs:
        await asyncio.sleep(0)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    await double.finish(first)

    async def ended() -> bool:
        runs = {run.id: run for run in await double.engine.runs.list(double.account)}
        return "given-up" not in runs or runs["given-up"].state == "completed"

    await double.until(ended)
    assert (await double.run("echo next"))[1] == "next\n"
    await double.books()


async def test_nothing_begins_while_stopping(double: Lab) -> None:
    double.engine._core.closing = True
    with pytest.raises(Unavailable):
        await double.submit("true")
    double.engine._core.closing = False


async def test_stopping_ends_what_goes_on_and_tells_those_who_wait(tmp_path, monkeypatch) -> None:
    # What ends when it is told to is given the time for that.
    monkeypatch.setattr(engine, "_GRACE_SECONDS", PATIENCE)
    monkeypatch.setattr(engine, "_STOP_SECONDS", PATIENCE)
    lab = Lab(tmp_path)
    await lab.open()
    await lab.sandbox()
    running = await lab.submit("echo begun; sleep 600", background=True)
    await lab.wrote(running, "begun")
    queued = await lab.submit("echo later")
    waiting = asyncio.ensure_future(lab.engine.runs.wait(queued.id))
    await asyncio.sleep(0)
    await lab.engine.close()
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    await lab.open()
    ended = await lab.engine.runs.get(lab.account, "box", running.id)
    assert (ended.state, ended.cause, ended.exit_code) == ("failed", "stopped", 143)
    assert (await lab.finish(queued)).exit_code == 0
    await lab.books()
    await lab.end()


async def test_a_short_foreground_run_ends_before_the_island_does(tmp_path) -> None:
    lab = Lab(tmp_path, drain=PATIENCE)
    await lab.open()
    await lab.sandbox()
    run = await lab.submit("sleep 0.3; echo done")
    await lab.engine.close()
    await lab.open()
    assert (await lab.engine.runs.get(lab.account, "box", run.id)).state == "completed"
    await lab.end()


async def test_many_at_once(double: Lab) -> None:
    runs = [
        await double.submit(f"echo {number}", sessionless=number % 2 == 0, id=f"{new_ulid()}") for number in range(12)
    ]
    ended = [await double.finish(run) for run in runs]
    outs = [(await double.engine.runs.output(run))[0] for run in ended]
    assert outs == [f"{number}\n".encode() for number in range(12)]
    assert await double.paid() == sum(run.cost.amount for run in ended if run.cost)
    await double.books()
