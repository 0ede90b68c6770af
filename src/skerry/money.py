"""Exact money: an integer count of a currency's smallest unit, never a float.

The unit of each currency is fixed here once: US dollars are counted in micros (1 USD = 1,000,000),
Saudi riyals in halala (1 SAR = 100), ether and OCTA in wei, USDC in its on-chain micros.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext

from skerry.errors import InvalidRequestError

DIGITS = {"USD": 6, "SAR": 2, "ETH": 18, "USDC": 6, "OCTA": 18}


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An exact amount in the smallest unit of one currency.

    Args:
        amount: integer count of the smallest unit (micros for USD and USDC, halala for SAR, wei for ETH and OCTA).
        currency: upper-case code, one of the keys of `DIGITS`.

    Example:
        >>> str(Money.of("0.25", "USD") + Money(5, "USD"))
        '0.250005 USD'
    """

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if isinstance(self.amount, bool) or not isinstance(self.amount, int):
            raise InvalidRequestError(f"money must be an integer of the smallest unit, not {self.amount!r}")
        if self.currency not in DIGITS:
            known = ", ".join(sorted(DIGITS))
            raise InvalidRequestError(f"unknown currency {self.currency!r}; use one of {known}")

    @classmethod
    def of(cls, text: str | int | Decimal, currency: str) -> Money:
        """Parse a decimal number of whole currency units, refusing digits the currency cannot hold."""
        if currency not in DIGITS:
            raise InvalidRequestError(f"unknown currency {currency!r}; use one of {', '.join(sorted(DIGITS))}")
        try:
            with localcontext(prec=100):
                scaled = Decimal(text).scaleb(DIGITS[currency])
                whole = int(scaled)
                exact = scaled == whole
        except (ArithmeticError, ValueError, TypeError):
            raise InvalidRequestError(f"{text!r} is not an amount of {currency}") from None
        if not exact:
            raise InvalidRequestError(f"{text!r} has more than {DIGITS[currency]} decimal places for {currency}")
        return cls(whole, currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in whole currency units, exact."""
        with localcontext(prec=100):
            return Decimal(self.amount).scaleb(-DIGITS[self.currency])

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise InvalidRequestError(f"cannot combine {self.currency} with {other.currency}; convert first")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __mul__(self, count: int) -> Money:
        if isinstance(count, bool) or not isinstance(count, int):
            raise InvalidRequestError("money is multiplied by integers only")
        return Money(self.amount * count, self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same(other)
        return self.amount < other.amount

    def __le__(self, other: Money) -> bool:
        self._same(other)
        return self.amount <= other.amount

    def __gt__(self, other: Money) -> bool:
        return other < self

    def __ge__(self, other: Money) -> bool:
        return other <= self

    def __bool__(self) -> bool:
        return self.amount != 0

    def __str__(self) -> str:
        return f"{self.decimal:f} {self.currency}"
