"""Language models: files on this machine's disks, carried out by llama.cpp or vLLM in processes of their own.

Both are optional, found by `engines.find` and never imported here.
"""

from __future__ import annotations

from skerry.island.workers.llm.client import Forwarded
from skerry.island.workers.llm.engines import available
from skerry.island.workers.llm.models import Model, ModelStore
from skerry.island.workers.llm.settings import LlmSettings
from skerry.island.workers.llm.values import Completion, Serving
from skerry.island.workers.llm.workers import Answer, LlmWorkers

__all__ = [
    "Answer",
    "Completion",
    "Forwarded",
    "LlmSettings",
    "LlmWorkers",
    "Model",
    "ModelStore",
    "Serving",
    "available",
]
