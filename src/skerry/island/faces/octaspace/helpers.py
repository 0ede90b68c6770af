"""The optional helpers behind VPN and render sessions, as far as this machine has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from skerry.errors import ConfigurationError
from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.render_work import Workers
from skerry.island.faces.octaspace.vpn_work import Relays


def _no_subkinds() -> dict[str, str | None]:
    return {}


def _no_render() -> str | None:
    return "this island has no renderer"


def _no_frames(connection: Connection, now: int) -> dict[str, Any]:
    return {"frames_24h": 0, "frames_total": 0, "frames_by_week": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Helpers:
    """What this machine has of them.

    Args:
        relays: makes VPN relays.
        subkinds: kinds of VPN, each with why it cannot be had here, or None.
        relay_failure: what `relays` raise.
        workers: makes renderers.
        unready: why rendering cannot be had here, or None.
        worker_failure: what `workers` raise.
        frames: figures of the renderer, in the network's words.
    """

    relays: Relays | None = None
    subkinds: Callable[[], dict[str, str | None]] = field(default=_no_subkinds)
    relay_failure: type[Exception] = Exception
    workers: Workers | None = None
    unready: Callable[[], str | None] = field(default=_no_render)
    worker_failure: type[Exception] = Exception
    frames: Callable[[Connection, int], dict[str, Any]] = field(default=_no_frames)


def of_machine(engine: Engine) -> Helpers:
    """The helpers that can run on this machine, as the engine's settings want them."""
    from skerry.island.workers import vpn

    settings = engine.settings
    span = settings.port_range
    try:
        relays = vpn.Relays(
            settings.data_dir / "relays",
            settings.host,
            None if span is None else range(span[0], span[1] + 1),
            engine.clock,
            egress_private=settings.egress_private,
        )
    except ConfigurationError as error:
        reason = str(error)
        return Helpers(subkinds=lambda: dict.fromkeys(vpn.SUBKINDS, reason))
    return Helpers(relays=relays, subkinds=vpn.subkinds, relay_failure=vpn.RelayError)
