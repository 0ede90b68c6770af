"""Callbacks: what is sent, how it is signed, how often, and where it never goes."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.renters.deliveries import Deliveries
from skerry.island.faces.dc1.renters.webhook_urls import WebhookUrls, parsed
from skerry.networks.dc1 import signing
from tests.held import PATIENCE
from tests.island.faces.dc1.receiver import Receiver, certificate, receiving
from tests.island.faces.dc1.stage import Stage
from tests.island.faces.dc1.work import cancel, complete, fail, host, register, submit

pytestmark = pytest.mark.anyio
SECRET = "a secret of sixteen characters"
SECONDS = "skerry.island.faces.dc1.renters.deliveries.SECONDS"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a while makes no server a silent one."""
    monkeypatch.setattr(SECONDS, PATIENCE)


@pytest.fixture
async def home(tmp_path: Path, template: Path) -> AsyncIterator[Stage]:
    """A face whose operator lets callbacks reach this machine."""
    shutil.copytree(template, tmp_path / "data")
    stage = Stage(tmp_path, dc1={"allow_private_webhooks": True})
    await stage.open()
    yield stage
    await stage.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as it:
        yield it


def sender(stage: Stage) -> Deliveries:
    return stage.face.service._renting.deliveries


async def swept(stage: Stage) -> None:
    """Everything that is due is tried now, by whomever."""
    await sender(stage).sweep()


async def by_hand(stage: Stage) -> None:
    """From now on nothing is tried unless the test says so."""
    await sender(stage)._rounds.stop()


async def rows(stage: Stage) -> list[Any]:
    def work(connection: Connection) -> list[Any]:
        return list(connection.execute(select(tables.deliveries).order_by(tables.deliveries.c.id)))

    return await stage.lab.engine.store.read(work)


async def aim(stage: Stage, key: str, receiver: Receiver) -> None:
    body = {"webhook_url": f"http://127.0.0.1:{receiver.port}/hook"}
    answer = await stage.rent("PATCH", "/api/renters/settings", body, key=key)
    assert (answer.status, answer.json) == (200, {"success": True, **body})


async def hook(stage: Stage, renter_id: int, key: str, receiver: Receiver, *events: str) -> str:
    body = {"url": f"http://127.0.0.1:{receiver.port}/", "secret": SECRET, "events": list(events)}
    answer = await stage.rent("POST", f"/api/renters/{renter_id}/webhooks", body, key=key)
    assert answer.status == 201, answer.json
    return str(answer.json["id"])


@dataclass(frozen=True)
class Notice:
    """What a job's row says of its callback."""

    status: str | None = None
    attempts: int = 0
    notified_at: int | None = None


async def notice(stage: Stage, job: int) -> Notice:
    def work(connection: Connection) -> Notice:
        row = connection.execute(select(tables.jobs).where(tables.jobs.c.id == job)).one()
        return Notice(row.webhook_status, row.webhook_attempts, row.webhook_notified_at)

    return await stage.lab.engine.store.read(work)


