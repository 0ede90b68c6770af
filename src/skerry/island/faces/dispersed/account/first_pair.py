"""The first account's key pair, kept with its other keys in `credentials.json`."""

from __future__ import annotations

from sqlalchemy import Connection

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Unreadable
from skerry.island.faces.dispersed.account import key_pairs, profiles
from skerry.island.faces.dispersed.account.key_pairs import KeyPair, Sealer
from skerry.island.store.values import micros

PUBLIC = "dispersed"
SECRET = "dispersed_secret"  # noqa: S105 - the name of a secret, not its value
NAME = "local"


async def ensure(engine: Engine) -> None:
    """Have a pair that works: the one written down, or a new one where that has been revoked or was never a pair.

    It is written down before it is accepted, so that a crash in between repeats harmlessly.
    """
    now = micros(engine.clock.now())
    written = KeyPair(engine.credentials.get(PUBLIC, ""), engine.credentials.get(SECRET, ""))
    pair = written if await _usable(engine, written, now) else key_pairs.new_pair()
    await engine.keep_credentials({PUBLIC: pair.public_key, SECRET: pair.secret_key})
    await engine.store.run(_add, engine.vault, engine.account_id, pair, now)
    # Islands from before this face have a bearer key in its place, which opens nothing any more.
    for key in await engine.accounts.list_keys(engine.account_id):
        if key.network == PUBLIC and key.revoked_at is None:
            await engine.accounts.revoke_key(engine.account_id, key.id)


async def _usable(engine: Engine, written: KeyPair, now: int) -> bool:
    if not (written.public_key and written.secret_key):
        return False
    try:
        found = await engine.store.read(key_pairs.find, engine.vault, written.public_key)
    except Unreadable:
        # Without the vault's key the pair cannot be proven any more; another one can.
        return False
    if found is None:
        return len(written.public_key) <= key_pairs.LONGEST_PUBLIC_KEY and written.public_key.isascii()
    return (
        found.secret_key == written.secret_key
        and found.key.profile.account_id == engine.account_id
        and found.revoked_at is None
        and (found.key.expires_at is None or found.key.expires_at > now)
    )


def _add(connection: Connection, vault: Sealer, account_id: str, pair: KeyPair, now: int) -> None:
    profile = profiles.ensure(connection, account_id, now)
    if key_pairs.find(connection, vault, pair.public_key) is None:
        key_pairs.add(connection, vault, profile, pair, name=NAME, preset="CONSUMER", now=now)
