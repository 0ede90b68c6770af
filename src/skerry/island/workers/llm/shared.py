"""Models that jobs share: loaded when one is asked for, kept while it may be asked again, made to leave for others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry.island.engine.errors import Unavailable
from skerry.island.workers.llm.choice import Choice, state_of
from skerry.island.workers.llm.process import EngineProcess, new_key, started_at_free_port
from skerry.island.workers.llm.room import Claim, Room
from skerry.island.workers.llm.values import Loaded, Need, OnPhase, Order

log = logging.getLogger("skerry.llm")

_PARALLEL = (4, 2, 1)
_LOOPBACK = "127.0.0.1"


@dataclass(slots=True, eq=False)
class _Loaded:
    """A model that is loaded, or being loaded."""

    choice: Choice
    key: tuple[Path, tuple[int, int] | None]
    start: asyncio.Task[EngineProcess] | None = None
    claim: Claim | None = None
    users: int = 0
    idle: asyncio.TimerHandle | None = None

    @property
    def over(self) -> bool:
        """Whether its process has ended, or never began."""
        start = self.start
        if start is None or not start.done():
            return False
        return start.cancelled() or start.exception() is not None or not start.result().alive


class SharedModels:
    """One engine process per model.

    Args:
        room: shared with others.
        context: tokens of prompt and answer together, at most.
        idle_seconds: after which a model that nobody used leaves.
        start_seconds: that loading may take.
        patience: seconds to wait for room.
        threads: of computation per process; None for as many as there are processors.
    """

    def __init__(
        self,
        room: Room,
        *,
        context: int,
        idle_seconds: float,
        start_seconds: float,
        patience: float,
        threads: int | None,
    ) -> None:
        self._room = room
        self._context = context
        self._idle_seconds = idle_seconds
        self._start_seconds = start_seconds
        self._patience = patience
        self._threads = threads
        self._loaded: dict[tuple[Path, tuple[int, int] | None], _Loaded] = {}
        self._closed = False

    def loaded(self) -> list[Loaded]:
        """What is loaded now."""
        return [
            Loaded(
                model=one.choice.model.full_name,
                engine=one.choice.engine.name,
                pid=one.start.result().pid,
                memory_bytes=one.claim.need.memory_bytes,
            )
            for one in self._loaded.values()
            if one.start is not None and one.start.done() and not one.over and one.claim is not None
        ]

    @asynccontextmanager
    async def use(self, choice: Choice, on_phase: OnPhase | None = None) -> AsyncIterator[EngineProcess]:
        """A process that serves a model, which stays as long as the context.

        Args:
            choice: which.
            on_phase: told of waiting and loading.

        Raises:
            Invalid: the model is damaged. Unsupported: it is too large. NoCapacity: no room became free.
            Unavailable: it cannot be loaded.
        """
        entry = self._entry(choice, on_phase)
        entry.users += 1
        if entry.idle is not None:
            entry.idle.cancel()
            entry.idle = None
        if entry.claim is not None:
            self._room.use(entry.claim)
        try:
            assert entry.start is not None
            if not entry.start.done():
                if on_phase is not None:
                    await on_phase("loading_model")
                # Others wait for it too, so it goes on when one of them is gone.
                await asyncio.wait([entry.start])
            if entry.start.cancelled():
                raise Unavailable("the models are being stopped")
            yield entry.start.result()
        finally:
            entry.users -= 1
            if not entry.users:
                self._rest(entry)

    async def aclose(self) -> None:
        """End every process; nothing is loaded afterwards."""
        self._closed = True
        for entry in list(self._loaded.values()):
            if entry.idle is not None:
                entry.idle.cancel()
            await self._leave(entry)
            if entry.claim is not None:
                self._room.give(entry.claim)

    def _entry(self, choice: Choice, on_phase: OnPhase | None) -> _Loaded:
        """The model as it is loaded, or begins to be; without waiting, so that it begins once."""
        if self._closed:
            raise Unavailable("the models are being stopped")
        # A file that was replaced is another model; the earlier one leaves when it has been idle.
        key = choice.model.path, state_of(choice.model)
        known = self._loaded.get(key)
        if known is not None:
            if not known.over and (known.claim is None or self._room.holds(known.claim)):
                return known
            self._forget(known)
        entry = self._loaded[key] = _Loaded(choice, key)
        entry.start = asyncio.ensure_future(self._load(entry, on_phase))
        entry.start.add_done_callback(lambda start: self._started(entry, start))
        return entry

    async def _load(self, entry: _Loaded, on_phase: OnPhase | None) -> EngineProcess:
        model, engine = entry.choice.model, entry.choice.engine
        context, parallel, need = await asyncio.to_thread(self._measure, entry.choice)

        async def waiting() -> None:
            try:
                if on_phase is not None:
                    await on_phase("waiting")
            except Exception:
                # Whoever wanted to know is gone; the others wait on.
                log.exception("nobody could be told that %s waits for room", model.full_name)

        entry.claim = await self._room.take(
            model.full_name, need, patience=self._patience, waiting=waiting, leave=lambda: self._leave(entry)
        )
        order = Order(
            model=model,
            alias=model.name,
            host=_LOOPBACK,
            port=0,
            api_key=new_key(),
            context=context,
            parallel=parallel,
            dtype="auto",
            shared=True,
            threads=self._threads,
            gpus=entry.claim.gpus,
        )
        started = time.monotonic()
        if engine.chooses_port:
            process = await EngineProcess.start(order, engine.launch(order), limit=self._start_seconds)
        else:
            process = await started_at_free_port(order, engine.launch, limit=self._start_seconds)
        log.info("loaded %s in %.2f s, process %d", model.full_name, time.monotonic() - started, process.pid)
        process.ended.add_done_callback(lambda _: self._forget(entry))
        return process

    def _measure(self, choice: Choice) -> tuple[int, int, Need]:
        """How many tokens, for how many at once; fewer at once where there is less memory."""
        model, engine = choice.model, choice.engine
        context = engine.context_of(model, self._context)
        for parallel in _PARALLEL:
            need = engine.need_of(model, context, parallel, "auto")
            if self._room.fits(need):
                break
        return context, parallel, need

    def _started(self, entry: _Loaded, start: asyncio.Task[EngineProcess]) -> None:
        if start.cancelled() or start.exception() is not None:
            self._forget(entry)
        elif not entry.users:
            self._rest(entry)

    def _rest(self, entry: _Loaded) -> None:
        """Nobody uses it: it may be made to leave, and leaves by itself after a while."""
        if entry.claim is None or self._loaded.get(entry.key) is not entry:
            return
        claim = entry.claim
        self._room.rest(claim)
        loop = asyncio.get_running_loop()
        entry.idle = loop.call_later(self._idle_seconds, self._room.dismiss, claim)

    def _forget(self, entry: _Loaded) -> None:
        if self._loaded.get(entry.key) is entry:
            del self._loaded[entry.key]
        if entry.idle is not None:
            entry.idle.cancel()
        if entry.claim is not None:
            self._room.give(entry.claim)

    async def _leave(self, entry: _Loaded) -> None:
        """End a model's process, in whatever state it is."""
        if self._loaded.get(entry.key) is entry:
            del self._loaded[entry.key]
        start = entry.start
        assert start is not None
        start.cancel()
        await asyncio.wait([start])
        if not start.cancelled() and start.exception() is None:
            await start.result().stop()
