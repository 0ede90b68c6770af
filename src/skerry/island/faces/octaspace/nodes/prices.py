"""What a node costs: prices kept in Wei or in dollars, and each in the other's unit (protocol section 5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from skerry.island.faces.octaspace.wire import WEI, octa, usd

_PART_MICROS = 100
"""Micros of a dollar in the unit of `*_usd`, which is 1/10,000 USD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Of a node now.

    Args:
        base: Wei per hour.
        storage: Wei per GB and hour.
        traffic: Wei per GB.
        base_usd, storage_usd, traffic_usd: the same in 1/10,000 USD.
        currency_usd: whether the dollars are what was set.
        market_price: micros of a dollar for one OCTA.
    """

    base: int
    storage: int
    traffic: int
    base_usd: int
    storage_usd: int
    traffic_usd: int
    currency_usd: bool
    market_price: int

    @property
    def market_usd(self) -> float:
        """Dollars for one OCTA."""
        return self.market_price / 1_000_000

    def offer(self) -> dict[str, Any]:
        """The members of a machine on offer; the total is for an hour with one GB stored and one moved."""
        total = self.base + self.storage + self.traffic
        return {
            "total_price_usd": usd(total, self.market_price),
            "total_price_wei": total,
            "total_price_ether": octa(total),
            "base": self.base,
            "storage": self.storage,
            "traffic": self.traffic,
            "base_ether": octa(self.base),
            "storage_ether": octa(self.storage),
            "traffic_ether": octa(self.traffic),
            "base_usd": self.base_usd,
            "storage_usd": self.storage_usd,
            "traffic_usd": self.traffic_usd,
            "currency_usd": self.currency_usd,
            "market_price": self.market_usd,
        }


def prices_of(node: Row[Any], market_price: int) -> Prices:
    """A node's prices at a market price (micros of a dollar for one OCTA)."""
    kept = int(node.base), int(node.storage), int(node.traffic)
    dollars = kept if node.currency_usd else tuple(parts_of(wei, market_price) for wei in kept)
    wei = tuple(wei_of(parts, market_price) for parts in kept) if node.currency_usd else kept
    return Prices(
        base=wei[0],
        storage=wei[1],
        traffic=wei[2],
        base_usd=dollars[0],
        storage_usd=dollars[1],
        traffic_usd=dollars[2],
        currency_usd=bool(node.currency_usd),
        market_price=market_price,
    )


def wei_of(parts: int, market_price: int) -> int:
    """Dollars in Wei, floored.

    Args:
        parts: 1/10,000 USD.
        market_price: micros of a dollar for one OCTA.

    Example:
        >>> wei_of(3400, 104_000)
        3269230769230769230
    """
    return parts * _PART_MICROS * WEI // market_price


def parts_of(wei: int, market_price: int) -> int:
    """Wei in 1/10,000 USD, floored."""
    return wei * market_price // (WEI * _PART_MICROS)
