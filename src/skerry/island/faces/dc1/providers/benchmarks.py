"""How fast a provider's GPU is, as it measured itself (section 3.7).

The tier is that of the best card whose floor all three measurements reach; what was not measured does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import PROVIDER, PROVIDER_BY_ID
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.fields import Fields
from skerry.island.faces.dc1.providers import provider_access, provider_rows

FLOORS = {"A": (60.0, 800.0, 60.0), "B": (20.0, 350.0, 20.0)}
"""TFLOPS, GB/s and tokens per second from which a tier begins; whatever is below is C."""

_NAMES: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("tflops", ("tflops", "tflops_fp16", "gflops_fp16"), 100_000),
    ("bandwidth_gbps", ("bandwidth_gbps", "memory_bandwidth_gbps"), 100_000),
    ("tokens_per_second", ("tokens_per_second", "tokens_per_sec"), 10_000_000),
)


class Benchmarks:
    """Takes measurements.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """By the provider's number, and without."""
        return [
            Route(
                method="POST",
                path="/api/providers/{id}/benchmark-submit",
                handler=self.submit,
                access=PROVIDER_BY_ID,
            ),
            Route(method="POST", path="/api/benchmark/run", handler=self.run, access=PROVIDER),
        ]

    async def submit(self, call: Call, provider_id: str) -> Answer:
        """Measurements of the provider that asks."""
        provider_access.own(call, provider_id)
        return await self.run(call)

    async def run(self, call: Call) -> Answer:
        """The same without its number."""
        measured = read(call.json)
        word = tier(measured)
        await self._engine.store.run(_note, call.provider.id, {**measured, "tier": word, "at": call.now}, call.now)
        return Answer({"success": True, "provider_id": call.provider.id, "tier": word, "benchmark": measured})


def read(body: Any) -> dict[str, float]:
    """What was measured.

    Raises:
        Fault: 400 with every mistake, also when nothing was measured.
    """
    fields = Fields(body, nulls=True)
    found: dict[str, float] = {}
    for name, others, most in _NAMES:
        given = next((other for other in others if isinstance(body, dict) and body.get(other) is not None), name)
        value = fields.number(given, least=0, most=most, required=False)
        if value is not None:
            found[name] = value / 1_000 if given.startswith("gflops") else value
    if not found and not fields.issues:
        fields.wrong("tflops", "Invalid input: expected number, received undefined")
    fields.check()
    return found


def tier(measured: Mapping[str, float]) -> str:
    """A, B or C.

    Example:
        >>> tier({"tflops": 82.6, "bandwidth_gbps": 1008}), tier({"tflops": 82.6, "bandwidth_gbps": 400}), tier({})
        ('A', 'B', 'C')
    """
    for word, floors in FLOORS.items():
        pairs = [
            (measured[name], floor) for (name, _, _), floor in zip(_NAMES, floors, strict=True) if name in measured
        ]
        if pairs and all(value >= floor for value, floor in pairs):
            return word
    return "C"


def _note(connection: Connection, provider_id: int, found: dict[str, Any], now: int) -> Row[Any]:
    provider = provider_access.known(connection, provider_id)
    known = {**provider_rows.profile(provider), "benchmark": found}
    provider_rows.change(connection, provider_id, now, profile=wire.text(known))
    return provider_access.known(connection, provider_id)
