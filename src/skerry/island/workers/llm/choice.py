"""Which model and engine answer to a name: the asked one, a fetched one, or the default."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from skerry.island.engine.errors import EngineError, NotFound, Unsupported
from skerry.island.workers.llm import llama, names
from skerry.island.workers.llm.models import Model, ModelStore
from skerry.island.workers.llm.values import Engine, OnPhase

Fetch = Callable[[str], Awaitable[None]]
"""Fetches a model by name into the store. Raises EngineError with the reason why not."""

_MOST_REMEMBERED = 256
# Looking through directories for each of many short requests would take longer than answering some of them.
_REMEMBERED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, what carries it out, and the name that was asked for."""

    asked: str
    model: Model
    engine: Engine


class Chooser:
    """Answers which model a name means.

    Args:
        store: the models that are here.
        engines: the preferred one first.
        default: stands in for a model that is not here; None for nothing.
        fetch: how to get a model that is not here; None not to.
    """

    def __init__(
        self, store: ModelStore, engines: Sequence[Engine], *, default: str | None = None, fetch: Fetch | None = None
    ) -> None:
        self._store = store
        self._engines = tuple(engines)
        self._default = default
        self._fetch = fetch
        self._known: dict[str, tuple[Choice, tuple[int, int], float]] = {}

    async def choose(self, name: str, on_phase: OnPhase | None = None) -> Choice:
        """The model for a name, as it is on the disk now.

        Args:
            name: from a stranger.
            on_phase: told of fetching.

        Raises:
            Invalid: no model can have this name. NotFound: it is not here, and nothing stands in. Unsupported: no
                engine is here.
        """
        names.check(name)
        if not self._engines:
            raise Unsupported(llama.MISSING)
        known = self._known.get(name)
        if known is not None and time.monotonic() < known[2] and known[1] == state_of(known[0].model):
            return known[0]
        found = await asyncio.to_thread(self._look, name)
        why = ""
        if found is None and self._fetch is not None:
            if on_phase is not None:
                await on_phase("downloading_model")
            try:
                await self._fetch(name)
                found = await asyncio.to_thread(self._look, name)
            except EngineError as error:
                why = f" ({error.message})"
        if found is not None:
            self._remember(name, found)
            return found
        if self._default is not None:
            found = await asyncio.to_thread(self._look, self._default)
            if found is not None:
                return Choice(name, found.model, found.engine)
        raise NotFound(await asyncio.to_thread(self._absence, name) + why)

    def _look(self, name: str) -> Choice | None:
        model = self._store.find(name, formats=[engine.format for engine in self._engines])
        if model is None:
            return None
        engine = next(engine for engine in self._engines if engine.format == model.format)
        return Choice(name, model, engine)

    def _remember(self, name: str, found: Choice) -> None:
        state = state_of(found.model)
        if state is not None:
            while len(self._known) >= _MOST_REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known.pop(name, None)
            self._known[name] = found, state, time.monotonic() + _REMEMBERED_SECONDS

    def _absence(self, name: str) -> str:
        other = self._store.find(name, formats=("weights", "gguf"))
        if other is not None:
            if other.format == "weights":
                return (
                    f"{name} is here as safetensors, which only vLLM on a GPU loads; llama.cpp needs it as a GGUF file"
                )
            return f"{name} is here as a GGUF file, which only llama.cpp loads; {llama.MISSING.partition('; ')[2]}"
        here = [model.name for model in self._store.ls(None)]
        listed = f"; here are {', '.join(dict.fromkeys(here[:10]))}" if here else ""
        default = "" if self._default is None else f", nor the default one, {self._default}"
        return (
            f"there is no model {name} here{default}: get it with `skerry model pull` or `skerry model add`, or try "
            f"without one by `skerry model demo {names.split(name)[0]}`{listed}"
        )


def state_of(model: Model) -> tuple[int, int] | None:
    """What changes when a model's file is replaced; None when it has gone."""
    try:
        found = os.stat(model.path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