async def test_a_completed_job_is_told(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    provider = await host(home)
    job = await submit(home, renter_id, provider_id=provider)
    assert await notice(home, job.id) == Notice()
    await complete(home, job)
    await swept(home)
    body, headers = receiver.bodies[0], receiver.headers[0]
    told = json.loads(body)
    assert told["event"] == headers["x-dcp-event"] == "job.completed"
    assert told["timestamp"] == "2026-03-22T19:30:00.000Z"
    assert told["job"] == {
        "id": job.id,
        "job_id": job.job_id,
        "renter_id": renter_id,
        "provider_id": provider,
        "status": "completed",
        "job_type": "llm_inference",
        "submitted_at": "2026-03-22T19:30:00.000Z",
        "started_at": None,
        "completed_at": "2026-03-22T19:30:00.000Z",
    }
    assert told["billing"] == {"actual_cost_halala": 11, "provider_earned_halala": 8, "dc1_fee_halala": 3}
    assert (told["job_id"], told["actual_cost_halala"]) == (job.job_id, 11)
    # Bare, as the direct try has it.
    assert headers["x-dcp-signature"] == signing.sign_callback(key, body)
    assert headers["content-type"] == "application/json"
    assert await notice(home, job.id) == Notice("delivered", 1, home.now)
    row = (await home.rent("GET", f"/api/jobs/{job.job_id}", key=key)).json["job"]
    assert row["webhook_delivery_status"] == "delivered"
    assert row["webhook_notified_at"] == "2026-03-22T19:30:00.000Z"
    await swept(home)
    assert len(receiver.bodies) == 1


async def test_a_failed_job_is_told_and_a_cancelled_one_is_not(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    await fail(home, await submit(home, renter_id))
    await cancel(home, await submit(home, renter_id))
    await swept(home)
    (body,) = receiver.bodies
    told = json.loads(body)
    assert (told["event"], told["billing"], told["error"]) == ("job.failed", None, "out of memory")
    assert told["refunded_halala"] == 75


async def test_tries(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    receiver.statuses = [500, 302, 404, 503]
    job = await submit(home, renter_id)
    await complete(home, job)
    await swept(home)
    for count, pause in ((1, 1), (2, 2), (3, 4)):
        assert len(receiver.bodies) == count
        home.clock.advance(pause - 0.5)
        await swept(home)
        assert len(receiver.bodies) == count
        home.clock.advance(0.5)
        await swept(home)
    assert len(receiver.bodies) == 4
    home.clock.advance(1_000)
    await swept(home)
    assert len(receiver.bodies) == 4
    assert len(set(receiver.bodies)) == 1
    signature = signing.sign_callback(key, receiver.bodies[0])
    assert [headers["x-dcp-signature"] for headers in receiver.headers] == [signature, *[f"sha256={signature}"] * 3]
    assert ["x-dcp-event" in headers for headers in receiver.headers] == [True, False, False, False]
    found = await notice(home, job.id)
    assert (found.status, found.attempts) == ("failed", 4)
    assert (await rows(home))[0].outcome == "HTTP 503"


async def test_the_second_try_is_taken(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    receiver.statuses = [500]
    job = await submit(home, renter_id)
    await complete(home, job)
    await swept(home)
    assert (await notice(home, job.id)).status == "pending"
    home.clock.advance(1)
    await swept(home)
    assert (await notice(home, job.id)).status == "delivered"


async def test_registered_webhooks(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await by_hand(home)
    first = await hook(home, renter_id, key, receiver, "job.completed")
    await hook(home, renter_id, key, receiver, "job.failed", "balance.low")
    receiver.statuses = [500]
    job = await submit(home, renter_id)
    await complete(home, job)
    await swept(home)
    home.clock.advance(1)
    await swept(home)
    assert len(receiver.bodies) == 2
    for body, headers in zip(receiver.bodies, receiver.headers, strict=True):
        assert headers["x-dcp-signature"] == f"sha256={signing.sign_callback(SECRET, body)}"
        assert headers["x-dcp-event"] == "job.completed"
    # The job's own columns are about the account's address alone.
    assert await notice(home, job.id) == Notice()
    # A webhook that is gone is told nothing any more.
    await complete(home, await submit(home, renter_id))
    assert (await home.rent("DELETE", f"/api/renters/{renter_id}/webhooks/{first}", key=key)).status == 200
    await swept(home)
    assert len(receiver.bodies) == 2


async def test_a_balance_that_becomes_low(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await hook(home, renter_id, key, receiver, "balance.low")
    await submit(home, renter_id, 500)
    await swept(home)
    assert receiver.bodies == []
    await submit(home, renter_id, 100)
    await submit(home, renter_id, 100)
    await swept(home)
    (body,) = receiver.bodies
    assert json.loads(body) == {
        "event": "balance.low",
        "timestamp": "2026-03-22T19:30:00.000Z",
        "renter_id": renter_id,
        "balance_halala": 400,
        "balance_sar": 4,
        "threshold_halala": 500,
    }


async def test_a_restart_takes_up_what_was_left(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    receiver.statuses = [500]
    job = await submit(home, renter_id)
    await complete(home, job)
    await swept(home)
    await home.again()
    home.clock.advance(5)
    await swept(home)
    # The second process may have been quicker than this test; it was told once all the same.
    assert len(receiver.bodies) == 2
    assert (await notice(home, job.id)).status == "delivered"


async def test_a_crash_within_a_try_counts_it(home: Stage, receiver: Receiver, monkeypatch: Any) -> None:
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    job = await submit(home, renter_id)
    await by_hand(home)
    await complete(home, job)

    async def killed(*args: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Deliveries, "_deliver", killed)
        with pytest.raises(RuntimeError):
            await swept(home)
    await swept(home)
    assert receiver.bodies == []
    await home.again()
    home.clock.advance(31)
    await swept(home)
    # The direct try is spent, so this is the background's.
    assert receiver.headers[0]["x-dcp-signature"].startswith("sha256=")
    assert (await notice(home, job.id)).attempts == 2


async def test_the_key_of_today_signs(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    job = await submit(home, renter_id)
    new = (await home.rent("POST", "/api/renters/me/rotate-key", key=key)).json["new_key"]
    await complete(home, job)
    await swept(home)
    assert signing.verify_callback(new, receiver.bodies[0], receiver.headers[0]["x-dcp-signature"])


async def test_a_shared_secret_signs_where_there_is_one(tmp_path: Path, receiver: Receiver) -> None:
    stage = Stage(tmp_path, dc1={"allow_private_webhooks": True, "webhook_secret": "of the whole island"})
    await stage.open()
    try:
        renter_id, key = await register(stage)
        await aim(stage, key, receiver)
        await complete(stage, await submit(stage, renter_id))
        await swept(stage)
        assert signing.verify_callback(
            "of the whole island", receiver.bodies[0], receiver.headers[0]["x-dcp-signature"]
        )
    finally:
        await stage.close()


async def test_nobody_waits_for_a_server_that_is_silent(
    home: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SECONDS, 0.2)
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    receiver.answering.clear()
    await complete(home, await submit(home, renter_id))
    await swept(home)
    receiver.answering.set()
    assert (await rows(home))[0].outcome.startswith("no answer within")


async def test_a_server_that_is_not_there(home: Stage) -> None:
    renter_id, key = await register(home)
    with socket.socket() as nobody:
        # The port is taken, so that nobody else comes to listen there.
        nobody.bind(("127.0.0.1", 0))
        await aim(home, key, Receiver(port=nobody.getsockname()[1]))
        await complete(home, await submit(home, renter_id))
        await swept(home)
    assert (await rows(home))[0].outcome == "not reached: ConnectError"


async def test_a_private_address_is_never_reached(stage: Stage, receiver: Receiver) -> None:
    """Also one that came into the database at another time."""
    renter_id, _ = await register(stage)

    def force(connection: Connection) -> None:
        for number, url in ((renter_id, f"https://127.0.0.1:{receiver.port}/"), (1, "https://hooks.example.com/")):
            change = tables.renters.update().where(tables.renters.c.id == number)
            connection.execute(change.values(webhook_url=url))

    await stage.lab.engine.store.run(force)

    async def rebound(name: str, port: int) -> list[str]:
        return ["93.184.215.14", "127.0.0.1"] if "." in name else [name]

    sender(stage)._urls = WebhookUrls(private_ok=False, resolve=rebound)
    await complete(stage, await submit(stage, renter_id))
    await complete(stage, await submit(stage, 1))
    await swept(stage)
    assert [row.outcome for row in await rows(stage)] == [
        "the address is not one that callbacks may be sent to",
        "the address belongs to this machine or to a private network",
    ]
    assert receiver.bodies == []


async def test_the_name_is_proved_at_the_address_that_was_judged(
    tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path / "hooks.pem", "hooks.example.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    # Nothing goes through a proxy, which would resolve names by itself.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    asked: list[str] = []

    async def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        # The second answer, if there were one, would lead elsewhere.
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    shutil.copytree(template, tmp_path / "data")
    stage = Stage(tmp_path, dc1={"allow_private_webhooks": True})
    await stage.open()
    try:
        with receiving(pem) as receiver:
            renter_id, _ = await register(stage)

            def aimed(connection: Connection) -> None:
                url = f"https://hooks.example.com:{receiver.port}/hook"
                change = tables.renters.update().where(tables.renters.c.id == renter_id)
                connection.execute(change.values(webhook_url=url))

            await stage.lab.engine.store.run(aimed)
            sender(stage)._urls = WebhookUrls(private_ok=True, resolve=resolve)
            await complete(stage, await submit(stage, renter_id))
            await swept(stage)
            assert asked == ["hooks.example.com"]
            assert receiver.headers[0]["host"] == f"hooks.example.com:{receiver.port}"
            assert (await rows(stage))[0].outcome == "delivered"
    finally:
        await stage.close()


REFUSED = [
    "http://example.com/x",
    "ftp://example.com/",
    "https://example.com:8443/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://10.1.2.3/",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/",
    "https://localhost./",
    "https://server/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://user:word@example.com/",
    "https://example.com/#x",
    "https://",
    "https:///x",
    "not a url",
    "https://exa mple.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com/" + "x" * 2048,
    "",
    5,
    ["https://example.com/"],
]


@pytest.mark.parametrize("url", REFUSED)
async def test_addresses_that_are_refused(stage: Stage, url: Any) -> None:
    answer = await stage.rent("PATCH", "/api/renters/settings", {"webhook_url": url})
    assert (answer.status, answer.json) == (
        400,
        {"error": "webhook_url must be a valid HTTPS URL pointing to a public host"},
    )
    body = {"url": url, "secret": SECRET, "events": ["job.failed"]}
    answer = await stage.rent("POST", "/api/renters/1/webhooks", body)
    assert answer.status == 400
    assert "publicly accessible host" in answer.json["error"]
    assert parsed(url, private_ok=False) is None


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::1"], ["0.0.0.0"]])
async def test_names_that_lead_home_are_refused(addresses: list[str]) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        return addresses

    urls = WebhookUrls(private_ok=False, resolve=resolve)
    assert not await urls.accepts("https://hooks.example.com/")
    await urls.aclose()


async def test_names_that_are_taken() -> None:
    async def unknown(name: str, port: int) -> list[str]:
        raise OSError("no such name")

    async def public(name: str, port: int) -> list[str]:
        return ["93.184.215.14"]

    for resolve in (unknown, public):
        urls = WebhookUrls(private_ok=False, resolve=resolve)
        assert await urls.accepts("https://hooks.example.com:443/x?y=1")
        await urls.aclose()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"secret": "short"}, "secret must be"),
        ({"secret": None}, "secret must be"),
        ({"events": []}, "events must be"),
        ({"events": ["job.begun"]}, "events must be"),
        ({"events": [["job.failed"]]}, "events must be"),
        ({"events": "job.failed"}, "events must be"),
    ],
)
async def test_webhooks_that_are_refused(stage: Stage, change: dict[str, Any], error: str) -> None:
    body = {"url": "https://203.0.114.5/", "secret": SECRET, "events": ["job.failed"], **change}
    answer = await stage.rent("POST", "/api/renters/1/webhooks", body)
    assert answer.status == 400
    assert answer.json["error"].startswith(error)


async def test_webhooks_are_five_and_told_without_secrets(stage: Stage) -> None:
    body = {"url": "https://203.0.114.5/", "secret": SECRET, "events": ["job.failed", "job.failed"]}
    for _ in range(5):
        made = await stage.rent("POST", "/api/renters/1/webhooks", body)
        assert made.status == 201
    assert (await stage.rent("POST", "/api/renters/1/webhooks", body)).status == 400
    listed = await stage.rent("GET", "/api/renters/1/webhooks")
    assert len(listed.json["webhooks"]) == 5
    expected = {"url": "https://203.0.114.5/", "events": ["job.failed"], "created_at": "2026-03-22T19:30:00.000Z"}
    assert {"id": made.json["id"], **expected} in listed.json["webhooks"]
    assert SECRET not in listed.body.decode()
    gone = await stage.rent("DELETE", "/api/renters/1/webhooks/nothing")
    assert (gone.status, gone.json) == (404, {"error": "Webhook not found"})


async def test_the_address_can_be_removed(home: Stage, receiver: Receiver) -> None:
    renter_id, key = await register(home)
    await aim(home, key, receiver)
    assert (await home.rent("PATCH", "/api/renters/settings", {"webhook_url": None}, key=key)).status == 200
    await complete(home, await submit(home, renter_id))
    await swept(home)
    assert receiver.bodies == []
    assert (await home.rent("GET", "/api/renters/me", key=key)).json["renter"]["webhook_url"] is None
    for body in ({}, [], {"other": 1}):
        assert (await home.rent("PATCH", "/api/renters/settings", body, key=key)).status == 400
