"""Idle jobs: real programs that run while nobody rents the node, and make way for whoever does."""

from __future__ import annotations

import asyncio
import base64
import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.clock import Clock
from skerry.island.faces.octaspace.idle import idle_logs, idle_runner, idle_work
from skerry.island.faces.octaspace.idle.idle_logs import MOST_BYTES, packed
from skerry.island.faces.octaspace.tables import idle_jobs
from skerry.island.ground.waiting import came
from skerry.island.sandbox.driver import SandboxError
from tests.island.engine.lab import PATIENCE
from tests.island.faces.octaspace.stage import Stage

pytestmark = pytest.mark.anyio

FOREVER = "sh -c 'trap \"echo ended >> $MARKS; exit 0\" TERM; echo begun >> $MARKS; while :; do sleep 0.05; done'"


class Marks:
    """A file outside the sandbox, in which a job's program leaves its traces."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "marks"

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    async def has(self, count: int) -> bool:
        return len(self.lines) >= count


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is ended has time to leave its trace, however slow the machine is."""
    monkeypatch.setattr(idle_work, "GRACE_SECONDS", PATIENCE)


async def job(stage: Stage, node: int, marks: Marks | None = None, **members: Any) -> Any:
    """A job, which runs for as long as it may unless something else is asked for."""
    body: dict[str, Any] = {"node_id": node, "image": "ubuntu:22.04", "start_command": FOREVER, **members}
    body["envs"] = {**({"MARKS": str(marks.path)} if marks else {}), **members.get("envs", {})}
    return await stage.operate("POST", "/idle_jobs", body, 201)


async def shown(stage: Stage, node: int, number: int = 1) -> Any:
    return await stage.ok("GET", f"/idle_jobs/{node}/{number}")


async def up(stage: Stage, node: int, number: int = 1, *, wanted: bool = True) -> None:
    async def done() -> bool:
        return (await shown(stage, node, number))["is_up"] is wanted

    await stage.until(done)


async def log(stage: Stage, node: int, query: str = "") -> str:
    data = (await stage.ok("GET", f"/idle_jobs/{node}/1/logs{query}"))["data"]
    return gzip.decompress(base64.b64decode(data)).decode()


async def test_a_job_runs_on_an_idle_node(stage: Stage, marks: Marks) -> None:
    node, *_ = await stage.nodes()
    made = await job(stage, node, marks, envs={"TOKEN": "not shown"})
    assert made["job_id"] == 1
    assert "TOKEN" not in str(made)
    await up(stage, node)
    await stage.until(lambda: marks.has(1))
    stage.clock.advance(90)
    assert await shown(stage, node) == {"is_up": True, "uptime": 90}
    assert (await stage.operate("GET", "/idle_jobs"))[0]["attempts"] == 1
    assert await stage.operate("DELETE", f"/idle_jobs/{node}/1") == {}
    await stage.fails(404, "NOT_FOUND", "GET", f"/idle_jobs/{node}/1")
    await stage.until(lambda: marks.has(2))
    assert marks.lines == ["begun", "ended"]

    async def removed() -> bool:
        return await stage.count(idle_jobs) == 0

    await stage.until(removed)
    assert not (await stage.lab.engine.sandboxes.list(stage.lab.account, network="octaspace"))[0]
    # Its number can be had again, by another job.
    assert (await job(stage, node, marks, job_id=1))["attempts"] == 0


async def test_a_paying_session_comes_first(stage: Stage, marks: Marks) -> None:
    node, other, *_ = await stage.nodes()
    await job(stage, node, marks)
    await job(stage, other)
    await up(stage, node)
    await up(stage, other)
    await stage.until(lambda: marks.has(1))
    # While it runs the node is on offer as if nothing ran there.
    assert node in [offer["node_id"] for offer in await stage.ok("GET", "/services/mr")]
    uuid = await stage.rent(node)
    await up(stage, node, wanted=False)
    await stage.until(lambda: marks.has(2))
    assert marks.lines == ["begun", "ended"]
    assert await shown(stage, node) == {"is_up": False, "uptime": 0}
    assert (await shown(stage, other))["is_up"] is True
    await stage.ready(uuid)
    assert len(marks.lines) == 2
    await stage.ok("POST", f"/services/{uuid}/stop")
    await stage.finished(uuid)
    await up(stage, node)
    await stage.until(lambda: marks.has(3))
    assert marks.lines == ["begun", "ended", "begun"]


