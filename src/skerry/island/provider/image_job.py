"""A job that has a picture drawn (protocol section 5.5)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Container
from typing import Protocol

from skerry.island.engine.errors import EngineError
from skerry.island.provider.course import Course
from skerry.island.provider.params import image_params
from skerry.island.provider.records import Outcome, ProviderJob, failure
from skerry.island.provider.results import Made, OnPhase, figures, finished, refused

_BLOCK = 8
_SIZE_AT, _SIZE_END = 16, 24
NO_PICTURES = (
    "This provider draws no pictures: its owner can run `skerry diffusion install`, and put a model into "
    "`diffusion/models` of the data directory"
)


class Picture(Made, Protocol):
    """What was drawn."""

    @property
    def png(self) -> bytes: ...
    @property
    def seed(self) -> int: ...


class Pictures(Protocol):
    """Whoever can draw one."""

    async def generate(
        self,
        model: str,
        prompt: str,
        *,
        negative_prompt: str,
        steps: int,
        width: int,
        height: int,
        seed: int | None,
        on_phase: OnPhase,
    ) -> Picture:
        """Draw; raises `EngineError`."""
        ...


class ImageJobs:
    """Pictures.

    Args:
        pictures: draws them; None where nothing can.
        allowed: models that may be asked for; others are replaced by the network's default. None for any.
        clock: seconds that only grow.
    """

    def __init__(self, pictures: Pictures | None, allowed: Container[str] | None, clock: Callable[[], float]) -> None:
        self._pictures = pictures
        self._allowed = allowed
        self._clock = clock

    async def carry(self, job: ProviderJob, course: Course) -> Outcome:
        """Have it drawn, and write it as the network's own programs do."""
        if self._pictures is None:
            return failure(NO_PICTURES)
        wanted = image_params(job.params or {}, job.model, self._allowed)
        began = self._clock()
        try:
            # Diffusion models draw in blocks of eight pixels.
            found = await self._pictures.generate(
                wanted.model,
                wanted.prompt,
                negative_prompt=wanted.negative_prompt,
                steps=wanted.steps,
                width=wanted.width // _BLOCK * _BLOCK,
                height=wanted.height // _BLOCK * _BLOCK,
                seed=wanted.seed,
                on_phase=course.hear,
            )
        except EngineError as error:
            return refused(error, self._clock() - began)
        course.phase("formatting")
        width, height = png_size(found.png)
        result = {
            "type": "image",
            "format": "png",
            "encoding": "base64",
            "width": width,
            "height": height,
            "steps": wanted.steps,
            "seed": found.seed,
            "prompt": wanted.prompt,
            "model": found.model,
            **figures(found),
            "data": await asyncio.to_thread(lambda: base64.b64encode(found.png).decode()),
        }
        course.say(f"{found.model} drew {width}x{height} pixels in {found.seconds:.1f} s")
        return finished(result, self._clock() - began)


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, as a PNG file's header tells."""
    header = png[_SIZE_AT:_SIZE_END]
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
