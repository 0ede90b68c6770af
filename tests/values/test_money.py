"""Money is exact: no operation loses or invents a unit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import InvalidRequestError
from skerry.money import DIGITS, Money

currencies = st.sampled_from(sorted(DIGITS))
amounts = st.integers(-(10**30), 10**30)


@given(amounts, currencies)
def test_text_reads_back(amount: int, currency: str) -> None:
    money = Money(amount, currency)
    number, code = str(money).split()
    assert Money.of(number, code) == money
    assert Money.of(money.decimal, currency) == money


@given(amounts, amounts, currencies)
def test_sums_are_sums_of_units(one: int, other: int, currency: str) -> None:
    total = Money(one, currency) + Money(other, currency)
    assert total.amount == one + other
    assert total - Money(other, currency) == Money(one, currency)
    assert (Money(one, currency) < Money(other, currency)) == (one < other)
    assert (Money(one, currency) >= Money(other, currency)) == (one >= other)


@given(amounts, st.integers(-1000, 1000))
def test_multiples(amount: int, count: int) -> None:
    assert (Money(amount, "USD") * count).amount == amount * count
    assert -Money(amount, "USD") == Money(amount, "USD") * -1
    assert bool(Money(amount, "USD")) == (amount != 0)


@pytest.mark.parametrize("text", ["0.0000001", "abc", "", "1e-9", "NaN", "Infinity"])
def test_what_cannot_be_held_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        Money.of(text, "USD")


def test_kinds_do_not_mix() -> None:
    with pytest.raises(InvalidRequestError, match="cannot combine"):
        Money(1, "USD") + Money(1, "SAR")
    with pytest.raises(InvalidRequestError, match="unknown currency"):
        Money(1, "ABC")
    with pytest.raises(InvalidRequestError, match="unknown currency"):
        Money.of("1", "ABC")
    with pytest.raises(InvalidRequestError):
        Money(1.5, "USD")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError):
        Money(1, "USD") * 1.5  # type: ignore[operator]
    assert Money.of(Decimal("1.50"), "SAR") == Money(150, "SAR")
