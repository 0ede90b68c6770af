"""A job that asks a language model once (protocol section 5.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Protocol

from skerry.island.engine.errors import EngineError
from skerry.island.provider.course import Course
from skerry.island.provider.params import chat_params, text_params
from skerry.island.provider.records import CHAT_TYPE, Outcome, ProviderJob, failure
from skerry.island.provider.results import Made, OnPhase, figures, finished, refused

RAW_MODELS = frozenset({"microsoft/phi-2", "microsoft/phi-1_5", "google/gemma-2b"})
"""Models that were taught no chats: they go on with the prompt as it stands."""


class Completion(Made, Protocol):
    """What a language model answered."""

    @property
    def text(self) -> str: ...
    @property
    def completion_tokens(self) -> int: ...


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
            return refused(error, self._clock() - began)
        course.phase("formatting")
        speed = found.completion_tokens / found.seconds if found.seconds > 0 else 0.0
        result = {
            "type": "text",
            "prompt": wanted.prompt,
            "response": found.text,
            "model": found.model,
            "tokens_generated": found.completion_tokens,
            "tokens_per_second": round(speed, 1),
            **figures(found),
        }
        course.say(f"{found.model} wrote {found.completion_tokens} tokens in {found.seconds:.1f} s")
        return finished(result, self._clock() - began)
