"""A job that asks a language model once (protocol section 5.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any, Protocol

from skerry.island.engine.errors import EngineError
from skerry.island.provider.course import Course
from skerry.island.provider.params import chat_params, text_params
from skerry.island.provider.records import CHAT_TYPE, Outcome, ProviderJob, failure
from skerry.island.provider.task_specs import MARKER, compact

OnPhase = Callable[[str], Awaitable[None]]
PASSING = ("unavailable", "rate_limited", "no_capacity")
"""Codes of refusals that another try, or another provider, need not meet."""

RAW_MODELS = frozenset({"microsoft/phi-2", "microsoft/phi-1_5", "google/gemma-2b"})
"""Models that were taught no chats: they go on with the prompt as it stands."""


class Completion(Protocol):
    """What a language model answered."""

    @property
    def text(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def total_seconds(self) -> float: ...
    @property
    def device(self) -> str: ...


class LanguageModels(Protocol):
    """Whoever can ask one."""

    async def complete(
        self,
        model: str,
        prompt: str | None = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        max_tokens: int,
        temperature: float,
        on_phase: OnPhase,
    ) -> Completion:
        """Go on with a prompt, or answer in a chat; raises `EngineError`."""
        ...


NO_MODELS = (
    "This provider has no language models: its owner can install an engine with the extra `llm`, and add models with "
    "`skerry model pull` or `skerry model add`"
)


class TextJobs:
    """Completions.

    Args:
        models: asks them; None where there are none.
        allowed: models that may be asked for; others are replaced by the network's default. None for any.
        clock: seconds that only grow.
    """

    def __init__(
        self, models: LanguageModels | None, allowed: Container[str] | None, clock: Callable[[], float]
    ) -> None:
        self._models = models
        self._allowed = allowed
        self._clock = clock

    async def carry(self, job: ProviderJob, course: Course) -> Outcome:
        """Ask, and write the answer as the network's own programs do."""
        if self._models is None:
            return failure(NO_MODELS)
        params = job.params or {}
        if job.job_type == CHAT_TYPE:
            wanted = chat_params(params, job.model)
        else:
            wanted = await asyncio.to_thread(text_params, params, job.model, self._allowed)
        chat = params.get("messages")
        if not isinstance(chat, list) or not chat:
            chat = [{"role": "user", "content": wanted.prompt}]
        raw = wanted.model in RAW_MODELS
        prompt, messages = (wanted.prompt, None) if raw else (None, chat)
        began = self._clock()
        try:
            found = await self._models.complete(
                wanted.model,
                prompt,
                messages=messages,
                max_tokens=wanted.max_tokens,
                temperature=wanted.temperature,
                on_phase=course.hear,
            )
        except EngineError as error:
            seconds = round(self._clock() - began, 3)
            return failure(error.message, transient=error.code in PASSING, gpu_seconds=seconds)
        course.phase("formatting")
        speed = found.completion_tokens / found.seconds if found.seconds > 0 else 0.0
        result = {
            "type": "text",
            "prompt": wanted.prompt,
            "response": found.text,
            "model": found.model,
            "tokens_generated": found.completion_tokens,
            "tokens_per_second": round(speed, 1),
            "gen_time_s": round(found.seconds, 1),
            "total_time_s": round(found.total_seconds, 1),
            "device": device_word(found.device),
        }
        course.say(f"{found.model} wrote {found.completion_tokens} tokens in {found.seconds:.1f} s")
        return Outcome(success=True, result=printed(result), gpu_seconds=round(self._clock() - began, 3), exit_code=0)


def device_word(device: str) -> str:
    """`cuda` or `cpu`, as the network has it."""
    return "cuda" if device.startswith(("cuda", "gpu")) else "cpu"


def printed(result: dict[str, Any]) -> str:
    """A result as a program of the network's prints it: phases, then the marker's line."""
    phases = "".join(f"[dcp-phase] {word}\n" for word in ("loading_model", "generating", "formatting"))
    return f"{phases}{MARKER}{compact(result)}\n"
