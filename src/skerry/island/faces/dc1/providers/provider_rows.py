"""Providers: this machine and others that speak the provider protocol (sections 1.1, 3.2 and 3.7)."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from skerry.island.faces.dc1.tables import jobs, providers
from skerry.island.store.prepared import Prepared
from skerry.island.store.question import Question, among

LIVE_SECONDS = 120
"""Age of a heartbeat up to which a provider is live."""

OFFLINE_SECONDS = 90
"""Silence after which a provider is offline."""

STALE_SECONDS = 600
"""Age of a heartbeat beyond which a provider takes no job."""

COMPUTE_TYPES = ("inference", "training", "rendering")
PREFERENCES = {
    "run_mode": "always-on",
    "scheduled_start": "23:00",
    "scheduled_end": "07:00",
    "gpu_usage_cap_pct": 80,
    "vram_reserve_gb": 1,
    "temp_limit_c": 85,
}
_BUSY = ("pending", "assigned", "pulling", "running", "paused")
# Made once, because making a statement takes longer than running it.
_by_number = Question(select(providers).where(providers.c.id == bindparam("number")))
_every = Question(select(providers).order_by(providers.c.id))
_working = Prepared(
    select(func.count()).select_from(jobs).where(jobs.c.provider_id == bindparam("number"), among(jobs.c.status, _BUSY))
)
_TOTALS = ("total_jobs", "failed_jobs", "total_earned")
_count = Question(
    providers.update()
    .where(providers.c.id == bindparam("of_id"))
    .values({name: providers.c[name] + bindparam(f"more_{name}", type_=providers.c[name].type) for name in _TOTALS})
    .returning(*providers.c)
)


def find(connection: Connection, provider_id: int) -> Row[Any] | None:
    """A provider by number."""
    return _by_number.first(connection, number=provider_id)


def every(connection: Connection) -> list[Row[Any]]:
    """All of them, the oldest first."""
    return _every.all(connection)


def of_node(connection: Connection, node_id: str) -> Row[Any] | None:
    """The provider that a node of the engine is."""
    return connection.execute(select(providers).where(providers.c.node_id == node_id)).first()


def by_email(connection: Connection, email: str) -> Row[Any] | None:
    """A provider by address, which is kept in lower case."""
    return connection.execute(select(providers).where(providers.c.email == email.lower())).first()


def add(connection: Connection, *, name: str, email: str, gpu_model: str, os: str, now: int, **more: Any) -> int:
    """A new provider; its number."""
    values: dict[str, Any] = {
        "name": name,
        "email": email.lower(),
        "gpu_model": gpu_model,
        "os": os.lower(),
        "status": "registered",
        "approval": "pending",
        "compute_types": json.dumps(COMPUTE_TYPES),
        "profile": "{}",
        "preferences": json.dumps(PREFERENCES),
        "created_at": now,
        "updated_at": now,
        **more,
    }
    made = connection.execute(providers.insert().values(values))
    return int(made.inserted_primary_key[0])  # type: ignore[index]


def change(connection: Connection, provider_id: int, now: int, **values: Any) -> None:
    """Set columns."""
    connection.execute(providers.update().where(providers.c.id == provider_id).values(updated_at=now, **values))


def profile(provider: Row[Any]) -> dict[str, Any]:
    """What its heartbeats said last."""
    found: dict[str, Any] = json.loads(provider.profile)
    return found


def model_of(provider: Row[Any]) -> str:
    """The GPU's name: the one that was detected, else the one it registered with."""
    return str(profile(provider).get("gpu_name") or provider.gpu_model)


def age_seconds(provider: Row[Any], now: int) -> float | None:
    """Age of the last heartbeat; None before the first."""
    return None if provider.last_heartbeat is None else max(0, now - provider.last_heartbeat) / 1_000_000


def is_live(provider: Row[Any], now: int) -> bool:
    """Whether it was heard of lately."""
    age = age_seconds(provider, now)
    return age is not None and age < LIVE_SECONDS


def may_work(provider: Row[Any], now: int) -> bool:
    """Whether it may be given a job."""
    age = age_seconds(provider, now)
    known = age is not None and age <= STALE_SECONDS and provider.status in ("online", "degraded")
    return known and provider.approval == "approved" and not provider.paused and not provider.suspended


def working(connection: Connection, provider_id: int) -> int:
    """How many jobs it has that began or may begin at any moment."""
    return int(_working(connection, number=provider_id).scalar())


def count(
    connection: Connection, provider_id: int, *, total_jobs: int = 0, failed_jobs: int = 0, total_earned: int = 0
) -> Row[Any]:
    """Count in a provider's totals; the provider as it is since."""
    more = {"more_total_jobs": total_jobs, "more_failed_jobs": failed_jobs, "more_total_earned": total_earned}
    return _count.one(connection, of_id=provider_id, **more)


def supported(provider: Row[Any]) -> frozenset[str]:
    """Kinds of computing that it does."""
    return frozenset(json.loads(provider.compute_types))


def key_context(provider_id: int) -> str:
    """Under what a provider's key is sealed, with which its events are verified."""
    return f"dc1 provider:{provider_id}:key"
