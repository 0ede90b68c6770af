"""Accounts, keys, credit and SSH keys, for the island's owner."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace import profiles
from skerry.island.faces.octaspace.authentication import NETWORK
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.errors import invalid, not_found
from skerry.island.faces.octaspace.sessions import session_rows
from skerry.island.faces.octaspace.sessions.mr_work import MrWork
from skerry.island.faces.octaspace.tables import profiles as profile_table
from skerry.island.faces.octaspace.validation import Form
from skerry.island.faces.octaspace.wire import millis
from skerry.island.ground.answers import Answer
from skerry.island.ground.texts import digits
from skerry.island.store.values import micros
from skerry.money import Money

_MOST_WEI = 10**40
_MOST_KEYS = 64
_KEY_LENGTHS = (32, 200)


class AccountAdmin:
    """Who may use the network, and with what.

    Args:
        engine: open.
        machines: lets SSH keys into sessions that go on.
    """

    def __init__(self, engine: Engine, machines: MrWork) -> None:
        self._engine = engine
        self._machines = machines

    def routes(self) -> list[Route]:
        """What it answers."""
        one = "/admin/accounts/{uid}"
        body: dict[str, Any] = {"body": "Nothing", "needs_body": True, "changes": True}
        return [
            Route(method="GET", path="/admin/accounts", handler=self.list, summary="Every account"),
            Route(
                method="POST", path="/admin/accounts", handler=self.create, summary="A new account", status=201, **body
            ),
            Route(method="GET", path=f"{one}/keys", handler=self.keys, summary="Keys, as far as they may be shown"),
            Route(
                method="POST",
                path=f"{one}/keys",
                handler=self.create_key,
                summary="A new key",
                body="Nothing",
                changes=True,
                status=201,
            ),
            Route(
                method="DELETE",
                path=f"{one}/keys/{{key_id}}",
                handler=self.revoke_key,
                summary="End a key",
                changes=True,
            ),
            Route(method="POST", path=f"{one}/credits", handler=self.credit, summary="Give Wei", **body),
            Route(method="PUT", path=f"{one}/ssh_keys", handler=self.set_ssh_keys, summary="Who may log in", **body),
        ]

    async def list(self, call: Call) -> Answer:
        """GET /admin/accounts."""
        accounts = await self._engine.accounts.list()
        return Answer([await self._engine.store.run(_view, account.id, call.now) for account in accounts])

    async def create(self, call: Call) -> Answer:
        """POST /admin/accounts: `name`."""
        account = await self._engine.accounts.create(Form(call.json).text("name", most=200))
        return Answer(await self._engine.store.run(_view, account.id, call.now), 201)

    async def keys(self, call: Call, uid: str) -> Answer:
        """GET /admin/accounts/{uid}/keys."""
        profile = await self._profile(uid)
        return Answer(
            [
                {
                    "id": key.id,
                    "hint": key.hint,
                    "created_at": millis(micros(key.created_at)),
                    "revoked": key.revoked_at is not None,
                }
                for key in await self._engine.accounts.list_keys(profile.account_id)
                if key.network == NETWORK
            ]
        )

    async def create_key(self, call: Call, uid: str) -> Answer:
        """POST /admin/accounts/{uid}/keys: `key` to choose it."""
        profile = await self._profile(uid)
        chosen = None
        if call.has_body and Form(call.json).has("key"):
            chosen = Form(call.json).text("key", most=_KEY_LENGTHS[1])
            if len(chosen) < _KEY_LENGTHS[0]:
                raise invalid(f"key must have at least {_KEY_LENGTHS[0]} characters")
        id, key = await self._engine.accounts.create_key(profile.account_id, NETWORK, chosen)
        return Answer({"id": id, "key": key}, 201)

    async def revoke_key(self, call: Call, uid: str, key_id: str) -> Answer:
        """DELETE /admin/accounts/{uid}/keys/{id}."""
        profile = await self._profile(uid)
        if not await self._engine.accounts.revoke_key(profile.account_id, key_id):
            raise not_found("Key")
        return Answer({})

    async def credit(self, call: Call, uid: str) -> Answer:
        """POST /admin/accounts/{uid}/credits: `amount` in Wei (a number, or text), `id` to give it once only."""
        profile = await self._profile(uid)
        form = Form(call.json)
        amount = _wei(call.json.get("amount"), form)
        id = form.text("id", str(uuid4()), most=100)
        given = await self._engine.ledger.grant(
            profile.account_id, Money(amount, profiles.CURRENCY), f"octaspace:credit:{profile.account_id}:{id}"
        )
        balance = await self._engine.store.read(profiles.balance, profile.account_id)
        return Answer({"given": given, "balance": balance})

    async def set_ssh_keys(self, call: Call, uid: str) -> Answer:
        """PUT /admin/accounts/{uid}/ssh_keys: `ssh_public_keys`, OpenSSH lines; sessions that go on follow."""
        profile = await self._profile(uid)
        keys = call.json.get("ssh_public_keys") if isinstance(call.json, dict) else None
        if not isinstance(keys, list) or len(keys) > _MOST_KEYS or not all(isinstance(key, str) for key in keys):
            raise invalid(f"ssh_public_keys must be an array of at most {_MOST_KEYS} texts")
        lines = [key.strip() for key in keys if key.strip()]
        await self._engine.ssh.check(lines)
        await self._engine.store.run(profiles.set_ssh_keys, profile.account_id, lines, call.now)
        for session in await self._engine.store.read(session_rows.active, profile.account_id):
            if session.service == "mr" and session.ready_at is not None and session.ending is None:
                await self._machines.authorize(session)
        return Answer({"ssh_public_keys": lines})

    async def _profile(self, uid: str) -> Row[Any]:
        if uid == "me":
            return await self._engine.store.read(_first, self._engine.account_id)
        number = digits(uid)
        found = None if number is None else await self._engine.store.read(profiles.of_uid, number)
        if found is None:
            raise not_found("Account")
        return found


def _first(connection: Connection, account_id: str) -> Row[Any]:
    return connection.execute(select(profile_table).where(profile_table.c.account_id == account_id)).one()


def _view(connection: Connection, account_id: str, now: int) -> dict[str, Any]:
    profile = profiles.ensure(connection, account_id, now)
    return {
        "uid": profile.uid,
        "account_uuid": profile.uuid,
        "email": profile.email,
        "wallet": profile.wallet,
        "balance": profiles.balance(connection, account_id),
        "ssh_public_keys": profiles.ssh_keys(connection, account_id),
    }


def _wei(value: Any, form: Form) -> int:
    number = digits(value, len(str(_MOST_WEI))) if isinstance(value, str) else None
    if number is not None:
        if not 1 <= number <= _MOST_WEI:
            raise invalid(f"amount must be from 1 to {_MOST_WEI}")
        return number
    return form.whole("amount", least=1, most=_MOST_WEI)
