"""Recipes: kept, seen, changed, copied, cooked."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import Connection

from skerry.island.admin.auth import owner_key
from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.account.key_pairs import KeyPair
from tests.island.faces.dispersed.stage import Stage

pytestmark = pytest.mark.anyio

RECIPES = "/v1/job-recipes"
DOCKER = {
    "image": "library/thing",
    "tag": "1",
    "host": "",
    "user": "me",
    "secret": "registry-secret",
    "sshkey": "",
    "env": {"A": "1"},
    "volumes": [{"mount": "/data", "image": "a/b", "tag": "1", "secret": "volume-secret"}],
}
PAYLOAD = {
    "title": "A thing",
    "task": "BATCH",
    "gpu_count": 0,
    "max_timeout_run_ms": 60_000,
    "parameters": {"type": "docker", "parameters": DOCKER},
}
MASK = "********"


async def _make(stage: Stage, status: int = 201, pair: KeyPair | None = None, **fields: Any) -> Any:
    body = {"name": "thing", "payload": PAYLOAD, **fields}
    return await stage.ok("POST", RECIPES, body, status=status, pair=pair)


def _docker(recipe: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = recipe["payload"]["parameters"]["parameters"]
    return found


async def test_a_recipe_through_its_life(stage: Stage) -> None:
    made = await _make(stage, description="d", quickstart_md="# Hi", thumbnail_url="https://example.org/a.png")
    assert {name: value for name, value in made.items() if name != "payload"} == {
        "object": "job_recipe",
        "uuid": made["uuid"],
        "name": "thing",
        "description": "d",
        "visibility": "PRIVATE",
        "is_official": False,
        "last_used_at": None,
        "quickstart_md": "# Hi",
        "input_schema": None,
        "thumbnail_url": "https://example.org/a.png",
        "is_owner": True,
        "forked_from_recipe_uuid": None,
        "created_at": "2026-04-21T10:00:00.000Z",
        "updated_at": "2026-04-21T10:00:00.000Z",
    }
    assert _docker(made)["secret"] == _docker(made)["volumes"][0]["secret"] == MASK
    assert {**made["payload"], "parameters": None} == {**PAYLOAD, "parameters": None}
    path = f"{RECIPES}/{made['uuid']}"
    assert await stage.ok("GET", path) == made
    stage.clock.jump(1)
    changed = await stage.ok("PATCH", path, {"name": "other", "description": None, "thumbnail_url": ""})
    expected = {"name": "other", "description": None, "thumbnail_url": None, "updated_at": "2026-04-21T10:00:01.000Z"}
    assert changed == {**made, **expected}
    assert await stage.ok("PUT", path, {}) == changed
    assert (await stage.ask("DELETE", path)).status == 204
    await stage.fails(404, "NOT_FOUND", "GET", path)
    assert (await stage.ok("GET", RECIPES))["total"] == 0


async def test_secrets_are_sealed_and_a_mask_leaves_them_alone(stage: Stage) -> None:
    made = await _make(stage)
    path = f"{RECIPES}/{made['uuid']}"
    again = await stage.ok("PATCH", path, {"payload": made["payload"]})
    assert again["payload"] == made["payload"]
    with sqlite3.connect(stage.lab.data / "island.db") as database:
        text = "\n".join(database.iterdump())
    database.close()
    assert "registry-secret" not in text
    assert b"registry-secret".hex() not in text.lower()
    row = await stage.lab.engine.store.read(_row, made["uuid"])
    recipes = _recipes(stage)
    assert recipes._secrets(row) == {"secret": "registry-secret", "volumes.0": "volume-secret"}
    # A mask where there is no secret stands for nothing.
    await stage.fails(400, "VALIDATION_ERROR", "POST", RECIPES, {"name": "x", "payload": made["payload"]})


def _row(connection: Connection, uuid: str) -> Any:
    return connection.execute(tables.recipes.select().where(tables.recipes.c.uuid == uuid)).one()


def _recipes(stage: Stage) -> Any:
    route, _ = stage.face._router.find("GET", RECIPES.encode())
    return route.handler.__self__  # type: ignore[attr-defined]


async def test_who_sees_and_who_changes(stage: Stage) -> None:
    recipes = {}
    for visibility in ("PRIVATE", "PUBLIC", "ARCHIVED"):
        recipes[visibility] = (await _make(stage, name=visibility, visibility=visibility))["uuid"]
    other = await stage.stranger()

    async def names(query: str = "", pair: KeyPair | None = None) -> set[str]:
        return {recipe["name"] for recipe in (await stage.ok("GET", f"{RECIPES}{query}", pair=pair))["data"]}

    assert await names() == {"PRIVATE", "PUBLIC"}
    assert await names("?filter%5Bvisibility%5D=ARCHIVED") == {"ARCHIVED"}
    assert await names("?filter%5Bvisibility%5D=ARCHIVED%2CPRIVATE") == {"ARCHIVED", "PRIVATE"}
    assert await names("?filter%5Bname%5D=ubl") == {"PUBLIC"}
    assert await names(pair=other) == {"PUBLIC"}
    assert await names("?filter%5Bvisibility%5D=ARCHIVED", pair=other) == set()
    seen = await stage.ok("GET", f"{RECIPES}/{recipes['PUBLIC']}", pair=other)
    assert (seen["is_owner"], "secret" in _docker(seen), "sshkey" in _docker(seen)) == (False, False, False)
    assert "secret" not in _docker(seen)["volumes"][0]
    for visibility, status, code in (
        ("PUBLIC", 403, "FORBIDDEN"),
        ("PRIVATE", 404, "NOT_FOUND"),
        ("ARCHIVED", 404, "NOT_FOUND"),
    ):
        path = f"{RECIPES}/{recipes[visibility]}"
        await stage.fails(status, code, "PATCH", path, {"name": "mine"}, pair=other)
        await stage.fails(status, code, "DELETE", path, pair=other)
        if status == 404:
            await stage.fails(404, "NOT_FOUND", "GET", path, pair=other)
            await stage.fails(404, "NOT_FOUND", "POST", f"{path}/fork", pair=other)
            await stage.fails(404, "NOT_FOUND", "POST", f"{path}/cook", pair=other)


async def test_official_recipes_are_the_operators_word(stage: Stage) -> None:
    made = await _make(stage)
    path = f"{RECIPES}/{made['uuid']}"
    await stage.fails(403, "FORBIDDEN", "PATCH", path, {"is_official": True})
    bearer = {"authorization": "Bearer own_wrong"}
    await stage.fails(403, "FORBIDDEN", "PATCH", path, {"is_official": True}, headers=bearer)
    bearer = {"authorization": f"Bearer {owner_key(stage.lab.data)}"}
    assert (await stage.ok("PATCH", path, {"is_official": True}, headers=bearer))["is_official"]
    assert (await stage.ok("PATCH", path, {"is_official": True, "name": "n"}))["is_official"]
    other = await stage.stranger()
    listed = await stage.ok("GET", f"{RECIPES}?filter%5Bis_official%5D=true", pair=other)
    assert [recipe["name"] for recipe in listed["data"]] == ["n"]
    copy = await stage.ok("POST", f"{path}/fork", status=201, pair=other)
    assert (copy["is_official"], copy["name"], copy["is_owner"]) == (False, "n (copy)", True)


async def test_a_copy_has_no_secrets(stage: Stage) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Zk5n6cE5Xb0M8qjv4P9w5y0nq1Z5VtT9mA2x0b0aB"
    payload = {**PAYLOAD, "parameters": {"type": "docker", "parameters": {**DOCKER, "sshkey": key}}}
    made = await _make(stage, name="x" * 255, payload=payload, input_schema=[{"key": "A"}])
    assert _docker(made)["sshkey"] == key
    for method in ("POST", "PUT"):
        copy = await stage.ok(method, f"{RECIPES}/{made['uuid']}/fork", status=201)
        assert copy["forked_from_recipe_uuid"] == made["uuid"]
        assert copy["name"] == "x" * 248 + " (copy)"
        assert copy["input_schema"] == made["input_schema"]
        assert set(_docker(copy)) == set(DOCKER) - {"secret", "sshkey"}
        assert copy["visibility"] == "PRIVATE"


REFUSED: tuple[tuple[dict[str, Any], list[str | int]], ...] = (
    ({"name": ""}, ["name"]),
    ({"name": None}, ["name"]),
    ({"payload": []}, ["payload"]),
    ({"payload": {"gpu_count": -1}}, ["payload", "gpu_count"]),
    ({"payload": {"parameters": {"type": "podman", "parameters": {}}}}, ["payload", "parameters", "type"]),
    ({"visibility": "SECRET"}, ["visibility"]),
    ({"thumbnail_url": "javascript:alert(1)"}, ["thumbnail_url"]),
    ({"thumbnail_url": "http://[x"}, ["thumbnail_url"]),
    ({"quickstart_md": 1}, ["quickstart_md"]),
    ({"input_schema": {}}, ["input_schema"]),
    ({"input_schema": [{}]}, ["input_schema", 0, "key"]),
    ({"input_schema": [{"key": "A"}, {"key": "A"}]}, ["input_schema", 1, "key"]),
    ({"input_schema": [{"key": "A", "type": "select"}]}, ["input_schema", 0, "options"]),
    ({"input_schema": [{"key": "A", "default_value": []}]}, ["input_schema", 0, "default_value"]),
)


async def test_what_is_refused(stage: Stage) -> None:
    for fields, path in REFUSED:
        before = await stage.counts()
        envelope = await stage.fails(400, "VALIDATION_ERROR", "POST", RECIPES, {"name": "n", "payload": {}, **fields})
        assert [issue["path"] for issue in envelope["details"]] == [path]
        assert await stage.counts() == before


async def test_cooking_makes_a_job(stage: Stage) -> None:
    made = await _make(stage)
    path = f"{RECIPES}/{made['uuid']}/cook"
    job = await stage.ok("POST", path, status=201)
    assert (job["object"], job["title"], job["source_recipe_uuid"]) == ("job", "A thing", made["uuid"])
    stage.clock.jump(1)
    other = await stage.ok(
        "POST",
        path,
        {"title": "B", "parameters": {"parameters": {"env": {"B": "2"}, "tag": "2"}}},
        status=201,
        headers={"x-idempotency-key": "cook"},
    )
    docker = other["parameters"]["parameters"]
    assert (other["title"], docker["tag"], docker["env"]) == ("B", "2", {"A": "1", "B": "2"})
    assert docker["secret"] == MASK
    assert (await stage.ok("GET", f"{RECIPES}/{made['uuid']}"))["last_used_at"] == "2026-04-21T10:00:01.000Z"
    listed = await stage.ok("GET", f"/v1/jobs?filter%5Brecipe_uuid%5D={made['uuid']}")
    assert listed["total"] == 2
    envelope = await stage.fails(400, "VALIDATION_ERROR", "POST", path, {"cpu_count": -1})
    assert envelope["details"][0]["path"] == ["cpu_count"]
    await stage.ok("PATCH", f"{RECIPES}/{made['uuid']}", {"visibility": "ARCHIVED"})
    await stage.fails(409, "CONFLICT", "POST", path)
    assert (await stage.ok("GET", "/v1/jobs"))["total"] == 2


async def test_others_cook_without_the_owners_secrets(stage: Stage) -> None:
    made = await _make(stage, visibility="PUBLIC")
    rich, poor = await stage.stranger("rich"), await stage.stranger("poor", balance=0)
    job = await stage.ok("POST", f"{RECIPES}/{made['uuid']}/cook", status=201, pair=rich)
    assert {"secret", "sshkey"}.isdisjoint(job["parameters"]["parameters"])
    await stage.fails(402, "INSUFFICIENT_BALANCE", "POST", f"{RECIPES}/{made['uuid']}/cook", pair=poor)
    assert await stage.count(tables.jobs) == 1


async def test_the_questions_of_a_recipe(stage: Stage) -> None:
    questions = [
        {"key": "TOKEN", "required": True, "label": "Token"},
        {"key": "A", "required": True},
        {"key": "COUNT", "type": "number", "default_value": 3},
        {"key": "LOUD", "type": "boolean", "default_value": True},
        {
            "key": "SIZE",
            "type": "select",
            "options": [{"label": "Small", "value": "s"}, {"label": "Large", "value": "l"}],
        },
        {"key": "tag", "required": True, "default_value": "9"},
        {"key": "sshkey", "type": "ssh_key"},
    ]
    payload = {**PAYLOAD, "parameters": {"type": "docker", "parameters": {"image": "a/b", "env": {"A": "1"}}}}
    made = await _make(stage, payload=payload, input_schema=questions)
    path = f"{RECIPES}/{made['uuid']}/cook"

    def env(**values: Any) -> dict[str, Any]:
        return {"parameters": {"parameters": {"env": values}}}

    envelope = await stage.fails(400, "VALIDATION_ERROR", "POST", path)
    assert [issue["path"][-1] for issue in envelope["details"]] == ["TOKEN"]
    wrong = env(TOKEN="t", COUNT="many", LOUD="perhaps", SIZE="xl")
    envelope = await stage.fails(400, "VALIDATION_ERROR", "POST", path, wrong)
    assert [issue["path"][-1] for issue in envelope["details"]] == ["COUNT", "LOUD", "SIZE"]
    for none in ("nan", "inf", "-Infinity", "1_000", "\u0663", "1e9999", " 1"):
        await stage.fails(400, "VALIDATION_ERROR", "POST", path, env(TOKEN="t", COUNT=none))
    job = await stage.ok("POST", path, env(TOKEN="t", SIZE="l"), status=201)
    docker = job["parameters"]["parameters"]
    assert docker["env"] == {"A": "1", "TOKEN": "t", "SIZE": "l", "COUNT": "3", "LOUD": "true"}
    assert docker["tag"] == "9"
    bad_key = {"parameters": {"parameters": {"env": {"TOKEN": "t"}, "sshkey": "ssh-rsa AAAA"}}}
    await stage.fails(400, "VALIDATION_ERROR", "POST", path, bad_key)


async def test_a_recipe_of_a_job(stage: Stage) -> None:
    job = await stage.ok("POST", "/v1/jobs", {**PAYLOAD, "description": "d"}, status=201)
    made = []
    for path, body in (
        (f"{RECIPES}/from-job/{job['uuid']}", ...),
        (f"/v1/jobs/{job['uuid']}/recipe", ...),
        (f"/v1/jobs/{job['uuid']}/job-recipe", ...),
        (f"{RECIPES}/from-job", {"job_uuid": job["uuid"]}),
    ):
        made.append(await stage.ok("POST", path, body, status=201))
    first = made[0]
    assert (first["name"], first["description"], first["visibility"]) == ("A thing", "d", "PRIVATE")
    assert first["payload"]["max_timeout_run_ms"] == 60_000
    assert {"secret", "sshkey"}.isdisjoint(_docker(first))
    assert len({recipe["uuid"] for recipe in made}) == 4
    assert all(recipe["payload"] == first["payload"] for recipe in made)
    again = await stage.ok("POST", f"{RECIPES}/{first['uuid']}/cook", status=201)
    assert again["title"] == job["title"]
    other = await stage.stranger()
    for uuid in (job["uuid"], "missing-uuid"):
        await stage.fails(404, "NOT_FOUND", "POST", f"{RECIPES}/from-job/{uuid}", pair=other)
    await stage.fails(400, "VALIDATION_ERROR", "POST", f"{RECIPES}/from-job", {})
