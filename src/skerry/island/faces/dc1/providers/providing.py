"""What providers do and are asked for: their accounts, their work, their money (sections 3.2, 3.7 and 3.9)."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.admin.admin_providers import AdminProviders
from skerry.island.faces.dc1.admin.admin_withdrawals import AdminWithdrawals
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.money.earnings import Earnings
from skerry.island.faces.dc1.money.payouts import Payouts
from skerry.island.faces.dc1.providers import local_provider
from skerry.island.faces.dc1.providers.absence import Absence
from skerry.island.faces.dc1.providers.benchmarks import Benchmarks
from skerry.island.faces.dc1.providers.discovery import Discovery
from skerry.island.faces.dc1.providers.heartbeats import Heartbeats
from skerry.island.faces.dc1.providers.installers import Installers
from skerry.island.faces.dc1.providers.provider_events import ProviderEvents
from skerry.island.faces.dc1.providers.provider_keys import ProviderKeys
from skerry.island.faces.dc1.providers.provider_polls import ProviderPolls
from skerry.island.faces.dc1.providers.provider_presence import Presence
from skerry.island.faces.dc1.providers.provider_work import ProviderWork
from skerry.island.faces.dc1.providers.providers import Providers
from skerry.island.faces.dc1.providers.verification import Verification
from skerry.island.faces.dc1.routes import Resource
from skerry.island.store.values import micros


class Providing:
    """The providers' nouns, and the watch over providers that fall silent.

    Args:
        engine: open.
        changes: runs transactions over jobs and wakes those who wait for them.
        secret: signs task specs and heartbeats.
    """

    def __init__(self, engine: Engine, changes: Changes, secret: str) -> None:
        self._engine = engine
        self._absence = Absence(engine, changes)
        self._resources: list[Resource] = [
            Providers(engine),
            Presence(engine),
            Heartbeats(engine, secret),
            Discovery(engine),
            ProviderPolls(engine, changes, secret),
            ProviderWork(changes),
            ProviderEvents(engine, changes),
            ProviderKeys(engine),
            Earnings(engine),
            Payouts(engine),
            AdminWithdrawals(engine),
            Verification(engine),
            Benchmarks(engine),
            Installers(),
            AdminProviders(engine),
        ]

    def resources(self) -> Sequence[Resource]:
        """What the network's API has for them."""
        return self._resources

    async def start(self) -> None:
        """Have this machine's own provider, and watch over all."""
        engine = self._engine
        await engine.store.run(
            local_provider.ensure, engine.nodes.local, engine.settings.dc1, now=micros(engine.clock.now())
        )
        self._absence.rounds.start()

    async def stop(self) -> None:
        """Watch no longer."""
        await self._absence.rounds.stop()
