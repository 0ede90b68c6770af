"""The engine: every service over one store, one driver and one clock."""

from __future__ import annotations

from typing import Any

from skerry.island.clock import Clock
from skerry.island.engine.accounts import Accounts
from skerry.island.engine.idempotency import Idempotency
from skerry.island.engine.ledger import Ledger
from skerry.island.engine.nodes import Nodes
from skerry.island.engine.runs import Runs
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.engine.sessions import Sessions
from skerry.island.objects.blobs import Blobs
from skerry.island.sandbox.driver import Driver
from skerry.island.settings import Settings
from skerry.island.store.store import Store


class Engine:
    """Open with `await Engine.open(settings)`, end with `await engine.close()`.

    Attributes:
        account_id: the first account, `local`.
        credentials: plain keys of the first account by network, as in `credentials.json`.
    """

    settings: Settings
    clock: Clock
    store: Store
    blobs: Blobs
    driver: Driver
    images: Any
    accounts: Accounts
    ledger: Ledger
    nodes: Nodes
    sandboxes: Sandboxes
    sessions: Sessions
    runs: Runs
    idempotency: Idempotency

    @classmethod
    async def open(
        cls, settings: Settings, *, clock: Clock | None = None, driver: Driver | None = None, images: Any = None
    ) -> Engine:
        """Prepare the data directory, migrate, make the first account, start the driver, find what was going on.

        Raises:
            StoreError: the data directory or database cannot be used; the message says what to do.
        """
        ...

    async def close(self) -> None:
        """Stop gracefully: accept nothing, let foreground runs end within `settings.drain`, end every agent."""
        ...

    async def crash(self) -> None:
        """For tests: forget everything at once as SIGKILL would, leaving agents to themselves."""
        ...
