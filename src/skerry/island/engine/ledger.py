"""Money: a double-entry ledger in integers, whose transfers happen once or not at all."""

from __future__ import annotations

from sqlalchemy import Connection

from skerry.island.clock import Clock
from skerry.island.engine.errors import Invalid
from skerry.island.engine.records import Posting
from skerry.island.store import ledger as rows
from skerry.island.store.store import Store
from skerry.island.store.values import micros
from skerry.money import Money


class Ledger:
    """Transfers between named accounts: `account:<id>`, `account:<id>:held`, `revenue:<node>`, `grant`.

    The postings of a transfer sum to zero per currency; a transfer id is used once, so repeating a transfer after a
    crash changes nothing. Work on one's own transaction goes through `skerry.island.store.ledger`'s plain functions.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def balance(self, account_id: str, currency: str = "USD") -> Money:
        """What the account may still spend; held money is not in it."""
        return Money(await self._store.read(rows.balance, rows.owner(account_id), currency), currency)

    async def held(self, account_id: str, currency: str = "USD") -> Money:
        """What is reserved for work that is going on."""
        return Money(await self._store.read(rows.balance, rows.holding(account_id), currency), currency)

    async def grant(self, account_id: str, amount: Money, transfer_id: str, memo: str = "grant") -> bool:
        """Credit an account out of `grant`; False when this transfer has already happened.

        Raises:
            Invalid: nothing or less is granted. Conflict: the id stands for another amount.
        """
        if amount.amount <= 0:
            raise Invalid("a grant is more than nothing")
        return await self.transfer(f"grant:{transfer_id}", {"grant": -amount, rows.owner(account_id): amount}, memo)

    async def transfer(self, transfer_id: str, entries: dict[str, Money], memo: str = "") -> bool:
        """Post any balanced set of amounts; False when this transfer has already happened.

        Raises:
            Invalid: the amounts of a currency do not sum to zero. Conflict: the id was used for other amounts.
        """
        return await self._store.run(rows.transfer, transfer_id, entries, memo=memo, now=self._now())

    async def hold(self, account_id: str, hold_id: str, amount: Money, memo: str = "") -> bool:
        """Reserve money; False when this hold already exists.

        Raises:
            PaymentRequired: the balance does not cover it.
        """
        return await self._store.run(rows.hold, account_id, hold_id, amount, memo=memo, now=self._now())

    async def capture(self, account_id: str, hold_id: str, amount: Money, revenue: str, memo: str = "") -> bool:
        """Settle a hold: `amount` goes to `revenue:<revenue>`, the rest is released; more than held is owed.

        False when the hold was settled before.

        Raises:
            NotFound: there is no such hold.
        """
        return await self._store.run(_capture, account_id, hold_id, amount, revenue, memo, self._now())

    async def release(self, account_id: str, hold_id: str) -> bool:
        """Settle a hold with nothing; False when it was settled before. Raises NotFound as `capture`."""
        return await self._store.run(_capture, account_id, hold_id, None, "", "release", self._now())

    async def postings(self, account_id: str, *, limit: int = 1000, before: int | None = None) -> list[Posting]:
        """The account's lines (balance and held), newest first, with ids below `before`."""
        return await self._store.read(rows.lines, account_id, limit=limit, before=before)

    async def audit(self) -> list[str]:
        """What is wrong with the books, in words; empty when every transfer balances and every sum is right."""
        return await self._store.read(rows.imbalances)

    def _now(self) -> int:
        return micros(self._clock.now())


def _capture(
    connection: Connection, account_id: str, hold_id: str, amount: Money | None, revenue: str, memo: str, now: int
) -> bool:
    held = rows.held_under(connection, account_id, hold_id)
    if rows.settled(connection, hold_id):
        return False
    taken = Money(0, held.currency) if amount is None else amount
    return rows.settle(connection, account_id, hold_id, held, taken, revenue=revenue, memo=memo, now=now)
