"""Logs and prices of nodes, as their operator has them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from skerry.island.admin.auth import owner_key
from skerry.island.faces.octaspace.nodes import node_logs
from tests.island.faces.octaspace.stage import Stage

SECRET = "5e" * 32


async def archive(stage: Stage, node: int, key: str = "") -> dict[str, str]:
    """The members of a node's logs, after the checks that each of them must pass."""
    answer = await stage.ask("GET", f"/nodes/{node}/logs", key=key)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="node-{node}-logs.tar.gz"'
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(answer.body), mode="r:gz") as tar:
        for member in tar:
            assert member.isfile()
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read().decode()
    return found


@pytest.mark.anyio
async def test_an_operator_has_what_was_written_about_a_node(stage: Stage) -> None:
    first, second, *_ = await stage.nodes()
    uuid = await stage.rent(first)
    await stage.ready(uuid)
    (stage.lab.data / "server.log").write_text("10:00:00 INFO skerry.island: the island answers\n")
    logs = await archive(stage, first)
    assert set(logs) == {"logs/node.json", "logs/system.log", "logs/server.log"}
    assert logs["logs/server.log"] == "10:00:00 INFO skerry.island: the island answers\n"
    lines = logs["logs/system.log"].splitlines()
    assert lines[0] == f"2026-04-21T10:00:00Z {uuid} Session accepted"
    assert any(line.endswith("Container started") for line in lines)
    assert json.loads(logs["logs/node.json"])["memory"]["total_memory"] > 0
    assert (await archive(stage, second))["logs/system.log"] == ""


