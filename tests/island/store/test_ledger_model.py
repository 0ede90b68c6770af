"""Any history of transfers, holds, captures, repetitions and crashes keeps the books right and bills once."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from sqlalchemy import Connection, Engine, create_engine, event

from skerry.island.engine.errors import Conflict, Invalid, NotFound, PaymentRequired
from skerry.island.store import ledger, migrate
from skerry.money import Money

UNITS = ("USD", "ETH")
AMOUNTS = st.one_of(st.integers(0, 1000), st.integers(0, 10**30))


class Crash(BaseException):
    """The process dies here."""


class Books(RuleBasedStateMachine):
    holds = Bundle("holds")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.engine: Engine = create_engine(f"sqlite:///{Path(self.folder.name) / 'x.db'}")
        migrate.upgrade(self.engine)
        self.countdown: int | None = None
        event.listen(self.engine, "before_cursor_execute", self._statement)
        self.free = dict.fromkeys(UNITS, 0)
        self.held = dict.fromkeys(UNITS, 0)
        self.revenue = dict.fromkeys(UNITS, 0)
        self.number = 0

    def _statement(self, *_: object) -> None:
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                self.countdown = None
                raise Crash

    def _run(self, work, *arguments: object, crash: int | None, **named: object):
        """One transaction, which may first be cut short by a crash and then be repeated, as a restart does."""
        if crash is not None:
            self.countdown = crash
            try:
                with suppress(Crash), self.engine.begin() as connection:
                    work(connection, *arguments, **named)
            finally:
                self.countdown = None
        with self.engine.begin() as connection:
            return work(connection, *arguments, **named)

    @rule(
        amount=AMOUNTS.filter(bool),
        unit=st.sampled_from(UNITS),
        crash=st.none() | st.integers(0, 12),
        again=st.booleans(),
    )
    def grant(self, amount: int, unit: str, crash: int | None, again: bool) -> None:
        self.number += 1
        money = Money(amount, unit)
        entries = {"grant": -money, ledger.owner("a"): money}
        name = f"grant:{self.number}"
        for _ in range(2 if again else 1):
            self._run(ledger.transfer, name, entries, memo="", now=1, crash=crash)
        self.free[unit] += amount

    @rule(
        target=holds,
        amount=AMOUNTS,
        unit=st.sampled_from(UNITS),
        crash=st.none() | st.integers(0, 12),
        again=st.booleans(),
    )
    def hold(self, amount: int, unit: str, crash: int | None, again: bool):
        self.number += 1
        name = f"h{self.number}"
        try:
            self._run(ledger.hold, "a", name, Money(amount, unit), memo="", now=1, crash=crash)
        except PaymentRequired:
            assert amount > self.free[unit]
            return (name, unit, None)
        # Nothing is held of one who owes, too: it moves no money.
        assert amount <= max(0, self.free[unit])
        self.free[unit] -= amount
        self.held[unit] += amount
        if again:
            repeated = self._run(ledger.hold, "a", name, Money(amount, unit), memo="", now=2, crash=None)
            assert repeated is (amount == 0)
            if amount:
                with pytest.raises(Conflict):
                    self._run(ledger.hold, "a", name, Money(amount + 1, unit), memo="", now=2, crash=None)
        return (name, unit, amount)

    @rule(hold=consumes(holds), used=AMOUNTS, crash=st.none() | st.integers(0, 14), again=st.booleans())
    def settle(self, hold, used: int, crash: int | None, again: bool) -> None:
        name, unit, amount = hold
        if amount is None:
            with self.engine.begin() as connection, pytest.raises(NotFound):
                ledger.held_under(connection, "a", name)
            return

        def capture(connection: Connection) -> bool:
            held = Money(0, unit) if amount == 0 else ledger.held_under(connection, "a", name)
            if ledger.settled(connection, name):
                return False
            return ledger.settle(connection, "a", name, held, Money(used, unit), revenue="n", memo="", now=3)

        self._run(capture, crash=crash)
        if again and (used or amount):
            assert self._run(capture, crash=None) is False
        self.held[unit] -= amount
        self.free[unit] += amount - used
        self.revenue[unit] += used

    @rule(amount=AMOUNTS.filter(bool))
    def unbalanced(self, amount: int) -> None:
        with self.engine.begin() as connection, pytest.raises(Invalid):
            ledger.transfer(connection, "bad", {"x": Money(amount, "USD"), "y": Money(-amount, "ETH")}, memo="", now=1)

    @invariant()
    def books_are_right(self) -> None:
        if not hasattr(self, "engine"):
            return
        with self.engine.connect() as connection:
            assert ledger.imbalances(connection) == []
            for unit in UNITS:
                assert ledger.balance(connection, ledger.owner("a"), unit) == self.free[unit]
                assert ledger.balance(connection, ledger.holding("a"), unit) == self.held[unit]
                assert ledger.balance(connection, "revenue:n", unit) == self.revenue[unit]

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()
            self.folder.cleanup()


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
