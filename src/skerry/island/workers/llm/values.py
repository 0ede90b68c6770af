"""What goes into the workers and comes out of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from skerry.island.workers.llm.models import Model

OnPhase = Callable[[str], Awaitable[None]]
"""Told what goes on: `waiting` (for room), `downloading_model`, `loading_model`, `generating`."""

DTYPES = ("float16", "bfloat16", "float32", "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model answered.

    Args:
        text: of the answer alone.
        model: the model that answered, which is the default one where the asked one is not here.
        prompt_tokens, completion_tokens: as the engine counts them.
        seconds: from the request to the engine to its answer.
        total_seconds: the same with waiting and loading.
        device: `cpu` or `cuda`.
        finish_reason: `stop`, `length` or `tool_calls`.
    """

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    total_seconds: float
    device: str
    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A server of its own, which speaks OpenAI's API at `base_url`.

    Args:
        key: of the caller's choice.
        model: the name that it answers to, as it was asked for.
        used_model: the model that is really served.
        host, port: where it listens; they stay the same when its process is started again.
        base_url: ends in `/v1`.
        api_key: needed as a bearer token; None when anybody may use it.
        max_model_len: tokens of prompt and answer together, at most.
        engine: `llama.cpp` or `vllm`.
        device: `cpu` or `cuda`.
    """

    key: str
    model: str
    used_model: str
    host: str
    port: int
    base_url: str
    api_key: str | None = field(repr=False)
    max_model_len: int
    engine: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in the memory.

    Args:
        model: with its quantisation.
        engine: `llama.cpp` or `vllm`.
        pid: of the process.
        memory_bytes: that were set aside for it.
        key: of the server that it is for; None for a model that jobs share.
    """

    model: str
    engine: str
    pid: int
    memory_bytes: int
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one engine process shall serve.

    Args:
        model: which.
        alias: the name that it answers to.
        host: address to listen on.
        port: TCP port; 0 for one that the engine chooses and tells.
        api_key: asked of callers; None for nothing.
        context: tokens that each of those who ask at once may use.
        parallel: how many may ask at once.
        dtype: one of `DTYPES`.
        shared: whether strangers to each other ask, so that nothing is kept of what one asked.
        threads: of computation; None for as many as there are processors.
        gpus: `index`es of the GPUs to compute on.
    """

    model: Model
    alias: str
    host: str
    port: int
    api_key: str | None = field(repr=False)
    context: int
    parallel: int
    dtype: str
    shared: bool
    threads: int | None = None
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a process is started.

    Args:
        argv, env, cwd: as `execve` takes them.
        told: the first line of its input.
        announces: whether it says on its output when it is ready, and where; otherwise it is asked for its health.
        device: that it computes on, when it does not say.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    cwd: Path
    told: dict[str, Any] | None = field(default=None, repr=False)
    announces: bool = False
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What serving a model takes of the machine: bytes of memory, and whole GPUs."""

    memory_bytes: int
    gpus: int = 0


class Engine(Protocol):
    """What carries out models of one format, each in processes of its own."""

    @property
    def name(self) -> str:
        """`llama.cpp` or `vllm`."""

    @property
    def version(self) -> str:
        """Of what is installed."""

    @property
    def format(self) -> Literal["gguf", "weights"]:
        """Of the models that it takes."""

    @property
    def chooses_port(self) -> bool:
        """Whether it takes a port of 0, and tells which one it chose."""

    def context_of(self, model: Model, wanted: int) -> int:
        """Tokens that a model is run with, of so many wanted. Raises Invalid for a damaged model."""

    def need_of(self, model: Model, context: int, parallel: int, dtype: str) -> Need:
        """What serving a model takes, about. Raises Invalid for a damaged model."""

    def most_text(self, model: Model, context: int) -> int | None:
        """Bytes beyond which no text fits into so many tokens; None where that is not known."""

    def launch(self, order: Order) -> Launch:
        """How its process is started."""
