"""What nodes have, and what of it is free: this machine's own, and those that speak the operators' protocol."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.records import Gpu
from skerry.island.faces.dispersed.jobs.job_rows import need_of
from skerry.island.faces.dispersed.jobs.lifecycle import LIVE_RUNS
from skerry.island.faces.dispersed.jobs.placement import GB, Card, Offer, Share
from skerry.island.faces.dispersed.nodes.gpu_names import key_of
from skerry.island.faces.dispersed.nodes.rewards import SILENCE
from skerry.island.faces.dispersed.tables import gpu_registry, job_runs, jobs, nodes
from skerry.units import GIB, MIB

MEMORY_FLOOR = 128 * MIB
"""Set aside here for a run that does not say how much memory it needs; it may use the usual amount."""

_NODES = select(nodes).order_by(nodes.c.created_at, nodes.c.uuid)
_OUTSIDE: Select[Any] = (
    select(
        *jobs.c,
        job_runs.c.node_uuid,
        job_runs.c.gpu_name.label("run_gpu_name"),
        job_runs.c.gpu_count.label("run_gpu_count"),
    )
    .join(job_runs, job_runs.c.job_uuid == jobs.c.uuid)
    .where(job_runs.c.status.in_(LIVE_RUNS), job_runs.c.engine_run_id.is_(None))
)
"""Jobs that go on at nodes other than this machine, with their runs."""

_Priced = Callable[[str, int, int], Card]


def usual_memory(engine: Engine) -> int:
    """Bytes for a job that does not say how much memory it needs: what the owner's settings give a sandbox."""
    return engine.nodes.fitting(engine.settings.limits).memory_bytes or 0


def all_offers(connection: Connection, engine: Engine, now: int) -> list[Offer]:
    """Every node with what it has free in this transaction.

    Args:
        now: microseconds since 1970.
    """
    priced = _pricing(connection, engine)
    core_rate = engine.settings.dispersed.cpu_hour.amount
    rows = connection.execute(_NODES).all()
    busy: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    if any(node.node_id is None for node in rows):
        for run in connection.execute(_OUTSIDE):
            busy[run.node_uuid].append(run)
    return [
        _local(connection, engine, node, priced, core_rate)
        if node.node_id is not None
        else _remote(engine, node, busy[node.uuid], priced, core_rate, now)
        for node in rows
    ]


def _local(connection: Connection, engine: Engine, node: Row[Any], priced: _Priced, core_rate: int) -> Offer:
    free, idle, local = engine.capacity.free(connection), engine.lending.idle(connection), engine.nodes.local
    return Offer(
        node_uuid=node.uuid,
        local=True,
        region_code=node.region_code,
        reputation=node.reputation,
        assignable=local.state == "ready",
        cpu_millis=free.cpu_millis,
        memory_bytes=free.memory_bytes,
        disk_bytes=free.disk_bytes,
        cards=(
            *(priced(gpu.name, _vram(gpu), gpu.index) for gpu in free.gpus),
            *(replace(priced(gpu.name, _vram(gpu), gpu.index), idle=True) for gpu in idle),
        ),
        all_cores=local.cpu_millis // 1_000,
        all_memory_bytes=local.memory_bytes,
        all_disk_bytes=local.disk_bytes,
        all_cards=tuple(priced(gpu.name, _vram(gpu), gpu.index) for gpu in local.gpus),
        core_rate=core_rate,
        floor=Share(cpu_millis=engine.capacity.cpu_floor_millis, memory_bytes=MEMORY_FLOOR),
    )


def _remote(
    engine: Engine, node: Row[Any], busy: Sequence[Row[Any]], priced: _Priced, core_rate: int, now: int
) -> Offer:
    hardware = json.loads(node.hardware)
    cores = sum(cpu["num_cores"] for cpu in hardware["cpus"])
    memory = sum(ram["memory_gb_max"] for ram in hardware["rams"]) * GB
    disk = sum(drive["max_capacity_gb"] for drive in hardware["hard_drives"]) * GB
    cards = [priced(card["name"], card["vram_gb_max"], place) for place, card in enumerate(hardware["gpus"])]
    usual = usual_memory(engine)
    used: Counter[str] = Counter()
    free_cores, free_memory, free_disk = cores, memory, disk
    for run in busy:
        need = need_of(run, usual)
        free_cores -= need.cores
        free_memory -= need.memory_bytes
        free_disk -= need.disk_bytes
        used[run.run_gpu_name] += run.run_gpu_count
    return Offer(
        node_uuid=node.uuid,
        local=False,
        region_code=node.region_code,
        reputation=node.reputation,
        assignable=now - node.last_seen_at < SILENCE,
        cpu_millis=free_cores * 1_000,
        memory_bytes=free_memory,
        disk_bytes=free_disk,
        cards=_unused(cards, used),
        all_cores=cores,
        all_memory_bytes=memory,
        all_disk_bytes=disk,
        all_cards=tuple(cards),
        core_rate=core_rate,
    )


def _unused(cards: Sequence[Card], used: Counter[str]) -> tuple[Card, ...]:
    left = []
    for card in cards:
        if used[card.name] > 0:
            used[card.name] -= 1
        else:
            left.append(card)
    return tuple(left)


def _pricing(connection: Connection, engine: Engine) -> _Priced:
    """Prices cards by the registry; a model it does not know costs what the owner's settings ask for a GPU."""
    entries: dict[str, Row[Any]] = {}
    unknown = engine.settings.prices.gpu_hour.amount

    def priced(name: str, vram_gb: int, index: int) -> Card:
        if not entries:
            # Most nodes have no GPU, and then need no registry.
            entries.update({key_of(row.name): row for row in connection.execute(select(gpu_registry))})
        entry = entries.get(key_of(name))
        return Card(
            index=index,
            name=name,
            vram_gb=vram_gb,
            rate=unknown if entry is None else entry.hourly_rate,
            registry_uuid=None if entry is None else entry.uuid,
        )

    return priced


def _vram(gpu: Gpu) -> int:
    # A card sold with 24 GB reports a little less than as many GiB.
    return round(gpu.memory_bytes / GIB)
