"""How a question of `/v1` is answered: by this machine, by a provider's own server, or by a job that is waited for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from skerry.island.engine.errors import Unavailable
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.results import marked
from skerry.island.faces.dc1.models.chat_requests import Wanted
from skerry.island.faces.dc1.models.resident_endpoints import UNREADABLE, EndpointFailed, ResidentEndpoints
from skerry.island.faces.dc1.providers.means import Means
from skerry.island.store.store import Store

_MOST_TOKENS = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who answers, and under which job.

    Args:
        job: its number.
        job_id: its name.
        provider: who answers.
        place: `own`, `endpoint` or `queue`.
        url: of the provider's server.
        now: when it was chosen, microseconds since 1970.
    """

    job: int
    job_id: str
    provider: int
    place: str
    url: str | None
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A part of an answer, or all of it.

    Args:
        text: of this part; of the whole answer when done.
        delta: the part as a client gets it.
        done: whether that was all; then the rest is known too.
        model: who really answered.
        tool_calls: in place of text.
        finish_reason: `stop`, `length` or `tool_calls`.
        prompt_tokens, completion_tokens: as counted, or guessed where nobody counted.
    """

    text: str = ""
    delta: dict[str, Any] = field(default_factory=dict)
    done: bool = False
    model: str | None = None
    tool_calls: list[Any] | None = None
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Answerer:
    """Asks.

    Args:
        store: of the engine.
        changes: tells of jobs that end.
        means: of this machine.
    """

    def __init__(self, store: Store, changes: Changes, means: Means) -> None:
        self._store = store
        self._changes = changes
        self._means = means
        self._endpoints = ResidentEndpoints()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._endpoints.close()

    async def names(self) -> list[str]:
        """Models that this machine has."""
        return [model.full_name for model in await self._means.llm.models()]

    async def has(self, model: str) -> bool:
        """Whether this machine can answer for a model now."""
        return await self._means.can_answer(model)

    async def replies(self, wanted: Wanted, chosen: Chosen) -> AsyncGenerator[Reply]:
        """The answer, in parts if they are wanted.

        Raises:
            EngineError: this machine cannot. EndpointFailed: somebody else cannot.
        """
        ways = {"own": self._own, "endpoint": self._endpoint, "queue": self._job}
        async with contextlib.aclosing(ways[chosen.place](wanted, chosen)) as replies:
            async for reply in replies:
                yield reply

    async def _own(self, wanted: Wanted, chosen: Chosen) -> AsyncGenerator[Reply]:
        async with self._means.llm.chat(wanted.body) as answer:
            if not wanted.stream:
                yield _whole(answer.body, answer.model)
                return
            gathered = Gathered(answer.model)
            async for event in answer.events():
                for reply in gathered.add(event):
                    yield reply
            yield gathered.end(wanted)

    async def _endpoint(self, wanted: Wanted, chosen: Chosen) -> AsyncGenerator[Reply]:
        """Ask the server that a provider told of; nothing that it sends is more than a claim."""
        assert chosen.url is not None
        try:
            if not wanted.stream:
                yield _whole(await self._endpoints.whole(chosen.url, wanted.body), None)
                return
            gathered = Gathered(None)
            async with contextlib.aclosing(self._endpoints.events(chosen.url, wanted.body)) as found:
                async for event in found:
                    for reply in gathered.add(event):
                        yield reply
            yield gathered.end(wanted)
        except UNREADABLE:
            raise EndpointFailed("The provider's endpoint sends what is no answer") from None

    async def _job(self, wanted: Wanted, chosen: Chosen) -> AsyncGenerator[Reply]:
        """Wait until a provider has carried the job out."""
        with self._changes.watching(chosen.job) as watch:
            while True:
                job = await self._store.read(job_rows.find, chosen.job)
                assert job is not None
                if job.status in job_rows.TERMINAL:
                    break
                await watch.changed()
        if job.status != "completed":
            raise Unavailable(job.error or f"The job was {job.status}")
        reply = _of_job(job, wanted)
        if wanted.stream:
            yield Reply(text=reply.text, delta={"role": "assistant", "content": reply.text})
        yield reply


class Gathered:
    """Pieces of a stream, put together again for the record.

    Args:
        model: who answers.
    """

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._text = ""
        self._finish = "stop"
        self._usage: dict[str, Any] = {}
        self._pieces = 0

    def add(self, event: dict[str, Any]) -> list[Reply]:
        """What a client gets of an event."""
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        found = []
        for choice in event.get("choices") or ():
            self._finish = _word(choice.get("finish_reason")) or self._finish
            delta = {name: value for name, value in (choice.get("delta") or {}).items() if value is not None}
            if delta:
                text = delta.get("content")
                self._text += text if isinstance(text, str) else ""
                self._pieces += 1
                found.append(Reply(text=text if isinstance(text, str) else "", delta=delta))
        return found

    def end(self, wanted: Wanted) -> Reply:
        """The last part."""
        return Reply(
            text=self._text,
            done=True,
            model=self._model,
            finish_reason=self._finish,
            prompt_tokens=_count(self._usage, "prompt_tokens", guess(wanted.prompt)),
            completion_tokens=_count(self._usage, "completion_tokens", self._pieces),
        )


def guess(text: str) -> int:
    """About how many tokens a text is."""
    return -(-len(text) // 4)


def _whole(body: dict[str, Any], model: str | None) -> Reply:
    choice = body["choices"][0]
    message = choice.get("message") or {}
    text = _word(message.get("content")) or ""
    usage = body.get("usage") or {}
    calls = message.get("tool_calls") or None
    if not isinstance(calls, list | None):
        raise TypeError("tool calls are a list")
    return Reply(
        text=text,
        done=True,
        model=model or _word(body.get("model")),
        tool_calls=calls,
        finish_reason="tool_calls" if calls else _word(choice.get("finish_reason")) or "stop",
        prompt_tokens=_count(usage, "prompt_tokens", 0),
        completion_tokens=_count(usage, "completion_tokens", guess(text)),
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _of_job(job: Row[Any], wanted: Wanted) -> Reply:
    found = marked(job.result or "") or {}
    text = str(found.get("response") or found.get("output") or (job.result or "").strip())
    return Reply(
        text=text,
        done=True,
        model=_word(found.get("model")),
        prompt_tokens=job.prompt_tokens or guess(wanted.prompt),
        completion_tokens=_count(found, "tokens_generated", guess(text)),
    )


def _count(usage: dict[str, Any], name: str, otherwise: int) -> int:
    found = usage.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < _MOST_TOKENS:
        return otherwise
    return found
