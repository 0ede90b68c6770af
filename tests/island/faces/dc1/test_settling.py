"""How holds are divided."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.dc1.money.settling import divide
from skerry.money import Money
from skerry.networks.dc1.pricing import settle


@given(
    hold=st.integers(0, 1_000_000),
    gpu_ms=st.integers(-5, 100_000_000),
    rate=st.integers(0, 60),
    success=st.booleans(),
)
def test_nothing_is_lost(hold: int, gpu_ms: int, rate: int, success: bool) -> None:
    shares = divide(hold, gpu_ms, rate, success=success)
    assert shares.charged + shares.refund == hold
    assert shares.provider + shares.fee == shares.charged
    assert 0 <= shares.provider <= shares.charged <= hold
    assert shares.charged in (hold, shares.actual) if success else shares.charged == 0


@given(hold=st.integers(0, 100_000), quarters=st.integers(0, 4_000), success=st.booleans())
def test_as_the_client_reckons(hold: int, quarters: int, success: bool) -> None:
    # Quarters of a second at a quarter of a halala are exact in binary floating point too.
    mine = divide(hold, quarters * 250, 15, success=success)
    theirs = settle(Money(hold, "SAR"), quarters / 4, 0.25, success=success)
    assert (mine.charged, mine.refund, mine.provider, mine.fee) == (
        theirs.charged.amount,
        theirs.refund.amount,
        theirs.provider.amount,
        theirs.fee.amount,
    )
