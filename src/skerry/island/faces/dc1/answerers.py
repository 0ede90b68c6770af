"""How a question of `/v1` is answered: by this machine, by a provider's own server, or by a job that is waited for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
from sqlalchemy import Row

from skerry._kernel.sse import EventParser
from skerry.errors import ProtocolError
from skerry.island.engine.errors import Unavailable
from skerry.island.faces.dc1 import job_rows, wire
from skerry.island.faces.dc1.changes import Changes
from skerry.island.faces.dc1.chat_requests import Wanted
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.means import Means
from skerry.island.faces.dc1.results import marked
from skerry.island.store.store import Store

_CONNECT_SECONDS = 5.0
_MOST_ANSWER = 8 << 20
_MOST_TOKENS = 10_000_000
# Whatever a stranger's server says in place of an answer.
_NONSENSE = (httpx2.HTTPError, ProtocolError, wire.Unreadable, ValueError, TypeError, LookupError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who answers, and under which job.

    Args:
        job: its number.
        job_id: its name.
        place: `own`, `endpoint` or `queue`.
        url: of the provider's server, which ends in `/v1`.
        now: when it was chosen, microseconds since 1970.
    """

    job: int
    job_id: str
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
        self._client = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS)
        )

    async def close(self) -> None:
        """Let go of every connection."""
        await self._client.aclose()

    async def names(self) -> list[str]:
        """Models that this machine has."""
        return [model.full_name for model in await self._means.llm.models()]

    async def has(self, model: str) -> bool:
        """Whether this machine can answer for a model now."""
        return await self._means.can_answer(model)

    async def replies(self, wanted: Wanted, chosen: Chosen) -> AsyncGenerator[Reply]:
        """The answer, in parts if they are wanted.

        Raises:
            EngineError: this machine cannot. Fault: somebody else cannot.
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
        """Ask the server that a provider told of; its heartbeat was believed because it is where that came from."""
        assert chosen.url is not None
        url = chosen.url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
        request = self._client.build_request("POST", url, json=wanted.body)
        try:
            answer = await self._client.send(request, stream=True)
            async with contextlib.aclosing(answer):
                if answer.status_code != 200:
                    raise Fault(503, "no_providers_available", message="The provider's endpoint refused")
                if not wanted.stream:
                    yield _whole(wire.decode(await _bounded(answer)), None)
                    return
                gathered = Gathered(None)
                async for event in _events(answer):
                    for reply in gathered.add(event):
                        yield reply
                yield gathered.end(wanted)
        except _NONSENSE:
            raise Fault(503, "no_providers_available", message="The provider's endpoint does not answer") from None

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
            self._finish = choice.get("finish_reason") or self._finish
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
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    usage = body.get("usage") or {}
    calls = message.get("tool_calls") or None
    return Reply(
        text=text,
        done=True,
        model=model or body.get("model"),
        tool_calls=calls,
        finish_reason="tool_calls" if calls else choice.get("finish_reason") or "stop",
        prompt_tokens=_count(usage, "prompt_tokens", 0),
        completion_tokens=_count(usage, "completion_tokens", guess(text)),
    )


def _of_job(job: Row[Any], wanted: Wanted) -> Reply:
    found = marked(job.result or "") or {}
    text = str(found.get("response") or found.get("output") or (job.result or "").strip())
    return Reply(
        text=text,
        done=True,
        model=found.get("model"),
        prompt_tokens=job.prompt_tokens or guess(wanted.prompt),
        completion_tokens=_count(found, "tokens_generated", guess(text)),
    )


def _count(usage: dict[str, Any], name: str, otherwise: int) -> int:
    found = usage.get(name)
    if isinstance(found, bool) or not isinstance(found, int):
        return otherwise
    return found if 0 <= found <= _MOST_TOKENS else otherwise


async def _bounded(answer: httpx2.Response) -> bytes:
    parts, total = [], 0
    async for part in answer.aiter_bytes():
        total += len(part)
        if total > _MOST_ANSWER:
            raise ValueError("the answer is too large")
        parts.append(part)
    return b"".join(parts)


async def _events(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    parser = EventParser()
    async for part in answer.aiter_bytes():
        for event in parser.feed(part):
            if event.data.strip() == "[DONE]":
                return
            found = wire.decode(event.data.encode("utf-8", "surrogatepass"))
            if isinstance(found, dict):
                yield found
