"""Who may ask: accounts, and their hashed API keys, one namespace of keys per network."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from skerry.ids import new_id
from skerry.island.clock import Clock
from skerry.island.engine.credentials import Credentials
from skerry.island.engine.errors import Invalid, NotFound, Unauthorized
from skerry.island.engine.records import Account, Caller, Key
from skerry.island.store import accounts as rows
from skerry.island.store import ledger
from skerry.island.store.store import Store
from skerry.island.store.values import micros
from skerry.money import Money

FIRST = "local"
_DIGITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An account with its first key that is not there yet; `enter` has it be.

    Args:
        account: the account.
        key: what will be known of the key.
        plain: the key itself.
    """

    account: Account
    key: Key
    plain: str = field(repr=False)


class Accounts:
    """Accounts and keys; a key is known only by its SHA-256.

    Each face declares what the bearer keys of its network look like; a face whose network has no bearer keys keeps
    what it has itself.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._prefixes: dict[str, str] = {}
        self._lengths: dict[str, int] = {}
        self._callers: dict[tuple[str, str], Caller] = {}
        self._revocations = 0

    def declare(self, network: str, prefix: str, length: int | None = None) -> None:
        """Say that a network has bearer keys.

        Args:
            network: whose.
            prefix: how they begin.
            length: how many characters they have, where that matters; the rest is hexadecimal.
        """
        self._prefixes[network] = prefix
        self._lengths[network] = (length or len(prefix) + _DIGITS) - len(prefix)

    async def authenticate(self, network: str, key: str) -> Caller:
        """Who presents this key of this network.

        Raises:
            Unauthorized: unknown, revoked, or a key of another network.
        """
        digest = _digest(key)
        caller = self._callers.get((network, digest))
        if caller is not None:
            return caller
        revocations = self._revocations
        for key_id, account_id, kept in await self._store.read(rows.live_keys, network, digest):
            if hmac.compare_digest(kept, digest):
                caller = Caller(account_id=account_id, key_id=key_id, network=network)
                # A key revoked while it was being read must not be remembered.
                if revocations == self._revocations:
                    self._callers[network, digest] = caller
                return caller
        raise Unauthorized(f"this {network} key is unknown or revoked")

    async def create(self, name: str) -> Account:
        """A new account with an empty balance; `ledger.grant` fills it.

        Raises:
            Invalid: the name is empty or longer than 200 characters.
        """
        if not 0 < len(name) <= 200:
            raise Invalid("an account's name has 1 to 200 characters")
        account = Account(id=new_id("acc"), name=name, created_at=self._clock.now())
        await self._store.run(rows.add, account, micros(account.created_at))
        return account

    async def get(self, account_id: str) -> Account:
        """An account by id.

        Raises:
            NotFound: no such account.
        """
        found = await self._store.read(rows.get, account_id)
        if found is None:
            raise NotFound(f"there is no account {account_id}")
        return found

    async def create_key(self, account_id: str, network: str, key: str | None = None) -> tuple[str, str]:
        """Add a key, made up unless given; returns its id and, this once, the key itself.

        Raises:
            NotFound: no such account. Invalid: unknown network or unusable key. Conflict: the key is taken.
        """
        await self.get(account_id)
        plain = self._new_key(network) if key is None else key
        if not 8 <= len(plain) <= 200 or not plain.isascii() or not plain.isprintable() or " " in plain:
            raise Invalid("a key has 8 to 200 printable ASCII characters without spaces")
        record = self._key(account_id, network, plain)
        await self._store.run(rows.add_key, record, _digest(plain), micros(record.created_at))
        return record.id, plain

    def draft(self, name: str, network: str) -> Draft:
        """An account with a key of a network, for `enter` in a transaction that has more to write.

        Raises:
            Invalid: the name is empty or longer than 200 characters, or there are no keys for the network.
        """
        if not 0 < len(name) <= 200:
            raise Invalid("an account's name has 1 to 200 characters")
        account = Account(id=new_id("acc"), name=name, created_at=self._clock.now())
        plain = self._new_key(network)
        return Draft(account=account, key=self._key(account.id, network, plain), plain=plain)

    async def replace_keys(
        self, account_id: str, network: str, also: Callable[[Connection, str], None], key: str | None = None
    ) -> str:
        """A new key in place of every key that the account has for a network, which are dead when this returns.

        Args:
            account_id: whose keys.
            network: for which network.
            also: what else to check and write in the same transaction, first of all; it is given the new key.
            key: the new key; made up unless given.

        Returns:
            The new key.

        Raises:
            NotFound: no such account. Conflict: the key is taken.
        """
        await self.get(account_id)
        plain = self._new_key(network) if key is None else key
        record = self._key(account_id, network, plain)
        now = micros(record.created_at)

        def replace(connection: Connection) -> None:
            also(connection, plain)
            end_keys(connection, account_id, network, now)
            rows.add_key(connection, record, _digest(plain), now)

        await self._store.run(replace)
        self.forget(account_id)
        return plain

    def new_key(self, network: str) -> str:
        """A key that nobody has, for `replace_keys`."""
        return self._new_key(network)

    def forget(self, account_id: str) -> None:
        """Have the account's next request looked up anew, after a transaction that ended keys of it."""
        self._revocations += 1
        self._callers = {known: caller for known, caller in self._callers.items() if caller.account_id != account_id}

    async def revoke_key(self, account_id: str, key_id: str) -> bool:
        """End a key, effective at once; False when it was not there or already revoked."""
        revoked = await self._store.run(rows.revoke_key, account_id, key_id, micros(self._clock.now()))
        self._revocations += 1
        self._callers = {known: caller for known, caller in self._callers.items() if caller.key_id != key_id}
        return revoked

    async def list_keys(self, account_id: str) -> list[Key]:
        """The account's keys, without the keys themselves."""
        return await self._store.read(rows.keys_of, account_id)

    async def first_run(self, credentials: Credentials, opening_balance: Money) -> None:
        """Make the first account unless it is there, and say in the credentials which one it is."""
        known = await self.list()
        if known and credentials.account not in {account.id for account in known}:
            credentials.forget(known[0].id)
        if not credentials.account:
            credentials.forget(new_id("acc"))
        await credentials.keep({})
        account = Account(id=credentials.account, name=FIRST, created_at=self._clock.now())
        await self._store.run(_first, account, opening_balance, micros(account.created_at))

    async def first_key(self, credentials: Credentials, network: str) -> str:
        """The first account's bearer key of a network, made unless the credentials have one.

        It is written down before it is accepted, so that a crash in between repeats harmlessly.
        """
        plain = credentials.keys.get(network) or self._new_key(network)
        await credentials.keep({network: plain})
        record = self._key(credentials.account, network, plain)
        await self._store.run(_add_once, record, _digest(plain), micros(record.created_at))
        return plain

    async def list(self) -> list[Account]:
        """Every account, oldest first."""
        return await self._store.read(rows.every)

    def _key(self, account_id: str, network: str, plain: str) -> Key:
        prefix = self._prefix(network)
        return Key(
            id=new_id("key"),
            account_id=account_id,
            network=network,
            hint=plain[: min(len(plain) // 3, len(prefix) + 4)],
            created_at=self._clock.now(),
            revoked_at=None,
        )

    def _new_key(self, network: str) -> str:
        prefix = self._prefix(network)
        return prefix + secrets.token_hex(self._lengths[network])[: self._lengths[network]]

    def _prefix(self, network: str) -> str:
        if network not in self._prefixes:
            known = ", ".join(self._prefixes) or "none"
            raise Invalid(f"there are no keys for a network {network!r}; there are for {known}")
        return self._prefixes[network]


def enter(connection: Connection, draft: Draft, now: int) -> None:
    """Have a drafted account and its key be, in the caller's transaction; once only.

    Args:
        now: microseconds since 1970.
    """
    rows.add(connection, draft.account, now)
    rows.add_key(connection, draft.key, _digest(draft.plain), now)


def end_keys(connection: Connection, account_id: str, network: str, now: int) -> None:
    """Revoke every key that an account has for a network, in the caller's transaction; then `Accounts.forget`."""
    for key in rows.keys_of(connection, account_id):
        if key.network == network and key.revoked_at is None:
            rows.revoke_key(connection, account_id, key.id, now)


def is_live(connection: Connection, account_id: str, key_id: str) -> bool:
    """Whether a key still lets its account in."""
    return any(key.id == key_id and key.revoked_at is None for key in rows.keys_of(connection, account_id))


def _first(connection: Connection, account: Account, opening_balance: Money, now: int) -> None:
    if rows.get(connection, account.id) is None:
        rows.add(connection, account, now)
        entries = {"grant": -opening_balance, ledger.owner(account.id): opening_balance}
        ledger.transfer(connection, f"grant:opening:{account.id}", entries, memo="opening balance", now=now)


def _add_once(connection: Connection, key: Key, digest: str, now: int) -> None:
    if not rows.key_exists(connection, key.network, digest):
        rows.add_key(connection, key, digest, now)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
