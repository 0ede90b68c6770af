"""What of a proven request only the database can judge: checks 7 to 9 of section 2.5, in one transaction."""

from __future__ import annotations

import ipaddress

from sqlalchemy import Connection, bindparam, select, update

from skerry.island.faces.dispersed.callers import ApiKey
from skerry.island.faces.dispersed.errors import Fault
from skerry.island.faces.dispersed.tables import api_keys, nonces
from skerry.island.store.prepared import Prepared, insertion
from skerry.networks.dispersed.verification import NONCE_LIFETIME_S

NONCE_MICROS = NONCE_LIFETIME_S * 1_000_000
USE_MICROS = 60_000_000
"""How old the time of a key's last use may be, so that not every request writes it."""

_state = Prepared(select(api_keys.c.revoked_at, api_keys.c.last_used_at).where(api_keys.c.uuid == bindparam("uuid")))
_used = Prepared(
    update(api_keys).where(api_keys.c.uuid == bindparam("key_uuid")).values(last_used_at=bindparam("used_at"))
)
_nonce = Prepared(
    select(nonces.c.seen_at).where(nonces.c.public_key == bindparam("public_key"), nonces.c.nonce == bindparam("nonce"))
)
_add_nonce = insertion(nonces)
_renew_nonce = Prepared(
    update(nonces)
    .where(nonces.c.public_key == bindparam("of_key"), nonces.c.nonce == bindparam("of_nonce"))
    .values(seen_at=bindparam("seen"))
)


def check_live(connection: Connection, key: ApiKey, now: int) -> int | None:
    """Check 7, on the database's own word; returns when the key was last used.

    Raises:
        Fault: 401 `API_KEY_REVOKED` or `API_KEY_EXPIRED`.
    """
    row = _state(connection, uuid=key.uuid).first()
    if row is None or row[0] is not None:
        raise Fault(401, "API_KEY_REVOKED", "This API key was revoked; make another one")
    if key.expires_at is not None and key.expires_at <= now:
        raise Fault(401, "API_KEY_EXPIRED", "This API key has expired; make another one")
    last_used: int | None = row[1]
    return last_used


def check_address(key: ApiKey, address: str | None) -> None:
    """Check 8: the key may be used from where the request comes from.

    Args:
        key: with its allowed addresses.
        address: of the client, None when it has none.

    Raises:
        Fault: 403 `IP_NOT_ALLOWED`.
    """
    if key.allowed_ips and not _inside(address, key.allowed_ips):
        raise Fault(403, "IP_NOT_ALLOWED", "This API key may not be used from this address")


def admit(connection: Connection, key: ApiKey, nonce: str, address: str | None, now: int) -> None:
    """Checks 7 to 9; the nonce is used up when this returns.

    Args:
        connection: of a write transaction.
        key: whose signature was proven.
        nonce: of the request.
        address: of the client.
        now: microseconds since 1970.

    Raises:
        Fault: 401 or 403 with the first check that failed.
    """
    last_used = check_live(connection, key, now)
    check_address(key, address)
    seen = _nonce(connection, public_key=key.public_key, nonce=nonce).scalar()
    if seen is None:
        _add_nonce(connection, public_key=key.public_key, nonce=nonce, seen_at=now)
    elif seen > now - NONCE_MICROS:
        raise Fault(401, "NONCE_REUSED", "This nonce was used before; every request and every retry needs a fresh one")
    else:
        _renew_nonce(connection, of_key=key.public_key, of_nonce=nonce, seen=now)
    if last_used is None or last_used + USE_MICROS <= now:
        _used(connection, key_uuid=key.uuid, used_at=now)


def forget_nonces(connection: Connection, before: int) -> int:
    """Drop nonces seen before a moment; returns how many."""
    return connection.execute(nonces.delete().where(nonces.c.seen_at <= before)).rowcount


def _inside(address: str | None, blocks: tuple[str, ...]) -> bool:
    try:
        client = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return any(client in ipaddress.ip_network(block) for block in blocks)
