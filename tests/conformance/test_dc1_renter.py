"""A renter and the operator by DC1's own client, over real sockets, a callback included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from skerry.errors import AuthenticationError, SkerryError
from skerry.island.faces.dc1.renters import deliveries
from skerry.island.island import Island
from skerry.island.settings import DC1 as Choices
from skerry.money import Money
from skerry.networks.dc1 import DC1, signing
from tests.island.faces.dc1.receiver import receiving

PATIENCE = 60.0


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    with Island(dc1=Choices(allow_private_webhooks=True)) as it:
        yield it


@pytest.fixture
def operator(island: Island) -> Iterator[DC1]:
    with island.dc1() as client:
        yield client


@pytest.fixture
def key(operator: DC1, request: pytest.FixtureRequest) -> str:
    """Of a new renter for each test."""
    return operator.register("Renter", f"{request.node.name}@example.sa", "Lab").api_key


@pytest.fixture
def renter(island: Island, key: str) -> Iterator[DC1]:
    """The same renter's client."""
    with DC1(key, island.base_url("dc1"), environ={}) as client:
        yield client


def number(client: DC1) -> int:
    found = client.me().id
    assert found is not None
    return found


def test_the_wallet(renter: DC1, operator: DC1) -> None:
    assert str(renter.get_balance().balance) == "10.00 SAR"
    assert str(renter.wallet.top_up(Money.of("12.35", "SAR")).balance) == "22.35 SAR"
    assert str(renter.renters.topup(amount_sar=Decimal("0.05")).balance) == "22.40 SAR"
    assert str(renter.wallet.balance().available) == "22.40 SAR"
    begun = renter.payments.topup(amount_halala=5_000, payment_method="bank_transfer")
    assert begun.status == "pending"
    assert begun.topup_id is not None
    operator.request("POST", f"/api/admin/payments/{begun.topup_id}/confirm-topup", role="admin")
    assert renter.payments.verify(str(begun.topup_id)).status == "paid"
    assert [payment.status for payment in renter.payments.history().payments] == ["paid"]
    mine = number(renter)
    given = operator.admin.credit_renter(mine, Money.of("1", "SAR"), reason="goodwill")
    assert given["new_balance"] == 7_340
    taken = operator.admin.adjust_balance(mine, Money.of("-3.40", "SAR"), reason="correction")
    assert taken["new_balance"] == 7_000
    assert str(renter.renters.ledger_balance(mine).balance) == "70.00 SAR"
    moves = renter.renters.transactions(mine, limit=50)["transactions"]
    assert sum(move["amount_halala"] for move in moves) == 7_000
    with pytest.raises(SkerryError, match="gateway"):
        renter.payments.topup(amount_halala=5_000)


def test_keys_and_webhooks(renter: DC1, island: Island) -> None:
    mine = number(renter)
    made = renter.keys.create(label="ci", scopes=["inference"])
    assert [key.label for key in renter.keys.list().keys] == ["ci"]
    renter.keys.revoke(made.name)
    reader = renter.api_keys.create(mine, permissions=["balance.read", "jobs.read"])
    with DC1(reader.key, island.base_url("dc1"), environ={}) as other:
        assert str(other.renters.ledger_balance(mine).balance) == "10.00 SAR"
        assert other.renters.jobs().total == 0
    hook = renter.webhooks.create(mine, url="https://203.0.114.5/", secret="x" * 16, events=["job.failed"])
    assert [one.id for one in renter.webhooks.list(mine).webhooks] == [hook["id"]]
    assert renter.webhooks.delete(mine, hook["id"]).success
    new = renter.renters.rotate_key()
    with pytest.raises(SkerryError):
        renter.me()
    with DC1(new.api_key, island.base_url("dc1"), environ={}) as other:
        assert other.me().id == mine


def test_views_and_leaving(renter: DC1, operator: DC1) -> None:
    saved = renter.renters.save_preset(name="mine", job_type="llm_inference")
    assert renter.renters.presets()["templates"][0]["name"] == "mine"
    assert renter.renters.delete_preset(saved["template"]["id"]).success
    spending = renter.renters.spending()
    assert spending.all_time is not None
    assert str(spending.all_time.total) == "0.00 SAR"
    assert renter.renters.analytics(period="7d").period == "7d"
    assert renter.renters.invoices() == []
    assert renter.renters.export_jobs().startswith("job_id,")
    assert renter.renters.payments().payments == []
    assert renter.renters.data_export()["renter"]["organization"] == "Lab"
    mine = number(renter)
    with pytest.raises(SkerryError, match="balance"):
        renter.renters.delete()
    operator.admin.adjust_balance(mine, Money.of("-10", "SAR"), reason="paid out")


def test_suspension(renter: DC1, operator: DC1) -> None:
    mine = number(renter)
    operator.admin.suspend_renter(mine)
    with pytest.raises(SkerryError):
        renter.me()
    operator.admin.bulk("renters", ids=[mine], action="unsuspend")
    assert renter.me().id == mine
    assert operator.admin.renter(mine)["renter"]["status"] == "active"
    with pytest.raises(AuthenticationError):
        renter.with_options().request("GET", "/api/admin/overview", role="renter")


def test_a_callback(renter: DC1, key: str, operator: DC1, monkeypatch: pytest.MonkeyPatch) -> None:
    # An answer that comes late is none, and the next try looks different.
    monkeypatch.setattr(deliveries, "SECONDS", PATIENCE)
    with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/hook"
        assert renter.renters.settings(webhook_url=url)["webhook_url"] == url
        job = renter.jobs.create(
            job_type="custom_container", params={"script": "print(6 * 7)"}, provider_id=None, duration_minutes=1
        ).job
        assert job is not None
        ended = renter.jobs.wait(job.job_id, timeout=PATIENCE)
        end = time.monotonic() + PATIENCE
        while not receiver.headers:
            assert time.monotonic() < end, ended
            time.sleep(0.02)
        assert ended.status == "completed", ended
        body, headers = receiver.bodies[0], receiver.headers[0]
        assert signing.verify_callback(key, body, headers["x-dcp-signature"])
        assert headers["x-dcp-event"] == f"job.{ended.status}"
    assert operator.request("GET", "/api/admin/audit", role="admin")["ok"] is True


@pytest.mark.anyio
async def test_asynchronous_programs(island: Island) -> None:
    async with island.async_dc1() as client:
        me = await client.me()
        assert me.name == "local"
        assert (await client.admin.overview())["providersRegistered"] >= 1
        listed = await client.admin.renters(search="@island.invalid")
        assert me.id in {renter["id"] for renter in listed["renters"]}
