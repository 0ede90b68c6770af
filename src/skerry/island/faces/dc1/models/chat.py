"""`/v1`: models asked in the manner of OpenAI; every question is a job, held and settled as any other (section 3.8).

Who answers is chosen by what is quickest: this machine, when it has the model; a provider that has the model loaded and
told where; else whichever provider fits, whose answer is waited for. Where a provider's own server fails before it has
said anything, the next one is asked, under a job of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY, OPENAI
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import claiming, events, job_rows
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.job_making import JobMaker
from skerry.island.faces.dc1.jobs.quoting import Quote
from skerry.island.faces.dc1.jobs.submission import Submission
from skerry.island.faces.dc1.limits import INFERENCE
from skerry.island.faces.dc1.models import chat_requests, model_registry
from skerry.island.faces.dc1.models.answerers import Answerer, Chosen, Reply
from skerry.island.faces.dc1.models.chat_requests import Wanted
from skerry.island.faces.dc1.models.resident_endpoints import EndpointFailed
from skerry.island.faces.dc1.money import price_views, settling
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.tables import jobs, providers
from skerry.island.provider.results import printed
from skerry.island.provider.task_specs import compact
from skerry.island.store.values import micros

JOB_TYPE = "vllm"
LIMIT_SECONDS = 300
FALL_BACKS = 2
"""Further providers that are asked when a server of a provider's own fails."""

AVOIDED_SECONDS = 60.0
"""For which such a provider is asked after all others."""

_PRIORITY = 8
_CREATED = 1_742_671_800
_STALE_MS = provider_rows.STALE_SECONDS * 1_000


