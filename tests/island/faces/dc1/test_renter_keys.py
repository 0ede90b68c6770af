"""Keys: replaced, made, looked at, ended; and e-mail, which lets nobody in."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import Connection

from skerry.island.faces.dc1.call import Caller
from skerry.island.faces.dc1.renters import renter_rows
from tests.island.faces.dc1.stage import Stage
from tests.island.faces.dc1.work import register

pytestmark = pytest.mark.anyio
LATER, EARLIER = "2026-04-01T00:00:00Z", "2026-03-01T00:00:00Z"


async def test_rotate(stage: Stage) -> None:
    renter_id, key = await register(stage)
    for path in ("/api/renters/me/rotate-key", "/api/renters/rotate-key"):
        answer = await stage.rent("POST", path, key=key)
        new = answer.json["api_key"]
        assert answer.json == {
            "success": True,
            "message": "API key rotated. Save the new key — the old one is now invalid.",
            "new_key": new,
            "api_key": new,
            "renter_id": renter_id,
        }
        assert new.startswith("dc1-renter-")
        assert (await stage.rent("GET", "/api/renters/me", key=key)).status == 404
        assert (await stage.rent("GET", "/api/renters/me", key=new)).status == 200
        key = new
    await stage.again()
    assert (await stage.rent("GET", "/api/renters/me", key=key)).status == 200


async def test_the_first_accounts_key_is_written_down(stage: Stage) -> None:
    new = (await stage.rent("POST", "/api/renters/me/rotate-key")).json["new_key"]
    old = stage.key
    kept = json.loads((stage.lab.data / "credentials.json").read_text())
    assert kept["keys"]["dc1"] == new
    await stage.again()
    assert stage.key == new
    assert (await stage.rent("GET", "/api/renters/me", key=old)).status == 404
    assert (await stage.rent("GET", "/api/renters/me")).status == 200


async def test_the_credentials_key_is_the_one_that_signs(stage: Stage) -> None:
    """Also after the file was lost, and another key was made."""
    old = stage.key
    await stage.app.stop()
    await stage.lab.engine.close()
    (stage.lab.data / "credentials.json").unlink()
    await stage.open()
    assert stage.key != old
    engine = stage.lab.engine

    def sealed(connection: Connection) -> bytes:
        row = renter_rows.of_account(connection, engine.account_id)
        assert row is not None
        return bytes(row.sealed_key)

    found = engine.vault.open(await engine.store.read(sealed), renter_rows.key_context(1))
    assert found == stage.key.encode()


async def test_rotations_at_once_leave_one_key(stage: Stage) -> None:
    _, key = await register(stage)
    answers = await asyncio.gather(*(stage.rent("POST", "/api/renters/me/rotate-key", key=key) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 404, 404, 404]
    new = next(answer.json["new_key"] for answer in answers if answer.status == 200)
    assert (await stage.rent("GET", "/api/renters/me", key=new)).status == 200


async def test_scoped_keys(stage: Stage) -> None:
    _, key = await register(stage)
    body = {"label": "ci", "scopes": ["inference", "bogus"]}
    made = await stage.rent("POST", "/api/renters/me/keys", body, key=key)
    assert made.status == 201
    assert made.json == {
        "id": made.json["id"],
        "key": made.json["key"],
        "label": "ci",
        "scopes": ["inference"],
        "expires_at": None,
        "created_at": "2026-03-22T19:30:00.000Z",
    }
    assert made.json["key"].startswith("dc1-sk-")
    assert len(made.json["key"]) == len("dc1-sk-") + 40
    listed = await stage.rent("GET", "/api/renters/me/keys", key=key)
    assert listed.json["keys"] == [
        {
            "id": made.json["id"],
            "label": "ci",
            "scopes": ["inference"],
            "expires_at": None,
            "last_used_at": None,
            "created_at": "2026-03-22T19:30:00.000Z",
            "revoked": False,
        }
    ]
    # It makes no keys, and is no master key.
    assert (await stage.rent("GET", "/api/renters/me/keys", key=made.json["key"])).status == 404
    assert (await stage.rent("GET", "/api/renters/me", key=made.json["key"])).status == 404
    gone = await stage.rent("DELETE", f"/api/renters/me/keys/{made.json['id']}", key=key)
    assert gone.json == {"success": True, "revoked_at": "2026-03-22T19:30:00.000Z"}
    for key_id in (made.json["id"], "nothing"):
        again = await stage.rent("DELETE", f"/api/renters/me/keys/{key_id}", key=key)
        assert (again.status, again.json) == (404, {"error": "Key not found or already revoked"})
    assert (await stage.rent("GET", "/api/renters/me/keys", key=key)).json["keys"][0]["revoked"] is True


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"scopes": ["bogus"]}, "Invalid scopes. Valid values: inference, billing, admin"),
        ({"scopes": []}, "Invalid scopes. Valid values: inference, billing, admin"),
        ({"scopes": "inference"}, "Invalid scopes. Valid values: inference, billing, admin"),
        ({"scopes": [["inference"]]}, "Invalid scopes. Valid values: inference, billing, admin"),
        ({"label": "x" * 81}, "label must be a string of at most 80 characters"),
        ({"label": 1}, "label must be a string of at most 80 characters"),
        ({"expires_at": EARLIER}, "expires_at must be an ISO 8601 date in the future"),
        ({"expires_at": "soon"}, "expires_at must be an ISO 8601 date in the future"),
        ({"expires_at": "0001-01-01T00:00:00+23:59"}, "expires_at must be an ISO 8601 date in the future"),
        ({"expires_at": 5}, "expires_at must be an ISO 8601 date in the future"),
        ([], "The body must be a JSON object"),
    ],
)
async def test_keys_that_are_refused(stage: Stage, body: object, error: str) -> None:
    answer = await stage.rent("POST", "/api/renters/me/keys", body)
    assert (answer.status, answer.json) == (400, {"error": error})


async def test_twenty_live_keys(stage: Stage) -> None:
    _, key = await register(stage)
    answers = await asyncio.gather(*(stage.rent("POST", "/api/renters/me/keys", {}, key=key) for _ in range(22)))
    assert sorted(answer.status for answer in answers) == [201] * 20 + [400] * 2
    assert all(answer.json["scopes"] == ["inference"] for answer in answers if answer.status == 201)


async def test_permitted_keys(stage: Stage) -> None:
    renter_id, key = await register(stage)
    base = f"/api/renters/{renter_id}"
    made = await stage.rent(
        "POST", f"{base}/keys", {"label": "x", "permissions": ["inference", "balance.read"]}, key=key
    )
    assert made.status == 201
    assert set(made.json) == {"keyId", "key", "label", "permissions", "created_at"}
    secret = made.json["key"]
    assert secret.startswith("dcp_")
    assert len(secret) == len("dcp_") + 64
    listed = await stage.rent("GET", f"{base}/keys", key=key)
    assert listed.json["keys"][0]["key_hint"] == f"dcp_...{secret[-4:]}"
    assert secret not in listed.body.decode()
    # What it may do, and no more.
    bearer = {"Authorization": f"Bearer {secret}"}
    assert (await stage.ask("GET", f"{base}/balance", headers=bearer)).json["balance_halala"] == 1000
    refused = await stage.ask("GET", "/api/renters/jobs", headers=bearer)
    assert (refused.status, refused.json) == (403, {"error": "API key does not have jobs.read permission"})
    assert (await stage.ask("GET", f"{base}/keys", headers=bearer)).status == 401
    used = await stage.rent("GET", f"{base}/keys", key=key)
    assert used.json["keys"][0]["last_used_at"] is not None
    assert (await stage.rent("DELETE", f"{base}/keys/{made.json['keyId']}", key=key)).json["success"] is True
    assert (await stage.ask("GET", f"{base}/balance", headers=bearer)).status == 401
    bad = await stage.rent("POST", f"{base}/keys", {"permissions": ["everything"]}, key=key)
    assert bad.json == {"error": "Invalid permissions. Valid values: inference, jobs.read, balance.read"}


async def test_a_key_that_has_expired(stage: Stage) -> None:
    renter_id, key = await register(stage)
    body = {"permissions": ["jobs.read"], "expires_at": LATER}
    made = await stage.rent("POST", f"/api/renters/{renter_id}/keys", body, key=key)
    assert made.json["expires_at"] == "2026-04-01T00:00:00.000Z"
    assert (await stage.rent("GET", "/api/renters/jobs", key=made.json["key"])).status == 200
    stage.clock.advance(30 * 86_400)
    answer = await stage.rent("GET", "/api/renters/jobs", key=made.json["key"])
    assert (answer.status, answer.json) == (403, {"error": "API key has expired"})


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", "keys"),
        ("POST", "keys"),
        ("DELETE", "keys/x"),
        ("GET", "webhooks"),
        ("POST", "webhooks"),
        ("DELETE", "webhooks/x"),
        ("GET", "balance"),
        ("GET", "transactions"),
        ("GET", "ledger"),
        ("POST", "topup"),
    ],
)
async def test_another_renters_number(stage: Stage, method: str, rest: str) -> None:
    renter_id, key = await register(stage)
    answer = await stage.rent(method, f"/api/renters/{renter_id + 1}/{rest}", {}, key=key)
    assert (answer.status, answer.json) == (403, {"error": "Forbidden"})
    answer = await stage.rent(method, f"/api/renters/nobody/{rest}", {}, key=key)
    assert (answer.status, answer.json) == (400, {"error": "Invalid renter ID"})
    answer = await stage.ask(method, f"/api/renters/{renter_id}/{rest}", {})
    assert (answer.status, answer.json) == (401, {"error": "Renter API key required"})
    answer = await stage.rent(method, f"/api/renters/{renter_id}/{rest}", {}, key="nobody's")
    assert (answer.status, answer.json) == (401, {"error": "Invalid renter key"})


@pytest.mark.parametrize("name", ["send-otp", "login-email", "verify-otp"])
async def test_e_mail_lets_nobody_in(stage: Stage, name: str) -> None:
    await register(stage)
    answers = [
        await stage.ask("POST", f"/api/renters/{name}", {"email": email, "token": "123456"})
        for email in ("renter1@example.sa", "nobody@example.sa")
    ]
    # Whether there is an account is not told.
    assert answers[0].json == answers[1].json
    assert answers[0].status == answers[1].status == (401 if name == "verify-otp" else 503)
    refused = await stage.ask("POST", f"/api/renters/{name}", {"email": "nobody"})
    assert (refused.status, refused.json["fields"][0]["message"]) == (400, "Invalid email address")


async def test_nothing_shows_a_key(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    renter_id, key = await register(stage)
    made = await stage.rent("POST", "/api/renters/me/keys", {}, key=key)
    await stage.ask("GET", f"/api/renters/me?key={key}")
    hook = {"url": "https://203.0.114.5/", "secret": "a secret of sixteen", "events": ["job.failed"]}
    assert (await stage.rent("POST", f"/api/renters/{renter_id}/webhooks", hook, key=key)).status == 201
    new = (await stage.rent("POST", "/api/renters/me/rotate-key", key=key)).json["new_key"]
    for secret in (key, made.json["key"], new, "a secret of sixteen"):
        assert secret not in caplog.text
    draft = stage.lab.engine.accounts.draft("x", "dc1")
    assert draft.plain not in repr(draft)
    caller = await stage.face.service._authentication.renter_of(new)
    assert isinstance(caller, Caller)
    assert new not in repr(caller)
    # Nor does the database's file, the log of its writes included.
    for file in stage.lab.data.glob("island.db*"):
        content = file.read_bytes()
        for secret in (key, made.json["key"], new, "a secret of sixteen"):
            assert secret.encode() not in content
