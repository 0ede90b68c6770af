"""What this machine has for jobs beyond sandboxes: language models and pictures, each optional."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError
from skerry.island.workers.image import DiffusionChoices, DiffusionWorkers
from skerry.island.workers.llm import engines
from skerry.island.workers.llm.models import ModelStore
from skerry.island.workers.llm.settings import LlmSettings
from skerry.island.workers.llm.workers import LlmWorkers


@dataclass(slots=True, kw_only=True)
class Means:
    """Opened once by the face; the local provider, `/v1` and `/serve` share it.

    Args:
        llm: language models; there also where no engine is installed, to say so.
        pictures: draws them; there also where nothing is installed, to say so.
        default_model: stands in for models that are not here.
        unready: why language models cannot be asked at all.
    """

    llm: LlmWorkers
    pictures: DiffusionWorkers
    default_model: str | None
    unready: str | None

    @classmethod
    async def opened(cls, engine: Engine) -> Means:
        """Look around; nothing is loaded before it is needed."""
        data = engine.settings.data_dir
        gpus = [gpu.index for gpu in engine.nodes.local.gpus]
        settings, choices = LlmSettings.from_env(), DiffusionChoices.from_env()
        # Whoever may send jobs chooses what a hub is asked for: that should be the owner alone.
        alone = not engine.settings.allow_remote
        if "SKERRY_LLM_HUB" not in os.environ:
            settings = replace(settings, hub=alone)
        if "SKERRY_DIFFUSION_HUB" not in os.environ:
            choices = replace(choices, hub=alone)
        llm = await LlmWorkers.open(ModelStore.of(data), settings=settings, gpus=gpus, lender=engine.lending)
        pictures = DiffusionWorkers(data, choices=choices, clock=engine.clock, lender=engine.lending)
        engine.lending.on_wanted(llm.yield_gpu, llm.idle_leases)
        engine.lending.on_wanted(pictures.yield_gpu, pictures.idle_leases)
        unready = await asyncio.to_thread(engines.available, gpus)
        return cls(llm=llm, pictures=pictures, default_model=settings.default_model, unready=unready)

    async def can_answer(self, model: str) -> bool:
        """Whether a language model, or the one that stands in for it, is here, and an engine for it."""
        return await asyncio.to_thread(self._can_answer, model)

    def _can_answer(self, model: str) -> bool:
        if self.unready is not None:
            return False
        names = [model] if self.default_model is None else [model, self.default_model]
        try:
            return any(self.llm.store.find(name) is not None for name in names)
        except EngineError:
            return False

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(self.llm.close(), self.pictures.aclose())
