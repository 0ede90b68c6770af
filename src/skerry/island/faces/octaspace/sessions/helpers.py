"""The optional helpers behind VPN and render sessions, as far as this machine has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skerry.errors import ConfigurationError
from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.sessions.vpn_work import Relays
from skerry.island.sandbox.spec import GpuDevice

if TYPE_CHECKING:
    from skerry.island.workers.render import RenderWorkers


def _no_subkinds() -> dict[str, str | None]:
    return {}


def _no_render() -> str | None:
    return "this island has no renderer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Helpers:
    """What this machine has of them.

    Args:
        relays: makes VPN relays.
        subkinds: kinds of VPN, each with why it cannot be had here, or None.
        relay_failure: what `relays` raise.
        unready: why rendering cannot be had here, or None.
        open_workers: opens what renders, once, when rendering can be had.
    """

    relays: Relays | None = None
    subkinds: Callable[[], dict[str, str | None]] = field(default=_no_subkinds)
    relay_failure: type[Exception] = Exception
    unready: Callable[[], str | None] = field(default=_no_render)
    open_workers: Callable[[], Awaitable[RenderWorkers]] | None = None


def of_machine(engine: Engine) -> Helpers:
    """The helpers that can run on this machine, as the engine's settings want them."""
    from skerry.island.workers import render, vpn
    from skerry.island.workers.render.blender import STATE

    settings = engine.settings
    span = settings.port_range
    state = settings.data_dir / STATE

    async def open_workers() -> RenderWorkers:
        gpus = [GpuDevice(gpu.index, gpu.uuid) for gpu in engine.nodes.local.gpus]
        return await render.RenderWorkers.open(
            state, images=engine.images, clock=engine.clock, settings=settings, gpus=gpus
        )

    rendering: dict[str, Any] = {"unready": lambda: render.available(state), "open_workers": open_workers}
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
        return Helpers(subkinds=lambda: dict.fromkeys(vpn.SUBKINDS, reason), **rendering)
    return Helpers(relays=relays, subkinds=vpn.subkinds, relay_failure=vpn.RelayError, **rendering)
