"""`skerry key` and `skerry credit` against a server that stands where an island stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.inside import Run, pretend_island, runner
from tests.networks.dispersed.server import OWNER_KEY, SignedServer

U = "019582a6-27fc-731d-af0a-594f04d6d0d5"


@pytest.fixture
def skerry(
    tmp_path: Path, server: SignedServer, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """The command line on a data directory whose island is the server."""
    pretend_island(tmp_path / "island", server)
    return runner(tmp_path / "island", monkeypatch, capsysbinary)


def asked(server: SignedServer) -> list[str]:
    return [target for target in server.targets if not target.startswith("/_island/")]


def test_a_key_is_made_and_its_secret_shown_once(skerry: Run, server: SignedServer) -> None:
    made = {"object": "api_key", "uuid": U, "name": "ci", "public_key": "pk_new", "secret_key": "sk_new_secret"}
    server.answers = [(201, json.dumps(made).encode())] * 2
    words = ("--name", "ci", "--preset", "COMPUTE_NODE", "--allowed-ip", "10.0.0.0/8", "--allowed-ip", "::1")
    told = skerry("key", "create", *words, "--expires-at", "2027-01-31")
    assert told.status == 0, told.stderr
    assert [line.split() for line in told.text.splitlines()] == [
        ["id", U],
        ["public", "key", "pk_new"],
        ["secret", "key", "sk_new_secret"],
    ]
    assert "sk_new" not in told.stderr
    assert json.loads(server.bodies[-1]) == {
        "name": "ci",
        "preset": "COMPUTE_NODE",
        "allowed_ips": ["10.0.0.0/8", "::1"],
        "expires_at": "2027-01-31T00:00:00.000Z",
    }
    assert skerry("key", "create", "-o", "json").json["key"] == made
    assert server.bodies[-1] == b"{}"
    assert asked(server) == ["/dispersed/v1/api-keys"] * 2


def test_a_key_is_not_made_twice_by_a_repeat(skerry: Run, server: SignedServer) -> None:
    server.answers = [(503, b"{}"), (201, b"{}")]
    assert skerry("key", "create").status == 8
    assert len(asked(server)) == 1


def test_keys_are_listed_without_secrets(skerry: Run, server: SignedServer) -> None:
    keys = [
        {"uuid": "a", "name": "one", "public_key": "pk_a", "preset": "CONSUMER", "allowed_ips": []},
        {"uuid": "b", "public_key": "pk_b", "preset": "CONSUMER", "revoked_at": "2026-01-01T00:00:00Z"},
        {"uuid": "c", "public_key": "pk_c", "allowed_ips": ["::1"], "expires_at": "2999-01-31T12:05:59Z"},
        {"uuid": "d", "public_key": "pk_d", "allowed_ips": [], "expires_at": "2020-01-01T00:00:00Z"},
    ]
    body = json.dumps({"data": keys, "page": 1, "limit": 50, "total": 4}).encode()
    server.answers = [(200, body)] * 2
    rows = [line.split("  ") for line in skerry("key", "ls").text.splitlines()]
    assert [row[-1].strip() for row in rows] == ["STATE", "good", "revoked", "until 2999-01-31 12:05", "expired"]
    assert skerry("key", "ls", "-o", "json").json["keys"] == keys
    server.answers = [(200, b'{"data": [], "page": 1, "limit": 50, "total": 0}')]
    assert "skerry key create" in skerry("key", "ls").stderr


def test_keys_are_revoked(skerry: Run, server: SignedServer) -> None:
    assert skerry("key", "revoke", "a", "b").text == "a\nb\n"
    assert asked(server) == ["/dispersed/v1/api-keys/a/revoke", "/dispersed/v1/api-keys/b/revoke"]
    assert skerry("key", "revoke", "a", "-o", "json").json["revoked"] == ["a"]
    server.answers = [(404, b'{"code":"NOT_FOUND","detail":"no such key"}')]
    assert skerry("key", "revoke", "c").status == 5


@pytest.mark.parametrize(
    "words",
    [
        ["--allowed-ip", "everywhere"],
        ["--allowed-ip", "10.0.0.1/8"],
        ["--expires-at", "soon"],
        ["--preset", "OWNER"],
        ["--network", "arker"],
    ],
)
def test_other_keys_are_usage_errors(skerry: Run, server: SignedServer, words: list[str]) -> None:
    assert skerry("key", "create", *words).status == 2
    assert server.targets == []


def test_the_owner_adds_credit_to_the_first_account(skerry: Run, server: SignedServer) -> None:
    transaction = b'{"object":"compute_ledger_transaction","uuid":"t","type":"CREDIT","amount_usd":12.500000}'
    me = json.dumps({"object": "account", "uuid": U}).encode()
    server.answers = [(200, me), (201, transaction), (200, me), (201, transaction)]
    told = skerry("credit", "add", "12.50", "--memo", "June")
    assert told.status == 0, told.stderr
    assert [line.split() for line in told.text.splitlines()] == [
        ["account", U],
        ["added", "12.500000", "USD"],
        ["transaction", "t"],
    ]
    assert asked(server) == ["/dispersed/v1/accounts/me", f"/dispersed/v1/admin/accounts/{U}/credits"]
    assert server.bodies[-1] == b'{"amount_usd":12.500000,"memo":"June"}'
    assert server.headers[-1]["authorization"] == f"Bearer {OWNER_KEY}"
    assert not {"x-api-key", "x-signature"} & set(server.headers[-1])
    as_data = skerry("credit", "add", "12.50", "-o", "json")
    assert '"amount_usd": 12.500000' in as_data.text
    assert as_data.json["added"] == {"amount": "12.500000", "currency": "USD"}
    assert OWNER_KEY not in told.text + told.stderr + as_data.text


def test_credit_for_another_account_and_without_a_memo(skerry: Run, server: SignedServer) -> None:
    server.answers = [(201, b'{"uuid":"t"}')]
    assert skerry("credit", "add", "0.000001", "--account", "a/b").status == 0
    assert asked(server) == ["/dispersed/v1/admin/accounts/a%2Fb/credits"]
    assert server.bodies[-1] == b'{"amount_usd":0.000001}'


def test_credit_is_added_once_whatever_the_answer(skerry: Run, server: SignedServer) -> None:
    server.answers = [(503, b"{}"), (201, b"{}")]
    assert skerry("credit", "add", "1", "--account", U).status == 8
    assert len(asked(server)) == 1


def test_a_key_that_is_not_the_owners_adds_nothing(skerry: Run, server: SignedServer, tmp_path: Path) -> None:
    # The file was replaced between finding the island and asking it.
    server.answers = [(403, b'{"code":"INSUFFICIENT_PERMISSIONS","detail":"not the owner"}')]
    refused = skerry("credit", "add", "1", "--account", U)
    assert refused.status == 4
    assert "not the owner" in refused.stderr


def test_no_proxy_sees_the_owners_key(skerry: Run, server: SignedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.answers = [(201, b'{"uuid":"t"}')]
    assert skerry("credit", "add", "1", "--account", U).status == 0


@pytest.mark.parametrize("amount", ["0", "-1", "much", "0.0000001", "nan", "inf"])
def test_other_amounts_are_usage_errors(skerry: Run, server: SignedServer, amount: str) -> None:
    assert skerry("credit", "add", "--account", U, "--", amount).status == 2
    assert server.targets == []
