"""The catalogue of models, what serving one would cost, and having it served (section 3.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY, RENTER_JOBS
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.limits import MODEL_DEPLOY
from skerry.island.faces.dc1.models import model_registry
from skerry.island.faces.dc1.models.model_registry import Entry
from skerry.island.faces.dc1.tables import providers

Submit = Callable[[Call], Awaitable[Answer]]
"""Submits the job that a call's body describes."""

_USUAL_MINUTES, _MOST_MINUTES = 60, 1_440
_VIEWS = ("benchmarks", "cards", "catalog", "compare", "portfolio-readiness")


class ModelViews:
    """Models.

    Args:
        engine: open.
        submit: makes serving jobs.
    """

    def __init__(self, engine: Engine, submit: Submit) -> None:
        self._engine = engine
        self._submit = submit

    def routes(self) -> Sequence[Route]:
        """A model's name has a slash, which clients send as it is or escaped."""
        base, found = "/api/models", []
        found.append(Route(method="GET", path=base, handler=self.every, access=ANYBODY))
        found += [
            Route(method="GET", path=f"{base}/{view}", handler=self._view(view), access=ANYBODY) for view in _VIEWS
        ]
        for name in ("{model}", "{org}/{model}"):
            one = f"{base}/{name}"
            deploy = {"access": RENTER_JOBS, "limits": (MODEL_DEPLOY,)}
            found += [
                Route(method="GET", path=one, handler=self.get, access=ANYBODY),
                Route(method="GET", path=f"{one}/deploy/estimate", handler=self.estimate, access=ANYBODY),
                Route(method="POST", path=f"{one}/deploy", handler=self.deploy, **deploy),  # type: ignore[arg-type]
            ]
        return found

    async def every(self, call: Call) -> Answer:
        """Every model of the catalogue, as a bare array."""
        return Answer(await self._all(call))

    async def get(self, call: Call, *name: str) -> Answer:
        """One model."""
        entry = _entry(name)
        able, ready = await self._engine.store.read(_supply, entry, call.now)
        return Answer(model_registry.view(entry, able, ready))

    async def estimate(self, call: Call, *name: str) -> Answer:
        """What serving a model for so many minutes would cost."""
        entry = _entry(name)
        able, ready = await self._engine.store.read(_supply, entry, call.now)
        minutes = call.whole("duration_minutes", _USUAL_MINUTES, 1, _MOST_MINUTES)
        cost = entry.rate_per_minute * minutes
        status = model_registry.status(able, ready)
        availability = {"providers_online": able, "providers_warm": ready, "status": status}
        return Answer(
            {
                "model_id": entry.model_id,
                "display_name": entry.display_name,
                "availability": availability,
                "estimate": {
                    "duration_minutes": minutes,
                    "rate_halala_per_min": entry.rate_per_minute,
                    "estimated_cost_halala": cost,
                    "estimated_cost_sar": wire.sar(cost),
                    "estimated_cold_start_ms": entry.cold_start_ms,
                    "providers_online": able,
                    "providers_warm": ready,
                },
            }
        )

    async def deploy(self, call: Call, *name: str) -> Answer:
        """Serve any model: a `vllm_serve` job of that name, with whatever else the body says of it."""
        given = call.json if isinstance(call.json, dict) else {}
        model, asked = "/".join(name), given.get("params")
        params: dict[str, Any] = asked if isinstance(asked, dict) else {}
        body = {
            "duration_minutes": _USUAL_MINUTES,
            **{key: value for key, value in given.items() if key not in ("model", "params", "job_type")},
            "job_type": "vllm_serve",
            "params": {**params, "model": model},
        }
        return await self._submit(replace(call, json=body))

    def _view(self, view: str) -> Callable[[Call], Awaitable[Answer]]:
        async def shown(call: Call) -> Answer:
            found = await self._all(call)
            ready = sum(1 for model in found if model["status"] == "available")
            told = {"total": len(found), "ready": ready} if view == "portfolio-readiness" else {"total": len(found)}
            return Answer({"generated_at": wire.iso(call.now), "view": view, "models": found, **told})

        return shown

    async def _all(self, call: Call) -> list[dict[str, Any]]:
        hosts = await self._engine.store.read(_hosts)
        return [_shown(entry, hosts, call.now) for entry in model_registry.MODELS]


def _entry(name: Sequence[str]) -> Entry:
    entry = model_registry.find("/".join(name))
    if entry is None:
        raise Fault(404, "Model not found")
    return entry


def _shown(entry: Entry, hosts: Sequence[Row[Any]], now: int) -> dict[str, Any]:
    able = model_registry.capable(hosts, entry.vram_gb, now)
    return model_registry.view(entry, len(able), len(model_registry.warm(able, entry.model_id)))


def _hosts(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(select(providers)))


def _supply(connection: Connection, entry: Entry, now: int) -> tuple[int, int]:
    """How many providers could serve a model, and how many of them have it."""
    able = model_registry.capable(_hosts(connection), entry.vram_gb, now)
    return len(able), len(model_registry.warm(able, entry.model_id))
