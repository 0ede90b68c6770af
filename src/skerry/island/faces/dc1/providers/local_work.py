"""This machine at work for its own island: the provider's loop over the island's rows, begun and ended by the face."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.providers.local_platform import LocalPlatform
from skerry.island.faces.dc1.providers.means import Means
from skerry.island.provider import machine
from skerry.island.provider.executor import Executor, ExecutorOptions
from skerry.island.provider.language import ModelServers, ModelsHere
from skerry.island.provider.loop import LoopOptions, ProviderLoop
from skerry.island.provider.params import IMAGE_MODELS, LLM_MODELS, SERVE_MODELS
from skerry.island.provider.records import HostStatus

_LOOK_SECONDS = 1.0


class LocalWork:
    """Carries out jobs here.

    Args:
        engine: open.
        changes: runs transactions over jobs.
        secret: by which task specs are signed.
        means: of this machine; the caller's to close.
    """

    def __init__(self, engine: Engine, changes: Changes, secret: str, means: Means) -> None:
        self._engine = engine
        self._changes = changes
        self._secret = secret
        self._means = means
        self._begun = AsyncExitStack()

    async def start(self) -> None:
        """Take up what this machine had claimed, and look for more; nothing where it shall carry out no jobs."""
        engine = self._engine
        settings = engine.settings.dc1
        row = await engine.store.read(provider_rows.of_node, engine.nodes.local.id)
        if row is None or not settings.local_provider:
            return
        llm, pictures = self._means.llm, self._means.pictures
        platform = LocalPlatform(engine, self._changes, row.id)
        self._begun.callback(platform.close)
        drawable = frozenset(model.name for model in pictures.models())
        executor = Executor(
            engine,
            self._measure,
            models=llm,
            servers=ModelServers(llm),
            pictures=pictures,
            options=ExecutorOptions(
                llm_models=ModelsHere(llm.store, LLM_MODELS),
                serve_models=ModelsHere(llm.store, SERVE_MODELS),
                image_models=IMAGE_MODELS | drawable,
            ),
        )
        loop = ProviderLoop(
            platform,
            executor,
            self._measure,
            secret=self._secret,
            options=LoopOptions(slots=settings.slots, look=_LOOK_SECONDS),
            clock=engine.clock,
        )
        self._begun.push_async_callback(loop.close)
        await loop.start()

    async def stop(self) -> None:
        """Let go of every job as it is; the next start takes it up."""
        await self._begun.aclose()

    async def _measure(self) -> HostStatus:
        status = await machine.measure(self._engine.settings.data_dir)
        here = await self._means.llm.models()
        return replace(status, models=tuple(model.full_name for model in here))
