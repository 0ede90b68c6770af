"""SSH public keys: kept once, one default at most, hidden when deleted."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.island.faces.dispersed.stage import Stage

pytestmark = pytest.mark.anyio

KEYS = "/v1/ssh-public-keys"


def _line() -> str:
    return Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


async def test_a_key_through_its_life(stage: Stage, tmp_path: Path) -> None:
    line = _line()
    made = await stage.ok("POST", KEYS, {"public_key": f" {line}   me@there\n", "name": "laptop"}, status=201)
    assert made == {
        "object": "ssh_public_key",
        "uuid": made["uuid"],
        "name": "laptop",
        "public_key": f"{line} me@there",
        "fingerprint": made["fingerprint"],
        "is_default": False,
        "account": None,
        "account_uuid": (await stage.ok("GET", "/v1/me"))["uuid"],
        "last_used_at": None,
        "deleted_at": None,
        "created_at": "2026-04-21T10:00:00.000Z",
        "updated_at": "2026-04-21T10:00:00.000Z",
    }
    (tmp_path / "key.pub").write_text(line)
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, check=True, text=True)
    assert shown.stdout.split()[1] == made["fingerprint"]
    path = f"{KEYS}/{made['uuid']}"
    assert await stage.ok("GET", path) == made
    stage.clock.jump(1)
    changed = await stage.ok("PATCH", path, {"name": None, "is_default": True, "public_key": "ignored"})
    assert changed == {**made, "name": None, "is_default": True, "updated_at": "2026-04-21T10:00:01.000Z"}
    assert await stage.ok("PUT", path, {}) == changed
    envelope = await stage.fails(409, "DUPLICATE_SSH_PUBLIC_KEY", "POST", KEYS, {"public_key": f"{line} other"})
    assert envelope["details"] == []
    answer = await stage.ask("DELETE", path)
    assert (answer.status, answer.body, "content-type" in answer.headers) == (204, b"", False)
    for method in ("GET", "DELETE"):
        await stage.fails(404, "NOT_FOUND", method, path)
    await stage.fails(404, "NOT_FOUND", "PATCH", path, {"name": "x"})
    assert (await stage.ok("GET", KEYS))["total"] == 0
    # What was deleted may be kept anew, and is then another key.
    again = await stage.ok("POST", KEYS, {"public_key": line}, status=201)
    assert (again["uuid"] != made["uuid"], again["is_default"]) == (True, False)


async def test_there_is_one_default_at_most_and_none_by_itself(stage: Stage) -> None:
    async def defaults() -> list[str]:
        listed = await stage.ok("GET", f"{KEYS}?filter%5Bis_default%5D=true")
        return [key["name"] for key in listed["data"]]

    uuids = {}
    for name, wish in (("a", {}), ("b", {"is_default": False}), ("c", {"is_default": True}), ("d", {})):
        body = {"public_key": _line(), "name": name, **wish}
        uuids[name] = (await stage.ok("POST", KEYS, body, status=201))["uuid"]
    assert await defaults() == ["c"]
    await stage.ok("PATCH", f"{KEYS}/{uuids['a']}", {"is_default": True})
    assert await defaults() == ["a"]
    await stage.ok("PATCH", f"{KEYS}/{uuids['a']}", {"is_default": False})
    assert await defaults() == []
    await stage.ok("POST", KEYS, {"public_key": _line(), "name": "e", "is_default": True}, status=201)
    assert await defaults() == ["e"]
    other = await stage.stranger()
    await stage.ok("POST", KEYS, {"public_key": _line(), "is_default": True}, status=201, pair=other)
    assert await defaults() == ["e"]
    (uuid,) = [key["uuid"] for key in (await stage.ok("GET", KEYS))["data"] if key["name"] == "e"]
    await stage.ask("DELETE", f"{KEYS}/{uuid}")
    assert await defaults() == []
    ordered = await stage.ok("GET", f"{KEYS}?sort=created_at")
    assert [key["name"] for key in ordered["data"]] == ["a", "b", "c", "d"]


REFUSED: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({}, ["public_key"]),
    ({"public_key": ""}, ["public_key"]),
    ({"public_key": None}, ["public_key"]),
    ({"public_key": "ssh-ed25519 AAAA"}, ["public_key"]),
    ({"public_key": "GOOD", "name": "x" * 101}, ["name"]),
    ({"public_key": "GOOD", "name": 1}, ["name"]),
    ({"public_key": "GOOD", "is_default": "yes"}, ["is_default"]),
    ({"public_key": "GOOD", "is_default": None}, ["is_default"]),
)


async def test_what_is_refused(stage: Stage) -> None:
    for body, path in REFUSED:
        if body.get("public_key") == "GOOD":
            body = {**body, "public_key": _line()}
        before = await stage.counts()
        envelope = await stage.fails(400, "VALIDATION_ERROR", "POST", KEYS, body)
        assert [issue["path"] for issue in envelope["details"]] == [path]
        assert await stage.counts() == before


async def test_keys_of_others(stage: Stage) -> None:
    line = _line()
    made = await stage.ok("POST", KEYS, {"public_key": line}, status=201)
    other = await stage.stranger()
    for uuid in (made["uuid"], "missing-uuid"):
        await stage.fails(404, "NOT_FOUND", "GET", f"{KEYS}/{uuid}", pair=other)
        await stage.fails(404, "NOT_FOUND", "DELETE", f"{KEYS}/{uuid}", pair=other)
        await stage.fails(404, "NOT_FOUND", "PATCH", f"{KEYS}/{uuid}", {"name": "x"}, pair=other)
    theirs = await stage.ok("POST", KEYS, {"public_key": line}, status=201, pair=other)
    assert theirs["fingerprint"] == made["fingerprint"]
