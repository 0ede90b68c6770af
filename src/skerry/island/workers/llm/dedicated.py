"""Servers of one job each: their own process, port and name, watched and started again until they are stopped."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable

from skerry.island.engine.errors import Conflict, EngineError, Invalid, Unavailable
from skerry.island.workers.llm.choice import Choice
from skerry.island.workers.llm.process import EngineProcess, started_at_free_port
from skerry.island.workers.llm.room import Claim, Room
from skerry.island.workers.llm.values import DTYPES, Loaded, OnPhase, Order, Serving

log = logging.getLogger("skerry.llm")

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARALLEL = (4, 2, 1)
_LEAST, _MOST = 64, 1 << 20
_PAUSES = (0.1, 0.5, 2.0, 5.0)
_STEADY_SECONDS = 60.0


class DedicatedServer:
    """One server, from `start` to `stop`."""

    def __init__(self, serving: Serving, choice: Choice, claim: Claim, process: EngineProcess) -> None:
        self.serving = serving
        self.choice = choice
        self.claim = claim
        self.process: EngineProcess | None = process
        self.failure: str | None = None
        self.watching: asyncio.Task[None] | None = None


class DedicatedServers:
    """All of them, by their keys.

    Args:
        room: shared with others.
        start_seconds: that loading may take.
        patience: seconds to wait for room.
        threads: of computation per process; None for as many as there are processors.
    """

    def __init__(self, room: Room, *, start_seconds: float, patience: float, threads: int | None) -> None:
        self._room = room
        self._start_seconds = start_seconds
        self._patience = patience
        self._threads = threads
        self._servers: dict[str, DedicatedServer] = {}
        self._starting: dict[str, asyncio.Task[DedicatedServer]] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    def get(self, key: str) -> DedicatedServer | None:
        """The server of this key, which may have failed; None when there is none."""
        return self._servers.get(key)

    def keys(self) -> list[str]:
        """Of every server that was started and not stopped."""
        return [*self._servers, *(key for key in self._starting if key not in self._servers)]

    def loaded(self) -> list[Loaded]:
        """What is loaded now."""
        return [
            Loaded(
                model=one.choice.model.full_name,
                engine=one.serving.engine,
                pid=one.process.pid,
                memory_bytes=one.claim.need.memory_bytes,
                key=key,
            )
            for key, one in self._servers.items()
            if one.process is not None and one.process.alive
        ]

    async def start(
        self,
        key: str,
        choice: Choice,
        *,
        max_model_len: int,
        dtype: str,
        host: str,
        port: int | None,
        api_key: str | None,
        on_phase: OnPhase | None,
    ) -> Serving:
        """A server for a key; the one that is there already when it serves the same.

        Raises:
            Invalid: a bad key, length, type or port, or a damaged model. Conflict: the key serves another model.
            Unsupported: the model is too large. NoCapacity: no room became free. Unavailable: it cannot be loaded.
        """
        if not _KEY.fullmatch(key):
            raise Invalid(f"{key[:80]!r} is no key of a server; it has up to 64 letters, digits, _ and -")
        if (
            isinstance(max_model_len, bool)
            or not isinstance(max_model_len, int)
            or not _LEAST <= max_model_len <= _MOST
        ):
            raise Invalid(f"max_model_len must be a whole number from {_LEAST} to {_MOST}")
        if dtype not in DTYPES:
            raise Invalid(f"dtype must be one of {', '.join(DTYPES)}")
        task = self._starting.get(key)
        if task is None and key not in self._servers:
            task = asyncio.ensure_future(self._start(key, choice, max_model_len, dtype, host, port, api_key, on_phase))
            self._starting[key] = task
            task.add_done_callback(lambda _: self._starting.pop(key, None))
        if task is not None:
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.wait([task])
                await self.stop(key)
                raise
            if task.cancelled():
                raise Unavailable("the server was stopped before it was ready")
            task.result()
        known = self._servers.get(key)
        if known is None:
            raise Unavailable("the server was stopped before it was ready")
        if known.serving.model != choice.asked:
            raise Conflict(f"the key {key} serves {known.serving.model}")
        return known.serving

    async def stop(self, key: str) -> None:
        """End a server, also when this is cancelled meanwhile; harmless when there is none."""
        stopping = asyncio.ensure_future(self._stop(key))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        await asyncio.shield(stopping)

    async def aclose(self) -> None:
        """End all."""
        await asyncio.gather(*(self.stop(key) for key in self.keys()))
        await asyncio.gather(*self._stopping)

    async def _stop(self, key: str) -> None:
        task = self._starting.get(key)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        server = self._servers.pop(key, None)
        if server is None:
            return
        if server.watching is not None:
            server.watching.cancel()
            await asyncio.wait([server.watching])
        if server.process is not None:
            await server.process.stop()
        self._room.give(server.claim)
        await self._room.settled()

    async def _start(
        self,
        key: str,
        choice: Choice,
        max_model_len: int,
        dtype: str,
        host: str,
        port: int | None,
        api_key: str | None,
        on_phase: OnPhase | None,
    ) -> DedicatedServer:
        engine, model = choice.engine, choice.model
        context = await asyncio.to_thread(engine.context_of, model, max_model_len)
        for parallel in _PARALLEL:
            need = await asyncio.to_thread(engine.need_of, model, context, parallel, dtype)
            if self._room.fits(need):
                break
        waiting: Callable[[], Awaitable[None]] | None = None
        if on_phase is not None:
            told = on_phase

            async def waiting() -> None:
                await told("waiting")

        claim = await self._room.take(model.full_name, need, patience=self._patience, waiting=waiting)
        try:
            if on_phase is not None:
                await on_phase("loading_model")
            order = Order(
                model=model,
                alias=choice.asked,
                host=host,
                port=port or 0,
                api_key=api_key,
                context=context,
                parallel=parallel,
                dtype=dtype,
                shared=False,
                threads=self._threads,
                gpus=claim.gpus,
            )
            if port is None:
                process = await started_at_free_port(order, engine.launch, limit=self._start_seconds)
            else:
                process = await self._process(choice, order)
        except BaseException:
            self._room.give(claim)
            raise
        serving = Serving(
            key=key,
            model=choice.asked,
            used_model=model.name,
            host=host,
            port=process.order.port,
            base_url=f"http://{f'[{host}]' if ':' in host else host}:{process.order.port}/v1",
            api_key=api_key,
            max_model_len=context,
            engine=engine.name,
            device=process.device,
        )
        server = self._servers[key] = DedicatedServer(serving, choice, claim, process)
        server.watching = asyncio.ensure_future(self._watch(server, process.order))
        return server

    async def _process(self, choice: Choice, order: Order) -> EngineProcess:
        return await EngineProcess.start(order, choice.engine.launch(order), limit=self._start_seconds)

    async def _watch(self, server: DedicatedServer, order: Order) -> None:
        """Start the process again whenever it ends, until it has ended too often in a row."""
        failures = 0
        while server.process is not None:
            started = time.monotonic()
            status = await asyncio.shield(server.process.ended)
            if time.monotonic() - started > _STEADY_SECONDS:
                failures = 0
            why = server.process.complaint() or f"its process ended with status {status}"
            await server.process.stop()
            server.process = None
            while server.process is None and failures < len(_PAUSES):
                log.warning("the server %s of %s ended: %s", server.serving.key, order.alias, why)
                await asyncio.sleep(_PAUSES[failures])
                failures += 1
                try:
                    server.process = await self._process(server.choice, order)
                except EngineError as error:
                    why = error.message
        server.failure = f"{order.alias} ended {len(_PAUSES) + 1} times: {why}"
        self._room.give(server.claim)
