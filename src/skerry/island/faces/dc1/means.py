"""What this machine has for jobs beyond sandboxes: language models and pictures, each optional."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.island.engine.engine import Engine
from skerry.island.workers.llm.models import ModelStore
from skerry.island.workers.llm.workers import STATE, LlmSettings, LlmWorkers


@dataclass(slots=True, kw_only=True)
class Means:
    """Opened once by the face; the local provider, `/v1` and `/serve` share it.

    Args:
        llm: language models; there also where no engine is installed, to say so.
    """

    llm: LlmWorkers

    @classmethod
    async def opened(cls, engine: Engine) -> Means:
        """Look around; nothing is loaded before it is needed."""
        data = engine.settings.data_dir
        llm = await LlmWorkers.open(
            data / STATE,
            ModelStore.of(data),
            settings=LlmSettings(default_model=engine.settings.dc1.default_model),
            gpus=[gpu.index for gpu in engine.nodes.local.gpus],
        )
        return cls(llm=llm)

    async def close(self) -> None:
        """End every process."""
        await self.llm.close()
