"""Key pairs as a resource, and the first account's own pair in `credentials.json`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import Unauthorized
from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.account.key_pairs import KeyPair, StoredKey
from tests.island.faces.dispersed.stage import Stage

pytestmark = pytest.mark.anyio

KEYS = "/v1/api-keys"


async def test_a_pair_is_made_shown_and_revoked(stage: Stage) -> None:
    body = {
        "name": "laptop",
        "allowed_ips": ["127.0.0.1", "203.0.113.9/24", "::ffff:198.51.100.1", "2001:db8::1/64"],
        "expires_at": "2026-05-01T00:00:00+02:00",
    }
    made = await stage.ok("POST", KEYS, body, status=201)
    pair = KeyPair(made["public_key"], made.pop("secret_key"))
    assert pair.public_key.startswith("pk_")
    assert pair.secret_key.startswith("sk_")
    assert pair.secret_key not in repr(pair)
    assert made == {
        "object": "api_key",
        "uuid": made["uuid"],
        "name": "laptop",
        "public_key": pair.public_key,
        "preset": "CONSUMER",
        "node_uuid": None,
        "expires_at": "2026-04-30T22:00:00.000Z",
        "allowed_ips": ["127.0.0.1/32", "203.0.113.0/24", "198.51.100.1/32", "2001:db8::/64"],
        "last_used_at": None,
        "revoked_at": None,
        "created_at": "2026-04-21T10:00:00.000Z",
        "updated_at": "2026-04-21T10:00:00.000Z",
    }
    assert await stage.ok("GET", f"{KEYS}/{made['uuid'].upper()}") == made
    await stage.ok("GET", "/v1/me", pair=pair)
    listed = await stage.ok("GET", f"{KEYS}?filter%5Bpublic_key%5D={pair.public_key}")
    assert (listed["total"], listed["data"][0]["last_used_at"]) == (1, "2026-04-21T10:00:00.000Z")
    assert "secret_key" not in listed["data"][0]
    stage.clock.jump(1)
    revoked = await stage.ok("PUT", f"{KEYS}/{made['uuid']}/revoke")
    assert revoked["revoked_at"] == revoked["updated_at"] == "2026-04-21T10:00:01.000Z"
    stage.clock.jump(1)
    assert await stage.ok("DELETE", f"{KEYS}/{made['uuid']}") == revoked
    await stage.fails(401, "API_KEY_REVOKED", "GET", "/v1/me", pair=pair)


REFUSED: tuple[tuple[dict[str, Any], list[str | int]], ...] = (
    ({}, ["name"]),
    ({"name": ""}, ["name"]),
    ({"name": "x" * 256}, ["name"]),
    ({"name": None}, ["name"]),
    ({"name": "a", "preset": "ADMIN"}, ["preset"]),
    ({"name": "a", "preset": None}, ["preset"]),
    ({"name": "a", "allowed_ips": ["300.0.0.1"]}, ["allowed_ips", 0]),
    ({"name": "a", "allowed_ips": ["1.2.3.4", "1.2.3.4/33"]}, ["allowed_ips", 1]),
    ({"name": "a", "allowed_ips": ["1.2.3.4"] * 101}, ["allowed_ips"]),
    ({"name": "a", "expires_at": "2026-04-21T10:00:00Z"}, ["expires_at"]),
    ({"name": "a", "expires_at": "tomorrow"}, ["expires_at"]),
    ({"name": "a", "expires_at": 1}, ["expires_at"]),
)


async def test_what_is_refused(stage: Stage) -> None:
    for body, path in REFUSED:
        before = await stage.counts()
        envelope = await stage.fails(400, "VALIDATION_ERROR", "POST", KEYS, body)
        assert [issue["path"] for issue in envelope["details"]] == [path]
        assert await stage.counts() == before


async def test_a_key_may_end_itself_and_hears_of_it(stage: Stage) -> None:
    for method, path in (("PUT", "/revoke"), ("POST", "/revoke"), ("PATCH", "/revoke"), ("DELETE", "")):
        for preset in ("CONSUMER", "COMPUTE_NODE"):
            made = await stage.ok("POST", KEYS, {"name": "a", "preset": preset}, status=201)
            pair = KeyPair(made["public_key"], made["secret_key"])
            answer = await stage.ok(method, f"{KEYS}/{made['uuid']}{path}", pair=pair)
            assert answer["revoked_at"] is not None
            await stage.fails(401, "API_KEY_REVOKED", method, f"{KEYS}/{made['uuid']}{path}", pair=pair)


async def test_keys_of_others(stage: Stage) -> None:
    made = await stage.ok("POST", KEYS, {"name": "a"}, status=201)
    other = await stage.stranger()
    node = await stage.grant(preset="COMPUTE_NODE")
    for uuid in (made["uuid"], "missing-uuid", "019582a6-27fc-731d-af0a-594f04d6d0d5"):
        await stage.fails(404, "NOT_FOUND", "PUT", f"{KEYS}/{uuid}/revoke", pair=other)
        await stage.fails(404, "NOT_FOUND", "GET", f"{KEYS}/{uuid}", pair=other)
    await stage.fails(403, "INSUFFICIENT_PERMISSIONS", "PUT", f"{KEYS}/{made['uuid']}/revoke", pair=node)
    assert (await stage.ok("GET", KEYS, pair=other))["total"] == 1
    assert (await stage.ok("GET", f"{KEYS}/{made['uuid']}"))["revoked_at"] is None


async def test_no_secret_is_stored_or_shown(stage: Stage) -> None:
    made = await stage.ok("POST", KEYS, {"name": "a"}, status=201)
    with sqlite3.connect(stage.lab.data / "island.db") as database:
        text = "\n".join(database.iterdump())
    database.close()
    for secret in (made["secret_key"], stage.pair.secret_key):
        assert secret not in text
        assert secret.encode().hex() not in text.lower()
    for known in stage.face._authentication._known.values():
        assert isinstance(known, StoredKey)
        assert known.secret_key not in repr(known)


async def test_the_first_account_has_a_pair(stage: Stage) -> None:
    path = stage.lab.data / "credentials.json"
    assert path.stat().st_mode & 0o777 == 0o600
    keys = json.loads(path.read_text())["keys"]
    assert KeyPair(keys["dispersed"], keys["dispersed_secret"]) == stage.pair
    (shown,) = (await stage.ok("GET", KEYS))["data"]
    assert (shown["preset"], shown["allowed_ips"], shown["expires_at"]) == ("CONSUMER", [], None)
    pair = stage.pair
    await stage.again()
    assert stage.pair == pair
    assert (await stage.ok("GET", KEYS))["total"] == 1


async def test_an_island_from_before_gets_a_pair(stage: Stage) -> None:
    """Its file has a bearer key under the network's name, and its database knows that key."""
    path = stage.lab.data / "credentials.json"
    stage.lab.engine.accounts.declare("dispersed", "dsp_")
    _, old = await stage.lab.engine.accounts.create_key(stage.lab.account, "dispersed")
    await stage.close()
    content = json.loads(path.read_text())
    content["keys"]["dispersed"] = old
    del content["keys"]["dispersed_secret"]
    path.write_text(json.dumps(content))
    await stage.open()
    assert stage.pair.public_key.startswith("pk_")
    assert json.loads(path.read_text())["keys"]["arker"] == content["keys"]["arker"]
    await stage.ok("GET", "/v1/me")
    with pytest.raises(Unauthorized):
        await stage.lab.engine.accounts.authenticate("dispersed", old)


