"""SSH public keys of an account, one of which may be the default (protocol section 3.7)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, update

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing, wire
from skerry.island.faces.dispersed.account import openssh
from skerry.island.faces.dispersed.call import Answer, Call, Route
from skerry.island.faces.dispersed.callers import Profile
from skerry.island.faces.dispersed.errors import Fault, not_found
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import ssh_public_keys as keys
from skerry.island.faces.dispersed.validation import Form
from skerry.island.ground.texts import iso, maybe_iso

LONGEST_NAME = 100

_FILTERS = {"is_default": listing.flag(keys.c.is_default == 1), "fingerprint": listing.words(keys.c.fingerprint)}


class SshPublicKeys:
    """Keys of the account that asks; deleted ones are kept and never shown."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store

    def routes(self) -> Table:
        """With every alias of section 3.0."""
        update = Route(self.update, kind="write", body=True)
        path = "/v1/ssh-public-keys"
        return [
            ("GET", path, Route(self.list)),
            ("POST", path, Route(self.create, kind="write", body=True)),
            ("GET", f"{path}/{{uuid}}", Route(self.get)),
            ("PATCH", f"{path}/{{uuid}}", update),
            ("PUT", f"{path}/{{uuid}}", update),
            ("DELETE", f"{path}/{{uuid}}", Route(self.delete, kind="write")),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """Every key that is not deleted."""

        def shown(row: Row[Any]) -> dict[str, Any]:
            return view(row, call.profile)

        return await listing.page(self._store, call.query, keys, _FILTERS, shown, *_live(call.account_id))

    async def get(self, call: Call, uuid: str) -> dict[str, Any]:
        """One key."""
        return view(await self._store.read(_mine, call.account_id, uuid), call.profile)

    def create(self, connection: Connection, call: Call) -> Answer:
        """Keep a key; the same key twice is a conflict, whatever the comments say."""
        form = Form(call.json)
        text = form.text("public_key", least=1, most=openssh.LONGEST_KEY)
        name = form.optional_text("name", most=LONGEST_NAME)
        is_default = form.boolean("is_default", default=False)
        form.check()
        try:
            key = openssh.parse(text)
        except openssh.KeyRefused as error:
            form.issue("invalid_format", str(error), "public_key")
            form.check()
            raise
        taken = select(keys.c.uuid).where(keys.c.fingerprint == key.fingerprint, *_live(call.account_id))
        if connection.execute(taken).first() is not None:
            raise Fault(409, "DUPLICATE_SSH_PUBLIC_KEY", "This SSH public key is already among yours")
        if is_default:
            _clear_default(connection, call.account_id, call.now)
        uuid = wire.new_uuid(call.now)
        connection.execute(
            keys.insert().values(
                uuid=uuid,
                account_id=call.account_id,
                public_key=key.text,
                fingerprint=key.fingerprint,
                name=name,
                is_default=int(is_default),
                created_at=call.now,
                updated_at=call.now,
            )
        )
        return Answer(201, view(_mine(connection, call.account_id, uuid), call.profile))

    def update(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """Change the name or what is the default; the key itself cannot change."""
        row = _mine(connection, call.account_id, uuid)
        form = Form(call.json)
        changes: dict[str, Any] = {}
        if form.has("name"):
            changes["name"] = form.optional_text("name", most=LONGEST_NAME)
        if form.has("is_default"):
            changes["is_default"] = int(form.boolean("is_default"))
        form.check()
        if changes.get("is_default"):
            _clear_default(connection, call.account_id, call.now)
        if changes:
            change = update(keys).where(keys.c.uuid == row.uuid).values(**changes, updated_at=call.now)
            connection.execute(change)
        return Answer(200, view(_mine(connection, call.account_id, uuid), call.profile))

    def delete(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """Hide a key for good; if it was the default, none is."""
        row = _mine(connection, call.account_id, uuid)
        change = (
            update(keys).where(keys.c.uuid == row.uuid).values(deleted_at=call.now, updated_at=call.now, is_default=0)
        )
        connection.execute(change)
        return Answer(204)


def view(row: Row[Any], profile: Profile) -> dict[str, Any]:
    """A key as it is sent."""
    return {
        "object": "ssh_public_key",
        "uuid": row.uuid,
        "name": row.name,
        "public_key": row.public_key,
        "fingerprint": row.fingerprint,
        "is_default": bool(row.is_default),
        "account": None,
        "account_uuid": profile.uuid,
        "last_used_at": maybe_iso(row.last_used_at),
        "deleted_at": maybe_iso(row.deleted_at),
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def _live(account_id: str) -> tuple[listing.Clause, ...]:
    return keys.c.account_id == account_id, keys.c.deleted_at.is_(None)


def _mine(connection: Connection, account_id: str, uuid: str) -> Row[Any]:
    row = connection.execute(select(keys).where(keys.c.uuid == uuid.lower(), *_live(account_id))).first()
    if row is None:
        raise not_found("SSH public key")
    return row


def _clear_default(connection: Connection, account_id: str, now: int) -> None:
    change = update(keys).where(keys.c.is_default == 1, *_live(account_id)).values(is_default=0, updated_at=now)
    connection.execute(change)