async def test_what_fails_is_begun_again_after_ever_longer_pauses(
    stage: Stage, marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, *_ = await stage.nodes()
    pauses: list[float] = []
    resting = False

    async def noted(event: asyncio.Event, clock: Clock, seconds: float) -> bool:
        nonlocal resting
        if seconds == idle_runner.LOOK_SECONDS:
            return await came(event, clock, seconds)
        pauses.append(seconds)
        resting = True
        denied = await came(event, clock, seconds)
        resting = False
        return denied

    monkeypatch.setattr(idle_runner, "came", noted)
    await job(stage, node, marks, start_command="sh -c 'echo try >> $MARKS; echo oh no; exit 3'")
    for count in range(1, 6):

        async def pausing(count: int = count) -> bool:
            return len(pauses) >= count

        await stage.until(pausing)
        assert await shown(stage, node) == {
            "is_up": False,
            "uptime": 0,
            "error": "the program has exited with code 3",
        }
        assert len(marks.lines) == count == len(pauses)

        async def begun(count: int = count) -> bool:
            if resting:
                # An attempt that takes long is another matter.
                stage.clock.advance(1)
            return len(marks.lines) > count

        await stage.until(begun)
    # The sixth may have failed already.
    assert pauses[:5] == [1, 2, 4, 8, 16]
    # Attempts are kept as one log, and the oldest are forgotten.
    assert await log(stage, node) in ("oh no\n" * 3, "oh no\n" * 4)


async def test_images_and_programs_that_are_not_there(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    await job(stage, node, image="nothing-of-this-name:1")
    await job(stage, node, start_command="/no/such/program")

    async def failed() -> bool:
        return all(["error" in await shown(stage, node, number) for number in (1, 2)])

    await stage.until(failed)
    assert "nothing-of-this-name" in (await shown(stage, node, 1))["error"]
    assert "not in the image" in (await shown(stage, node, 2))["error"]


async def test_logs_end_with_whole_characters(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    text = "x" + "é" * 10_000
    await job(stage, node, start_command=f"sh -c 'printf %s {text}; exec sleep 1000'")
    await up(stage, node)

    async def written() -> bool:
        return await log(stage, node, "?tail=all") == text

    await stage.until(written)
    end = await log(stage, node)
    assert end == "é" * 8191
    assert len(end.encode()) == MOST_BYTES - 1


async def test_a_reboot_begins_a_job_anew(stage: Stage, marks: Marks) -> None:
    node, *_ = await stage.nodes()
    await job(stage, node, marks)
    await stage.until(lambda: marks.has(1))
    await up(stage, node)
    await stage.ok("GET", f"/nodes/{node}/reboot")
    await stage.until(lambda: marks.has(3))
    assert marks.lines == ["begun", "ended", "begun"]
    await up(stage, node)
    assert (await stage.operate("GET", "/idle_jobs"))[0]["attempts"] == 2


async def test_a_switched_off_node_runs_nothing(stage: Stage, marks: Marks) -> None:
    node, *_ = await stage.nodes()
    await job(stage, node, marks)
    await up(stage, node)
    await stage.until(lambda: marks.has(1))
    await stage.operate("PATCH", f"/nodes/{node}", {"enabled": False})

    async def ended() -> bool:
        stage.clock.advance(idle_runner.LOOK_SECONDS)
        return await marks.has(2)

    await stage.until(ended)
    await up(stage, node, wanted=False)


async def test_a_crash_of_the_server_leaves_a_job_alone(stage: Stage, marks: Marks) -> None:
    node, *_ = await stage.nodes()
    await job(stage, node, marks)
    await up(stage, node)
    await stage.until(lambda: marks.has(1))
    stage.clock.advance(30)
    await stage.again()
    await up(stage, node)
    assert (await shown(stage, node))["uptime"] == 30
    assert (await stage.operate("GET", "/idle_jobs"))[0]["attempts"] == 1
    assert marks.lines == ["begun"]
    # Found, and still in hand.
    uuid = await stage.rent(node)
    await stage.until(lambda: marks.has(2))
    assert marks.lines == ["begun", "ended"]
    await stage.ready(uuid)


async def test_a_crash_before_an_attempt_has_begun(stage: Stage, marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    node, *_ = await stage.nodes()
    written = asyncio.Event()

    async def never(job: Any, image: Any) -> None:
        written.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(stage.face.operating.idle._work, "begin", never)
    await job(stage, node, marks)
    await written.wait()
    await stage.again()
    await stage.until(lambda: marks.has(1))
    await up(stage, node)
    assert (await stage.operate("GET", "/idle_jobs"))[0]["attempts"] == 1
    assert marks.lines == ["begun"]


async def test_a_job_for_which_the_disk_has_no_room_can_be_removed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, *_ = await stage.nodes()
    refused = asyncio.Event()

    async def full(step: str, *_: str) -> None:
        if step == "exec":
            refused.set()
            raise SandboxError("disk_full", "no space left")

    monkeypatch.setattr(stage.lab.engine.driver, "_on_step", full)
    await job(stage, node)
    await asyncio.wait_for(refused.wait(), PATIENCE)
    await stage.operate("DELETE", f"/idle_jobs/{node}/1")

    async def removed() -> bool:
        stage.clock.advance(1)
        return not (await stage.lab.engine.sandboxes.list(stage.lab.account, network="octaspace"))[0]

    await stage.until(removed)


async def test_a_job_that_is_lost_with_the_machine_is_begun_again(stage: Stage, marks: Marks) -> None:
    node, *_ = await stage.nodes()
    await job(stage, node, marks)
    await up(stage, node)
    await stage.until(lambda: marks.has(1))
    await stage.app.stop()
    await stage.lab.engine.crash()
    stage.lab.lose_machine()
    await stage.open()

    async def again() -> bool:
        stage.clock.advance(1)
        return len(marks.lines) > 1

    await stage.until(again)
    await up(stage, node)
    assert marks.lines.count("begun") == 2
    assert (await stage.operate("GET", "/idle_jobs"))[0]["attempts"] == 2


async def test_a_crash_during_a_removal_is_made_up_for(
    stage: Stage, marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, *_ = await stage.nodes()
    await job(stage, node, marks)
    await up(stage, node)
    await stage.until(lambda: marks.has(1))

    async def not_now(job: Any) -> None:
        raise RuntimeError("crashed")

    monkeypatch.setattr(stage.face.operating.idle._work, "end", not_now)
    await stage.operate("DELETE", f"/idle_jobs/{node}/1")
    await stage.again()
    await stage.until(lambda: marks.has(2))

    async def removed() -> bool:
        return not (await stage.lab.engine.sandboxes.list(stage.lab.account, network="octaspace"))[0]

    await stage.until(removed)


async def test_other_jobs_are_refused(stage: Stage) -> None:
    refused: list[tuple[int, Any]] = [
        (422, {"image": "ubuntu"}),
        (422, {"node_id": 1}),
        (422, {"node_id": 0, "image": "ubuntu"}),
        (422, {"node_id": 1, "image": "Not An Image"}),
        (422, {"node_id": 1, "image": "ubuntu", "start_command": "'open"}),
        (422, {"node_id": 1, "image": "ubuntu", "envs": {"a=b": "c"}}),
        (422, {"node_id": 1, "image": "ubuntu", "job_id": -1}),
        (404, {"node_id": 99, "image": "ubuntu"}),
        (422, []),
    ]
    for status, body in refused:
        await stage.operate("POST", "/idle_jobs", body, status)
    assert await stage.operate("GET", "/idle_jobs") == []


async def test_numbers_are_chosen_or_given_and_bounded(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    quiet = {"start_command": "true"}
    assert (await job(stage, node, job_id=7, **quiet))["job_id"] == 7
    assert (await job(stage, node, **quiet))["job_id"] == 8
    await stage.operate("POST", "/idle_jobs", {"node_id": node, "image": "ubuntu", "job_id": 7}, 409)
    for _ in range(14):
        await job(stage, node, **quiet)
    await stage.operate("POST", "/idle_jobs", {"node_id": node, "image": "ubuntu"}, 422)


async def test_jobs_of_others_and_without_the_owners_key(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    await job(stage, node)
    stranger = await stage.stranger()
    for path in (f"/idle_jobs/{node}/1", f"/idle_jobs/{node}/1/logs"):
        await stage.fails(404, "NOT_FOUND", "GET", path, key=stranger)
        await stage.fails(401, "UNAUTHORIZED", "GET", path, key=None)
    for path in (f"/idle_jobs/{node}/2", "/idle_jobs/x/1", f"/idle_jobs/{node}/-1", f"/idle_jobs/{node}/{10**30}"):
        await stage.fails(404, "NOT_FOUND", "GET", path)
    for method, path in (("GET", "/idle_jobs"), ("POST", "/idle_jobs"), ("DELETE", f"/idle_jobs/{node}/1")):
        await stage.fails(401, "UNAUTHORIZED", method, f"/admin{path}")


def test_the_known_answer() -> None:
    assert packed(b"hello world") == "H4sIAAAAAAACA8tIzcnJVyjPL8pJAQCFEUoNCwAAAA=="


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=100))
def test_what_is_sent_is_the_end_of_the_text(written: bytes, most: int) -> None:
    text = written.decode("utf-8", "replace")
    sent = gzip.decompress(base64.b64decode(packed(written, most))).decode()
    assert text.endswith(sent)
    assert len(sent.encode()) <= most
    assert len(sent.encode()) > most - 4 or sent == text
    assert gzip.decompress(base64.b64decode(packed(written, None))).decode() == text


def test_exactly_as_much_as_a_client_can_read() -> None:
    assert len(gzip.decompress(base64.b64decode(packed(b"a" * 20_000)))) == 16_383
    assert idle_logs.last(b"abc", 3) == b"abc"


async def test_a_real_sandbox_is_found_again_makes_way_and_gets_a_new_agent(tmp_path: Path) -> None:
    stage = Stage(tmp_path, real=True)
    await stage.open()
    try:
        node, *_ = await stage.nodes()
        # Its number in the sandbox tells one agent from the next: the clock of the kernel when the agent began.
        line = 'sh -c \'trap "echo ended; exit 0" TERM; cut -d" " -f22 /proc/1/stat; while :; do sleep 0.05; done\''
        await job(stage, node, image="host", start_command=line)

        async def told(lines: int) -> list[str]:
            found: list[str] = []

            async def done() -> bool:
                # A shell may say of what it ran that it was terminated.
                written = (await log(stage, node)).splitlines()
                found[:] = [line for line in written if line != "Terminated"]
                return len(found) >= lines

            await stage.until(done)
            return found

        (first,) = await told(1)
        await stage.again()
        await up(stage, node)
        assert await log(stage, node) == f"{first}\n"
        uuid = await stage.rent(node, image="host")
        assert await told(2) == [first, "ended"]
        await stage.ready(uuid)
        await stage.ok("POST", f"/services/{uuid}/stop")
        assert (await told(3))[:3] == [first, "ended", first]
        await up(stage, node)
        await stage.ok("GET", f"/nodes/{node}/reboot")
        lines = await told(5)
        assert lines[3] == "ended"
        assert int(lines[4]) > int(first)
    finally:
        await stage.close()
