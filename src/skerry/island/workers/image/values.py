"""What the picture workers take and give: a request within bounds, a picture, a model."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skerry.island.engine.errors import Invalid

Phase = Literal["loading_model", "generating", "formatting"]

LONGEST_PROMPT = 20_000
"""In characters; models read far less than that."""

MOST_STEPS = 200
SIDES = (64, 2048)
"""Smallest and largest width and height, in pixels."""

_MOST_SEED = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be loaded.

    Args:
        name: as `<org>/<name>` or `<name>`.
        folder: where it lies, None for one that the hub would have to give.
        source: `folder` for one in the models directories, `cache` for the hub's cache, `hub`.
        demo: whether it was made by `skerry diffusion demo`: its pictures are noise.
    """

    name: str
    folder: Path | None
    source: Literal["folder", "cache", "hub"]
    demo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A picture that is wanted.

    Args:
        prompt: what it shall show.
        negative_prompt: what it shall not.
        steps: of denoising.
        width, height: in pixels.
        seed: of the noise that it begins with; the same seed makes the same picture.

    Raises:
        Invalid: something is out of bounds.
    """

    prompt: str
    negative_prompt: str
    steps: int
    width: int
    height: int
    seed: int

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise Invalid("a picture needs a prompt; say what it shall show")
        for name, text in (("prompt", self.prompt), ("negative_prompt", self.negative_prompt)):
            if len(text) > LONGEST_PROMPT:
                raise Invalid(f"{name} has {len(text)} characters; at most {LONGEST_PROMPT} are taken")
        if not 1 <= self.steps <= MOST_STEPS:
            raise Invalid(f"steps is {self.steps}; use 1 to {MOST_STEPS}")
        for name, side in (("width", self.width), ("height", self.height)):
            if not SIDES[0] <= side <= SIDES[1]:
                raise Invalid(f"{name} is {side}; use {SIDES[0]} to {SIDES[1]} pixels")
        if not 1 <= self.seed <= _MOST_SEED:
            raise Invalid(f"seed is {self.seed}; use 1 to {_MOST_SEED}, or 0 for a random one")


def choose_seed(seed: int | None) -> int:
    """The seed that was asked for; a random one for none and for 0."""
    return seed or secrets.randbelow((1 << 31) - 1) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What was drawn.

    Args:
        png: the file.
        model: which one drew it: not the one asked for when the default stood in.
        seed: gives the same picture again, on the same model and machine.
        seconds: that drawing took.
        total_seconds: since its turn came, with loading the model.
        device: `cuda` or `cpu`.
        width, height: of the picture, in pixels.
        steps: of denoising.
        demo: whether the model is a demo, whose pictures are noise.
        withheld: whether the model's own safety checker has blackened it.
    """

    png: bytes
    model: str
    seed: int
    seconds: float
    total_seconds: float
    device: str
    width: int
    height: int
    steps: int
    demo: bool
    withheld: bool
