"""Key pairs and idempotency keys over real sockets, across stops and kills."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.island import Island
from skerry.networks.dispersed import ApiError
from tests.conformance.dispersed import KINDS, client, rows, signed


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    """One that may be asked as often as it takes."""
    with Island(requests_per_minute=None) as island:
        yield island


def _make(dispersed: Any, **fields: Any) -> Any:
    return dispersed.request("POST", "/v1/api-keys", body={"name": "test", **fields})


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_that_ends_itself(island: Island, kind: str) -> None:
    first = client(island, kind)
    made = _make(first)
    second = client(island, kind, (made["public_key"], made["secret_key"]))
    assert second.accounts.get_me().uuid == first.accounts.get_me().uuid
    revoked = second.api_keys.revoke(made["uuid"])
    assert revoked.revoked_at is not None
    with pytest.raises(ApiError) as caught:
        second.accounts.get_me()
    assert (caught.value.status, caught.value.code) == (401, "API_KEY_REVOKED")
    assert first.api_keys.revoke(made["uuid"]).revoked_at == revoked.revoked_at
    for one in (first, second):
        one.close()


def test_addresses_expiry_and_presets(island: Island) -> None:
    with client(island) as first:
        for fields, path, outcome in (
            ({"allowed_ips": ["203.0.113.0/24"]}, "/v1/me", (403, "IP_NOT_ALLOWED")),
            ({"preset": "COMPUTE_NODE"}, "/v1/jobs", (403, "INSUFFICIENT_PERMISSIONS")),
        ):
            made = _make(first, **fields)
            hand = signed(island, (made["public_key"], made["secret_key"]))
            assert hand.ask("GET", path).outcome == outcome
        made = _make(first, allowed_ips=["127.0.0.0/8", "::1"])
        assert signed(island, (made["public_key"], made["secret_key"])).ask("GET", "/v1/me").status == 200


def test_a_key_ends_while_its_requests_are_on_their_way(island: Island) -> None:
    """Whatever was answered with success was done before the end; nothing is done after it."""
    with client(island) as first:
        made = _make(first)
        hand = signed(island, (made["public_key"], made["secret_key"]))
        before = rows(island)["dispersed_api_keys"]
        answers: list[Any] = []

        def work() -> None:
            while True:
                answer = hand.ask("POST", "/v1/api-keys", {"name": "in flight"})
                answers.append(answer)
                if answer.status != 201:
                    return

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        first.api_keys.revoke(made["uuid"])
        created = rows(island)["dispersed_api_keys"]
        for thread in threads:
            thread.join(60)
        assert {answer.outcome for answer in answers if answer.status != 201} == {(401, "API_KEY_REVOKED")}
        assert created == rows(island)["dispersed_api_keys"]
        assert created - before == sum(answer.status == 201 for answer in answers)


@pytest.mark.parametrize("kind", KINDS)
def test_a_keyed_call_is_done_once(island: Island, kind: str) -> None:
    dispersed = client(island, kind)
    body = {"name": "once", "payload": {}}
    made = [dispersed.job_recipes.create(body, idempotency_key=f"recipe-{kind}") for _ in range(3)]
    assert len({recipe.uuid for recipe in made}) == 1
    with pytest.raises(ApiError) as caught:
        dispersed.job_recipes.create({**body, "name": "other"}, idempotency_key=f"recipe-{kind}")
    assert caught.value.code == "IDEMPOTENCY_KEY_REUSED"
    dispersed.job_recipes.delete(made[0].uuid)
    dispersed.close()


def test_stops_and_kills_lose_nothing(tmp_path: Path) -> None:
    island = Island(tmp_path / "data")
    island.start()
    try:
        with client(island) as first:
            made = _make(first)
            recipe = first.job_recipes.create({"name": "r", "payload": {}}, idempotency_key="k")
            me = first.accounts.get_me()
        hand = signed(island)
        used = hand.headers("GET", "/dispersed/v1/me")
        assert hand.send("GET", "/dispersed/v1/me", used).status == 200
        credentials = island.engine.credentials
        for end in (island.kill, island.restart):
            end()
            island.start()
            assert island.engine.credentials == credentials
            assert signed(island).send("GET", "/dispersed/v1/me", used).outcome == (401, "NONCE_REUSED")
            with client(island, pair=(made["public_key"], made["secret_key"])) as second:
                assert second.accounts.get_me() == me
                again = second.job_recipes.create({"name": "r", "payload": {}}, idempotency_key="k")
                assert again == recipe
        with client(island) as first:
            assert first.job_recipes.list().total == 1
    finally:
        island.stop()


def test_an_island_from_before_this_network(tmp_path: Path) -> None:
    home = tmp_path / "data"
    home.mkdir(mode=0o700)
    old = {"account": "acc-old", "keys": {"arker": "ark_live_old_old_old", "dispersed": "dsp_0123456789abcdef"}}
    (home / "credentials.json").write_text(json.dumps(old))
    with Island(home) as island:
        keys = json.loads((home / "credentials.json").read_text())["keys"]
        assert keys["arker"] == old["keys"]["arker"]
        assert keys["dispersed"].startswith("pk_")
        assert keys["dispersed_secret"].startswith("sk_")
        with client(island) as first:
            assert first.accounts.get_me().name == "local"


def test_islands_beside_each_other_and_a_clock_of_ones_own() -> None:
    clock = VirtualClock(datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC))
    with Island(clock=clock) as one, Island() as two:
        with client(one, sync_clock=True) as first, client(two) as second:
            assert first.accounts.get_me().created_at == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
            assert first.accounts.get_me().uuid != second.accounts.get_me().uuid
        with client(one, pair=(two.key("dispersed"), two.key("dispersed_secret")), sync_clock=True) as wrong:
            with pytest.raises(ApiError) as caught:
                wrong.accounts.get_me()
            assert caught.value.code in ("INVALID_API_KEY", "TIMESTAMP_OUT_OF_RANGE")
