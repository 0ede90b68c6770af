"""Which program of an image runs: the caller's words in the image's places, as Docker does it (section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from skerry.island.engine.engine import Engine
from skerry.island.engine.records import Image
from skerry.island.faces.octaspace.sessions.mr_request import words
from skerry.island.images.host_image import HOST
from skerry.island.images.index import ImageConfig
from skerry.island.images.program import COMMAND_VARIABLE


def configured(engine: Engine, image: Image, entrypoint: str, command: str, envs: Mapping[str, str]) -> ImageConfig:
    """The image's configuration with what was asked for in its places.

    Args:
        entrypoint, command: lines of words; empty for the image's own.
        envs: of the run, which may name a command for the host's image.
    """
    first, rest = words(entrypoint, "entrypoint"), words(command, "start_command")
    config: ImageConfig = engine.images.config(image.id)
    if image.id == HOST and (rest or COMMAND_VARIABLE not in envs):
        config = msgspec.structs.replace(config, entrypoint=(), command=())
    if first:
        config = msgspec.structs.replace(config, entrypoint=first, command=rest)
    elif rest:
        config = msgspec.structs.replace(config, command=rest)
    return config
