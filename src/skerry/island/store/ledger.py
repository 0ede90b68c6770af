"""Rows of the ledger. Every function works inside the caller's transaction and may be repeated after a crash.

Amounts are whole numbers of a currency's smallest unit. `balances` holds the running sum of each account's postings
and is changed in the same transaction, accounts in the order of their names so that writers cannot block each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, or_, select

from skerry.island.engine.errors import Conflict, Invalid, NotFound, PaymentRequired
from skerry.island.engine.records import Posting
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.tables import balances, postings
from skerry.island.store.values import moment
from skerry.money import Money

_known = Prepared(
    select(postings.c.account, postings.c.currency, postings.c.amount).where(
        postings.c.transfer_id == bindparam("transfer_id")
    )
)
# No transfer of ours touches more than three accounts; a wider one asks again.
_AT_ONCE = 3
_balances = Prepared(
    select(balances.c.account, balances.c.amount)
    .where(
        balances.c.account.in_([bindparam(f"account{number}") for number in range(_AT_ONCE)]),
        balances.c.currency == bindparam("currency"),
    )
    .order_by(balances.c.account)
    .with_for_update()
)
_peek = Prepared(
    select(balances.c.amount).where(
        balances.c.account == bindparam("account"), balances.c.currency == bindparam("currency")
    )
)
_post = insertion(postings, "id")
_open = insertion(balances)
_change = Prepared(
    balances.update()
    .where(balances.c.account == bindparam("of_account"), balances.c.currency == bindparam("of_currency"))
    .values(amount=bindparam("new_amount"))
)


def owner(account_id: str) -> str:
    """The ledger account of what somebody may spend."""
    return f"account:{account_id}"


def holding(account_id: str) -> str:
    """The ledger account of what is reserved for somebody's work."""
    return f"account:{account_id}:held"


def balance(connection: Connection, account: str, currency: str) -> int:
    """The sum of an account's postings."""
    found = _peek(connection, account=account, currency=currency).scalar()
    return 0 if found is None else int(found)


def transfer(connection: Connection, transfer_id: str, entries: Mapping[str, Money], *, memo: str, now: int) -> bool:
    """Post balanced amounts; False when exactly this has already been posted. Zero amounts leave no line.

    Raises:
        Invalid: a currency does not sum to zero. Conflict: the id stands for other amounts.
    """
    return _transfer(connection, transfer_id, entries, memo=memo, now=now, covered=None)


def hold(connection: Connection, account_id: str, hold_id: str, amount: Money, *, memo: str, now: int) -> bool:
    """Move an amount from an account to its holding; False when this hold exists.

    Raises:
        PaymentRequired: the balance does not cover it.
    """
    if amount.amount < 0:
        raise Invalid("a hold cannot be negative")
    entries = {owner(account_id): -amount, holding(account_id): amount}
    return _transfer(connection, f"hold:{hold_id}", entries, memo=memo, now=now, covered=owner(account_id))


def settle(
    connection: Connection,
    account_id: str,
    transfer_id: str,
    held: Money,
    amount: Money,
    *,
    revenue: str,
    memo: str,
    now: int,
) -> bool:
    """End holds worth `held`: `amount` becomes revenue, the rest returns; what exceeds `held` is owed.

    False when this settlement has already happened.
    """
    if amount.amount < 0:
        raise Invalid("a capture cannot be negative")
    entries = {holding(account_id): -held, owner(account_id): held - amount, f"revenue:{revenue}": amount}
    return _transfer(connection, f"settle:{transfer_id}", entries, memo=memo, now=now, covered=None)


def held_under(connection: Connection, account_id: str, hold_id: str) -> Money:
    """What a hold reserved.

    Raises:
        NotFound: there is no such hold.
    """
    for account, currency, amount in _known(connection, transfer_id=f"hold:{hold_id}"):
        if account == holding(account_id):
            return Money(int(amount), currency)
    raise NotFound(f"there is no hold {hold_id}")


def settled(connection: Connection, transfer_id: str) -> bool:
    """Whether a settlement has happened."""
    return _known(connection, transfer_id=f"settle:{transfer_id}").first() is not None


