"""The caller's key pairs: list, make, revoke (protocol sections 3.9 and 3.10)."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, cast

from sqlalchemy import Connection, Row, select, update

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing
from skerry.island.faces.dispersed.account import key_pairs
from skerry.island.faces.dispersed.call import Answer, Call, Route
from skerry.island.faces.dispersed.callers import Preset
from skerry.island.faces.dispersed.errors import Fault, not_found
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import api_keys
from skerry.island.faces.dispersed.validation import Form
from skerry.island.ground.texts import iso, maybe_iso

PRESETS = ("CONSUMER", "COMPUTE_NODE")
LONGEST_NAME = 255
MOST_ADDRESSES = 100

_FILTERS = {
    "preset": listing.words(api_keys.c.preset, PRESETS),
    "public_key": listing.words(api_keys.c.public_key),
    "node_uuid": listing.uuids(api_keys.c.node_uuid),
}


class ApiKeys:
    """Keys of the account that asks."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store
        self._vault = engine.vault

    def routes(self) -> Table:
        """With every alias of section 3.0."""
        revoke = Route(self.revoke, kind="write", preset="ANY")
        path = "/v1/api-keys/{uuid}"
        return [
            ("GET", "/v1/api-keys", Route(self.list)),
            ("POST", "/v1/api-keys", Route(self.create, kind="write", body=True)),
            ("GET", path, Route(self.get)),
            ("DELETE", path, revoke),
            *((method, f"{path}/revoke", revoke) for method in ("PUT", "POST", "PATCH")),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """Every pair of the account, without secrets."""
        mine = api_keys.c.account_id == call.account_id
        return await listing.page(self._store, call.query, api_keys, _FILTERS, view, mine)

    async def get(self, call: Call, uuid: str) -> dict[str, Any]:
        """One pair, without its secret."""
        return view(await self._store.read(_mine, call.account_id, uuid))

    def create(self, connection: Connection, call: Call) -> Answer:
        """A new pair; the secret is told in this answer and never again."""
        form = Form(call.json)
        name = form.text("name", least=1, most=LONGEST_NAME)
        preset = cast("Preset", form.choice("preset", PRESETS, default="CONSUMER"))
        allowed = allowed_addresses(form, "allowed_ips")
        expires_at = _expiry(form, call.now)
        form.check()
        pair = key_pairs.new_pair()
        uuid = key_pairs.add(
            connection,
            self._vault,
            call.profile,
            pair,
            name=name,
            preset=preset,
            now=call.now,
            allowed_ips=allowed,
            expires_at=expires_at,
        )
        return Answer(201, {**view(_mine(connection, call.account_id, uuid)), "secret_key": pair.secret_key})

    def revoke(self, connection: Connection, call: Call, uuid: str) -> Answer:
        """End a pair, at once and for good; again changes nothing. A pair may end itself, one of a node only itself."""
        row = _mine(connection, call.account_id, uuid)
        if call.key.preset != "CONSUMER" and row.uuid != call.key.uuid:
            raise Fault(403, "INSUFFICIENT_PERMISSIONS", "The key of a node may revoke none but itself")
        if row.revoked_at is None:
            connection.execute(
                update(api_keys).where(api_keys.c.uuid == row.uuid).values(revoked_at=call.now, updated_at=call.now)
            )
            row = _mine(connection, call.account_id, uuid)
        return Answer(200, view(row))


def view(row: Row[Any]) -> dict[str, Any]:
    """A pair as it is sent, without its secret."""
    return {
        "object": "api_key",
        "uuid": row.uuid,
        "name": row.name,
        "public_key": row.public_key,
        "preset": row.preset,
        "node_uuid": row.node_uuid,
        "expires_at": maybe_iso(row.expires_at),
        "allowed_ips": json.loads(row.allowed_ips),
        "last_used_at": maybe_iso(row.last_used_at),
        "revoked_at": maybe_iso(row.revoked_at),
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def allowed_addresses(form: Form, name: str) -> list[str]:
    """Addresses and blocks in their usual form, what is none being noted as an issue; null and absent are none."""
    if form.is_null(name):
        return []
    found: list[str] = []
    for position, text in enumerate(form.texts(name, most=MOST_ADDRESSES, longest=64)):
        try:
            block = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            form.issue("invalid_format", "must be an address or a block such as 203.0.113.7/32", name, position)
            continue
        mapped = block.network_address.ipv4_mapped if isinstance(block, ipaddress.IPv6Network) else None
        if mapped is not None and block.prefixlen >= 96:
            block = ipaddress.ip_network(f"{mapped}/{block.prefixlen - 96}")
        found.append(str(block))
    return found


def _expiry(form: Form, now: int) -> int | None:
    text = form.optional_text("expires_at", most=64)
    if text is None:
        return None
    try:
        moment = listing.moment_micros(text)
    except ValueError as error:
        form.issue("invalid_format", str(error), "expires_at")
        return None
    if moment <= now:
        form.issue("too_small", "must be in the future", "expires_at")
    return moment


def _mine(connection: Connection, account_id: str, uuid: str) -> Row[Any]:
    query = select(api_keys).where(api_keys.c.uuid == uuid.lower(), api_keys.c.account_id == account_id)
    row = connection.execute(query).first()
    if row is None:
        raise not_found("API key")
    return row
