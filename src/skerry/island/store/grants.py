"""Rows of SSH grants: who may log in to a sandbox."""

from __future__ import annotations

from sqlalchemy import Connection, select

from skerry.island.engine.records import SshGrants
from skerry.island.store import sandboxes
from skerry.island.store.tables import ssh_grants
from skerry.island.store.values import decode_words, encode_words


def replace(connection: Connection, grants: SshGrants, now: int) -> bool:
    """Replace the grants of a sandbox; False when it has been removed or is another account's."""
    sandbox = sandboxes.get(connection, grants.sandbox_id)
    if sandbox is None or sandbox.account_id != grants.account_id:
        return False
    connection.execute(ssh_grants.delete().where(ssh_grants.c.sandbox_id == grants.sandbox_id))
    if grants.public_keys:
        connection.execute(
            ssh_grants.insert(),
            [
                {
                    "sandbox_id": grants.sandbox_id,
                    "fingerprint": fingerprint,
                    "public_key": key,
                    "metered": int(grants.metered),
                    "env": encode_words(grants.env),
                    "created_at": now,
                }
                for fingerprint, key in grants.public_keys.items()
            ],
        )
    return True


def of_sandbox(connection: Connection, sandbox_id: str) -> SshGrants | None:
    """The grants of a sandbox that has not been removed; None when there are none."""
    sandbox = sandboxes.get(connection, sandbox_id)
    rows = connection.execute(select(ssh_grants).where(ssh_grants.c.sandbox_id == sandbox_id)).all()
    if sandbox is None or not rows:
        return None
    return SshGrants(
        sandbox_id=sandbox_id,
        account_id=sandbox.account_id,
        public_keys={row.fingerprint: row.public_key for row in rows},
        metered=bool(rows[0].metered),
        env=decode_words(rows[0].env),
    )


def any_at_all(connection: Connection) -> bool:
    """Whether anybody may log in anywhere."""
    return connection.execute(select(ssh_grants.c.sandbox_id).limit(1)).first() is not None
