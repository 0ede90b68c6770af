"""Who may ask: accounts, and their hashed API keys, one namespace of keys per network."""

from __future__ import annotations

from skerry.island.engine.records import Account, Caller, Key

PREFIXES = {"arker": "ark_live_", "dc1": "dc1_", "dispersed": "dsp_", "octaspace": "octa_", "run402": "r402_"}


class Accounts:
    """Accounts and keys; a key is known only by its SHA-256."""

    async def authenticate(self, network: str, key: str) -> Caller:
        """Who presents this key of this network.

        Raises:
            Unauthorized: unknown, revoked, or a key of another network.
        """
        ...

    async def create(self, name: str) -> Account:
        """A new account with an empty balance; `ledger.grant` fills it."""
        ...

    async def get(self, account_id: str) -> Account:
        """An account by id.

        Raises:
            NotFound: no such account.
        """
        ...

    async def list(self) -> list[Account]:
        """Every account, oldest first."""
        ...

    async def create_key(self, account_id: str, network: str, key: str | None = None) -> tuple[str, str]:
        """Add a key, made up unless given; returns its id and, this once, the key itself.

        Raises:
            NotFound: no such account. Invalid: unknown network or unusable key. Conflict: the key is taken.
        """
        ...

    async def revoke_key(self, account_id: str, key_id: str) -> bool:
        """End a key, effective at once; False when it was not there or already revoked."""
        ...

    async def list_keys(self, account_id: str) -> list[Key]:
        """The account's keys, without the keys themselves."""
        ...