def earned(connection: Connection, transfer_id: str, currency: str) -> int:
    """What a settlement turned into revenue; nothing when it has not happened."""
    entries = _known(connection, transfer_id=f"settle:{transfer_id}")
    return sum(int(amount) for account, unit, amount in entries if account.startswith("revenue:") and unit == currency)


def lines(connection: Connection, account_id: str, *, limit: int, before: int | None) -> list[Posting]:
    """Postings of an account and its holding, newest first."""
    query = (
        select(postings)
        .where(or_(postings.c.account == owner(account_id), postings.c.account == holding(account_id)))
        .order_by(postings.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(postings.c.id < before)
    return [
        Posting(
            id=row.id,
            transfer_id=row.transfer_id,
            account=row.account,
            amount=Money(int(row.amount), row.currency),
            memo=row.memo,
            created_at=moment(row.created_at),
        )
        for row in connection.execute(query)
    ]


def imbalances(connection: Connection) -> list[str]:
    """What is wrong with the ledger, in words; empty when every transfer sums to zero and every balance is right."""
    transfers: dict[tuple[str, str], int] = {}
    sums: dict[tuple[str, str], int] = {}
    for row in connection.execute(select(postings)):
        transfers[row.transfer_id, row.currency] = transfers.get((row.transfer_id, row.currency), 0) + int(row.amount)
        sums[row.account, row.currency] = sums.get((row.account, row.currency), 0) + int(row.amount)
    kept = {(row.account, row.currency): int(row.amount) for row in connection.execute(select(balances))}
    wrong = [f"transfer {name} is off by {rest} {unit}" for (name, unit), rest in transfers.items() if rest]
    wrong += [
        f"balance of {account} is {kept.get((account, unit), 0)}, its postings sum to {sums.get((account, unit), 0)}"
        for account, unit in sorted(kept.keys() | sums.keys())
        if kept.get((account, unit), 0) != sums.get((account, unit), 0)
    ]
    return wrong


def _transfer(
    connection: Connection, transfer_id: str, entries: Mapping[str, Money], *, memo: str, now: int, covered: str | None
) -> bool:
    totals: dict[str, int] = {}
    moving: dict[tuple[str, str], int] = {}
    for account, money in sorted(entries.items()):
        totals[money.currency] = totals.get(money.currency, 0) + money.amount
        if money.amount:
            moving[money.currency, account] = money.amount
    if any(totals.values()):
        raise Invalid(f"transfer {transfer_id} does not balance: {totals}")
    earlier = {(unit, account): int(amount) for account, unit, amount in _known(connection, transfer_id=transfer_id)}
    if earlier:
        if earlier != moving:
            raise Conflict(f"transfer {transfer_id} has already happened with other amounts")
        return False
    if not moving:
        return True
    changes = []
    lines = []
    before = _present(connection, moving)
    for (currency, account), amount in moving.items():
        found = before.get((currency, account))
        if found is None:
            _open(connection, account=account, currency=currency, amount="0")
        after = (found or 0) + amount
        if account == covered and after < 0:
            has, needs = Money(found or 0, currency), Money(-amount, currency)
            raise PaymentRequired(f"the balance of {has} does not cover {needs}; add credit")
        changes.append({"of_account": account, "of_currency": currency, "new_amount": str(after)})
        lines.append(
            {
                "transfer_id": transfer_id,
                "account": account,
                "currency": currency,
                "amount": str(amount),
                "memo": memo[:200],
                "created_at": now,
            }
        )
    _change.many(connection, changes)
    _post.many(connection, lines)
    return True


def _present(connection: Connection, moving: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Balances by currency and account before a transfer, locked in the order of the accounts' names."""
    wanted: dict[str, list[str]] = {}
    for currency, account in moving:
        wanted.setdefault(currency, []).append(account)
    found: dict[tuple[str, str], int] = {}
    for currency in sorted(wanted):
        names = sorted(wanted[currency])
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            three = {"account0": some[0], "account1": some[len(some) // 2], "account2": some[-1]}
            for account, amount in _balances(connection, currency=currency, **three):
                found[currency, account] = int(amount)
    return found
