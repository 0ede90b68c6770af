"""A renter's keys: the master key's replacement, keys with scopes, keys for a few purposes (section 3.1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.errors import InvalidRequestError
from skerry.island.engine import accounts
from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import key_rows, limits, wire
from skerry.island.faces.dc1.access import ACCOUNT, OWN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.tables import keys
from skerry.island.store.values import micros
from skerry.times import parse_moment

SCOPES = ("inference", "billing", "admin")
PERMISSIONS = ("inference", "jobs.read", "balance.read")
_MOST_LIVE = 20
_MOST_LABEL = 80
_MOST_LISTED = 200


class RenterKeys:
    """What else, beside the key of registration, lets a renter in.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """All of them with the master key alone: no key makes keys but that one."""
        mine, own = "/api/renters/me/keys", "/api/renters/{renter_id}/keys"
        rotation = (limits.ROTATION,)
        return [
            Route(
                method="POST", path="/api/renters/me/rotate-key", handler=self.rotate, access=ACCOUNT, limits=rotation
            ),
            Route(method="POST", path="/api/renters/rotate-key", handler=self.rotate, access=ACCOUNT, limits=rotation),
            Route(method="POST", path=mine, handler=self.create_scoped, access=ACCOUNT),
            Route(method="GET", path=mine, handler=self.list_scoped, access=ACCOUNT),
            Route(method="DELETE", path=f"{mine}/{{key_id}}", handler=self.revoke_scoped, access=ACCOUNT),
            Route(method="POST", path=own, handler=self.create_permitted, access=OWN),
            Route(method="GET", path=own, handler=self.list_permitted, access=OWN),
            Route(method="DELETE", path=f"{own}/{{key_id}}", handler=self.revoke_permitted, access=OWN),
        ]

    async def rotate(self, call: Call) -> Answer:
        """A new master key; the old one is dead when this is answered, other keys stay as they are."""
        new = await rotate(self._engine, call.renter.id, call.now, by=call.caller.key_id)
        message = "API key rotated. Save the new key — the old one is now invalid."
        return Answer(
            {"success": True, "message": message, "new_key": new, "api_key": new, "renter_id": call.renter.id}
        )

    async def create_scoped(self, call: Call) -> Answer:
        """A `dc1-sk-` key; scopes that there are not are left out."""
        body = _object(call.json)
        scopes = _among(body.get("scopes"), SCOPES, ("inference",))
        if not scopes:
            raise Fault(400, f"Invalid scopes. Valid values: {', '.join(SCOPES)}")
        row, key = await self._create(call, key_rows.SCOPED, body, scopes, hint="")
        return Answer({"id": row.id, "key": key, **_scoped(row, told_revoked=False)}, 201)

    async def list_scoped(self, call: Call) -> Answer:
        """Them, without the keys themselves."""
        return Answer({"keys": await self._list(call, key_rows.SCOPED, lambda row: {"id": row.id, **_scoped(row)})})

    async def revoke_scoped(self, call: Call, key_id: str) -> Answer:
        """End one."""
        return await self._revoke(call, key_rows.SCOPED, key_id)

    async def create_permitted(self, call: Call, renter_id: str) -> Answer:
        """A `dcp_` key."""
        own(call, renter_id)
        body = _object(call.json)
        permissions = _among(body.get("permissions"), PERMISSIONS, ("inference",))
        if not permissions:
            raise Fault(400, f"Invalid permissions. Valid values: {', '.join(PERMISSIONS)}")
        row, key = await self._create(call, key_rows.PERMITTED, body, permissions, hint="dcp_...")
        made = {"keyId": row.id, "key": key, "label": row.label, "permissions": json.loads(row.scopes)}
        if row.expires_at is not None:
            made["expires_at"] = wire.iso(row.expires_at)
        return Answer({**made, "created_at": wire.iso(row.created_at)}, 201)

    async def list_permitted(self, call: Call, renter_id: str) -> Answer:
        """Them, with their last characters."""
        own(call, renter_id)
        return Answer({"keys": await self._list(call, key_rows.PERMITTED, _permitted)})

    async def revoke_permitted(self, call: Call, renter_id: str, key_id: str) -> Answer:
        """End one."""
        own(call, renter_id)
        return await self._revoke(call, key_rows.PERMITTED, key_id)

    async def _create(
        self, call: Call, kind: str, body: dict[str, Any], scopes: list[str], *, hint: str
    ) -> tuple[Row[Any], str]:
        label = _label(body.get("label"))
        expires_at = _expiry(body.get("expires_at"), call.now)
        key = key_rows.make(kind)

        def work(connection: Connection) -> Row[Any]:
            renter = renter_rows.active(connection, call.renter.id)
            if len(key_rows.live(connection, kind, renter.id, call.now)) >= _MOST_LIVE:
                raise Fault(400, f"Maximum of {_MOST_LIVE} active API keys reached. Revoke an existing key first.")
            made = key_rows.add(
                connection,
                kind,
                renter.id,
                key,
                hint=hint + key[-4:],
                label=label,
                scopes=scopes,
                expires_at=expires_at,
                now=call.now,
            )
            return connection.execute(select(keys).where(keys.c.id == made)).one()

        return await self._engine.store.run(work), key

    async def _list(self, call: Call, kind: str, view: Callable[[Row[Any]], dict[str, Any]]) -> list[dict[str, Any]]:
        def work(connection: Connection) -> list[dict[str, Any]]:
            query = select(keys).where(keys.c.kind == kind, keys.c.owner_id == call.renter.id)
            query = query.order_by(keys.c.created_at.desc(), keys.c.id).limit(_MOST_LISTED)
            return [view(row) for row in connection.execute(query)]

        return await self._engine.store.read(work)

    async def _revoke(self, call: Call, kind: str, key_id: str) -> Answer:
        ended = await self._engine.store.run(key_rows.revoke, kind, call.renter.id, call.now, key_id)
        if not ended:
            raise Fault(404, "Key not found or already revoked")
        return Answer({"success": True, "revoked_at": wire.iso(call.now)})


