"""Sandboxes: made, forked, found, changed, removed."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import pytest

from skerry.island.engine.errors import Conflict, Invalid, NotFound, PaymentRequired, TooLarge, Unavailable, Unsupported
from skerry.island.sandbox.spec import Limits, NetworkPolicy
from skerry.island.settings import Prices
from skerry.money import Money
from skerry.units import GIB, MIB, TIB
from tests.island.engine.lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio


async def test_a_new_sandbox_has_the_owners_defaults(lab: Lab) -> None:
    made = await lab.engine.sandboxes.create(
        lab.account, id="new", network="arker", image="host", name="mine", durable=True, labels={"k": "v"}
    )
    assert (made.state, made.name, made.image, made.durable, made.labels) == ("idle", "mine", "host", True, {"k": "v"})
    assert made.limits.memory_bytes == min(2 * GIB, lab.engine.nodes.local.memory_bytes)
    assert made.policy == lab.settings.network
    assert await lab.engine.sandboxes.get(lab.account, "new") == made
    await lab.crash()
    assert await lab.engine.sandboxes.get(lab.account, "new") == made


async def test_a_fork_inherits_but_durability_and_name(lab: Lab) -> None:
    await lab.engine.sandboxes.create(
        lab.account,
        id="parent",
        network="arker",
        image="host",
        name="mine",
        durable=True,
        limits=Limits(memory_bytes=512 * MIB, cpu_millis=500),
        policy=NetworkPolicy(mode="allow", hosts=("example.com",)),
    )
    await lab.run("echo one > file", "parent")
    child = await lab.engine.sandboxes.fork(lab.account, "parent", id="child", limits=Limits(cpu_millis=700))
    assert (child.parent_id, child.name, child.durable, child.image) == ("parent", None, False, "host")
    assert (child.limits.memory_bytes, child.limits.cpu_millis) == (512 * MIB, 700)
    assert child.policy == NetworkPolicy(mode="allow", hosts=("example.com",))
    await lab.engine.sandboxes.delete(lab.account, "parent")
    assert (await lab.run("cat file", "child"))[1] == "one\n"


async def test_a_fork_of_a_busy_parent(lab: Lab) -> None:
    run = await lab.submit("echo one > file; echo begun; sleep 600")
    await lab.wrote(run, "begun")
    await lab.engine.sandboxes.fork(lab.account, "box", id="child")
    assert (await lab.run("cat file", "child"))[1] == "one\n"
    assert (await lab.engine.runs.get(lab.account, "box", run.id)).state == "running"
    await lab.engine.runs.cancel(lab.account, "box", run.id)


async def test_refused_creations_leave_nothing(double: Lab) -> None:
    sandboxes, account = double.engine.sandboxes, double.account

    async def create(**fields: object) -> None:
        await sandboxes.create(account, **{"id": "new", "network": "arker", "image": "host", **fields})  # type: ignore[arg-type]

    with pytest.raises(NotFound, match="skerry image pull nosuchimage"):
        await create(image="nosuchimage")
    for limits in (
        Limits(memory_bytes=64 * TIB),
        Limits(cpu_millis=10**9),
        Limits(disk_bytes=1 << 60),
        Limits(memory_bytes=1),
        Limits(cpu_millis=-1),
        Limits(pids=1),
    ):
        with pytest.raises(Invalid):
            await create(limits=limits)
    with pytest.raises(Invalid, match="this machine has") as caught:
        await create(limits=Limits(memory_bytes=64 * TIB))
    assert "64 TiB of memory" in str(caught.value)
    for id in ("", "a/b", "x" * 65, ".."):
        with pytest.raises(Invalid):
            await create(id=id)
    for name in ("", "x" * 201, "a\nb"):
        with pytest.raises(Invalid):
            await create(name=name)
    with pytest.raises(Conflict):
        await create(id="box")
    with pytest.raises(NotFound):
        await sandboxes.fork(account, "nothing", id="new")
    with pytest.raises(Unsupported):
        await sandboxes.fork(account, "box", id="new", image="nosuchimage")
    assert await double.engine.driver.ids() == ["box"]
    assert (await sandboxes.list(account))[1] == 1
    assert (await sandboxes.fork(account, "box", id="new", image="ubuntu")).image == "host"


async def test_an_id_is_never_used_again_while_its_runs_are_kept(double: Lab) -> None:
    await double.engine.sandboxes.delete(double.account, "box")
    with pytest.raises(Conflict):
        await double.sandbox("box")
    assert await double.engine.driver.ids() == []


async def test_an_empty_balance_makes_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path, opening_balance=Money(0, "USD"))
    await lab.open()
    with pytest.raises(PaymentRequired):
        await lab.sandbox()
    assert await lab.engine.driver.ids() == []
    await lab.engine.close()
    free = Prices(cpu_hour=Money(0, "USD"), memory_gib_hour=Money(0, "USD"))
    lab.change(prices=free)
    await lab.open()
    await lab.sandbox()
    run, out, _ = await lab.run("echo free")
    assert (out, run.cost) == ("free\n", Money(0, "USD"))
    await lab.end()


async def test_listing(double: Lab) -> None:
    sandboxes, account = double.engine.sandboxes, double.account
    await double.sandbox("b1", name="Zebra_x")
    await double.sandbox("b2", name="apple%y")
    await sandboxes.create(account, id="elsewhere", network="dc1", image="host")
    other = await double.engine.accounts.create("other")

    async def names(**fields: object) -> list[str]:
        found, total = await sandboxes.list(account, **fields)  # type: ignore[arg-type]
        assert total >= len(found)
        return [record.id for record in found]

    assert await names() == ["box", "b1", "b2", "elsewhere"]
    assert await names(sort="-created_at") == ["elsewhere", "b2", "b1", "box"]
    assert await names(network="dc1") == ["elsewhere"]
    assert await names(query="zebra") == ["b1"]
    assert await names(query="B") == ["box", "b1", "b2"]
    assert await names(query="_") == ["b1"]
    assert await names(query="%") == ["b2"]
    assert await names(sort="id", limit=2, offset=1) == ["b2", "box"]
    assert (await sandboxes.list(account, limit=0)) == ([], 4)
    assert await names(offset=3, sort="id") == ["elsewhere"]
    assert await sandboxes.list(other.id) == ([], 0)
    for wrong in ({"sort": "limits"}, {"limit": -1}, {"offset": -1}):
        with pytest.raises(Invalid):
            await names(**wrong)


async def test_what_belongs_to_others_does_not_exist(double: Lab) -> None:
    other = (await double.engine.accounts.create("other")).id
    sandboxes = double.engine.sandboxes
    for call in (
        sandboxes.get(other, "box"),
        sandboxes.delete(other, "box"),
        sandboxes.update(other, "box", name="x"),
        sandboxes.fork(other, "box", id="x"),
        sandboxes.dial(other, "box", 80),
        sandboxes.read_file(other, "box", "/home/user/x", beneath="/home/user"),
        sandboxes.write_file(other, "box", "/home/user/x", io.BytesIO(), 0, beneath="/home/user"),
        sandboxes.open_terminal(other, "box"),
        sandboxes.get(double.account, "nothing"),
    ):
        with pytest.raises(NotFound):
            await call


async def test_changes_apply_at_once_and_stay(double: Lab) -> None:
    sandboxes, account = double.engine.sandboxes, double.account
    changed = await sandboxes.update(
        account,
        "box",
        limits=Limits(memory_bytes=256 * MIB),
        policy=NetworkPolicy(mode="none"),
        name="new",
        labels={"a": "b"},
    )
    assert (changed.limits.memory_bytes, changed.policy.mode, changed.name) == (256 * MIB, "none", "new")
    assert double.engine.driver.reconfigured == [("box", changed.limits, changed.policy)]  # type: ignore[attr-defined]
    await sandboxes.update(account, "box", name="newer")
    assert len(double.engine.driver.reconfigured) == 1  # type: ignore[attr-defined]
    with pytest.raises(Invalid):
        await sandboxes.update(account, "box", limits=Limits(memory_bytes=64 * TIB))
    await double.crash()
    kept = await sandboxes_of(double)
    assert (kept.name, kept.limits, kept.labels) == ("newer", changed.limits, {"a": "b"})


async def sandboxes_of(lab: Lab):
    return await lab.engine.sandboxes.get(lab.account, "box")


async def test_removal_ends_everything(lab: Lab) -> None:
    running = await lab.submit("echo begun; sleep 600")
    await lab.wrote(running, "begun")
    queued = await lab.submit("true")
    assert await lab.engine.sandboxes.delete(lab.account, "box")
    for run in (running, queued):
        assert (await lab.finish(run)).state == "cancelled"
    assert await lab.engine.driver.ids() == []
    with pytest.raises(NotFound):
        await lab.submit("true")
    with pytest.raises(NotFound):
        await lab.engine.sandboxes.delete(lab.account, "box")
    await lab.books()


async def test_files(lab: Lab) -> None:
    sandboxes, account = lab.engine.sandboxes, lab.account
    content = os.urandom(100_000)
    path = "/home/user/sub/file"
    await sandboxes.write_file(account, "box", path, io.BytesIO(content), len(content), beneath="/home/user")
    assert (await lab.run("wc -c < sub/file"))[1].strip() == "100000"
    file, size = await sandboxes.read_file(account, "box", path, beneath="/home/user")
    with file:
        assert (size, file.read()) == (len(content), content)
    with pytest.raises(NotFound):
        await sandboxes.read_file(account, "box", "/home/user/nothing", beneath="/home/user")


async def test_the_rules_of_files_are_the_drivers(lab: Lab) -> None:
    if not lab.real:
        pytest.skip("the double has no rules")
    sandboxes, account = lab.engine.sandboxes, lab.account
    await lab.run("mkdir sub; ln -s /etc link")
    with pytest.raises(Invalid):
        await sandboxes.read_file(account, "box", "/home/user/../../etc/passwd", beneath="/home/user")
    with pytest.raises((Invalid, NotFound)):
        await sandboxes.read_file(account, "box", "/home/user/link/passwd", beneath="/home/user")
    with pytest.raises(Invalid):
        await sandboxes.read_file(account, "box", "/home/user/sub", beneath="/home/user")
    await sandboxes.update(account, "box", limits=Limits(disk_bytes=MIB))
    with pytest.raises(TooLarge):
        await sandboxes.write_file(account, "box", "/home/user/x", io.BytesIO(b"x"), 2 * MIB, beneath="/home/user")


async def test_ports(lab: Lab) -> None:
    with pytest.raises(Unavailable):
        await lab.engine.sandboxes.dial(lab.account, "box", 9)


async def test_a_terminal_of_ones_own(lab: Lab) -> None:
    await lab.run("mkdir -p sub; cd sub; export A=shown")
    terminal = await lab.engine.sandboxes.open_terminal(
        lab.account,
        "box",
        command='echo "$A $B" "$(basename "$PWD")"; stty size; exit 3',
        env={"B": "b"},
        columns=91,
        rows=17,
    )
    seen = b""
    async with asyncio.timeout(PATIENCE):
        while b"\r\n" not in seen:
            try:
                seen += os.read(terminal.fd, 1000)
            except BlockingIOError:
                await asyncio.sleep(0.01)
        assert (await terminal.wait()).exit_code == 3
    terminal.close()
    assert b"shown b sub" in seen
    for wrong in ({"columns": 0}, {"rows": 70_000}, {"command": "a\0"}, {"command": []}):
        with pytest.raises(Invalid):
            await lab.engine.sandboxes.open_terminal(lab.account, "box", **wrong)  # type: ignore[arg-type]

    async def settled() -> bool:
        return await lab.engine.leases.current() == []

    await lab.until(settled)
    await lab.books()
