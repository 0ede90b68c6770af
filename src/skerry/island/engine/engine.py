"""The engine: every service over one store, one driver and one clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from skerry.island.clock import Clock, SystemClock
from skerry.island.engine import nodes
from skerry.island.engine.accounts import Accounts
from skerry.island.engine.activity import Activity
from skerry.island.engine.capacity import Capacity
from skerry.island.engine.core import Core
from skerry.island.engine.credentials import Credentials
from skerry.island.engine.dispatch import Dispatcher
from skerry.island.engine.errors import Unavailable
from skerry.island.engine.idempotency import Idempotency
from skerry.island.engine.leases import Leases
from skerry.island.engine.ledger import Ledger
from skerry.island.engine.lending import Lending
from skerry.island.engine.nodes import Nodes
from skerry.island.engine.ports import Ports
from skerry.island.engine.reconcile import reconcile
from skerry.island.engine.removals import Removals
from skerry.island.engine.runs import Runs
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.engine.sessions import Sessions
from skerry.island.engine.ssh import Ssh
from skerry.island.engine.states import SessionStates
from skerry.island.engine.terminals import Terminals
from skerry.island.engine.traffic import Traffic
from skerry.island.engine.upkeep import Upkeep
from skerry.island.engine.vault import Vault
from skerry.island.objects.blobs import DirectoryBlobs
from skerry.island.sandbox.driver import Driver
from skerry.island.settings import Settings
from skerry.island.store import sandboxes as sandbox_rows
from skerry.island.store.layout import prepare
from skerry.island.store.store import Store

if TYPE_CHECKING:
    from skerry.island.sandbox.egress.proxy import EgressProxy

log = logging.getLogger("skerry.engine")

_GRACE_SECONDS = 2.0
_STOP_SECONDS = 30.0


class Engine:
    """Open with `await Engine.open(settings)`, end with `await engine.close()`.

    Attributes:
        account_id: the first account, `local`.
        credentials: plain keys of the first account by name, as in `credentials.json`.
    """

    def __init__(self, core: Core, images: Any, egress: EgressProxy | None, credentials: Credentials) -> None:
        self._core = core
        self._egress = egress
        self.settings = core.settings
        self.clock = core.clock
        self.store = core.store
        self.driver = core.driver
        self.images = images
        self.account_id = credentials.account
        self.credentials = credentials.keys
        self._credentials = credentials
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self.vault = Vault(core.settings.data_dir)
        self.blobs = DirectoryBlobs(core.settings.data_dir / "objects")
        self.accounts = Accounts(core.store, core.clock)
        self.ledger = Ledger(core.store, core.clock)
        self.idempotency = Idempotency(core.store, core.clock)
        self.nodes = Nodes(core.node)
        self.capacity = Capacity(core.node, core.settings.cpu_floor_millis)
        self.lending = Lending(core, self.capacity, self.account_id)
        self.leases = Leases(core)
        self._states = SessionStates(core)
        self._activity = Activity(core.clock)
        self._dispatcher = Dispatcher(core, self.leases, self._states, self._activity)
        self._terminals = Terminals(core, self.leases, self._states, self._activity)
        self.sandboxes = Sandboxes(core, self.nodes, self._states, self._activity, self._dispatcher, self._terminals)
        self.removals = Removals(core, self.sandboxes)
        self.sessions = Sessions(core, self.sandboxes, self._states, self._dispatcher)
        self.runs = Runs(core, self.sandboxes, self._states, self.leases, self._dispatcher)
        self.ssh = Ssh(core, self.sandboxes)
        self.traffic = Traffic(egress, core.clock)
        self.ports = Ports(core, self.sandboxes, self.ssh, self.traffic)
        self.upkeep = Upkeep(
            core, self.leases, self._dispatcher, self._terminals, self._activity, self.removals, self.lending
        )

    @classmethod
    async def open(
        cls, settings: Settings, *, clock: Clock | None = None, driver: Driver | None = None, images: Any = None
    ) -> Engine:
        """Prepare the data directory, migrate, make the first account, start the driver, find what was going on.

        Args:
            settings: the owner's choices.
            clock: the machine's own by default.
            driver: chosen by `settings.driver` by default.
            images: those in the data directory by default.

        Raises:
            StoreError: the data directory or database cannot be used; the message says what to do.
            SandboxError: no driver works on this machine.
        """
        await asyncio.to_thread(prepare, settings.data_dir)
        url = settings.database_url or f"sqlite:///{settings.data_dir / 'island.db'}"
        store = await Store.open(url)
        egress: EgressProxy | None = None
        chosen: Driver | None = None
        engine: Engine | None = None
        try:
            time = clock or SystemClock()
            if images is None:
                images = await asyncio.to_thread(_local_images, settings, store)
            if driver is None:
                used, egress = await asyncio.to_thread(_local_driver, settings, images)
            else:
                used = driver
            node = await asyncio.to_thread(nodes.detect, settings)
            core = Core(settings, time, store, used, images, node)
            await store.run(sandbox_rows.put_node, node)
            credentials = await asyncio.to_thread(Credentials, settings.data_dir)
            await Accounts(store, time).first_run(credentials, settings.opening_balance)
            engine = cls(core, images, egress, credentials)
            used.on_lost(_log_lost)
            chosen = used
            await used.start()
            await engine.lending.sweep()
            await reconcile(core, engine.leases, engine._dispatcher, engine._activity)
            # The lists of addresses that ports have count at the SSH server's entrance too.
            await engine.ports.start()
            await engine.ssh.start()
            engine.upkeep.start()
            return engine
        except BaseException:
            if engine is not None:
                await engine.ports.close()
                await engine.ssh.close()
            if chosen is not None:
                await chosen.stop(kill=False)
            if egress is not None:
                await egress.aclose()
            await store.close()
            raise

    async def bearer_key(self, network: str, prefix: str, length: int | None = None) -> str:
        """The first account's bearer key of a network, made unless there is one; for a face that starts.

        Args:
            network: whose keys these are.
            prefix: how they begin.
            length: how many characters they have, where that matters.
        """
        self.accounts.declare(network, prefix, length)
        return await self.accounts.first_key(self._credentials, network)

    async def keep_credentials(self, keys: Mapping[str, str]) -> None:
        """Write keys of the first account down, under names of the caller's, before they are accepted."""
        await self._credentials.keep(keys)

    def on_close(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call back in an orderly `close`, once no command runs any more; what it raises is logged."""
        self._closers.append(callback)

    @property
    def connections(self) -> int:
        """Connections into sandboxes that are open now, through published ports or the SSH server."""
        return self.ports.connections + self.ssh.connections

    async def close(self) -> None:
        """Stop gracefully: accept nothing, let foreground runs end within `settings.drain`, end every agent.

        Runs of durable sandboxes are left to the next start; others that go on are ended, with cause `stopped`.
        """
        if self._core.closing:
            return
        self._core.closing = True
        await self.upkeep.stop()
        await self.ports.close()
        await self.ssh.close()
        foreground = [job.done for job in self._dispatcher.jobs.values() if not job.record.background]
        if foreground and self.settings.drain > 0:
            await asyncio.wait(foreground, timeout=self.settings.drain)
        self._dispatcher.hold()
        ending = [job for job in self._dispatcher.jobs.values() if not job.sandbox.durable and job.started]
        stopping = asyncio.ensure_future(self._dispatcher.stop_all(ending, grace=_GRACE_SECONDS, cause="stopped"))
        hanging_up = asyncio.ensure_future(self._terminals.hang_up())
        await asyncio.wait((stopping, hanging_up), timeout=_STOP_SECONDS)
        await self._let_go()
        for closer in reversed(self._closers):
            try:
                await closer()
            except Exception:
                # One helper that will not end must not keep the others, nor the sandboxes.
                log.exception("a helper did not end as it should")
        await self.driver.stop(kill=True)
        if self._egress is not None:
            await self._egress.aclose()
        await self.store.close()

    async def crash(self) -> None:
        """For tests: forget everything at once as SIGKILL would, leaving agents to themselves."""
        self._core.closing = True
        await self.upkeep.stop()
        await self.ssh.abandon()
        await self.ports.close()
        await self._let_go()
        await self.store.abandon()
        await self.driver.stop(kill=False)
        if self._egress is not None:
            await self._egress.aclose()

    async def _let_go(self) -> None:
        tasks = [
            *self._dispatcher.abandon(Unavailable("the island is stopping")),
            *self._terminals.abandon(),
        ]
        await asyncio.gather(*tasks, return_exceptions=True)


def _local_images(settings: Settings, store: Store) -> Any:
    from skerry.island.images.store import ImageStore

    return ImageStore(
        settings.data_dir / "images",
        in_use=lambda image: store.read_here(sandbox_rows.image_in_use, image),
        private_ok=settings.egress_private,
    )


def _local_driver(settings: Settings, images: Any) -> tuple[Driver, EgressProxy]:
    from skerry.island.sandbox.egress.proxy import EgressProxy
    from skerry.island.sandbox.select import choose_driver

    egress = EgressProxy(private_ok=settings.egress_private)
    return choose_driver(settings, settings.data_dir, images, egress), egress


async def _log_lost(sandbox_id: str, cause: str) -> None:
    log.warning("sandbox %s was lost: %s", sandbox_id, cause)
