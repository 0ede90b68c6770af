"""Programs that run as another user of the sandbox, where a sandbox has more than one."""

from __future__ import annotations

import asyncio

import pytest

from skerry.island.sandbox.handles.sandbox import AgentSandbox
from skerry.island.sandbox.spec import UserIds
from tests.island.sandbox.sandbox_lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio

SOMEONE = UserIds(uid=1000, gid=1001, groups=(5, 44))


def many(box: AgentSandbox) -> bool:
    """Whether a sandbox has more ids than one."""
    return "mapped-ids" in box.barriers.active


async def test_it_is_that_user_or_the_only_one_there_is(lab: Lab, box: AgentSandbox) -> None:
    ids = await lab.output(box, "id -u; id -g; id -G; grep CapEff /proc/self/status", user=SOMEONE)
    uid, gid, groups, effective = ids.splitlines()
    if many(box):
        assert (uid, gid, sorted(groups.split())) == ("1000", "1001", ["1001", "44", "5"])
        assert int(effective.split()[1], 16) == 0
    else:
        assert (uid, gid) == ("0", "0")
    assert await lab.output(box, "id -u") == "0\n"


async def test_it_cannot_touch_what_is_not_its_own(lab: Lab, box: AgentSandbox) -> None:
    if not many(box):
        pytest.skip("this sandbox has a single user id")
    await lab.output(box, "echo mine > /home/user/file; chmod 600 /home/user/file")
    result, _, err = await lab.run(box, "cat /home/user/file || exec chroot / true", user=SOMEONE)
    assert result.exit_code != 0
    assert b"ermission denied" in err
    result, _, _ = await lab.run(box, "kill -9 1", user=SOMEONE)
    assert result.exit_code != 0


@pytest.mark.parametrize("merge", [False, True])
async def test_its_output_can_be_opened_by_name(lab: Lab, box: AgentSandbox, merge: bool) -> None:
    result, out, err = await lab.run(
        box, "echo one > /dev/stdout; echo two > /dev/stderr; cat", user=SOMEONE, merge_output=merge, stdin=b"three\n"
    )
    assert result.exit_code == 0
    assert (out, err) == ((b"one\ntwo\nthree\n", b"") if merge else (b"one\nthree\n", b"two\n"))


async def test_what_cannot_be_started_is_told(lab: Lab, box: AgentSandbox) -> None:
    for argv, code in ((("no-such-program",), 127), (("/etc/passwd",), 126)):
        result, _, err = await lab.run(box, argv, user=SOMEONE)
        assert (result.exit_code, result.cause) == (code, "not_found")
        assert argv[0].encode() in err
    result, _, err = await lab.run(box, ("true",), user=UserIds(uid=70_000, gid=0))
    assert result.exit_code == (126 if many(box) else 0)
    await lab.output(box, "echo 'echo $(id -u) $1' > /tmp/script; chmod 755 /tmp/script")
    assert (await lab.output(box, ("/tmp/script", "x"), user=SOMEONE)).endswith(" x\n")


async def test_its_signals_are_as_anyones(lab: Lab, box: AgentSandbox) -> None:
    ours = await lab.output(box, "grep -E 'Sig(Blk|Cgt)' /proc/self/status; ls /proc/self/fd")
    assert await lab.output(box, "grep -E 'Sig(Blk|Cgt)' /proc/self/status; ls /proc/self/fd", user=SOMEONE) == ours
    ignored = await lab.output(box, "grep SigIgn /proc/self/status", user=SOMEONE)
    assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 0


async def test_it_ends_in_time_and_when_told_to(lab: Lab, box: AgentSandbox) -> None:
    result, _, _ = await lab.run(box, "sleep 60", user=SOMEONE, timeout=0.2)
    assert (result.exit_code, result.cause) == (124, "timeout")
    process = await box.exec(lab.spec("trap '' TERM; echo begun; while :; do sleep 0.1; done", user=SOMEONE))
    async with asyncio.timeout(PATIENCE):
        async for chunk in process.follow("stdout"):
            assert chunk == b"begun\n"
            break
        await process.cancel(0.1)
        result = await process.wait()
    assert (result.exit_code, result.cause) == (137, "cancelled")