async def test_a_lost_file_a_revoked_pair_and_a_lost_vault_are_made_good(stage: Stage) -> None:
    path = stage.lab.data / "credentials.json"
    account = (await stage.ok("GET", "/v1/me"))["uuid"]
    for spoil in ("file", "revoke", "vault", "secret"):
        before = stage.pair
        if spoil == "revoke":
            (uuid,) = [
                key["uuid"] for key in (await stage.ok("GET", KEYS))["data"] if key["public_key"] == before.public_key
            ]
            await stage.ok("PUT", f"{KEYS}/{uuid}/revoke")
        await stage.close()
        if spoil == "file":
            path.unlink()
        elif spoil == "vault":
            (stage.lab.data / "vault.key").unlink()
        elif spoil == "secret":
            content = json.loads(path.read_text())
            content["keys"]["dispersed_secret"] = "sk_of_somebody_else"
            path.write_text(json.dumps(content))
        await stage.open()
        assert stage.pair != before, spoil
        assert (await stage.ok("GET", "/v1/me"))["uuid"] == account


async def test_a_pair_of_ones_own(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.lab.data.mkdir(mode=0o700)
    keys = {"dispersed": "pk_mine", "dispersed_secret": "sk_mine"}
    (stage.lab.data / "credentials.json").write_text(json.dumps({"account": "acc-mine", "keys": keys}))
    await stage.open()
    assert stage.pair == KeyPair("pk_mine", "sk_mine")
    await stage.ok("GET", "/v1/me")
    assert await stage.count(tables.api_keys) == 1
    await stage.close()
