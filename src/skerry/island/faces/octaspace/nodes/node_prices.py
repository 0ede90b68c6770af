"""An operator's prices for a node (protocol sections 3.4 and 5.6)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.nodes.prices import prices_of
from skerry.island.faces.octaspace.tables import nodes
from skerry.island.faces.octaspace.validation import Form
from skerry.island.ground.answers import Answer

NAMES = ("base", "storage", "traffic")
MOST_WEI = 10**30
MOST_DOLLARS = 10**10
"""In 1/10,000 USD: a million dollars."""


class NodePrices:
    """Changes prices; sessions that go on keep those they began with.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="PATCH",
                path="/nodes/{node_id}/prices",
                handler=self.update,
                summary="Change a node's prices: whole numbers of Wei, or of 1/10,000 USD with `currency_usd`",
                answer="Nothing",
                body="UpdatePrices",
                needs_body=True,
                changes=True,
                faults=(404, 422),
            )
        ]

    async def update(self, call: Call, node_id: str) -> Answer:
        """PATCH /nodes/{id}/prices."""
        form = Form(call.json)
        dollars = form.flag("currency_usd", False)
        most = MOST_DOLLARS if dollars else MOST_WEI
        wanted = {name: form.whole(name, most=most) for name in NAMES if form.has(name)}
        if wanted or form.has("currency_usd"):
            await self._engine.store.run(self._change, call.account_id, node_id, wanted, dollars, call.now)
        else:
            await self._engine.store.read(node_rows.own, self._engine, call.account_id, node_id, acts=False)
        return Answer({})

    def _change(
        self, connection: Connection, account_id: str, node_id: str, wanted: dict[str, int], dollars: bool, now: int
    ) -> None:
        node = node_rows.own(connection, self._engine, account_id, node_id, acts=False)
        prices = {**self._kept(node, dollars), **wanted}
        connection.execute(
            nodes.update()
            .where(nodes.c.id == node.id)
            .values(
                **{name: str(prices[name]) for name in NAMES},
                currency_usd=int(dollars),
                updated_at=now,
            )
        )

    def _kept(self, node: Row[Any], dollars: bool) -> dict[str, int]:
        """Prices as they are, in the unit that all of a node's prices will have."""
        found = prices_of(node, self._engine.settings.octaspace.market_price.amount)
        return {name: getattr(found, f"{name}_usd" if dollars else name) for name in NAMES}
