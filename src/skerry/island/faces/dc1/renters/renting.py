"""Everything that renters and the operator ask of accounts and money, put together."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.admin.admin_finance import AdminFinance
from skerry.island.faces.dc1.admin.admin_images import AdminImages
from skerry.island.faces.dc1.admin.admin_overview import AdminOverview
from skerry.island.faces.dc1.admin.admin_renters import AdminRenters
from skerry.island.faces.dc1.money.payments import Payments
from skerry.island.faces.dc1.money.spending import Spending
from skerry.island.faces.dc1.money.statements import Statements
from skerry.island.faces.dc1.renters.deliveries import Deliveries
from skerry.island.faces.dc1.renters.farewells import Farewells
from skerry.island.faces.dc1.renters.logins import Logins
from skerry.island.faces.dc1.renters.presets import Presets
from skerry.island.faces.dc1.renters.registration import Registration
from skerry.island.faces.dc1.renters.renter_jobs import RenterJobs
from skerry.island.faces.dc1.renters.renter_keys import RenterKeys
from skerry.island.faces.dc1.renters.renter_webhooks import RenterWebhooks
from skerry.island.faces.dc1.renters.renters import Renters
from skerry.island.faces.dc1.renters.webhook_urls import WebhookUrls
from skerry.island.faces.dc1.routes import Resource


class Renting:
    """The renters' side of the network.

    Args:
        engine: open.

    Attributes:
        urls: judges addresses of callbacks.
        deliveries: calls renters' servers.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.urls = WebhookUrls(private_ok=engine.settings.dc1.allow_private_webhooks)
        self.deliveries = Deliveries(engine, self.urls)

    def resources(self) -> Sequence[Resource]:
        """The nouns."""
        engine = self._engine
        return [
            Registration(engine),
            Renters(engine),
            Logins(),
            RenterKeys(engine),
            RenterWebhooks(engine, self.urls),
            RenterJobs(engine),
            Spending(engine),
            Statements(engine),
            Payments(engine),
            Presets(engine),
            Farewells(engine),
            AdminOverview(engine),
            AdminRenters(engine),
            AdminFinance(engine),
            AdminImages(engine),
        ]

    async def start(self) -> None:
        """Take up what must be told to renters' servers."""
        await self.deliveries.start()

    async def stop(self) -> None:
        """Let go of it; what was not told is told later."""
        await self.deliveries.stop()
