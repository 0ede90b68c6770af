"""Which engines are here, the preferred one first."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.island.workers.llm import llama
from skerry.island.workers.llm.values import Engine


def find(gpus: Sequence[int] = ()) -> list[Engine]:
    """The engines that can be used on this machine.

    Args:
        gpus: `index`es of its GPUs.
    """
    found: list[Engine] = []
    here = llama.find()
    if here is not None:
        found.append(here)
    return found


def available(gpus: Sequence[int] = ()) -> str | None:
    """None when some engine can be used here, else what to do about it."""
    return None if find(gpus) else llama.MISSING
