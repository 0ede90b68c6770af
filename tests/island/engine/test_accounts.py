"""Keys: hashed, revoked at once, written down for the owner alone."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from skerry.island.engine.accounts import enter, is_live
from skerry.island.engine.errors import Conflict, Invalid, NotFound, Unauthorized
from skerry.money import Money
from tests.island.engine.lab import PREFIXES, Lab

pytestmark = pytest.mark.anyio


async def test_the_first_account_has_a_key_for_each_network(double: Lab) -> None:
    path = double.data / "credentials.json"
    assert path.stat().st_mode & 0o777 == 0o600
    content = json.loads(path.read_bytes())
    assert content == {"account": double.account, "keys": double.engine.credentials}
    for network, prefix in PREFIXES.items():
        assert content["keys"][network].startswith(prefix)
        caller = await double.engine.accounts.authenticate(network, content["keys"][network])
        assert (caller.account_id, caller.network) == (double.account, network)
    assert (await double.engine.accounts.get(double.account)).name == "local"
    assert await double.engine.ledger.balance(double.account) == double.settings.opening_balance


async def test_a_restart_changes_nothing(double: Lab) -> None:
    before = double.engine.credentials
    await double.run("true")
    await double.crash()
    assert double.engine.credentials == before
    assert len(await double.engine.accounts.list()) == 1
    assert len(await double.engine.accounts.list_keys(double.account)) == len(PREFIXES)
    assert await double.engine.ledger.audit() == []
    assert await double.engine.ledger.balance(double.account) < double.settings.opening_balance


async def test_lost_credentials_are_made_anew_for_the_same_account(double: Lab) -> None:
    account, old = double.account, double.engine.credentials["arker"]
    await double.engine.close()
    (double.data / "credentials.json").unlink()
    await double.open()
    assert double.account == account
    assert double.engine.credentials["arker"] != old
    await double.engine.accounts.authenticate("arker", double.engine.credentials["arker"])


@pytest.mark.parametrize("content", ["", "[]", '{"account": 1, "keys": {}}', '{"account": "acc-x"}'])
async def test_spoiled_credentials_are_replaced(double: Lab, content: str) -> None:
    account = double.account
    await double.engine.close()
    (double.data / "credentials.json").write_text(content)
    await double.open()
    assert double.account == account
    assert await double.engine.accounts.authenticate("run402", double.engine.credentials["run402"])


async def test_no_key_is_stored(double: Lab) -> None:
    with sqlite3.connect(double.data / "island.db") as database:
        text = "\n".join(database.iterdump())
    database.close()
    for key in double.engine.credentials.values():
        assert key not in text
        assert key[12:] not in text


async def test_wrong_keys(double: Lab) -> None:
    accounts = double.engine.accounts
    for network, key in (
        ("arker", ""),
        ("arker", "ark_live_wrong"),
        ("run402", double.engine.credentials["arker"]),
        ("nothing", double.engine.credentials["arker"]),
        ("arker", double.engine.credentials["arker"] + "x"),
        ("arker", "\udcff"),
    ):
        with pytest.raises(Unauthorized):
            await accounts.authenticate(network, key)


async def test_a_revoked_key_ends_at_once(double: Lab) -> None:
    accounts = double.engine.accounts
    key_id, key = await accounts.create_key(double.account, "arker")
    other_id, other = await accounts.create_key(double.account, "arker")
    for _ in range(2):
        assert (await accounts.authenticate("arker", key)).key_id == key_id
    assert await accounts.revoke_key(double.account, key_id)
    with pytest.raises(Unauthorized):
        await accounts.authenticate("arker", key)
    assert (await accounts.authenticate("arker", other)).key_id == other_id
    assert not await accounts.revoke_key(double.account, key_id)
    assert not await accounts.revoke_key("acc-other", other_id)
    assert (await accounts.authenticate("arker", other)).key_id == other_id
    shown = {record.id: record for record in await accounts.list_keys(double.account)}
    assert shown[key_id].revoked_at is not None
    assert shown[other_id].revoked_at is None
    assert other not in repr(shown)
    with pytest.raises(Conflict):
        await accounts.create_key(double.account, "arker", key)


async def test_a_key_revoked_while_it_is_looked_up_is_not_remembered(double: Lab) -> None:
    accounts = double.engine.accounts
    key_id, key = await accounts.create_key(double.account, "arker")
    await asyncio.gather(
        accounts.authenticate("arker", key), accounts.revoke_key(double.account, key_id), return_exceptions=True
    )
    with pytest.raises(Unauthorized):
        await accounts.authenticate("arker", key)


async def test_an_account_that_is_drafted(double: Lab) -> None:
    accounts, store = double.engine.accounts, double.engine.store
    draft = accounts.draft("somebody", "arker")
    assert draft.plain not in repr(draft)
    with pytest.raises(Unauthorized):
        await accounts.authenticate("arker", draft.plain)

    def broken(connection: Connection) -> None:
        enter(connection, draft, 0)
        raise OSError("the power is gone")

    with pytest.raises(OSError, match="power"):
        await store.run(broken)
    assert len(await accounts.list()) == 1
    await store.run(enter, draft, 0)
    assert (await accounts.authenticate("arker", draft.plain)).account_id == draft.account.id
    assert (await accounts.get(draft.account.id)).name == "somebody"
    for wrong in ("", "x" * 201):
        with pytest.raises(Invalid):
            accounts.draft(wrong, "arker")
    with pytest.raises(Invalid):
        accounts.draft("somebody", "nothing")


async def test_keys_are_replaced_all_at_once_or_not_at_all(double: Lab) -> None:
    accounts = double.engine.accounts
    account = await accounts.create("somebody")
    olds = [await accounts.create_key(account.id, "arker") for _ in range(2)]
    _, kept = await accounts.create_key(account.id, "run402")
    for _, key in olds:
        await accounts.authenticate("arker", key)

    def refused(connection: Connection, key: str) -> None:
        raise Conflict("not now")

    with pytest.raises(Conflict):
        await accounts.replace_keys(account.id, "arker", refused)
    for _, key in olds:
        assert (await accounts.authenticate("arker", key)).account_id == account.id
    seen: list[tuple[str, bool]] = []

    def noted(connection: Connection, key: str) -> None:
        seen.append((key, is_live(connection, account.id, olds[0][0])))

    new = await accounts.replace_keys(account.id, "arker", noted)
    assert seen == [(new, True)]
    for _, key in olds:
        with pytest.raises(Unauthorized):
            await accounts.authenticate("arker", key)
    for network, key in (("arker", new), ("run402", kept)):
        assert (await accounts.authenticate(network, key)).account_id == account.id
    with pytest.raises(NotFound):
        await accounts.replace_keys("acc-nothing", "arker", noted)


async def test_keys_of_ones_own(double: Lab) -> None:
    accounts = double.engine.accounts
    _, key = await accounts.create_key(double.account, "run402", "my-own-key")
    assert key == "my-own-key"
    assert (await accounts.authenticate("run402", key)).account_id == double.account
    for wrong in ("short", "with space in it", "ümlautümlaut", "x" * 201, "control\x00character"):
        with pytest.raises(Invalid):
            await accounts.create_key(double.account, "run402", wrong)
    with pytest.raises(Invalid):
        await accounts.create_key(double.account, "nothing")
    with pytest.raises(NotFound):
        await accounts.create_key("acc-nothing", "arker")


async def test_accounts_and_money(double: Lab) -> None:
    account = await double.engine.accounts.create("second")
    ledger = double.engine.ledger
    assert await ledger.balance(account.id) == Money(0, "USD")
    assert await ledger.grant(account.id, Money(100, "USD"), "one")
    assert not await ledger.grant(account.id, Money(100, "USD"), "one")
    with pytest.raises(Conflict):
        await ledger.grant(account.id, Money(101, "USD"), "one")
    with pytest.raises(Invalid):
        await ledger.grant(account.id, Money(0, "USD"), "two")
    assert await ledger.hold(account.id, "h", Money(60, "USD"))
    assert await ledger.capture(account.id, "h", Money(70, "USD"), "local")
    assert not await ledger.release(account.id, "h")
    assert await ledger.balance(account.id) == Money(30, "USD")
    assert await ledger.hold(account.id, "h2", Money(30, "USD"))
    assert await ledger.release(account.id, "h2")
    with pytest.raises(NotFound):
        await ledger.capture(account.id, "nothing", Money(1, "USD"), "local")
    lines = await ledger.postings(account.id, limit=3)
    assert [line.id for line in lines] == sorted((line.id for line in lines), reverse=True)
    everything = await ledger.postings(account.id)
    assert sum(line.amount.amount for line in everything) == 30
    assert await ledger.postings(account.id, before=everything[-1].id) == []
    assert await ledger.audit() == []
    for name in ("", "x" * 201):
        with pytest.raises(Invalid):
            await double.engine.accounts.create(name)
    with pytest.raises(NotFound):
        await double.engine.accounts.get("acc-nothing")


async def test_a_data_directory_made_by_hand(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.data.mkdir(mode=0o700)
    (lab.data / "credentials.json").write_text(json.dumps({"account": "acc-mine", "keys": {"arker": "ark_live_mine"}}))
    await lab.open()
    assert lab.account == "acc-mine"
    assert (await lab.engine.accounts.authenticate("arker", "ark_live_mine")).account_id == "acc-mine"
    assert set(lab.engine.credentials) == set(PREFIXES)
    await lab.end()