class Chat:
    """The routes below `/v1`.

    Args:
        engine: open.
        changes: runs transactions over jobs.
        maker: makes jobs.
        answerer: asks whoever was chosen.
    """

    def __init__(self, engine: Engine, changes: Changes, maker: JobMaker, answerer: Answerer) -> None:
        self._engine = engine
        self._changes = changes
        self._maker = maker
        self._answerer = answerer
        self._failed: dict[int, float] = {}

    def routes(self) -> Sequence[Route]:
        """Four calls, also below `/api/v1` where some clients look."""
        limited = (INFERENCE,)
        return [
            Route(method="GET", path="/v1/models", handler=self.models, access=ANYBODY),
            Route(method="POST", path="/v1/chat/completions", handler=self.chat, access=OPENAI, limits=limited),
            Route(method="POST", path="/v1/complete", handler=self.complete, access=OPENAI, limits=limited),
            Route(method="POST", path="/v1/complete/stream", handler=self.stream, access=OPENAI, limits=limited),
        ]

    async def start(self) -> None:
        """Give back what questions hold that an earlier server did not finish: nobody waits for them any more."""
        await self._changes.run(self._forsake, self._now())

    async def models(self, call: Call) -> Answer:
        """The catalogue, and the models that this machine has beside it."""
        known = [(entry.model_id, entry.family) for entry in model_registry.MODELS]
        listed = {name for name, _ in known}
        known += [(name, name.partition("/")[0]) for name in await self._answerer.names() if name not in listed]
        return Answer({"object": "list", "data": [_model(name, family) for name, family in known]})

    async def chat(self, call: Call) -> Answer:
        """An answer to what was said."""
        return await self._answer(call, chat_requests.read(call.json))

    async def complete(self, call: Call) -> Answer:
        """The same for a prompt."""
        return await self._answer(call, chat_requests.read(call.json, completion=True))

    async def stream(self, call: Call) -> Answer:
        """The same, piece by piece."""
        return await self._answer(call, chat_requests.read(call.json, completion=True, stream=True))

    async def _answer(self, call: Call, wanted: Wanted) -> Answer:
        first = await self._choose(call.renter.id, wanted)
        if wanted.stream:
            return Answer.stream(self._pieces(call.renter.id, wanted, first))
        async with contextlib.aclosing(self._said(call.renter.id, wanted, first)) as said:
            async for chosen, reply in said:
                if reply.done:
                    return Answer(await self._settled(wanted, chosen, reply))
        raise AssertionError("the last reply is done")

    async def _choose(self, renter_id: int, wanted: Wanted, tried: Collection[int] = ()) -> Chosen:
        own = await self._answerer.has(wanted.model)
        return await self._changes.run(self._begin, renter_id, wanted, own, tried, self._now())

    async def _pieces(self, renter_id: int, wanted: Wanted, first: Chosen) -> AsyncGenerator[bytes]:
        """Server-sent events; whatever goes wrong is one of them, since the status was sent before."""
        text, settled, chosen = "", False, first
        try:
            async with contextlib.aclosing(self._said(renter_id, wanted, first)) as said:
                async for chosen, reply in said:
                    if reply.done:
                        settled = True
                        body = await self._settled(wanted, chosen, reply)
                        last = {name: body[name] for name in ("usage", "cost_halala")}
                        yield _event(_chunk(wanted, chosen, {}, body["choices"][0]["finish_reason"], last))
                    else:
                        text += reply.text
                        yield _event(_chunk(wanted, chosen, reply.delta, None))
        except Fault as fault:
            settled = True
            yield _event({"error": fault.body})
        finally:
            if not settled:
                # Whoever asked has left: what was written until then is what is paid for.
                await asyncio.shield(self._complete(chosen, Reply(text=text, done=True), wanted))
        yield b"data: [DONE]\n\n"

    async def _said(self, renter_id: int, wanted: Wanted, first: Chosen) -> AsyncGenerator[tuple[Chosen, Reply]]:
        """What is said, and by whom.

        Raises:
            Fault: nothing came of it; what was held has been given back.
        """
        chosen, tried, begun = first, [first.provider], False
        while True:
            try:
                async with contextlib.aclosing(self._replies(wanted, chosen)) as replies:
                    async for reply in replies:
                        begun = True
                        yield chosen, reply
                return
            except EndpointFailed as failed:
                self._failed[chosen.provider] = self._engine.clock.monotonic()
                if begun or len(tried) > FALL_BACKS:
                    raise
                try:
                    chosen = await self._choose(renter_id, wanted, tried)
                except Fault:
                    raise failed from None
                tried.append(chosen.provider)

    async def _replies(self, wanted: Wanted, chosen: Chosen) -> AsyncGenerator[Reply]:
        """What the model says, its last part done.

        Raises:
            Fault: nothing came of it; what was held has been given back.
        """
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                async with contextlib.aclosing(self._answerer.replies(wanted, chosen)) as replies:
                    async for reply in replies:
                        yield reply
        except TimeoutError:
            told = f"Inference did not complete within {LIMIT_SECONDS} seconds"
            await self._fail(chosen, told)
            raise Fault(504, "timeout", message=told, diagnostics=_diagnostics(wanted, chosen.job_id)) from None
        except EngineError as error:
            await self._fail(chosen, error.message)
            raise _failed(wanted, chosen, error.message) from None
        except Fault as fault:
            await self._fail(chosen, fault.error)
            raise
        except Exception:
            # A defect, which is told as such; what is held must not stay so.
            await self._fail(chosen, "The island failed at this")
            raise

    async def _settled(self, wanted: Wanted, chosen: Chosen, reply: Reply) -> dict[str, Any]:
        cost = await self._complete(chosen, reply, wanted)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": reply.text},
            "finish_reason": reply.finish_reason,
        }
        if reply.tool_calls:
            choice["message"] = {"role": "assistant", "content": reply.text or None, "tool_calls": reply.tool_calls}
        if wanted.completion:
            choice["text"] = reply.text
        usage = {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        }
        return {
            "id": f"chatcmpl-{chosen.job_id}",
            "object": "chat.completion",
            "created": chosen.now // 1_000_000,
            "model": wanted.model,
            "choices": [choice],
            "usage": usage,
            "cost_halala": cost,
        }

    async def _complete(self, chosen: Chosen, reply: Reply, wanted: Wanted) -> int:
        """Settle; what it cost, also when somebody else has settled it."""
        result = {
            "type": "text",
            "prompt": wanted.prompt,
            "response": reply.text,
            "model": reply.model or wanted.model,
            "tokens_generated": reply.completion_tokens,
        }
        return await self._changes.run(self._end, chosen, printed(result), reply, self._now())

    async def _fail(self, chosen: Chosen, why: str) -> None:
        await asyncio.shield(self._changes.run(self._give_up, chosen, why, self._now()))

    def _begin(
        self, connection: Connection, renter_id: int, wanted: Wanted, own: bool, tried: Collection[int], now: int
    ) -> Chosen:
        renter = renter_rows.find(connection, renter_id)
        assert renter is not None
        provider = self._provider(connection, wanted, own, tried, now)
        if provider is None:
            raise Fault(
                503,
                "no_capacity",
                message=f"No provider can answer for {wanted.model} now",
                diagnostics=self._scarcity(connection, wanted, now),
            )
        submission = Submission(
            job_type=JOB_TYPE,
            duration_minutes=LIMIT_SECONDS // 60,
            provider_id=provider.id,
            params={**wanted.body, "prompt": wanted.prompt},
            model=wanted.model,
            priority=_PRIORITY,
            max_duration_seconds=LIMIT_SECONDS,
        )
        held = price_views.token_hold(wanted.model, wanted.max_tokens)
        price = Quote(held, model_registry.rate_of(wanted.model), compact({"per": "minute", "model": wanted.model}))
        made = self._maker.make(connection, renter, submission, provider=provider, price=price, now=now)
        place = "own" if provider.node_id is not None else "endpoint" if provider.endpoint_url else "queue"
        if place != "queue":
            claiming.begin(connection, made.job, provider.id, now=now)
        return Chosen(
            job=made.job.id,
            job_id=made.job.job_id,
            provider=provider.id,
            place=place,
            url=provider.endpoint_url if place == "endpoint" else None,
            now=now,
        )

    def _provider(
        self, connection: Connection, wanted: Wanted, own: bool, tried: Collection[int], now: int
    ) -> Row[Any] | None:
        """This machine first, then who has the model loaded, then by how busy their GPUs are."""
        entry = model_registry.find(wanted.model)
        least = model_registry.USUAL_MEMORY_GB if entry is None else entry.vram_gb
        every = connection.execute(select(providers).order_by(providers.c.id))
        found = [it for it in every if it.id not in tried]
        if wanted.provider_id is not None:
            found = [it for it in found if it.id == wanted.provider_id]
        able = [it for it in found if it.node_id is None and model_registry.capable([it], least, now)]
        able += [it for it in found if own and it.node_id is not None and provider_rows.may_work(it, now)]

        lately = self._engine.clock.monotonic() - AVOIDED_SECONDS
        avoided = {ident for ident, failed in self._failed.items() if failed > lately}

        def order(it: Row[Any]) -> tuple[bool, bool, bool, float, int]:
            busy = provider_rows.profile(it).get("gpu_util_pct") or 0
            return it.node_id is None, it.id in avoided, it.endpoint_url is None, float(busy), it.id

        return min(able, key=order, default=None)

    def _scarcity(self, connection: Connection, wanted: Wanted, now: int) -> dict[str, Any]:
        entry = model_registry.find(wanted.model)
        least = model_registry.USUAL_MEMORY_GB if entry is None else entry.vram_gb
        waiting = select(jobs.c.id).where(jobs.c.job_type == JOB_TYPE, jobs.c.status == "queued")
        able = model_registry.capable(list(connection.execute(select(providers))), least, now)
        return {
            **_diagnostics(wanted, None),
            "min_vram_gb": least,
            "capable_providers": len([it for it in able if it.node_id is None]),
            "queued_vllm_jobs": len(connection.execute(waiting).all()),
        }

    def _end(self, connection: Connection, chosen: Chosen, result: str, reply: Reply, now: int) -> int:
        job = job_rows.find(connection, chosen.job)
        assert job is not None
        if job.status in job_rows.TERMINAL:
            return int(job.charged or 0)
        tokens = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
        job_rows.change(connection, job.id, now, **tokens)
        spent = max(0, now - (job.started_at or now)) // 1_000
        shares = settling.complete(connection, job, gpu_ms=spent, result=result, exit_code=0, source="system", now=now)
        claiming.promote(connection, job.provider_id, now=now)
        return shares.charged

    def _give_up(self, connection: Connection, chosen: Chosen, why: str, now: int) -> None:
        job = job_rows.find(connection, chosen.job)
        if job is None or job.status in job_rows.TERMINAL:
            return
        settling.give_up(connection, job, "failed", why, event_type=events.FAILED, source="system", now=now)
        claiming.promote(connection, job.provider_id, now=now)

    def _forsake(self, connection: Connection, now: int) -> None:
        """Questions to this machine and to endpoints: they end with the server that asked."""
        query = select(jobs).where(jobs.c.job_type == JOB_TYPE, jobs.c.status.not_in(job_rows.TERMINAL))
        for job in list(connection.execute(query)):
            why = "The island was stopped while it answered"
            settling.give_up(connection, job, "failed", why, event_type=events.FAILED, source="system", now=now)

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def _failed(wanted: Wanted, chosen: Chosen, why: str) -> Fault:
    told = _diagnostics(wanted, chosen.job_id)
    return Fault(502, "inference_failed", job_id=chosen.job_id, status="failed", details=why, diagnostics=told)


def _diagnostics(wanted: Wanted, job_id: str | None) -> dict[str, Any]:
    return {
        "model_id": wanted.model,
        "provider_heartbeat_stale_ms": _STALE_MS,
        "wait_timeout_ms": LIMIT_SECONDS * 1_000,
        "job_id": job_id,
    }


def _model(name: str, family: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "owned_by": family,
        "permission": [],
        "root": name,
        "parent": None,
    }


def _chunk(
    wanted: Wanted, chosen: Chosen, delta: dict[str, Any], finish: str | None, more: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{chosen.job_id}",
        "object": "chat.completion.chunk",
        "created": chosen.now // 1_000_000,
        "model": wanted.model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **(more or {}),
    }


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + wire.encode(value) + b"\n\n"
