"""Which engines are here, the preferred one first."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.island.workers.llm import llama, vllm
from skerry.island.workers.llm.values import Engine


def find(gpus: Sequence[int] = ()) -> list[Engine]:
    """The engines that can be used on this machine: vLLM where there is a GPU for it, and llama.cpp.

    Args:
        gpus: `index`es of its GPUs.
    """
    here: list[Engine | None] = [vllm.find(gpus), llama.find(gpus)]
    return [engine for engine in here if engine is not None]


def available(gpus: Sequence[int] = ()) -> str | None:
    """None when some engine can be used here, else what to do about it."""
    return None if find(gpus) else llama.MISSING