def own(call: Call, renter_id: str) -> None:
    """Check that the renter in a path is the caller.

    Raises:
        Fault: 400 for what is no number, 403 for another renter's.
    """
    if not renter_id.isascii() or not renter_id.isdigit() or len(renter_id) > 10:
        raise Fault(400, "Invalid renter ID")
    if int(renter_id) != call.renter.id:
        raise Fault(403, "Forbidden")


async def rotate(engine: Engine, renter_id: int, now: int, *, by: str | None = None) -> str:
    """Replace a renter's master key; the new one.

    The first account's new key is written into the island's credentials before it is accepted: should the island be
    killed in between, both keys work until the next rotation, and none is lost.

    Args:
        engine: open.
        renter_id: whose.
        now: microseconds since 1970.
        by: id of the key that asks for it, which must not have been replaced meanwhile; None for the operator.

    Raises:
        Fault: 404, there is no such active renter, or the asking key is dead.
    """
    renter = await engine.store.read(renter_rows.active, renter_id)
    new = engine.accounts.new_key(key_rows.NETWORK)
    if renter.account_id == engine.account_id:
        await engine.keep_credentials({key_rows.NETWORK: new})

    def seal(connection: Connection, key: str) -> None:
        found = renter_rows.active(connection, renter_id)
        if by is not None and not accounts.is_live(connection, found.account_id, by):
            raise Fault(404, "Renter not found")
        sealed = engine.vault.seal(key.encode(), renter_rows.key_context(renter_id))
        renter_rows.change(connection, renter_id, now, sealed_key=sealed)

    return await engine.accounts.replace_keys(renter.account_id, key_rows.NETWORK, seal, new)


def _scoped(row: Row[Any], *, told_revoked: bool = True) -> dict[str, Any]:
    seen = {"last_used_at": wire.maybe_iso(row.last_used_at)} if told_revoked else {}
    return {
        "label": row.label,
        "scopes": json.loads(row.scopes),
        "expires_at": wire.maybe_iso(row.expires_at),
        **seen,
        "created_at": wire.iso(row.created_at),
        **({"revoked": row.revoked_at is not None} if told_revoked else {}),
    }


def _permitted(row: Row[Any]) -> dict[str, Any]:
    return {
        "keyId": row.id,
        "label": row.label,
        "permissions": json.loads(row.scopes),
        "key_hint": row.hint,
        "expires_at": wire.maybe_iso(row.expires_at),
        "last_used_at": wire.maybe_iso(row.last_used_at),
        "created_at": wire.iso(row.created_at),
        "revoked": row.revoked_at is not None,
    }


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Fault(400, "The body must be a JSON object")
    return body


def _among(value: Any, known: Sequence[str], usual: Sequence[str]) -> list[str]:
    """Those of a list's words that there are, each once; the usual ones without a list, none without any."""
    if value is None:
        return list(usual)
    if not isinstance(value, list):
        return []
    return [word for word in known if word in value]


def _label(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MOST_LABEL or "\x00" in value:
        raise Fault(400, f"label must be a string of at most {_MOST_LABEL} characters")
    return value


def _expiry(value: Any, now: int) -> int | None:
    if value is None:
        return None
    try:
        at = micros(parse_moment(value)) if isinstance(value, str) else 0
    except (InvalidRequestError, OverflowError):
        at = 0
    if at <= now:
        raise Fault(400, "expires_at must be an ISO 8601 date in the future")
    return at
