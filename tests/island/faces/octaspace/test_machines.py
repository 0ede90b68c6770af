"""Machine rental from the start to the end, and everything that is refused on the way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from skerry.island.admin.auth import owner_key
from skerry.island.faces.octaspace import tables
from skerry.island.faces.octaspace.sessions import states
from skerry.island.faces.octaspace.sessions.mr_request import read
from tests.island.faces.octaspace.stage import OCTA, Stage

pytestmark = pytest.mark.anyio

GOOD: dict[str, Any] = {"id": 0, "disk_size": 1, "image": "ubuntu:22.04"}


async def test_a_session_from_start_to_stop(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node, ports=[22, 3000], http_ports=[8080], envs={"MY_VAR": "hello", "N": 5, "NO": None})
    info = await stage.ready(uuid)
    assert info["progress"] == "service configured"
    assert (info["service"], info["kind"], info["node_id"]) == ("mr", "base", node)
    assert set(info["ports_matrix"]) == {"22", "3000"}
    assert info["ssh_direct"] == {"host": "127.0.0.1", "port": info["ports_matrix"]["22"]}
    assert info["ssh_proxy"]["port"] not in info["ports_matrix"].values()
    assert set(info["urls"]) == {"8080"}
    assert info["urls"]["8080"].endswith(".localhost:4242/")
    assert info["user_envs"] == {"MY_VAR": "hello", "N": "5", "NO": ""}
    assert [it["uuid"] for it in await stage.ok("GET", "/sessions")] == [uuid]
    assert (await stage.ok("GET", "/sessions?recent=false"))[0]["uuid"] == uuid
    listed = [it["node_id"] for it in await stage.ok("GET", "/services/mr")]
    assert node not in listed
    assert (await stage.ok("GET", f"/nodes/{node}"))["state"] == "busy"
    assert await stage.ok("POST", f"/services/{uuid}/stop", {"score": 5}) == {}
    assert await stage.ok("GET", "/sessions") == []
    ended = await stage.finished(uuid)
    assert (ended["termination_reason"], ended["is_ready"]) == (0, False)
    assert "progress" not in ended
    assert "ssh_direct" not in ended
    trusted = (await stage.ok("GET", f"/nodes/{node}"))["reliability"]
    assert (trusted["s_normal"], trusted["rating"]) == (1, {"count": 1, "score": 5})
    logs = await stage.ok("GET", f"/services/{uuid}/logs?recent=true")
    messages = [entry["msg"] for entry in logs["system"]]
    assert messages.index("Pulling image ubuntu:22.04\n") < messages.index("Container started\n")
    assert node in [it["node_id"] for it in await stage.ok("GET", "/services/mr")]
    assert await stage.lab.engine.sandboxes.list(stage.lab.account, network="octaspace") == ([], 0)
    assert await stage.lab.engine.store.read(stage.lab.engine.capacity.held) == []


async def test_what_has_ended_is_gone(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    await stage.ok("GET", f"/services/{uuid.upper()}/stop")
    for method, path in (("GET", "info"), ("GET", "logs"), ("POST", "stop"), ("GET", "stop")):
        told = await stage.fails(404, "NOT_FOUND", method, f"/services/{uuid}/{path}")
        assert told == "Service not found: it has ended: Stopped"
    assert (await stage.ok("GET", f"/services/{uuid}/logs?recent=true"))["system"]


async def test_scores_go_from_one_to_five(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    for score in (0, 6, -1, 2.5, "5", True, []):
        await stage.fails(422, "VALIDATION_ERROR", "POST", f"/services/{uuid}/stop", {"score": score})
    for body in ([], "x", 5):
        await stage.fails(422, "VALIDATION_ERROR", "POST", f"/services/{uuid}/stop", body)
    await stage.fails(400, "BAD_REQUEST", "POST", f"/services/{uuid}/stop", raw=b"{")
    assert (await stage.info(uuid))["is_ready"]
    await stage.ok("POST", f"/services/{uuid}/stop", {"score": 4.0, "comment": "fine"})
    assert (await stage.ok("GET", f"/nodes/{node}"))["reliability"]["rating"] == {"count": 1, "score": 4}


async def test_two_stops_at_once_end_it_once(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    answers = await asyncio.gather(*(stage.ask("POST", f"/services/{uuid}/stop", {"score": n}) for n in (1, 2, 3)))
    assert {answer.status for answer in answers} <= {200, 404}
    ended = [it for it in await stage.ok("GET", "/sessions?recent=true") if it["uuid"] == uuid]
    assert len(ended) == 1
    assert [e["msg"] for e in (await stage.ok("GET", f"/services/{uuid}/logs?recent=true"))["system"]].count(
        "Stopped\n"
    ) == 1


async def test_another_accounts_session_does_not_exist(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    key = await stage.stranger()
    for method, path in (
        ("GET", "info"),
        ("GET", "logs"),
        ("GET", "logs?recent=true"),
        ("POST", "stop"),
        ("GET", "stop"),
    ):
        await stage.fails(404, "NOT_FOUND", method, f"/services/{uuid}/{path}", key=key)
    assert await stage.ok("GET", "/sessions?recent=true", key=key) == []
    assert (await stage.info(uuid))["is_ready"]


async def test_the_answer_has_the_form_of_the_question(stage: Stage) -> None:
    one, two, three = await stage.nodes()
    answer = await stage.ok(
        "POST",
        "/services/mr",
        [
            {**GOOD, "id": 7, "node_id": one},
            {**GOOD, "id": -1, "node_id": 999},
            {**GOOD, "node_id": two, "image": ""},
            {**GOOD, "id": 8, "node_id": one},
        ],
    )
    assert [it["id"] for it in answer] == [7, -1, 0, 8]
    assert "uuid" in answer[0]
    assert answer[1:] == [
        {"id": -1, "reason": "Node not found", "status": 1},
        {"id": 0, "reason": "Image is required", "status": 1},
        {"id": 8, "reason": "Node is busy", "status": 1},
    ]
    single = await stage.ok("POST", "/services/mr", {"node_id": three, "image": "ubuntu:22.04", "app": ""}, 201)
    assert set(single) == {"uuid"}
    assert await stage.fails(400, "BAD_REQUEST", "POST", "/services/mr", {**GOOD, "node_id": one}) == "Node is busy"


REASONS: list[tuple[dict[str, Any], str]] = [
    ({"node_id": 999}, "Node not found"),
    ({"image": ""}, "Image is required"),
    ({"image": None}, "Image is required"),
    ({"app": "5dd2d308-db91-4bda-86ff-e512d711b363"}, "App not found"),
    ({"disk_size": 999_999}, "Disk size is too large"),
    ({"ports": list(range(1, 65))}, "Not enough ports"),
]


async def test_reasons_in_both_forms_start_and_cost_nothing(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    before, balance = await stage.counts(), await stage.balance()
    for change, reason in REASONS:
        item = {**GOOD, "node_id": node, **change}
        assert await stage.ok("POST", "/services/mr", [item]) == [{"id": 0, "reason": reason, "status": 1}]
        assert await stage.fails(400, "BAD_REQUEST", "POST", "/services/mr", item) == reason
    assert (await stage.counts(), await stage.balance()) == (before, balance)


MALFORMED: list[Any] = [
    [],
    [[]],
    [None],
    ["x"],
    [{}, 5],
    "x",
    5,
    None,
    [{**GOOD, "node_id": 1}] * 65,
    [{**GOOD, "node_id": 1}, {**GOOD, "node_id": 2, "disk_size": 0}],
]


async def test_malformed_arrays(stage: Stage) -> None:
    before = await stage.counts()
    for body in MALFORMED:
        await stage.fails(422, "VALIDATION_ERROR", "POST", "/services/mr", body)
    assert await stage.counts() == before


BAD: list[dict[str, Any]] = [
    {"node_id": "1"},
    {"node_id": None},
    {"node_id": 1.5},
    {"node_id": True},
    {"node_id": -1},
    {"disk_size": 0},
    {"disk_size": -5},
    {"disk_size": 1.5},
    {"disk_size": "50"},
    {"disk_size": 10**30},
    {"image": 5},
    {"image": "Not An Image"},
    {"image": "../../etc"},
    {"app": 5},
    {"ports": 22},
    {"ports": "[22]"},
    {"ports": [0]},
    {"ports": [65536]},
    {"ports": [-1]},
    {"ports": [22, 22]},
    {"ports": ["22"]},
    {"ports": [8080], "http_ports": [8080]},
    {"http_ports": [80, 80]},
    {"http_ports": [None]},
    {"envs": []},
    {"envs": {"A": []}},
    {"envs": {"": "x"}},
    {"envs": {"A=B": "x"}},
    {"envs": {"A": "x\0"}},
    {"start_command": "unended '"},
    {"start_command": ["a"]},
    {"entrypoint": 'x "'},
]


async def test_bad_members(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    before = await stage.counts()
    for change in BAD:
        for body in ({**GOOD, "node_id": node, **change}, [{**GOOD, "node_id": node, **change}]):
            await stage.fails(422, "VALIDATION_ERROR", "POST", "/services/mr", body)
    assert await stage.counts() == before


async def test_numbers_in_any_spelling(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    raw = b'[{"id":3.0,"node_id":%d.0,"disk_size":1e0,"image":"ubuntu:22.04","ports":[2.2e1]}]' % node
    answer = await stage.ask("POST", "/services/mr", raw=raw)
    assert answer.json[0]["id"] == 3
    assert b'"id":3,' in answer.body
    assert set((await stage.ready(answer.json[0]["uuid"]))["ports_matrix"]) == {"22"}


async def test_an_unknown_image_fails_the_start_and_costs_nothing(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    balance = await stage.balance()
    uuid = await stage.rent(node, image="no-such-image:1")
    ended = await stage.finished(uuid)
    assert (ended["termination_reason"], ended["charge_amount"], ended["duration"]) == (4, 0, 0)
    logs = await stage.ok("GET", f"/services/{uuid}/logs?recent=true")
    assert "no-such-image:1" in logs["system"][-1]["msg"]
    told = await stage.fails(404, "NOT_FOUND", "GET", f"/services/{uuid}/info")
    assert told == f"Service not found: it has ended: {logs['system'][-1]['msg'].strip()}"
    assert await stage.balance() == balance
    assert (await stage.ok("GET", f"/nodes/{node}"))["state"] == "idle"


async def test_a_missing_program_fails_the_start(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node, entrypoint="/no/such/program")
    ended = await stage.finished(uuid)
    assert ended["termination_reason"] == 4


@pytest.mark.parametrize(("code", "reason"), [(0, 0), (3, 5)])
async def test_a_program_that_ends_by_itself_ends_the_session(stage: Stage, code: int, reason: int) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node, entrypoint="/bin/sh -c", start_command=f"'echo out; echo err >&2; exit {code}'")
    ended = await stage.finished(uuid)
    assert ended["termination_reason"] == reason
    logs = await stage.ok("GET", f"/services/{uuid}/logs?recent=true")
    assert sorted(logs["container"].split()) == ["err", "out"]
    assert logs["system"][-1]["msg"] == f"Container exited with code {code}\n"


async def test_words_and_environment_reach_the_program(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(
        node,
        entrypoint="/bin/sh -c",
        start_command="""'echo "[$GREETING]" "[$1]"; exec tail -f /dev/null' name 'two words'""",
        envs={"GREETING": "héllo wörld"},
    )
    await stage.ready(uuid)

    async def told() -> bool:
        return bool((await stage.ok("GET", f"/services/{uuid}/logs"))["container"])

    await stage.until(told)
    assert (await stage.ok("GET", f"/services/{uuid}/logs"))["container"] == "[héllo wörld] [two words]\n"


async def test_a_template_fills_what_is_empty(stage: Stage) -> None:
    made = await stage.operate(
        "POST",
        "/apps",
        {
            "name": "Stable Diffusion",
            "category": "AI",
            "image": "ubuntu:24.04",
            "envs": {"A": 1, "B": "app"},
            "ports": [7000, 22],
            "http_ports": [7860],
            "start_command": "tail -f /dev/null",
            "extra": {"min_disk_size": 2, "logo": "https://example.test/logo.svg"},
        },
        201,
    )
    apps = await stage.ok("GET", "/apps", key=None)
    app = next(it for it in apps if it["name"] == "Stable Diffusion")
    assert app == made
    node, other, _ = await stage.nodes()
    uuid = await stage.rent(node, app=app["uuid"], image="", disk_size=3, envs={"B": "mine"})
    info = await stage.ready(uuid)
    assert set(info["ports_matrix"]) == {"7000", "22"}
    assert set(info["urls"]) == {"7860"}
    assert info["user_envs"] == {"A": "1", "B": "mine"}
    assert (info["app_name"], info["app_logo"]) == ("Stable Diffusion", "https://example.test/logo.svg")
    assert info["node_hw"]["disk"] == 3 << 30
    single = await stage.ok("POST", "/services/mr", {"node_id": other, "app": app["uuid"], "ports": [7860]}, 201)
    info = await stage.ready(single["uuid"])
    assert (set(info["ports_matrix"]), info["urls"]) == ({"7860"}, {})
    assert info["node_hw"]["disk"] == 2 << 30
    await stage.operate("DELETE", f"/apps/{app['uuid']}")
    assert app["uuid"] not in [it["uuid"] for it in await stage.ok("GET", "/apps")]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ('"ports": [80], "http_ports": [443, 80]', "one way only"),
        ('"start_command": "\'"', "cannot be split"),
        ('"extra": {"weight": 1e400}', "too large"),
        ('"extra": {"min_disk_size": 0}', "min_disk_size"),
    ],
)
async def test_a_template_that_nobody_could_start_or_read_is_refused(stage: Stage, members: str, told: str) -> None:
    before = await stage.ok("GET", "/apps")
    raw = f'{{"name": "x", "image": "host", {members}}}'.encode()
    key = f"Bearer {owner_key(stage.lab.data)}"
    assert told in await stage.fails(422, "VALIDATION_ERROR", "POST", "/admin/apps", raw=raw, key=key)
    assert await stage.ok("GET", "/apps") == before


async def test_progress_comes_in_order(stage: Stage) -> None:
    seen: list[str] = []
    before = states.PENDING

    async def look(uuid: str) -> bool:
        info = await stage.info(uuid)
        if not seen or seen[-1] != info["progress"]:
            seen.append(info["progress"])
        return bool(info["is_ready"])

    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.until(lambda: look(uuid))
    order = [states.PROGRESS[state] for state in states.ORDER if state in states.PROGRESS]
    places = [order.index(text) for text in seen]
    assert places == sorted(places)
    assert seen[-1] == "service configured"
    assert states.may(before, states.READY)


async def test_a_stop_while_it_starts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def forever(*_: Any, **__: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(stage.lab.engine.images, "fetch", forever)
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await begun.wait()
    info = await stage.info(uuid)
    assert (info["progress"], info["is_ready"]) == ("pulling image", False)
    assert not {"ssh_direct", "ssh_proxy", "ssh_web", "config"} & set(info)
    await stage.ok("POST", f"/services/{uuid}/stop")
    ended = await stage.finished(uuid)
    assert (ended["termination_reason"], ended["charge_amount"]) == (0, 0)


async def test_sessions_live_through_a_kill(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node, ports=[22])
    before = await stage.ready(uuid)
    await stage.pass_time(120)
    charged = int((await stage.info(uuid))["charge_amount"])
    await stage.again()
    after = await stage.ready(uuid)
    assert after["ports_matrix"] == before["ports_matrix"]
    assert after["ssh_proxy"] == before["ssh_proxy"]
    assert int(after["charge_amount"]) == charged
    await stage.pass_time(60)
    assert int((await stage.info(uuid))["charge_amount"]) == 2505000000000000
    await stage.ok("POST", f"/services/{uuid}/stop")
    assert await stage.lab.engine.ledger.audit() == []


@pytest.mark.parametrize("state", states.ORDER[:-2])
async def test_a_kill_at_any_state_is_made_up_for(stage: Stage, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies right after a state was written; the next one brings the session to its end."""
    from skerry.island.faces.octaspace.sessions import session_rows

    reached = asyncio.Event()
    move = session_rows.move

    def watched(connection: Any, uuid: str, to: str, *rest: Any) -> bool:
        moved = move(connection, uuid, to, *rest)
        if to == state:
            loop.call_soon_threadsafe(reached.set)
        return moved

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(session_rows, "move", watched)
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node, ports=[22])
    if state != states.PENDING:
        await reached.wait()
    monkeypatch.setattr(session_rows, "move", move)
    await stage.again()
    await stage.ready(uuid)
    assert await stage.count(tables.sessions) == 1
    found, _ = await stage.lab.engine.sandboxes.list(stage.lab.account, network="octaspace")
    assert len(found) == 1
    await stage.ok("POST", f"/services/{uuid}/stop")
    found, _ = await stage.lab.engine.sandboxes.list(stage.lab.account, network="octaspace")
    assert found == []


