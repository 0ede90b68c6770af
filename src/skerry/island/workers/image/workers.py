"""Pictures on demand: finds the model, lends out its process, and unloads what nobody uses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType

from skerry.island.clock import Clock, SystemClock
from skerry.island.engine.errors import NotFound, Unavailable
from skerry.island.workers.image import environment, models
from skerry.island.workers.image.choices import MODELS, STATE, DiffusionChoices
from skerry.island.workers.image.process import HubFailed, OnPhase, PictureProcess
from skerry.island.workers.image.values import Model, Order, Picture, choose_seed
from skerry.island.workers.lender import Lender, OwnGpus, visible

log = logging.getLogger("skerry.diffusion")

_CLOSED = "the picture workers are closed"


class _Seat:
    """Room for one loaded model; whoever holds it may use, load or end its process."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.process: PictureProcess | None = None
        self.lease = ""
        self.held = True
        self.uses = 0


class DiffusionWorkers:
    """Draws pictures with the models of an island, each in a process of its own.

    Args:
        data_dir: the island's; models and the environment are in its `diffusion` directory.
        choices: the owner's; read from `environ` otherwise.
        environ: variables to look at, and to pass on in part.
        clock: measures idleness.
        python: in place of the environment's; it runs `script`.
        script: what a process runs.
        lender: of GPUs, where others use them too; each process has one then, where the machine has any.

    Example:
        >>> async with DiffusionWorkers(data_dir) as workers:
        ...     picture = await workers.generate("org/model", "a lighthouse", steps=20, seed=7)
        ...     Path("lighthouse.png").write_bytes(picture.png)
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        choices: DiffusionChoices | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
        python: Path | None = None,
        script: Path | None = None,
        lender: Lender | None = None,
    ) -> None:
        self.choices = DiffusionChoices.from_env(environ) if choices is None else choices
        self._state = data_dir / STATE
        self._environ = environ
        self._clock = SystemClock() if clock is None else clock
        self._python = python
        self._script = script
        self._lender = lender or OwnGpus()
        self._leases = itertools.count(1)
        self._turn = asyncio.Condition()
        self._seats: dict[str, _Seat] = {}
        self._drawing: set[asyncio.Task[Picture]] = set()
        self._idling: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    async def __aenter__(self) -> DiffusionWorkers:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def unready(self) -> str | None:
        """None when pictures can be drawn here, else why not and what to do. Takes a moment the first time."""
        return None if self._python is not None else environment.unready(self._state, self.choices)

    def models(self) -> list[Model]:
        """The models on this machine, by name."""
        return models.every(self._directories, models.hub_cache(self._environ))

    @property
    def loaded(self) -> dict[str, int]:
        """Process ids of the loaded models, by name."""
        return {
            name: seat.process.pid
            for name, seat in self._seats.items()
            if seat.process is not None and seat.process.alive
        }

    @property
    def waiting(self) -> int:
        """How many pictures wait for their turn."""
        return self._waiting

    async def generate(
        self,
        model: str,
        prompt: str,
        *,
        negative_prompt: str = "",
        steps: int = 30,
        width: int = 512,
        height: int = 512,
        seed: int | None = None,
        on_phase: OnPhase = lambda phase: None,
    ) -> Picture:
        """Draw a picture, once it is its turn; cancelling this stops the drawing.

        Args:
            model: `<org>/<name>`, from anybody.
            prompt: what it shall show.
            negative_prompt: what it shall not.
            steps: of denoising, 1 to 200.
            width, height: in pixels, 64 to 2048.
            seed: of the noise that it begins with; 0 or None for a random one, which the picture tells.
            on_phase: told `loading_model` (only when it is not loaded), `generating`, `formatting`; may be awaitable.

        Raises:
            Unsupported: there is no environment, or the model cannot be loaded; the message says what to do.
            Invalid: a value is out of bounds.
            NotFound: there is no such model, and no default.
            NoCapacity: it does not fit into memory or on the disk.
            Unavailable: the process died or took too long, the hub cannot be reached, or the workers are closed.
        """
        order = Order(
            prompt=prompt,
            negative_prompt=negative_prompt,
            steps=steps,
            width=width,
            height=height,
            seed=choose_seed(seed),
        )
        chosen = await asyncio.to_thread(self._resolve, models.check_name(model))
        python = await asyncio.to_thread(self._interpreter)
        task = asyncio.get_running_loop().create_task(self._draw_or_stand_in(python, chosen, order, on_phase))
        self._drawing.add(task)
        task.add_done_callback(self._drawing.discard)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._closed and current is not None and not current.cancelling():
                raise Unavailable(_CLOSED) from None
            raise

    def idle_leases(self) -> list[str]:
        """By which names GPUs are lent to models that are not used; safe from any thread."""
        return [seat.lease for seat in self._idle_gpus()]

    def _idle_gpus(self) -> list[_Seat]:
        return [seat for seat in list(self._seats.values()) if not seat.held and seat.lease]

    async def yield_gpu(self) -> bool:
        """Unload a model that is not used from a GPU; whether there was one."""
        async with self._turn:
            idle = self._idle_gpus()
            if not idle or self._closed:
                return False
            seat = min(idle, key=lambda other: other.uses)
            seat.held = True
        await self._clear(seat)
        return True

    async def aclose(self) -> None:
        """End every process; whoever waits for a picture is told so."""
        async with self._turn:
            self._closed = True
            self._turn.notify_all()
        tasks = [*self._drawing, *self._idling]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for seat in list(self._seats.values()):
            await self._unload(seat)
        self._seats.clear()

    async def _draw_or_stand_in(self, python: Path, model: Model, order: Order, on_phase: OnPhase) -> Picture:
        try:
            return await self._draw(python, model, order, on_phase)
        except HubFailed as failed:
            default = await asyncio.to_thread(self._default)
            if default is None:
                raise failed.told from None
            log.info("%s stands in for %s: %s", default.name, model.name, failed.message)
        return await self._draw(python, default, order, on_phase)

    async def _draw(self, python: Path, model: Model, order: Order, on_phase: OnPhase) -> Picture:
        async with self._seat(model) as seat:
            began = self._clock.monotonic()
            if seat.process is None or not seat.process.alive:
                await self._unload(seat)
                if (waiting := on_phase("loading_model")) is not None:
                    await waiting
                seat.process = await self._load(python, seat)
            drawn = await seat.process.draw(order, on_phase)
            return Picture(
                png=drawn.png,
                model=model.name,
                seed=order.seed,
                seconds=drawn.seconds,
                total_seconds=self._clock.monotonic() - began,
                device=seat.process.device,
                width=drawn.width,
                height=drawn.height,
                steps=order.steps,
                demo=model.demo,
                withheld=drawn.withheld,
            )

    async def _load(self, python: Path, seat: _Seat) -> PictureProcess:
        model, environ = seat.model, dict(self._environ)
        if self._lender.gpus:
            seat.lease = f"picture-{next(self._leases)}"
        try:
            if seat.lease:
                environ |= visible(await self._lender.take(seat.lease, 1))
            return await self._start(python, model, environ)
        except BaseException:
            await asyncio.shield(self._unload(seat))
            raise

    async def _start(self, python: Path, model: Model, environ: Mapping[str, str]) -> PictureProcess:
        if model.folder is not None:
            task: dict[str, object] = {"folder": str(model.folder.absolute())}
        else:
            task = {"hub": model.name, "hub_room_bytes": self.choices.hub_room_bytes}
        more = {} if self._script is None else {"script": self._script}
        return await PictureProcess.start(python, model.name, task, self.choices, environ, **more)

    @contextlib.asynccontextmanager
    async def _seat(self, model: Model) -> AsyncIterator[_Seat]:
        """Hold the seat of a model, when nobody else does; for another model's, one that idles is cleared."""
        leaving: _Seat | None = None
        async with self._turn:
            while True:
                if self._closed:
                    raise Unavailable(_CLOSED)
                seat = self._seats.get(model.name)
                if seat is not None and not seat.held:
                    seat.held = True
                    break
                if seat is None and len(self._seats) < self.choices.processes:
                    seat = self._seats[model.name] = _Seat(model)
                    break
                idle = [other for other in self._seats.values() if not other.held]
                if seat is None and idle:
                    leaving = min(idle, key=lambda other: other.uses)
                    del self._seats[leaving.model.name]
                    seat = self._seats[model.name] = _Seat(model)
                    break
                self._waiting += 1
                try:
                    await self._turn.wait()
                finally:
                    self._waiting -= 1
        try:
            if leaving is not None:
                await self._unload(leaving)
            yield seat
        finally:
            await asyncio.shield(self._give_back(seat))

    async def _give_back(self, seat: _Seat) -> None:
        async with self._turn:
            seat.held = False
            seat.uses += 1
            if seat.process is None or not seat.process.alive:
                await self._unload(seat)
                self._seats.pop(seat.model.name, None)
            elif not self._closed:
                task = asyncio.get_running_loop().create_task(self._idle(seat, seat.uses))
                self._idling.add(task)
                task.add_done_callback(self._idling.discard)
            self._turn.notify_all()

    async def _idle(self, seat: _Seat, uses: int) -> None:
        """Unload a model that is not used for long enough."""
        await self._clock.sleep(self.choices.idle_seconds)
        async with self._turn:
            if seat.held or seat.uses != uses or self._seats.get(seat.model.name) is not seat:
                return
            seat.held = True
        await self._clear(seat)

    async def _clear(self, seat: _Seat) -> None:
        """Unload the model of a seat that is held for this, and do away with the seat."""
        try:
            await self._unload(seat)
        finally:
            async with self._turn:
                seat.held = False
                self._seats.pop(seat.model.name, None)
                self._turn.notify_all()

    async def _unload(self, seat: _Seat) -> None:
        if seat.process is not None:
            process, seat.process = seat.process, None
            try:
                await process.close()
            finally:
                # Also where whoever wanted the GPU has been given up meanwhile: the process has gone.
                await asyncio.shield(self._return(seat))
        else:
            await self._return(seat)

    async def _return(self, seat: _Seat) -> None:
        if seat.lease:
            await self._lender.give(seat.lease)
            seat.lease = ""

    @property
    def _directories(self) -> tuple[Path, ...]:
        return (self._state / MODELS, *self.choices.models)

    def _interpreter(self) -> Path:
        return self._python or environment.find(self._state, self.choices).python

    def _resolve(self, name: str) -> Model:
        """The model to use: the one that is named, from here or the hub, or the default."""
        found = models.find(name, self._directories, models.hub_cache(self._environ))
        if found is not None:
            return found
        if self.choices.hub:
            return Model(name=name, folder=None, source="hub")
        if default := self._default():
            return default
        raise NotFound(f"there is no model {name} here; `skerry diffusion status` lists those that are")

    def _default(self) -> Model | None:
        if self.choices.default_model is None:
            return None
        return models.find(self.choices.default_model, self._directories, models.hub_cache(self._environ))
