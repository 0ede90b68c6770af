"""Every call of the client that does not execute work, sync and async, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from skerry.island.admin.auth import owner_key
from skerry.island.island import Island
from skerry.money import Money
from skerry.networks.dispersed import ApiError
from tests.conformance.dispersed import KINDS, Signed, client, signed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Zk5n6cE5Xb0M8qjv4P9w5y0nq1Z5VtT9mA2x0b0a"
PAYLOAD = {
    "title": "A thing",
    "task": "BATCH",
    "max_timeout_run_ms": 60_000,
    "gpu_count": 1,
    "gpu_name": "NVIDIA RTX 0000",
    "parameters": {"type": "docker", "parameters": {"image": "a/b", "tag": "1", "secret": "s", "env": {"A": "1"}}},
}


@pytest.fixture(params=KINDS)
def dispersed(request: pytest.FixtureRequest, island: Island) -> Iterator[Any]:
    """A client of the first account."""
    it = client(island, request.param)
    yield it
    it.close()


@pytest.fixture
def other(island: Island) -> Iterator[Any]:
    """A client of another account."""
    it = client(island, pair=_stranger(island))
    yield it
    it.close()


def _stranger(island: Island) -> tuple[str, str]:
    from skerry.island.faces.dispersed.account import key_pairs, profiles

    async def make() -> tuple[str, str]:
        engine = island.engine
        account = await engine.accounts.create("stranger")
        pair = key_pairs.new_pair()

        def add(connection: Any) -> None:
            profile = profiles.ensure(connection, account.id, 1)
            key_pairs.add(connection, engine.vault, profile, pair, name="test", preset="CONSUMER", now=1)

        await engine.store.run(add)
        return pair.public_key, pair.secret_key

    made: tuple[str, str] = island.call(make())
    return made


def test_accounts(dispersed: Any, other: Any, island: Island) -> None:
    me = dispersed.accounts.get_me()
    assert (me.object, me.name, me.roles) == ("account", "local", ["CONSUMER"])
    balance = dispersed.accounts.get_balance(me.uuid)
    assert balance.available == island.call(island.engine.ledger.balance(island.engine.account_id))
    assert balance.balance == balance.available + balance.authorized
    spent = dispersed.accounts.get_spend_summary(me.uuid)
    assert spent.total == Money(0, "USD")
    used = dispersed.accounts.get_consumer_summary(me.uuid)
    assert set(used.jobs) == {"total", "by_status"}
    assert used.gpu_hours_total == Decimal(0)
    foreign = other.accounts.get_me().uuid
    with pytest.raises(ApiError) as caught:
        dispersed.accounts.get_balance(foreign)
    assert (caught.value.status, caught.value.code) == (403, "FORBIDDEN")


def test_ssh_public_keys(dispersed: Any) -> None:
    made = [dispersed.ssh_public_keys.create({"public_key": f"{KEY}{last} me", "name": last}) for last in "Q-g"[::2]]
    try:
        assert [key.is_default for key in made] == [False, False]
        assert made[0].fingerprint.startswith("SHA256:")
        changed = dispersed.ssh_public_keys.update(made[0].uuid, {"name": None, "is_default": True})
        assert (changed.name, changed.is_default) == (None, True)
        dispersed.ssh_public_keys.update(made[1].uuid, {"is_default": True})
        shown = dispersed.ssh_public_keys.list(sort="created_at")
        assert [(key.uuid, key.is_default) for key in shown.data] == [(made[0].uuid, False), (made[1].uuid, True)]
        with pytest.raises(ApiError) as caught:
            dispersed.ssh_public_keys.create({"public_key": f"{KEY}g"})
        assert caught.value.code == "DUPLICATE_SSH_PUBLIC_KEY"
    finally:
        for key in made:
            assert dispersed.ssh_public_keys.delete(key.uuid) is None
    assert dispersed.ssh_public_keys.list().total == 0


def test_job_recipes(dispersed: Any, other: Any) -> None:
    made = dispersed.job_recipes.create(
        {"name": "thing", "payload": PAYLOAD, "visibility": "PUBLIC", "input_schema": [{"key": "B", "required": True}]}
    )
    assert (made.is_owner, made.payload["parameters"]["parameters"]["secret"]) == (True, "********")
    assert made.input_schema[0].type == "string"
    assert dispersed.job_recipes.get(made.uuid).uuid == made.uuid
    assert made.uuid in {recipe.uuid for recipe in dispersed.job_recipes.list(visibility="PUBLIC", name="thing").data}
    changed = dispersed.job_recipes.update(made.uuid, {"name": "other"})
    assert changed.name == "other"
    copy = dispersed.job_recipes.fork(made.uuid)
    assert (copy.name, copy.visibility, copy.forked_from_recipe_uuid) == ("other (copy)", "PRIVATE", made.uuid)
    assert "secret" not in other.job_recipes.get(made.uuid).payload["parameters"]["parameters"]
    with pytest.raises(ApiError) as caught:
        other.job_recipes.delete(made.uuid)
    assert caught.value.status == 403
    with pytest.raises(ApiError) as caught:
        dispersed.job_recipes.cook(made.uuid)
    assert caught.value.details[0]["path"][-1] == "B"
    cooked = {"title": "B", "parameters": {"parameters": {"env": {"B": "2"}}}}
    job = dispersed.job_recipes.cook(made.uuid, cooked)
    assert (job.title, job.source_recipe_uuid) == ("B", made.uuid)
    assert job.parameters["parameters"]["env"] == {"A": "1", "B": "2"}
    saved = dispersed.job_recipes.create_from_job(job.uuid)
    assert (saved.name, "secret" in saved.payload["parameters"]["parameters"]) == ("B", False)
    assert dispersed.jobs.cancel(job.uuid, {"reason": "enough"}).status in ("CANCELLED", "CANCELLING")
    for recipe in (made, copy, saved):
        assert dispersed.job_recipes.delete(recipe.uuid) is None
        with pytest.raises(ApiError) as caught:
            dispersed.job_recipes.get(recipe.uuid)
        assert caught.value.is_not_found


def test_gpus_and_rewards_and_the_ledger(dispersed: Any) -> None:
    (card,) = dispersed.gpu_registry.list(gpu_name="rtx 4090").data
    assert (card.name, card.vram_gb, card.hourly_rate) == ("NVIDIA RTX 4090", 24, Money(350_000, "USD"))
    assert dispersed.gpu_registry.list(min_vram_gb=[32, 40], limit=50).total > 0
    assert dispersed.gpu_registry.list(uuid=card.uuid).total == 1
    assert dispersed.compute.rewards(epoch_status="FINALIZED").total == 0
    assert dispersed.compute.ledger_authorizations(status=["OPEN", "CLOSED"]).total == 0
    assert dispersed.compute.ledger_transactions(type="REFUND", created_at=["2020-01-01", None]).total == 0
    names = {entry.name for page in (1, 2) for entry in dispersed.gpu_registry.list(limit=50, page=page).data}
    assert len(names) == dispersed.gpu_registry.list().total


def test_credit_and_what_is_told_of_it(dispersed: Any, island: Island) -> None:
    me = dispersed.accounts.get_me()
    before = dispersed.accounts.get_balance(me.uuid)
    hand: Signed = signed(island)
    key = {"authorization": f"Bearer {owner_key(island.data_dir)}", "content-type": "application/json"}
    answer = hand.send(
        "POST", f"/dispersed/v1/admin/accounts/{me.uuid}/credits", key, b'{"amount_usd":0.1,"memo":"gift"}'
    )
    assert answer.status == 201
    (told,) = dispersed.compute.ledger_transactions(uuid=answer.json["uuid"]).data
    assert (told.type, told.amount, told.memo, told.consumer_account_uuid) == (
        "CREDIT",
        Money(100_000, "USD"),
        "gift",
        me.uuid,
    )
    assert dispersed.accounts.get_balance(me.uuid).available == before.available + Money(100_000, "USD")


def test_lists_have_pages(dispersed: Any) -> None:
    page = dispersed.gpu_registry.list(limit=7)
    assert (page.page, page.limit, len(page.data)) == (1, 7, 7)
    assert page.has_next
    second = dispersed.gpu_registry.list(limit=7, page=2)
    assert {one.uuid for one in second.data}.isdisjoint(one.uuid for one in page.data)
    assert dispersed.gpu_registry.list(limit=7, page=1000).data == []
    with pytest.raises(ApiError) as caught:
        dispersed.gpu_registry.list(limit=51)
    assert caught.value.code == "VALIDATION_ERROR"


def test_what_the_client_has_no_call_for(dispersed: Any) -> None:
    (node,) = dispersed.request("GET", "/v1/nodes")["data"]
    assert node["object"] == "node"
    assert dispersed.request("GET", "/v1/compute/offers")["data"][0]["pricing"]["hourly_rate_usd"] > 0
    assert dispersed.request("GET", "/v1/api-keys")["data"][0]["object"] == "api_key"
