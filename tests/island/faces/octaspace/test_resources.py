"""Accounts, wallets, the network's figures, templates, nodes, and what the owner administers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from skerry.island.engine.records import Gpu
from skerry.island.faces.octaspace import addresses, tables
from skerry.island.faces.octaspace.nodes import machine, node_rows, verification
from skerry.island.faces.octaspace.sessions import templates
from skerry.island.settings import Settings
from skerry.island.workers.apps import installed
from tests.island.faces.octaspace.stage import OCTA, Stage

pytestmark = pytest.mark.anyio

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl test"


async def test_migrations_and_tables_agree(stage: Stage) -> None:
    def differences(connection: Connection) -> list[object]:
        found = compare_metadata(MigrationContext.configure(connection), tables.metadata)
        return [it for it in found if "octaspace" in str(it) or "published_ports" in str(it)]

    assert await stage.lab.engine.store.read(differences) == []


async def test_the_account(stage: Stage) -> None:
    account = await stage.ok("GET", "/accounts")
    assert account["balance"] == 1000 * OCTA
    assert (account["uid"], account["wallet"]) == (1, "")
    assert account["deposit_address"] == account["wallet"]
    other = await stage.ok("GET", "/accounts", key=await stage.stranger(balance=5))
    assert (other["uid"], other["balance"]) == (2, 5)
    assert other["ref_code"] != account["ref_code"]
    assert other["account_uuid"] != account["account_uuid"]


async def test_a_wallet_is_a_real_key_pair(stage: Stage) -> None:
    first = (await stage.ok("POST", "/accounts", status=201))["address"]
    second = (await stage.ok("POST", "/accounts", status=201))["address"]
    assert first != second
    assert (await stage.ok("GET", "/accounts"))["wallet"] == second
    engine = stage.lab.engine

    def kept(connection: Connection) -> list[Any]:
        return list(connection.execute(tables.wallets.select()))

    for row in await engine.store.read(kept):
        private = engine.vault.open(row.private_key, f"octaspace wallet:{row.address}")
        assert addresses.pair_of(private).address == row.address
        assert private not in bytes(row.private_key)


def test_known_addresses() -> None:
    assert addresses.pair_of((1).to_bytes(32, "big")).address == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
    assert addresses.checksummed("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed") == (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    )


async def test_figures_of_the_network_are_those_of_the_island(stage: Stage) -> None:
    local = stage.lab.engine.nodes.local
    stats = await stage.ok("GET", "/network", key=None)
    assert stats["market_price"] == 0.104
    assert stats["nodes"]["count"] == 3
    assert stats["nodes"]["vpn"] == 0
    assert stats["power"]["mem"] == local.memory_bytes
    assert stats["power"]["disk"] == local.disk_bytes
    assert stats["blockchain"]["height"] == 0
    assert stats["blockchain"]["total_supply"] == 1000.0
    node, *_ = await stage.nodes()
    await stage.ready(await stage.rent(node))
    market = (await stage.ok("GET", "/network", key=None))["marketplace"]
    assert (market["nodes_rented"], market["nodes_idle"], market["sessions_24h"]) == (1, 2, 1)


async def test_templates_are_those_that_run_here(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_APPS", str(tmp_path / "apps"))
    assert [app["name"] for app in await stage.ok("GET", "/apps", key=None)] == ["Web server"]
    missing = dict(templates.missing(tmp_path / "apps"))
    assert set(missing) == {"Jupyter", "Code server"}
    assert "skerry machine app install jupyterlab" in missing["Jupyter"]
    made = tmp_path / "apps" / "jupyterlab"
    made.mkdir(parents=True)
    (made / installed.MARKER).write_text('{"version": "4.6.6", "needs": ["/usr"]}')
    web, jupyter = await stage.ok("GET", "/apps", key=None)
    assert (web["image"], web["http_ports"]) == ("host", [8080])
    assert (jupyter["image"], jupyter["http_ports"]) == ("localhost/jupyterlab", [8888])
    assert jupyter["start_command"] == "start-jupyterlab"


async def test_an_app_that_is_not_installed_fails_the_start_with_what_to_do(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node, image="localhost/code-server:latest", start_command="start-code-server")
    ended = await stage.finished(uuid)
    assert (ended["termination_reason"], ended["charge_amount"]) == (4, 0)
    logs = await stage.ok("GET", f"/services/{uuid}/logs?recent=true")
    assert "`skerry machine app install code-server` installs it" in logs["system"][-1]["msg"]


async def test_personal_templates_are_seen_by_their_account_alone(stage: Stage) -> None:
    key = await stage.stranger()
    uid = (await stage.ok("GET", "/accounts", key=key))["uid"]
    made = await stage.operate("POST", "/apps", {"name": "Mine", "image": "ubuntu", "uid": uid}, 201)
    assert made["personal"] is True
    for who, sees in ((key, True), ("", False)):
        apps = await stage.ok("GET", "/apps", key=who)
        assert (made["uuid"] in [app["uuid"] for app in apps]) is sees
    assert made["uuid"] not in [app["uuid"] for app in await stage.ok("GET", "/apps", key=None)]
    node, *_ = await stage.nodes()
    item = {"node_id": node, "app": made["uuid"]}
    assert await stage.fails(400, "BAD_REQUEST", "POST", "/services/mr", item) == "App not found"


async def test_nodes_are_the_operators_own(stage: Stage) -> None:
    nodes = await stage.ok("GET", "/nodes")
    assert [node["id"] for node in nodes] == [1, 2, 3]
    assert nodes[0]["state"] == "idle"
    assert nodes[0]["prices"] == {"base": 5 * 10**16, "storage": 10**14, "traffic": 5 * 10**16}
    share = stage.lab.engine.nodes.local.memory_bytes // 3
    assert nodes[0]["system"]["memory"]["size"] == share
    assert re.fullmatch(r"2026-04-21T10:00:00Z", nodes[0]["vrf_dt"])
    detail = await stage.ok("GET", "/nodes/2")
    assert not {"prices", "system"} & set(detail)
    assert 0 <= detail["data"]["cpu_load_percent"] <= 100
    key = await stage.stranger()
    assert await stage.ok("GET", "/nodes", key=key) == []
    await stage.fails(404, "NOT_FOUND", "GET", "/nodes/1", key=key)
    assert [it["id"] for it in await stage.ok("GET", "/nodes?country=nowh")] == [1, 2, 3]
    assert await stage.ok("GET", "/nodes?country=France") == []
    stage.clock.advance(90)
    assert (await stage.ok("GET", "/nodes"))[0]["uptime"] == 90


async def test_ports_that_are_not_reached_are_not_offered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await verification.reachable(stage.lab.engine.settings)
    taken = Settings(data_dir=stage.lab.data, port_range=(1, 1), host="192.0.2.1")
    assert not await verification.reachable(taken)

    async def not_reached(_: Settings) -> bool:
        return False

    monkeypatch.setattr(verification, "reachable", not_reached)
    await stage.again()
    assert await stage.ok("GET", "/services/mr") == []
    assert (await stage.ok("GET", "/nodes"))[0]["vrf_dt"] == ""


async def test_uptime_is_measured_over_restarts(stage: Stage) -> None:
    await stage.pass_time(900)
    await stage.app.stop()
    await stage.lab.engine.crash()
    stage.clock.advance(100)
    await stage.open()
    uptime = (await stage.ok("GET", "/nodes/1"))["reliability"]["uptime"]
    assert 89 <= uptime <= 90.1


async def test_offers(stage: Stage) -> None:
    offers = await stage.ok("GET", "/services/mr")
    assert [offer["node_id"] for offer in offers] == [1, 2, 3]
    one = offers[0]
    assert one["total_price_wei"] == one["base"] + one["storage"] + one["traffic"]
    assert round(one["total_price_ether"], 9) == round(
        one["base_ether"] + one["storage_ether"] + one["traffic_ether"], 9
    )
    assert round(one["total_price_usd"], 9) == round(one["total_price_ether"] * 0.104, 9)
    assert (one["net_down_mbits"], one["available_ports"]) == (0, 63)
    assert [it["node_id"] for it in await stage.ok("GET", "/services/mr?country=zz")] == [1, 2, 3]
    assert await stage.ok("GET", "/services/mr?country=Atlantis") == []
    assert await stage.ok("GET", "/services/render") == []
    assert await stage.ok("GET", "/services/vpn") == []
    await stage.fails(503, "NODE_UNAVAILABLE", "POST", "/services/render", {"node_id": 1, "disk_size": 5})
    for body in ({"node_id": 1}, {"node_id": 1, "disk_size": 0}, {"node_id": 1, "disk_size": 5, "multi-gpu-worker": 1}):
        await stage.fails(422, "VALIDATION_ERROR", "POST", "/services/render", body)
    for body in (
        {},
        {"node_id": 1, "subkind": "ipsec"},
        {"node_id": 1, "protocol": "vmess"},
        {"node_id": 1, "subkind": "wg", "protocol": "trojan"},
        {"node_id": 1, "subkind": "v2ray", "protocol": "x"},
        [],
    ):
        await stage.fails(422, "VALIDATION_ERROR", "POST", "/services/vpn", body)


async def test_a_node_that_is_switched_off_is_not_offered(stage: Stage) -> None:
    changed = await stage.operate("PATCH", "/nodes/2", {"enabled": False})
    assert changed == {"id": 2, "state": "offline", "enabled": False, "mr": True, "render": True, "vpn": True}
    await stage.operate("PATCH", "/nodes/3", {"mr": False})
    assert [offer["node_id"] for offer in await stage.ok("GET", "/services/mr")] == [1]
    for node in (2, 3):
        item = {"node_id": node, "disk_size": 1, "image": "ubuntu"}
        assert await stage.fails(400, "BAD_REQUEST", "POST", "/services/mr", item) == "Node not found"
    assert (await stage.ok("GET", "/nodes"))[1]["state"] == "offline"


async def test_other_networks_work_makes_nodes_busy(stage: Stage) -> None:
    engine = stage.lab.engine
    everything = {"cpu_millis": engine.nodes.local.cpu_millis, "memory_bytes": 1, "disk_bytes": 0, "gpus": ()}

    def take(connection: Connection) -> None:
        engine.capacity.take(connection, "other", stage.lab.account, now=stage.now, **everything)

    await engine.store.run(take)
    assert await stage.ok("GET", "/services/mr") == []
    answer = await stage.ok("POST", "/services/mr", [{"node_id": 1, "disk_size": 1, "image": "ubuntu"}])
    assert answer[0]["reason"] == "Node is busy"


async def test_ports_run_out(tmp_path: Path) -> None:
    stage = Stage(tmp_path, port_range=(43170, 43172))
    await stage.open()
    try:
        offers = await stage.ok("GET", "/services/mr")
        assert offers[0]["available_ports"] == 3
        item = {"node_id": 1, "disk_size": 1, "image": "ubuntu:22.04", "ports": [1, 2, 3]}
        assert await stage.fails(400, "BAD_REQUEST", "POST", "/services/mr", item) == "Not enough ports"
    finally:
        await stage.close()


async def test_the_owners_calls_need_the_owners_key(stage: Stage) -> None:
    for key in (None, stage.key, f"Bearer {stage.key}"):
        await stage.fails(401, "UNAUTHORIZED", "GET", "/admin/accounts", key=key)
    assert len(await stage.operate("GET", "/accounts")) == 1


async def test_accounts_keys_and_credit(stage: Stage) -> None:
    made = await stage.operate("POST", "/accounts", {"name": "alice@example.test"}, 201)
    assert (made["email"], made["balance"]) == ("alice@example.test", 0)
    uid = made["uid"]
    chosen = "ab" * 32
    await stage.operate("POST", f"/accounts/{uid}/keys", {"key": chosen}, 201)
    assert (await stage.ok("GET", "/accounts", key=chosen))["uid"] == uid
    big = 31428028938060847852
    for amount in (str(big), big):
        given = await stage.operate("POST", f"/accounts/{uid}/credits", {"amount": amount, "id": "once"})
    assert given == {"given": False, "balance": big}
    assert await stage.balance(chosen) == big
    keys = await stage.operate("GET", f"/accounts/{uid}/keys")
    assert len(keys) == 1
    assert chosen not in str(keys)
    bearer = f"Bearer {(stage.lab.data / 'owner.key').read_text().strip()}"
    for target, body in (
        (f"/admin/accounts/{uid}/credits", {"amount": 0}),
        (f"/admin/accounts/{uid}/credits", {"amount": "-5"}),
        (f"/admin/accounts/{uid}/credits", {"amount": 1.5}),
        (f"/admin/accounts/{uid}/keys", {"key": "short"}),
    ):
        await stage.fails(422, "VALIDATION_ERROR", "POST", target, body, key=bearer)
    await stage.fails(404, "NOT_FOUND", "POST", "/admin/accounts/77/credits", {"amount": 1}, key=bearer)


async def test_ssh_keys_of_an_account(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    engine = stage.lab.engine
    assert await engine.ssh.grants(f"octa-{uuid}") is None
    await stage.operate("PUT", "/accounts/me/ssh_keys", {"ssh_public_keys": [SSH_KEY]})
    grants = await engine.ssh.grants(f"octa-{uuid}")
    assert grants is not None
    assert len(grants.public_keys) == 1
    assert grants.metered is False
    bearer = f"Bearer {(stage.lab.data / 'owner.key').read_text().strip()}"
    for bad in (["no key"], "x", [5], None):
        body = {"ssh_public_keys": bad}
        await stage.fails(422, "VALIDATION_ERROR", "PUT", "/admin/accounts/me/ssh_keys", body, key=bearer)
    await stage.operate("PUT", "/accounts/me/ssh_keys", {"ssh_public_keys": []})
    assert await engine.ssh.grants(f"octa-{uuid}") is None


def test_gpus_are_dealt_out_and_measured() -> None:
    said = "0, 00000000:17:00.0, 550.54.15, P0, 5, 16, 34, 7, 81559, 81000, Disabled, Disabled, [N/A], 700.00, 700.00"

    def ask(query: str) -> str:
        return f"{said}\n" if query else "| NVIDIA-SMI 550  Driver Version: 550.54.15  CUDA Version: 12.4 |"

    gpus = machine.Gpus((Gpu(index=0, name="NVIDIA H100", memory_bytes=81559 << 20, uuid="GPU-1"),), ask)
    assert gpus.cuda_version == "12.4"
    assert gpus.views()[0] == {
        "model": "NVIDIA H100",
        "idx": 0,
        "bus_id": "17:00.0",
        "driver_version": "550.54.15",
        "pstate": "P0",
        "pcie_link_gen": 5,
        "pcie_link_width": 16,
        "gpu_temperature": 34,
        "gpu_utilization": 7,
        "mem_total_mb": 81559,
        "mem_free_mb": 81000,
        "display_mode": "Disabled",
        "display_active": "Disabled",
        "fan_speed": 0,
        "power_limit_watt": 700,
        "power_limit_default_watt": 700,
    }
    assert gpus.views((1,)) == []
    assert machine.Gpus((), ask).cuda_version == "0"


async def test_fewer_nodes_after_a_change_of_settings(tmp_path: Path) -> None:
    stage = Stage(tmp_path, octaspace={"nodes": 3})
    await stage.open()
    from dataclasses import replace

    stage.lab.change(octaspace=replace(stage.lab.settings.octaspace, nodes=1))
    await stage.again()
    try:
        assert await stage.nodes() == [1]
        assert node_rows.slots(stage.lab.engine) == 1
        await stage.fails(404, "NOT_FOUND", "GET", "/nodes/2")
    finally:
        await stage.close()
