"""The owner's own API under `/_island/v1`: what no network's protocol has words for.

Images, runs with their cost and barriers, live logs, the state of the machine. Thin over the engine, and for the
owner only: the key is a file in the data directory, so whoever can read that directory holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from skerry.island.engine.engine import Engine

__all__ = ["routes"]


def routes(engine: Engine) -> list[BaseRoute]:
    """The routes to mount at the root of the island's application."""
    from skerry.island.admin.endpoints import build

    return build(engine)
