"""Language models for jobs: the one thing that others use of this package."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from skerry.island.engine.errors import Invalid, NotFound, Unavailable
from skerry.island.workers.lender import Lender, OwnGpus
from skerry.island.workers.llm import engines, hub, requests
from skerry.island.workers.llm.assembly import PIECES, Assembly
from skerry.island.workers.llm.choice import Choice, Chooser, Fetch
from skerry.island.workers.llm.client import Died, Forwarded
from skerry.island.workers.llm.dedicated import DedicatedServers
from skerry.island.workers.llm.models import Model, ModelStore
from skerry.island.workers.llm.process import EngineProcess, new_key
from skerry.island.workers.llm.room import Room, default_memory
from skerry.island.workers.llm.settings import LlmSettings
from skerry.island.workers.llm.shared import SharedModels
from skerry.island.workers.llm.values import Completion, Engine, Loaded, OnPhase, Serving

_COMPLETIONS, _CHAT = "/v1/completions", "/v1/chat/completions"
_FORWARDED = {("GET", "models"), ("POST", "chat/completions"), ("POST", "completions")}
_DYING_SECONDS = 20.0


class Answer:
    """What a model answers to a chat request, whole or piece by piece.

    Attributes:
        model: the model that answers.
        device: `cpu` or `cuda`.
        streaming: whether it comes in pieces.
    """

    def __init__(
        self, process: EngineProcess, whole: dict[str, Any] | None, events: AsyncIterator[dict[str, Any]] | None
    ) -> None:
        self.model = process.order.alias
        self.device = process.device
        self.streaming = events is not None
        self._whole = whole
        self._events = events

    @property
    def body(self) -> dict[str, Any]:
        """The whole answer, as OpenAI's API has it."""
        assert self._whole is not None
        return self._whole

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Its pieces, as OpenAI's API has them, without the `[DONE]` at the end.

        Raises:
            Unavailable: the engine failed, or died, in the middle.
        """
        assert self._events is not None
        async for event in self._events:
            yield event


class LlmWorkers:
    """Open with `await LlmWorkers.open(...)`; end with `await workers.close()`.

    Jobs share one process per model (`complete`, `chat`); a serving job has one of its own (`serve`). Every process
    ends with this one, however this one ends.
    """

    def __init__(
        self, store: ModelStore, chooser: Chooser, room: Room, shared: SharedModels, dedicated: DedicatedServers
    ) -> None:
        self.store = store
        self._chooser = chooser
        self._room = room
        self._shared = shared
        self._dedicated = dedicated

    @classmethod
    async def open(
        cls,
        store: ModelStore,
        *,
        settings: LlmSettings | None = None,
        found: Sequence[Engine] | None = None,
        gpus: Sequence[int] = (),
        lender: Lender | None = None,
        fetch: Fetch | None = None,
    ) -> LlmWorkers:
        """Prepare; no model is loaded yet, and no engine needs to be here.

        Args:
            store: the models.
            settings: choices of the owner.
            found: the engines to use, the preferred one first; those that are installed by default.
            gpus: `index`es of this machine's.
            lender: of GPUs, where others use them too.
            fetch: how to get a model that is not here; as the settings say by default.
        """
        chosen = settings or LlmSettings()
        if fetch is None and chosen.hub:
            fetch = hub.fetcher(store)
        room = Room(
            memory_bytes=default_memory() if chosen.memory_bytes is None else chosen.memory_bytes,
            processes=chosen.processes,
            lender=lender or OwnGpus(gpus),
        )
        here = await asyncio.to_thread(engines.find, gpus) if found is None else found
        return cls(
            store,
            Chooser(store, here, default=chosen.default_model, fetch=fetch),
            room,
            SharedModels(
                room,
                context=chosen.context,
                idle_seconds=chosen.idle_seconds,
                start_seconds=chosen.start_seconds,
                patience=chosen.patience,
                threads=chosen.threads,
            ),
            DedicatedServers(
                room,
                start_seconds=chosen.start_seconds,
                patience=chosen.patience,
                threads=chosen.threads,
            ),
        )

    async def complete(
        self,
        model: str,
        prompt: str | None = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        max_tokens: int = 256,
        temperature: float = 0.7,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_phase: OnPhase | None = None,
    ) -> Completion:
        """An answer of a model, which is loaded for it when it is not. To cancel it ends the generation.

        Args:
            model: a name; see `ModelStore.find`.
            prompt: what the model goes on with, as it stands; or else
            messages: a chat, written as the model was taught to read one.
            max_tokens: of the answer.
            temperature: 0 to 2; at 0 the same is answered each time.
            stop: texts at which the answer ends, which are no part of it.
            seed: what chance starts from.
            on_phase: told what goes on.

        Raises:
            Invalid: the request, or the model's file. NotFound: there is no such model. Unsupported: no engine, or
            the model is too large. NoCapacity: no room. Unavailable: the engine failed.

        Example:
            >>> answer = await workers.complete("phi-2", "To be, or not to", max_tokens=16)
            >>> answer.completion_tokens
            16
        """
        began = time.monotonic()
        body: dict[str, Any] = {
            "max_tokens": requests.check_tokens(max_tokens),
            "temperature": requests.check_temperature(temperature),
        }
        if stops := requests.check_stop(stop):
            body["stop"] = stops
        if seed is not None:
            body["seed"] = seed
        if (prompt is None) == (messages is None):
            raise Invalid("give a prompt or messages, and not both")
        if prompt is not None:
            requests.check_text(prompt, "the prompt")
            body["prompt"] = prompt
        else:
            body["messages"] = requests.check_messages(messages)
        choice = await self._chooser.choose(model, on_phase)
        process, answer, asked = await self._ask(choice, _CHAT if prompt is None else _COMPLETIONS, body, on_phase)
        now = time.monotonic()
        return Completion(
            text=answer.text,
            model=process.order.alias,
            prompt_tokens=answer.usage["prompt_tokens"],
            completion_tokens=answer.usage["completion_tokens"],
            seconds=now - asked,
            total_seconds=now - began,
            device=process.device,
            finish_reason=answer.finish_reason or "stop",
        )

    @asynccontextmanager
    async def chat(self, body: Mapping[str, Any], *, on_phase: OnPhase | None = None) -> AsyncIterator[Answer]:
        """The answer to a request of OpenAI's chat API; leaving the context early ends the generation.

        Args:
            body: the request: `model`, `messages`, `stream`, `tools` and so on; fields that no engine needs are left
                out.
            on_phase: told what goes on.

        Raises:
            As `complete`.

        Example:
            >>> async with workers.chat({"model": "phi-2", "messages": messages, "stream": True}) as answer:
            ...     async for event in answer.events():
            ...         print(event["choices"])
        """
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise Invalid("model is required")
        checked = requests.chat_body(body, name)
        choice = await self._chooser.choose(name, on_phase)
        if not checked.get("stream"):
            process, whole, _ = await self._ask(choice, _CHAT, checked, on_phase)
            yield Answer(process, whole.chat(), None)
            return
        for last in (False, True):
            async with self._shared.use(choice, on_phase) as process, AsyncExitStack() as stack:
                requests.check_fits(checked, choice, process.order.context)
                if on_phase is not None:
                    await on_phase("generating")
                asked = {**checked, "model": process.order.alias}
                try:
                    events = await stack.enter_async_context(process.client.stream(_CHAT, asked))
                except Died:
                    if last:
                        raise
                    await asyncio.wait([process.ended], timeout=_DYING_SECONDS)
                    continue
                yield Answer(process, None, events)
                return

    async def serve(
        self,
        key: str,
        model: str,
        *,
        max_model_len: int = 4096,
        dtype: str = "float16",
        on_phase: OnPhase | None = None,
    ) -> Serving:
        """A server for one job, on a loopback port, which only holders of its random key may use.

        Args:
            key: of the caller's choice, `[A-Za-z0-9_-]{1,64}`; the same again gives the same server.
            model: as `complete`; the server answers to this very name.
            max_model_len: tokens of prompt and answer together; no more than the model was trained on.
            dtype: `float16`, `bfloat16`, `float32` or `auto`: llama.cpp's cache, and what vLLM computes in.
            on_phase: told what goes on.

        Raises:
            As `complete`, and Conflict: the key serves another model.
        """
        choice = await self._chooser.choose(model, on_phase)
        return await self._dedicated.start(
            key,
            choice,
            max_model_len=max_model_len,
            dtype=dtype,
            host="127.0.0.1",
            port=None,
            api_key=new_key(),
            on_phase=on_phase,
        )

    async def open_serving(
        self,
        key: str,
        model: str,
        *,
        host: str,
        port: int | None = None,
        max_model_len: int = 4096,
        dtype: str = "float16",
        api_key: str | None = None,
        on_phase: OnPhase | None = None,
    ) -> Serving:
        """As `serve`, for others to reach: whoever reaches the port may use it, unless it has a key.

        Args:
            host: address to listen on.
            port: TCP port; any free one when None.
            api_key: asked of callers; None for nothing.

        Raises:
            As `serve`.
        """
        choice = await self._chooser.choose(model, on_phase)
        return await self._dedicated.start(
            key,
            choice,
            max_model_len=max_model_len,
            dtype=dtype,
            host=host,
            port=port,
            api_key=api_key,
            on_phase=on_phase,
        )

    def serving(self, key: str) -> Serving:
        """The server of a key.

        Raises:
            NotFound: there is none. Unavailable: it has ended so often that it was given up; the message says why.
        """
        found = self._dedicated.get(key)
        if found is None:
            raise NotFound(f"there is no server {key}")
        if found.failure is not None:
            raise Unavailable(found.failure)
        return found.serving

    @asynccontextmanager
    async def forward(self, key: str, method: str, path: str, content: bytes = b"") -> AsyncIterator[Forwarded]:
        """Ask the server of a key as its holder would, and pass on what it answers, piece by piece.

        Args:
            key: of a server that was started by `serve`.
            method, path: `GET models`, `POST chat/completions` or `POST completions`: what comes after `/v1/`.
            content: the body.

        Raises:
            NotFound: no such server, or path. Unavailable: the server has ended, or is just being started again.

        Example:
            >>> async with workers.forward("job-1", "POST", "chat/completions", body) as answer:
            ...     async for piece in answer.pieces:
            ...         await send(piece)
        """
        self.serving(key)
        if (method, path) not in _FORWARDED:
            raise NotFound(f"a model's server does not answer {method} /v1/{path[:80]}")
        found = self._dedicated.get(key)
        if found is None or found.process is None:
            raise Unavailable("the model's process has ended and is being started again", retry_after=1.0)
        async with found.process.client.forward(method, f"/v1/{path}", content) as answer:
            yield answer

    def servings(self) -> list[str]:
        """The keys of every server that was started and not stopped."""
        return self._dedicated.keys()

    async def stop(self, key: str) -> None:
        """End a server; harmless when there is none."""
        await self._dedicated.stop(key)

    def loaded(self) -> list[Loaded]:
        """Every model that is in the memory now."""
        return [*self._shared.loaded(), *self._dedicated.loaded()]

    async def models(self) -> list[Model]:
        """Every model that is here."""
        return await asyncio.to_thread(self.store.ls, None)

    def idle_leases(self) -> list[str]:
        """By which names GPUs are lent to idle models; safe from any thread."""
        return self._room.idle_leases()

    async def yield_gpu(self) -> bool:
        """Unload the model that has been idle longest on a GPU; whether there was one."""
        return await self._room.yield_gpu()

    async def close(self) -> None:
        """End every process."""
        await self._dedicated.aclose()
        await self._shared.aclose()
        await self._room.settled()

    async def _ask(
        self, choice: Choice, path: str, body: Mapping[str, Any], on_phase: OnPhase | None
    ) -> tuple[EngineProcess, Assembly, float]:
        """All that an engine answers, and when it was asked; of a second process where the first dies of it."""
        for last in (False, True):
            async with self._shared.use(choice, on_phase) as process:
                requests.check_fits(body, choice, process.order.context)
                if on_phase is not None:
                    await on_phase("generating")
                asked, found = time.monotonic(), Assembly()
                try:
                    request = {**body, **PIECES, "model": process.order.alias}
                    async with process.client.stream(path, request) as events:
                        async for event in events:
                            found.add(event)
                    return process, found, asked
                except Died:
                    if last:
                        raise
                    # It may die of this request, so it is asked once more and not again.
                    await asyncio.wait([process.ended], timeout=_DYING_SECONDS)
        raise AssertionError("the second try returns or raises")
