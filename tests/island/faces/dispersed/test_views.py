"""What is only looked at: GPUs, offers, nodes, the ledger, rewards; and the operator's credit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Connection, select

from skerry.island.admin.auth import owner_key
from skerry.island.engine.records import Gpu
from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.nodes import gpu_models, gpu_registry
from skerry.island.faces.dispersed.nodes.gpu_models import MODELS
from skerry.island.faces.dispersed.nodes.gpu_names import key_of
from skerry.island.faces.dispersed.wire import new_uuid
from skerry.units import GIB
from tests.island.faces.dispersed.stage import Stage

pytestmark = pytest.mark.anyio

AUTHORIZATIONS = "/v1/compute/ledger/authorizations"
TRANSACTIONS = "/v1/compute/ledger/transactions"


def test_the_models_are_many_and_different() -> None:
    assert len({key_of(model.name) for model in MODELS}) == len(MODELS) == len({model.uuid for model in MODELS})
    assert all(model.vram_gb > 0 and model.hourly_rate > 0 and model.cuda_cores for model in MODELS)
    rtx = {model.name: model for model in MODELS}
    assert rtx["NVIDIA RTX 4090"].uuid == gpu_models.uuid_of("NVIDIA RTX 4090")
    assert (rtx["NVIDIA RTX 4090"].hourly_rate, rtx["NVIDIA RTX 5090"].hourly_rate) == (350_000, 690_000)
    assert rtx["NVIDIA RTX 5090"].multiplier_millis == 1810


async def _gpus(stage: Stage, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for page in range(1, 9):
        mark = "&" if query else ""
        listed = await stage.ok("GET", f"/v1/gpu-registry?{query}{mark}limit=50&page={page}&sort=created_at")
        found += listed["data"]
        if len(found) == listed["total"]:
            return found
    raise AssertionError("the pages have no end")


async def test_the_registry_counts_what_there_is(stage: Stage) -> None:
    everything = await _gpus(stage)
    assert [entry["name"] for entry in everything] == [model.name for model in MODELS]
    entry = everything[4]
    assert entry == {
        "object": "gpu_registry",
        "uuid": gpu_models.uuid_of("NVIDIA RTX 4090"),
        "name": "NVIDIA RTX 4090",
        "vendor": "NVIDIA",
        "vram_gb": 24,
        "cuda_cores": 16384,
        "hourly_rate_usd": 0.35,
        "multiplier": 1,
        "available_count": 0,
        "total_count": 0,
        "is_available": False,
        "created_at": "2026-04-21T10:00:00.000Z",
        "updated_at": "2026-04-21T10:00:00.000Z",
    }
    assert await _gpus(stage, "filter%5Bonly_available%5D=true") == []
    hardware = {
        "cpus": [],
        "rams": [],
        "hard_drives": [],
        "gpus": [{"name": "NVIDIA GeForce RTX 4090", "vram_gb_max": 24}] * 3,
    }
    await stage.insert(
        tables.nodes,
        uuid=new_uuid(stage.now),
        account_id=stage.lab.account,
        name="far",
        reputation=50,
        hardware=json.dumps(hardware),
        last_seen_at=stage.now,
        created_at=stage.now,
        updated_at=stage.now,
    )
    (found,) = await _gpus(stage, "filter%5Bonly_available%5D=true")
    assert (found["name"], found["available_count"], found["total_count"]) == ("NVIDIA RTX 4090", 3, 3)
    stage.clock.jump(61)
    assert await _gpus(stage, "filter%5Bonly_available%5D=true") == []


FILTERS: tuple[tuple[str, set[str]], ...] = (
    ("filter%5Bgpu_name%5D=geforce%20rtx%20%204090", {"NVIDIA RTX 4090"}),
    ("filter%5Bgpu_name%5D=rtx%204090%2Ctesla%20t4%2Cnone", {"NVIDIA RTX 4090", "Tesla T4"}),
    ("filter%5Bmin_vram_gb%5D=100", {"NVIDIA H200", "NVIDIA H200 NVL"}),
    ("filter%5Bmin_vram_gb%5D=11%2C11", {"NVIDIA RTX 2080 Ti"}),
    (f"filter%5Buuid%5D={gpu_models.uuid_of('Tesla T4').upper()}", {"Tesla T4"}),
    ("filter%5Bcreated_at%5D=2026-04-22%2C", set()),
)


async def test_the_registrys_filters(stage: Stage) -> None:
    for query, names in FILTERS:
        assert {entry["name"] for entry in await _gpus(stage, query)} == names


async def test_cards_that_are_found_are_entered(stage: Stage) -> None:
    def gpu(name: str, memory: int = 24 * GIB - (1 << 20)) -> Gpu:
        return Gpu(index=0, name=name, memory_bytes=memory, uuid="GPU-1")

    models = [gpu_registry.model_of(gpu(name), 1_000_000) for name in ("NVIDIA GeForce RTX 4090", "NVIDIA Frobnicator")]

    def enter(connection: Connection) -> None:
        gpu_registry.enter(connection, models, stage.now)
        gpu_registry.enter(connection, models, stage.now)

    await stage.lab.engine.store.run(enter)
    assert await stage.count(tables.gpu_registry) == len(MODELS) + 1
    (entry,) = await _gpus(stage, "filter%5Bgpu_name%5D=frobnicator")
    assert (entry["vram_gb"], entry["cuda_cores"], entry["hourly_rate_usd"], entry["multiplier"]) == (24, None, 1, 0.5)
    await stage.again()
    assert await stage.count(tables.gpu_registry) == len(MODELS) + 1


async def test_this_machine_is_a_node_of_its_owner(stage: Stage) -> None:
    (node,) = (await stage.ok("GET", "/v1/nodes"))["data"]
    local = stage.lab.engine.nodes.local
    assert (node["object"], node["name"], node["reputation"]) == ("node", local.name, 50)
    assert node["_id"] == node["uuid"]
    assert node["cpus"][0]["num_cores"] == local.cpu_millis // 1000
    (ram,) = node["rams"]
    assert ram["memory_gb_max"] == ram["memory_gb_available"] == node["ramTotal"] == local.memory_bytes // 10**9
    (drive,) = node["hard_drives"]
    assert drive["max_capacity_gb"] == local.disk_bytes // 10**9
    event = node["latest_hardware_event"]
    assert (event["object"], event["node"], event["timestamp_ms"]) == (
        "node_hardware_event",
        node["uuid"],
        stage.now_ms,
    )
    assert 0 <= event["metadata"]["cpu"]["average"] <= 100
    assert 0 < event["metadata"]["ram"]["free"] <= event["metadata"]["ram"]["total"]
    await stage.again()
    (again,) = (await stage.ok("GET", "/v1/nodes"))["data"]
    assert again["uuid"] == node["uuid"]
    assert (await stage.ok("GET", "/v1/nodes", pair=await stage.stranger()))["data"] == []
    assert (await stage.ok("GET", "/v1/nodes?filter%5Bname%5D=nothing"))["total"] == 0


async def test_what_is_offered(stage: Stage) -> None:
    (offer,) = (await stage.ok("GET", "/v1/compute/offers"))["data"]
    summary = offer["hardware_summary"]
    assert (summary["gpu_count"], summary["gpu_models"], summary["gpu_registry_uuid"]) == (0, [], None)
    assert summary["cpu_cores"] == stage.lab.engine.nodes.local.cpu_millis // 1000
    assert offer["pricing"]["quoted_at"] == "2026-04-21T10:00:00.000Z"
    assert offer["pricing"]["hourly_rate_usd"] > 0
    assert (await stage.ok("GET", "/v1/compute/offers?filter%5Bgpu_count%5D=1"))["data"] == []
    hardware = {
        "cpus": [{"name": "c", "num_cores": 8}],
        "rams": [{"memory_gb_max": 64}],
        "hard_drives": [{"name": "d", "max_capacity_gb": 100}],
        "gpus": [{"name": "NVIDIA GeForce RTX 4090", "vram_gb_max": 24}] * 2,
    }
    await stage.insert(
        tables.nodes,
        uuid=new_uuid(stage.now),
        account_id=stage.lab.account,
        name="far",
        region_code="eu-west-1",
        reputation=50,
        hardware=json.dumps(hardware),
        last_seen_at=stage.now,
        created_at=stage.now,
        updated_at=stage.now,
    )
    for query in (
        "filter%5Bgpu_count%5D=2",
        "filter%5Bgpu_name%5D=rtx%204090",
        f"filter%5Bgpu_registry_uuid%5D={gpu_models.uuid_of('NVIDIA RTX 4090')}",
        "filter%5Bmin_vram_gb%5D=24",
        "filter%5Ballowed_region_codes%5D=eu-west-1%2Ceu-west-2",
    ):
        (found,) = (await stage.ok("GET", f"/v1/compute/offers?{query}"))["data"]
        assert found["hardware_summary"] == {
            "cpu_cores": 8,
            "gpu_count": 2,
            "gpu_model_label": "2 x NVIDIA GeForce RTX 4090",
            "gpu_models": [
                {
                    "count": 2,
                    "gpu_registry_uuid": gpu_models.uuid_of("NVIDIA RTX 4090"),
                    "min_vram_gib": 24,
                    "name": "NVIDIA GeForce RTX 4090",
                }
            ],
            "gpu_registry_uuid": gpu_models.uuid_of("NVIDIA RTX 4090"),
            "min_gpu_vram_gib": 24,
            "ram_gib": 64,
            "storage_gib": 100,
        }
        assert (found["region_code"], found["pricing"]["hourly_rate_usd"]) == ("eu-west-1", 0.7)
    elsewhere = "/v1/compute/offers?filter%5Ballowed_region_codes%5D=us-east-1&filter%5Bignore_region_constraints%5D"
    bearer = {"authorization": f"Bearer {owner_key(stage.lab.data)}"}
    assert (await stage.ok("GET", f"{elsewhere}=false"))["total"] == 0
    assert (await stage.ok("GET", f"{elsewhere}=true", headers=bearer))["total"] == 2
    await stage.fails(403, "FORBIDDEN", "GET", f"{elsewhere}=true")
    await stage.fails(400, "VALIDATION_ERROR", "GET", f"{elsewhere}=perhaps")


async def _credit(stage: Stage, account: str, body: Any, **headers: str) -> Any:
    return await stage.operate("POST", f"/v1/admin/accounts/{account}/credits", body, **headers)


async def test_the_operator_gives_credit(stage: Stage) -> None:
    pair = await stage.stranger(balance=0)
    me = await stage.ok("GET", "/v1/me", pair=pair)
    answer = await _credit(stage, me["uuid"], {"amount_usd": 12.345678, "memo": "thanks"})
    assert answer.status == 201
    assert answer.json == {
        "object": "compute_ledger_transaction",
        "uuid": answer.json["uuid"],
        "amount_usd": 12.345678,
        "type": "CREDIT",
        "job_run_uuid": None,
        "authorization_uuid": None,
        "consumer_account_uuid": me["uuid"],
        "consumer_profile_uuid": me["consumer_profile_uuid"],
        "render_user_id": me["render_user_id"],
        "render_credit_id": None,
        "memo": "thanks",
        "created_at": "2026-04-21T10:00:00.000Z",
        "updated_at": "2026-04-21T10:00:00.000Z",
    }
    assert (await stage.ok("GET", TRANSACTIONS, pair=pair))["data"] == [answer.json]
    balance = await stage.ok("GET", f"/v1/accounts/{me['uuid']}/balance", pair=pair)
    assert balance["available_usd"] == 12.345678
    first = await _credit(stage, me["uuid"], {"amount_usd": "0.000001"}, **{"x-idempotency-key": "k"})
    again = await _credit(stage, me["uuid"], {"amount_usd": "0.000001"}, **{"x-idempotency-key": "k"})
    assert (again.body, again.headers["x-idempotent-replayed"]) == (first.body, "true")
    balance = await stage.ok("GET", f"/v1/accounts/{me['uuid']}/balance", pair=pair)
    assert balance["available_usd"] == 12.345679
    assert await stage.lab.engine.ledger.audit() == []


async def test_what_the_operator_may_not(stage: Stage) -> None:
    me = (await stage.ok("GET", "/v1/me"))["uuid"]
    path = f"/v1/admin/accounts/{me}/credits"
    before = await stage.counts()
    for headers, status, code in (
        ({}, 401, "MISSING_AUTH_HEADERS"),
        ({"authorization": "Bearer own_wrong"}, 401, "INVALID_API_KEY"),
        ({"authorization": stage.pair.secret_key}, 401, "INVALID_API_KEY"),
    ):
        answer = await stage.send("POST", path, headers, b'{"amount_usd":1}')
        assert (answer.status, answer.code) == (status, code)
    # A signature is no substitute.
    assert (await stage.ask("POST", path, {"amount_usd": 1})).status == 401
    for body in (
        {},
        {"amount_usd": 0},
        {"amount_usd": -1},
        {"amount_usd": 0.0000001},
        {"amount_usd": 1000000001},
        {"amount_usd": True},
        {"amount_usd": "much"},
        {"amount_usd": "1e999999"},
        {"amount_usd": [1]},
        {"amount_usd": 1, "memo": "x" * 201},
        [],
    ):
        answer = await _credit(stage, me, body)
        assert (answer.status, answer.code) == (400, "VALIDATION_ERROR"), body
    assert (await stage.operate("POST", path, raw=b"")).code == "BAD_REQUEST"
    assert (await stage.operate("POST", path, raw=b"[" * 9999)).code == "BAD_REQUEST"
    assert (await stage.operate("POST", path, raw=b"x" * ((1 << 20) + 1))).code == "PAYLOAD_TOO_LARGE"
    assert (await stage.operate("GET", path)).code == "METHOD_NOT_ALLOWED"
    assert (await stage.operate("POST", "/v1/admin/nothing")).code == "NOT_FOUND"
    assert (await _credit(stage, "missing-uuid", {"amount_usd": 1})).code == "NOT_FOUND"
    assert await stage.counts() == before


async def test_the_ledgers_filters(stage: Stage) -> None:
    me = (await stage.ok("GET", "/v1/me"))["uuid"]
    run, hold = new_uuid(stage.now), new_uuid(stage.now)
    await stage.insert(
        tables.authorizations,
        uuid=hold,
        account_id=stage.lab.account,
        job_run_uuid=run,
        amount=350_000,
        approved=1,
        status="OPEN",
        opened_at=stage.now,
        expires_at=stage.now + 1_000_000,
        created_at=stage.now,
        updated_at=stage.now,
    )
    await stage.insert(
        tables.transactions,
        uuid=new_uuid(stage.now),
        account_id=stage.lab.account,
        type="CAPTURE",
        amount=74_558,
        job_run_uuid=run,
        authorization_uuid=hold,
        created_at=stage.now,
        updated_at=stage.now,
    )
    other = await stage.stranger()
    theirs = (await stage.ok("GET", "/v1/me", pair=other))["uuid"]
    (shown,) = (await stage.ok("GET", AUTHORIZATIONS))["data"]
    assert (shown["amount_usd"], shown["approved"], shown["status"], shown["closed_at"]) == (0.35, True, "OPEN", None)
    assert shown["expires_at"] == "2026-04-21T10:00:01.000Z"
    assert (shown["consumer_account_uuid"], shown["job_run_uuid"]) == (me, run)
    for path, query, count in (
        (AUTHORIZATIONS, "status%5D=OPEN%2CEXPIRED", 1),
        (AUTHORIZATIONS, "status%5D=CLOSED", 0),
        (AUTHORIZATIONS, f"uuid%5D={hold}", 1),
        (AUTHORIZATIONS, f"job_run_uuid%5D={run}", 1),
        (AUTHORIZATIONS, f"consumer_account_uuid%5D={me}", 1),
        (AUTHORIZATIONS, f"consumer_account_uuid%5D={theirs}", 0),
        (TRANSACTIONS, "type%5D=CAPTURE", 1),
        (TRANSACTIONS, "type%5D=REFUND%2CCREDIT%2CADJUSTMENT", 0),
        (TRANSACTIONS, f"job_run_uuid%5D={run}", 1),
        (TRANSACTIONS, f"authorization_uuid%5D={hold}", 1),
        (TRANSACTIONS, f"authorization_uuid%5D={run}", 0),
        (TRANSACTIONS, f"consumer_account_uuid%5D={theirs}%2C{me}", 1),
        (TRANSACTIONS, f"consumer_account_uuid%5D={theirs}", 0),
    ):
        listed = await stage.ok("GET", f"{path}?filter%5B{query}")
        assert (listed["total"], len(listed["data"])) == (count, count), query
        mine = f"{path}?filter%5Bconsumer_account_uuid%5D={me}"
        assert (await stage.ok("GET", mine, pair=other))["total"] == 0
    for path, query in (
        (AUTHORIZATIONS, "type%5D=CAPTURE"),
        (TRANSACTIONS, "status%5D=OPEN"),
        (TRANSACTIONS, "type%5D=X"),
    ):
        await stage.fails(400, "VALIDATION_ERROR", "GET", f"{path}?filter%5B{query}")
    bearer = {"authorization": f"Bearer {owner_key(stage.lab.data)}"}
    mine = f"{TRANSACTIONS}?filter%5Bconsumer_account_uuid%5D={me}"
    assert (await stage.ok("GET", mine, pair=other, headers=bearer))["data"][0]["consumer_account_uuid"] == me


async def test_no_credit_was_ever_bought(stage: Stage) -> None:
    path = "/v1/compute/ledger/credit-purchases"
    me = (await stage.ok("GET", "/v1/me"))["uuid"]
    assert (await stage.operate("POST", f"/v1/admin/accounts/{me}/credits", {"amount_usd": 1})).status == 201
    for query, page, limit in (
        ("", 1, 20),
        ("?filter%5Bstatus%5D=COMPLETED%2CPENDING&limit=5&page=2", 2, 5),
        (f"?filter%5Bconsumer_account_uuid%5D={me}", 1, 20),
        ("?filter%5Bcreated_at%5D=2026-04-01%2C", 1, 20),
        (f"?filter%5Buuid%5D={me}", 1, 20),
    ):
        assert await stage.ok("GET", path + query) == {"data": [], "page": page, "limit": limit, "total": 0}
    for query in ("filter%5Btype%5D=CREDIT", "filter%5Bcreated_at%5D=soon", "limit=51"):
        await stage.fails(400, "VALIDATION_ERROR", "GET", f"{path}?{query}")
    await stage.fails(405, "METHOD_NOT_ALLOWED", "POST", path, {})


async def test_rewards_are_told_by_the_formula(stage: Stage) -> None:
    def first(connection: Connection) -> str:
        uuid: str = connection.execute(select(tables.nodes.c.uuid)).scalar_one()
        return uuid

    node = await stage.lab.engine.store.read(first)
    week = 168 * 3_600_000
    before = (await stage.ok("GET", "/v1/compute/rewards"))["total"]
    sunday = 1_775_952_000_000_000  # 2026-04-12
    await stage.insert(
        tables.rewards,
        uuid=new_uuid(sunday),
        account_id=stage.lab.account,
        node_uuid=node,
        epoch_start=sunday,
        status="FINALIZED",
        multiplier_millis=1810,
        assignable_ms=week,
        worked_ms=week // 2,
        prep_ms=1,
        created_at=sunday,
        updated_at=sunday,
    )
    (reward,) = (await stage.ok("GET", "/v1/compute/rewards?filter%5Bepoch_status%5D=FINALIZED"))["data"]
    assert reward == {
        "object": "compute_reward",
        "uuid": reward["uuid"],
        "node_uuid": node,
        "account_uuid": (await stage.ok("GET", "/v1/me"))["uuid"],
        "epoch_start_at": "2026-04-12T00:00:00.000Z",
        "epoch_end_at": "2026-04-19T00:00:00.000Z",
        "epoch_status": "FINALIZED",
        "currency": "RENDER",
        "multiplier": 1.81,
        "assignable_hours": 168,
        "hours_worked": 84,
        "prep_hours": 0,
        "availability_reward": 6,
        "job_reward": 9.05,
        "preparation_reward": 0,
        "total_reward": 15.05,
        "created_at": "2026-04-12T00:00:00.000Z",
        "updated_at": "2026-04-12T00:00:00.000Z",
    }
    assert (await stage.ok("GET", f"/v1/compute/rewards?filter%5Bnode_uuid%5D={node}"))["total"] == before + 1
    assert (await stage.ok("GET", "/v1/compute/rewards", pair=await stage.stranger()))["data"] == []
    elsewhere = await stage.grant(preset="COMPUTE_NODE", node_uuid=new_uuid(stage.now))
    assert (await stage.ok("GET", "/v1/compute/rewards", pair=elsewhere))["data"] == []
    here = await stage.grant(preset="COMPUTE_NODE", node_uuid=node)
    assert (await stage.ok("GET", "/v1/compute/rewards", pair=here))["total"] == before + 1