async def test_a_kill_while_it_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    node, *_ = await stage.nodes()
    key = await stage.stranger()
    uuid = await stage.rent(node, key)
    await stage.ready(uuid, key)
    await stage.pass_time(120)
    stopping = asyncio.Event()

    async def never(*_: Any, **__: Any) -> None:
        stopping.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(stage.lab.engine.sandboxes, "delete", never)
    asking = asyncio.create_task(stage.ask("POST", f"/services/{uuid}/stop", key=key))
    await stopping.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (await stage.info(uuid, key))["progress"] == "stopping"
    balance = await stage.balance(key)
    await stage.again()
    stage.clock.advance(3600)
    ended = await stage.finished(uuid, key)
    assert (ended["termination_reason"], ended["duration"]) == (0, 120)
    assert await stage.balance(key) == balance == OCTA - int(ended["charge_amount"])
    assert await stage.lab.engine.driver.ids() == []


async def test_leftovers_of_a_finished_session_are_removed(stage: Stage) -> None:
    engine = stage.lab.engine
    id = "octa-5dd2d308-db91-4bda-86ff-e512d711b363"
    await engine.sandboxes.create(stage.lab.account, id=id, network="octaspace", image="host", metered=False)
    await stage.again()
    assert await stage.lab.engine.driver.ids() == []


async def test_the_recent_list_is_bounded(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    await stage.ok("GET", f"/services/{uuid}/stop")

    def copies(connection: Any) -> None:
        row = connection.execute(tables.sessions.select()).one()._asdict()
        envs = stage.lab.engine.vault
        for n in range(60):
            other = f"00000000-0000-4000-8000-{n:012d}"
            sealed = envs.seal(b"{}", f"octaspace session:{other}:envs")
            connection.execute(
                tables.sessions.insert().values(**{**row, "uuid": other, "label": f"l{n}", "envs": sealed})
            )

    await stage.lab.engine.store.run(copies)
    other, *_ = [it["node_id"] for it in await stage.ok("GET", "/services/mr")]
    going = await stage.rent(other)
    await stage.ready(going)
    recent = await stage.ok("GET", "/sessions?recent=true")
    assert len(recent) == 51
    assert recent[0]["uuid"] == going


def test_what_is_read_is_what_was_said() -> None:
    request = read(json.loads('{"node_id": 7, "disk_size": 50, "image": "ubuntu:22.04", "organization_id": 5}'))
    assert (request.node_id, request.disk_gb, request.image, request.ports) == (7, 50, "ubuntu:22.04", ())
