"""Money: a double-entry ledger in integers, whose transfers happen once or not at all."""

from __future__ import annotations

from skerry.island.engine.records import Posting
from skerry.money import Money


class Ledger:
    """Transfers between named accounts: `account:<id>`, `account:<id>:held`, `revenue:<node>`, `grant`.

    The postings of a transfer sum to zero per currency; a transfer id is used once, so repeating a transfer after a
    crash changes nothing. Work on one's own transaction goes through `skerry.island.store.ledger`'s plain functions.
    """

    async def balance(self, account_id: str, currency: str = "USD") -> Money:
        """What the account may still spend; held money is not in it."""
        ...

    async def held(self, account_id: str, currency: str = "USD") -> Money:
        """What is reserved for work that is going on."""
        ...

    async def grant(self, account_id: str, amount: Money, transfer_id: str, memo: str = "grant") -> bool:
        """Credit an account out of `grant`; False when this transfer has already happened."""
        ...

    async def transfer(self, transfer_id: str, entries: dict[str, Money], memo: str = "") -> bool:
        """Post any balanced set of amounts; False when this transfer has already happened.

        Raises:
            Invalid: the amounts of a currency do not sum to zero. Conflict: the id was used for other amounts.
        """
        ...

    async def hold(self, account_id: str, hold_id: str, amount: Money, memo: str = "") -> bool:
        """Reserve money; False when this hold already exists.

        Raises:
            PaymentRequired: the balance does not cover it.
        """
        ...

    async def capture(self, account_id: str, hold_id: str, amount: Money, revenue: str, memo: str = "") -> bool:
        """Settle a hold: `amount` goes to `revenue:<revenue>`, the rest is released; more than held is owed.

        False when the hold was settled before. Raises NotFound for an unknown hold.
        """
        ...

    async def release(self, account_id: str, hold_id: str) -> bool:
        """Settle a hold with nothing; False when it was settled before."""
        ...

    async def postings(self, account_id: str, *, limit: int = 1000, before: int | None = None) -> list[Posting]:
        """The account's lines (balance and held), newest first, with ids below `before`."""
        ...
