"""Who asks (section 2.2): master keys are the engine's, all others the face's own."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Unauthorized
from skerry.island.faces.dc1 import key_rows
from skerry.island.faces.dc1.access import Access
from skerry.island.faces.dc1.call import Caller
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.tables import keys
from skerry.island.ground.requests import bearer
from skerry.island.store.values import micros

_USE_STEP = 60_000_000
"""Microseconds within which a further use of a key is not written down again."""


class Authentication:
    """Finds out who presents a key.

    Args:
        engine: open.
        admin_tokens: of the operator; any of them will do.
    """

    def __init__(self, engine: Engine, admin_tokens: Sequence[str]) -> None:
        self._engine = engine
        self._admin_tokens = [token.encode() for token in admin_tokens]

    async def admit(self, access: Access, headers: Mapping[str, str], query: Mapping[str, str], body: Any) -> Caller:
        """Who asks, as far as a route wants to know.

        Raises:
            Fault: the route's own refusal.
        """
        if access.role == "anybody":
            return await self._anybody(access, headers, query, body)
        if access.role == "admin":
            given = headers.get("x-admin-token") or bearer(headers.get("authorization"))
            if not given or not self._is_admin(given):
                raise Fault(*(access.unknown if given else access.missing))
            return Caller(admin=True, key_id="admin")
        key = presented(access, headers, query, body)
        if not key:
            raise Fault(*access.missing)
        caller = await (self._renter(key, access) if access.role == "renter" else self._provider(key, access))
        if caller.renter is None and caller.provider is None:
            raise Fault(*access.unknown)
        return caller

    async def renter_of(self, key: str) -> Caller:
        """The active renter whose master key this is, if it is one."""
        try:
            known = await self._engine.accounts.authenticate(key_rows.NETWORK, key)
        except Unauthorized:
            return Caller()
        renter = await self._engine.store.read(renter_rows.of_account, known.account_id)
        if renter is None:
            account = await self._engine.accounts.get(known.account_id)
            renter = await self._engine.store.run(self._first_seen, account.id, account.name, key)
        return Caller(renter=renter, key_id=known.key_id) if renter.status == "active" else Caller()

    async def provider_of(self, key: str) -> Caller:
        """The provider whose account's key this is, if it is one."""
        return await self._provider(key)

    async def _anybody(self, access: Access, headers: Mapping[str, str], query: Mapping[str, str], body: Any) -> Caller:
        """Whoever presented a key, in whichever place; nobody without one that is known."""
        token = headers.get("x-admin-token") or bearer(headers.get("authorization"))
        caller = Caller()
        if token and self._is_admin(token):
            caller = Caller(admin=True, key_id="admin")
        if access.body and (key := _in_body(body)):
            caller = await self._either(key, caller)
        for name in ("x-renter-key", "x-provider-key"):
            if key := _trimmed(headers.get(name)):
                caller = await self._either(key, caller)
        for given in [*(query.get(name) for name in access.query), bearer(headers.get("authorization"))]:
            if (key := _trimmed(given)) and caller.renter is None and caller.provider is None:
                caller = await self._either(key, caller)
        return caller

    async def _either(self, key: str, known: Caller) -> Caller:
        found = await self.renter_of(key)
        if found.renter is not None:
            return replace(found, admin=known.admin, provider=known.provider)
        found = await self._provider(key)
        return replace(known, provider=found.provider, key_id=found.key_id) if found.provider is not None else known

    async def _renter(self, key: str, access: Access) -> Caller:
        caller = await self.renter_of(key)
        if caller.renter is not None or access.scopes is None:
            return caller
        return await self._scoped(key, access)

    async def _scoped(self, key: str, access: Access) -> Caller:
        """The renter behind a key for a few purposes, where those are enough."""
        found = await self._engine.store.read(self._owned, key)
        if found is None:
            return Caller()
        row, renter = found
        if renter is None or renter.status != "active" or row.kind not in (key_rows.SCOPED, key_rows.PERMITTED):
            return Caller()
        if row.expires_at is not None and row.expires_at <= self._now():
            raise Fault(403, "API key has expired")
        scopes = frozenset(json.loads(row.scopes))
        if access.scopes is not None and not scopes & access.scopes:
            raise Fault(*(access.unscoped or access.unknown))
        await self._used(row)
        return Caller(renter=renter, scopes=scopes, key_id=row.id)

    async def _provider(self, key: str, access: Access | None = None) -> Caller:
        """The provider behind its account's key, or, where those are enough, behind one for a few purposes."""
        row = await self._engine.store.read(key_rows.find, key)
        if row is None or row.kind not in (key_rows.PROVIDER, key_rows.PAYOUTS):
            return Caller()
        scopes = None
        if row.kind == key_rows.PAYOUTS:
            scopes = frozenset(json.loads(row.scopes))
            if access is None or access.scopes is None or not scopes & access.scopes:
                return Caller()
        if row.expires_at is not None and row.expires_at <= self._now():
            return Caller()
        provider = await self._engine.store.read(provider_rows.find, row.owner_id)
        if row.kind == key_rows.PAYOUTS:
            await self._used(row)
        return Caller(provider=provider, scopes=scopes, key_id=row.id)

    async def _used(self, row: Row[Any]) -> None:
        now = self._now()
        if row.last_used_at is None or row.last_used_at + _USE_STEP < now:
            await self._engine.store.run(_note_use, row.id, now)

    def _owned(self, connection: Connection, key: str) -> tuple[Row[Any], Row[Any] | None] | None:
        row = key_rows.find(connection, key)
        return None if row is None else (row, renter_rows.find(connection, row.owner_id))

    def _first_seen(self, connection: Connection, account_id: str, name: str, key: str) -> Row[Any]:
        """The renter that an account is, made with its key sealed, with which its callbacks will be signed."""
        now = self._now()
        renter = renter_rows.ensure(connection, account_id, name, now)
        if renter.sealed_key is None:
            sealed = self._engine.vault.seal(key.encode(), renter_rows.key_context(renter.id))
            renter_rows.change(connection, renter.id, now, sealed_key=sealed)
        return renter

    def _is_admin(self, token: str) -> bool:
        given = token.strip().encode("utf-8", "surrogateescape")
        # Every one is compared, so that the time tells nothing of which.
        return sum(hmac.compare_digest(given, known) for known in self._admin_tokens) > 0

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def presented(access: Access, headers: Mapping[str, str], query: Mapping[str, str], body: Any) -> str:
    """The key that a request carries, from where a route looks; empty without one."""
    header = _trimmed(headers.get(f"x-{access.role}-key"))
    if access.bearer and not header:
        header = _trimmed(bearer(headers.get("authorization")))
    asked = next((found for name in access.query if (found := _trimmed(query.get(name)))), "")
    places = [asked, header] if access.query_first else [header, asked]
    if access.body:
        places.insert(0, _in_body(body))
    return next((found for found in places if found), "")


def _in_body(body: Any) -> str:
    members = body if isinstance(body, dict) else {}
    given = (members.get(name) for name in ("api_key", "key"))
    return next((_trimmed(found) for found in given if isinstance(found, str) and found.strip()), "")


def _trimmed(key: str | None) -> str:
    return (key or "").strip()[: key_rows.LONGEST]


def _note_use(connection: Connection, key_id: str, now: int) -> None:
    connection.execute(keys.update().where(keys.c.id == key_id).values(last_used_at=now))
