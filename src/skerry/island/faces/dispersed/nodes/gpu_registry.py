"""The catalogue of GPU models, and how many of each there are and are free (protocol section 3.5)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.records import Gpu
from skerry.island.faces.dispersed import listing, wire
from skerry.island.faces.dispersed.call import Call, Route
from skerry.island.faces.dispersed.jobs.lifecycle import LIVE_RUNS
from skerry.island.faces.dispersed.nodes.gpu_models import MODELS, VENDOR, GpuModel
from skerry.island.faces.dispersed.nodes.gpu_names import key_of
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import gpu_registry, job_runs, nodes
from skerry.island.ground.texts import iso
from skerry.island.store.values import micros

ALIVE_MICROS = 60_000_000
"""For how long after its last word a node counts."""

_GIB = 1 << 30

Predicate = Callable[["Entry"], bool]


@dataclass(frozen=True, slots=True)
class Entry:
    """A model and its cards.

    Args:
        row: of the table.
        total: cards on nodes that are there.
        available: those of them that nobody uses.
    """

    row: Row[Any]
    total: int
    available: int


class GpuRegistry:
    """The same for everybody."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Table:
        """One list."""
        return [("GET", "/v1/gpu-registry", Route(self.models, preset="ANY"))]

    async def start(self) -> None:
        """Enter the models known from the beginning, and those of this machine's GPUs that are not among them."""
        rate = self._engine.settings.prices.gpu_hour.amount
        here = [model_of(gpu, rate) for gpu in self._engine.nodes.local.gpus]
        await self._engine.store.run(enter, [*MODELS, *here], micros(self._engine.clock.now()))

    async def models(self, call: Call) -> dict[str, Any]:
        """Models with their rates and counts."""
        wanted = listing.read_query(call.query, _FILTERS)
        entries = await self._engine.store.read(self._entries, call.now)
        found = [entry for entry in entries if all(holds(entry) for holds in wanted.clauses)]
        page = listing.window(found, wanted)
        return listing.envelope([view(entry) for entry in page], wanted, len(found))

    def _entries(self, connection: Connection, now: int) -> list[Entry]:
        total = Counter(key_of(gpu.name) for gpu in self._engine.nodes.local.gpus)
        available = Counter(key_of(gpu.name) for gpu in self._engine.lending.free(connection).gpus)
        for node in connection.execute(
            select(nodes.c.uuid, nodes.c.hardware).where(
                nodes.c.node_id.is_(None), nodes.c.last_seen_at > now - ALIVE_MICROS
            )
        ):
            cards = Counter(key_of(str(card["name"])) for card in json.loads(node.hardware).get("gpus", []))
            total += cards
            available += cards - _used(connection, node.uuid)
        query = select(gpu_registry).order_by(gpu_registry.c.created_at, gpu_registry.c.uuid)
        return [Entry(row, total[key_of(row.name)], available[key_of(row.name)]) for row in connection.execute(query)]


def enter(connection: Connection, models: Iterable[GpuModel], now: int) -> None:
    """Enter those models that are not there yet, by the rule of their names.

    Args:
        connection: of a write transaction.
        models: in their order.
        now: microseconds since 1970.
    """
    known = {key_of(name) for (name,) in connection.execute(select(gpu_registry.c.name))}
    for position, model in enumerate(models):
        if key_of(model.name) in known:
            continue
        known.add(key_of(model.name))
        connection.execute(
            gpu_registry.insert().values(
                uuid=model.uuid,
                name=model.name,
                vendor=VENDOR,
                vram_gb=model.vram_gb,
                cuda_cores=model.cuda_cores,
                hourly_rate=model.hourly_rate,
                multiplier_millis=model.multiplier_millis,
                # Microseconds apart, so that the list keeps their order.
                created_at=now + position,
                updated_at=now + position,
            )
        )


def model_of(gpu: Gpu, hourly_rate: int) -> GpuModel:
    """The model of a GPU that was found, at a node's own rate."""
    return GpuModel(gpu.name[:255], round(gpu.memory_bytes / _GIB), None, hourly_rate)


def view(entry: Entry) -> dict[str, Any]:
    """A model as it is sent."""
    row = entry.row
    return {
        "object": "gpu_registry",
        "uuid": row.uuid,
        "name": row.name,
        "vendor": row.vendor,
        "vram_gb": row.vram_gb,
        "cuda_cores": row.cuda_cores,
        "hourly_rate_usd": wire.usd(row.hourly_rate),
        "multiplier": wire.fixed(row.multiplier_millis, 3),
        "available_count": entry.available,
        "total_count": entry.total,
        "is_available": entry.available > 0,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def _used(connection: Connection, node_uuid: str) -> Counter[str]:
    query = select(job_runs.c.gpu_name, job_runs.c.gpu_count).where(
        job_runs.c.node_uuid == node_uuid, job_runs.c.status.in_(LIVE_RUNS), job_runs.c.gpu_name.is_not(None)
    )
    used: Counter[str] = Counter()
    for name, count in connection.execute(query):
        used[key_of(name)] += count
    return used


def _only_available(text: str) -> Predicate:
    wanted = listing.boolean(text)
    return lambda entry: entry.available > 0 or not wanted


def _vram(text: str) -> Predicate:
    low, high = listing.bounds(text)
    return lambda entry: (low is None or entry.row.vram_gb >= low) and (high is None or entry.row.vram_gb <= high)


def _name(text: str) -> Predicate:
    names = {key_of(word) for word in listing.split(text)}
    return lambda entry: key_of(entry.row.name) in names


def _uuid(text: str) -> Predicate:
    uuids = {word.lower() for word in listing.split(text)}
    return lambda entry: entry.row.uuid in uuids


def _created(text: str) -> Predicate:
    first, last = listing.span(text)
    return lambda entry: (
        (first is None or entry.row.created_at >= first) and (last is None or entry.row.created_at < last)
    )


_FILTERS: dict[str, Callable[[str], Predicate]] = {
    "only_available": _only_available,
    "min_vram_gb": _vram,
    "gpu_name": _name,
    "name": _name,
    "uuid": _uuid,
    "created_at": _created,
}
