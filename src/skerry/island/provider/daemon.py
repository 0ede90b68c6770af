"""An outside provider: an engine of its own, and the loop over a platform's public API, until it is told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from skerry.errors import ConfigurationError
from skerry.island.engine.engine import Engine
from skerry.island.ground.waiting import unless
from skerry.island.lock import DataDirectoryLock
from skerry.island.provider import machine
from skerry.island.provider.account import DIRECTORY, Account
from skerry.island.provider.executor import Executor, ExecutorOptions
from skerry.island.provider.journal import Journal
from skerry.island.provider.language import PORTS, ModelServers, ModelsHere
from skerry.island.provider.loop import LoopOptions, ProviderLoop
from skerry.island.provider.params import IMAGE_MODELS, LLM_MODELS, SERVE_MODELS
from skerry.island.provider.platform import PlatformError, PlatformUnavailable
from skerry.island.provider.records import HostStatus
from skerry.island.provider.remote import RemotePlatform
from skerry.island.settings import Settings
from skerry.island.workers.image.workers import DiffusionWorkers
from skerry.island.workers.llm.models import ModelStore
from skerry.island.workers.llm.settings import LlmSettings
from skerry.island.workers.llm.workers import LlmWorkers
from skerry.networks.dc1 import AsyncDC1

DRAIN_SECONDS = 30.0
_START_PAUSE = 5.0

log = logging.getLogger("skerry.provider")


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonOptions:
    """How a provider works.

    Args:
        data_dir: the island's; the provider's own things are in its `provider` directory.
        account: with the platform.
        hmac_secret: the platform's, where it is known: heartbeats are signed and task specs checked with it.
        provider_ip: address by which renters reach this machine's servers; None for loopback where the platform is
            on this machine, else for what the platform knows of it.
        ports: for those servers.
        models: directories of language models beside the island's own.
        default_model: stands in for language models that are not here.
        drain: seconds that jobs may go on once the provider is told to stop.
        loop: slots and times.
        executor: what jobs may do.
    """

    data_dir: Path
    account: Account
    hmac_secret: str | None = None
    provider_ip: str | None = None
    ports: range = PORTS
    models: tuple[Path, ...] = ()
    default_model: str | None = None
    drain: float = DRAIN_SECONDS
    loop: LoopOptions = field(default_factory=LoopOptions)
    executor: ExecutorOptions = field(default_factory=ExecutorOptions)

    def __post_init__(self) -> None:
        if self.provider_ip is not None:
            try:
                ipaddress.ip_address(self.provider_ip)
            except ValueError:
                raise ConfigurationError(f"{self.provider_ip!r} is no IP address") from None
        if not self.ports or self.ports[0] < 1024 or self.ports[-1] > 65535:
            raise ConfigurationError("the ports of servers are from 1024 to 65535, such as 8100-8199")


class Daemon:
    """A provider that is open; `await Daemon.open(options)`, then `drain` and `close`.

    Attributes:
        loop: what it does.
        engine: its own.
    """

    def __init__(self, engine: Engine, loop: ProviderLoop, drain: float, ending: AsyncExitStack) -> None:
        self.engine = engine
        self.loop = loop
        self._drain = drain
        self._ending = ending

    @classmethod
    async def open(cls, options: DaemonOptions) -> Daemon:
        """Open the engine, look for what an earlier daemon was doing, and begin to take jobs.

        Raises:
            ConfigurationError: another daemon uses the directory.
            PlatformError: the platform refuses this provider.
        """
        home = options.data_dir / DIRECTORY
        async with AsyncExitStack() as ending:
            lock = DataDirectoryLock(home, "provider")
            lock.acquire()
            ending.callback(lock.release)
            # Nobody asks this engine for anything but the daemon: no SSH, and no credit is needed.
            engine = await Engine.open(Settings(data_dir=home, ssh_port=None))
            ending.push_async_callback(engine.close)
            known = ModelStore.of(options.data_dir)
            llm = await LlmWorkers.open(
                ModelStore(known.home, extra=(*options.models, *known.extra), hub_cache=known.hub_cache),
                settings=LlmSettings(default_model=options.default_model),
                gpus=[gpu.index for gpu in engine.nodes.local.gpus],
                lender=engine.lending,
            )
            engine.lending.on_wanted(llm.yield_gpu, llm.idle_leases)
            ending.push_async_callback(llm.close)
            pictures = DiffusionWorkers(options.data_dir, lender=engine.lending)
            engine.lending.on_wanted(pictures.yield_gpu, pictures.idle_leases)
            ending.push_async_callback(pictures.aclose)
            client = AsyncDC1(
                base_url=options.account.base_url,
                provider_key=options.account.api_key,
                hmac_secret=options.hmac_secret,
                environ={},
            )
            ending.push_async_callback(client.aclose)

            async def measure() -> HostStatus:
                status = await machine.measure(home)
                here = await llm.models()
                return replace(status, models=tuple(model.full_name for model in here))

            address = options.provider_ip or loopback_of(options.account.base_url)
            platform = RemotePlatform(client, Journal(home / "jobs"), engine.clock, provider_ip=address)
            executor = Executor(
                engine,
                measure,
                models=llm,
                servers=ModelServers(llm, host=serving_host(address), ports=options.ports),
                pictures=pictures,
                options=replace(
                    options.executor,
                    llm_models=ModelsHere(llm.store, LLM_MODELS),
                    serve_models=ModelsHere(llm.store, SERVE_MODELS),
                    image_models=IMAGE_MODELS | {model.name for model in await asyncio.to_thread(pictures.models)},
                ),
            )
            loop = ProviderLoop(
                platform, executor, measure, secret=options.hmac_secret, options=options.loop, clock=engine.clock
            )
            ending.push_async_callback(loop.close)
            await _started(loop)
            return cls(engine, loop, options.drain, ending.pop_all())
        raise AssertionError("the context returns or raises")

    async def drain(self) -> bool:
        """Take nothing more, let jobs end, hand back the rest; whether everything was reported."""
        return await self.loop.drain(self._drain)

    async def close(self) -> None:
        """End everything; jobs that were not reported are taken up by the next daemon."""
        await self._ending.aclose()

    async def crash(self) -> None:
        """For tests: forget everything at once as SIGKILL would, leaving programs to themselves."""
        await self.loop.close()
        await self.engine.crash()
        await self._ending.aclose()


async def run(options: DaemonOptions, said: Callable[[str], None]) -> int:
    """Be a provider until SIGINT or SIGTERM; a second one ends at once.

    Args:
        options: how.
        said: told what goes on, for the terminal.

    Returns:
        An exit status: 0 when every job was reported, else 1.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    hurry = asyncio.Event()

    def ask() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    try:
        daemon = await unless(stop, Daemon.open(options))
        if daemon is None:
            return 0
        said(f"Provider {options.account.provider_id} works for {options.account.base_url}; Ctrl-C lets it finish.")
        await stop.wait()
        count = len(daemon.loop.jobs)
        said(f"Taking no more jobs; {count} still go on. Ctrl-C again leaves them." if count else "Stopping.")
        clean = await unless(hurry, daemon.drain())
        await daemon.close()
        return 0 if clean else 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def loopback_of(base_url: str) -> str | None:
    """The loopback address of a platform on this machine, whose renters are here too; None for any other platform.

    Example:
        >>> loopback_of("http://127.0.0.1:4242/dc1"), loopback_of("http://dc1.localhost:4242")
        ('127.0.0.1', '127.0.0.1')
        >>> loopback_of("https://dc1.example") is None
        True
    """
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return host if ipaddress.ip_address(host).is_loopback else None
    except ValueError:
        return None


def serving_host(provider_ip: str | None) -> str:
    """The address that servers of models listen on: loopback, unless renters come from elsewhere.

    Example:
        >>> serving_host(None), serving_host("203.0.113.7"), serving_host("2001:db8::7")
        ('127.0.0.1', '0.0.0.0', '::')
    """
    if provider_ip is None:
        return "127.0.0.1"
    address = ipaddress.ip_address(provider_ip)
    if address.is_loopback:
        return provider_ip
    # Behind a router, the address that renters know is not one of this machine's.
    return "0.0.0.0" if address.version == 4 else "::"  # noqa: S104 - it was asked for


async def _started(loop: ProviderLoop) -> None:
    """Begin, as soon as the platform can be asked.

    Raises:
        PlatformError: it refuses.
    """
    while True:
        try:
            await loop.start()
            return
        except PlatformUnavailable as error:
            log.warning("the platform cannot be reached yet: %s", error)
            await asyncio.sleep(error.retry_after or _START_PAUSE)
        except PlatformError:
            raise