@pytest.mark.anyio
async def test_no_secret_is_in_the_logs(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    owner = owner_key(stage.lab.data)
    secrets = [stage.key, owner, SECRET, "hunter2", "sk_live_abcdef123456"]
    (stage.lab.data / "server.log").write_text(
        f"key {stage.key} owner {owner}\nauthorization: Bearer {owner}\n"
        f"GET /ssh/x?token={SECRET}&a=1\nhttps://me:hunter2@registry.test/\n{SECRET}\nsk_live_abcdef123456\n"
        f"sha256:{'ab' * 32} stays\n"
    )
    written = (await archive(stage, node))["logs/server.log"]
    assert not [secret for secret in secrets if secret in written]
    assert f"sha256:{'ab' * 32} stays\n" in written
    assert len(written.splitlines()) == 7


@pytest.mark.anyio
async def test_logs_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    node, *_ = await stage.nodes()
    await stage.ready(await stage.rent(node))
    monkeypatch.setattr(node_logs, "MOST_BYTES", 100)
    (stage.lab.data / "server.log").write_text("".join(f"line {n:03}\n" for n in range(1000)))
    logs = await archive(stage, node)
    lines = logs["logs/server.log"].splitlines()
    assert lines == [f"line {n:03}" for n in range(1000 - len(lines), 1000)]
    assert len(lines) == 11
    assert len(logs["logs/system.log"].splitlines()) == 1
    assert logs["logs/system.log"].endswith("Container started\n")


@pytest.mark.anyio
async def test_the_servers_own_log_is_the_owners_alone(stage: Stage) -> None:
    from skerry.island.faces.octaspace.tables import nodes

    node, *_ = await stage.nodes()
    key = await stage.stranger()
    caller = await stage.lab.engine.accounts.authenticate("octaspace", key)
    (stage.lab.data / "server.log").write_text("about everybody\n")
    await stage.lab.engine.store.run(
        lambda connection: connection.execute(
            nodes.update().where(nodes.c.id == node).values(account_id=caller.account_id)
        )
    )
    assert set(await archive(stage, node, key)) == {"logs/node.json", "logs/system.log"}
    await stage.fails(404, "NOT_FOUND", "GET", f"/nodes/{node}/logs")


def test_the_end_of_a_log_is_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert node_logs.tail(path, 100) == ""
    path.write_bytes(b"one\ntwo\nthree\n")
    assert [node_logs.tail(path, most) for most in (100, 14, 13, 10, 9, 6, 5)] == [
        *("one\ntwo\nthree\n",) * 2,
        *("two\nthree\n",) * 2,
        *("three\n",) * 2,
        "",
    ]
    assert node_logs.ending(b"\xff\n", 5) == "\ufffd\n"
    assert node_logs.ending(b"one long line", 5) == ""


async def prices(stage: Stage, node: int) -> tuple[int, int, int]:
    found = next(it for it in await stage.ok("GET", "/nodes") if it["id"] == node)["prices"]
    return found["base"], found["storage"], found["traffic"]


@pytest.mark.anyio
async def test_prices_change_whole_or_in_part(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    wanted = {"base": 10**17, "storage": 2, "traffic": 0}
    assert await stage.ok("PATCH", f"/nodes/{node}/prices", wanted) == {}
    assert await prices(stage, node) == (10**17, 2, 0)
    await stage.ok("PATCH", f"/nodes/{node}/prices", {"storage": 3, "gpu_hour": 0.5, "traffic": None})
    assert await prices(stage, node) == (10**17, 3, 0)
    assert await stage.ok("PATCH", f"/nodes/{node}/prices", {}) == {}
    assert await prices(stage, node) == (10**17, 3, 0)


@pytest.mark.anyio
async def test_prices_in_every_spelling_of_a_number(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    for text, wei in (("5e16", 5 * 10**16), ("1e+21", 10**21), ("70000000000000000000.0", 7 * 10**19)):
        answer = await stage.ask("PATCH", f"/nodes/{node}/prices", raw=f'{{"base":{text}}}'.encode())
        assert (answer.status, answer.body) == (200, b"{}")
        assert (await prices(stage, node))[0] == wei


@pytest.mark.anyio
async def test_prices_in_dollars_and_back(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    await stage.ok("PATCH", f"/nodes/{node}/prices", {"base": 10**18, "storage": 10**18, "traffic": 0})
    await stage.ok("PATCH", f"/nodes/{node}/prices", {"base": 3400, "currency_usd": True})
    offer = next(it for it in await stage.ok("GET", "/services/mr") if it["node_id"] == node)
    # What was not named keeps its worth: at 0.104 USD one OCTA is 1040 ten-thousandths.
    assert (offer["base_usd"], offer["storage_usd"], offer["traffic_usd"]) == (3400, 1040, 0)
    assert offer["currency_usd"] is True
    assert await prices(stage, node) == (3_269_230_769_230_769_230, 10**18, 0)
    await stage.ok("PATCH", f"/nodes/{node}/prices", {"traffic": 5})
    offer = next(it for it in await stage.ok("GET", "/services/mr") if it["node_id"] == node)
    assert offer["currency_usd"] is False
    assert await prices(stage, node) == (3_269_230_769_230_769_230, 10**18, 5)


@pytest.mark.anyio
async def test_other_prices_change_nothing(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    before = await prices(stage, node)
    refused: list[object] = [
        {"base": -1},
        {"base": 1.5},
        {"base": "1"},
        {"base": True},
        {"base": 10**31},
        {"storage": []},
        {"base": 10**11, "currency_usd": True},
        {"base": 1, "currency_usd": "yes"},
        [],
        "base",
    ]
    for body in refused:
        await stage.fails(422, "VALIDATION_ERROR", "PATCH", f"/nodes/{node}/prices", body)
        assert await prices(stage, node) == before


@pytest.mark.anyio
async def test_prices_of_others_and_without_a_body(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    key = await stage.stranger()
    before = await prices(stage, node)
    await stage.fails(404, "NOT_FOUND", "PATCH", f"/nodes/{node}/prices", {"base": 1}, key=key)
    await stage.fails(404, "NOT_FOUND", "PATCH", "/nodes/77/prices", {"base": 1})
    await stage.fails(404, "NOT_FOUND", "PATCH", "/nodes/77/prices", {})
    await stage.fails(400, "BAD_REQUEST", "PATCH", f"/nodes/{node}/prices")
    await stage.fails(405, "METHOD_NOT_ALLOWED", "PUT", f"/nodes/{node}/prices", {"base": 1})
    assert await prices(stage, node) == before


@pytest.mark.anyio
async def test_a_session_keeps_the_prices_that_it_began_with(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    await stage.ok("PATCH", f"/nodes/{node}/prices", {"base": 3600, "storage": 0, "traffic": 0})
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    await stage.ok("PATCH", f"/nodes/{node}/prices", {"base": 10**15})
    await stage.pass_time(60)
    assert (await stage.info(uuid))["charge_amount"] == 60
