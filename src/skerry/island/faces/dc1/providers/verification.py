"""Whether a provider's GPU is what it says (section 3.7).

A challenge is a nonce and a chain of SHA-256 sums to compute from it, with the GPU's name and memory at its start: it
cannot be answered before it was asked, nor with another GPU's answer. What is told is compared with what heartbeats
said. The score begins at 100 and loses for everything that does not fit; below 70 a provider is suspect, and below 40
it is suspended until the operator has looked at it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ADMIN, PROVIDER
from skerry.island.faces.dc1.admin import admin_providers
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import heartbeat_bodies, provider_access, provider_rows
from skerry.island.faces.dc1.tables import challenges

SUSPECT_BELOW, FAILED_BELOW = 70, 40
ROUNDS = 10_000
OPEN_SECONDS = 600
MOST_OPEN = 5
_TOLERANCE_PERCENT = 5
_LOSSES = {
    "wrong_proof": 70,
    "gpu_name_differs": 40,
    "vram_differs": 30,
    "gpu_count_differs": 15,
    "compute_capability_differs": 15,
    "driver_version_missing": 10,
    "never_heard_of": 40,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a check.

    Args:
        score: 0 to 100.
        flags: what did not fit.
    """

    score: int
    flags: tuple[str, ...]

    @property
    def word(self) -> str:
        """`verified`, `suspect` or `failed`."""
        return "failed" if self.score < FAILED_BELOW else "suspect" if self.score < SUSPECT_BELOW else "verified"


class Verification:
    """Asks providers to prove what they are.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """What is asked, two ways of answering, and the operator's asking."""

        def route(method: str, path: str, handler: Any, access: Any = PROVIDER) -> Route:
            return Route(method=method, path=f"/api/verification/{path}", handler=handler, access=access)

        return [
            route("GET", "pending", self.pending),
            route("POST", "auto", self.auto),
            route("POST", "submit", self.submit),
            route("POST", "challenge", self.challenge, ADMIN),
            Route(method="POST", path="/api/admin/verification/challenge", handler=self.challenge, access=ADMIN),
        ]

    async def pending(self, call: Call) -> Answer:
        """Challenges that wait for an answer."""
        rows = await self._engine.store.read(waiting, call.provider.id, call.now)
        return Answer(
            {"provider_id": call.provider.id, "challenges": [_asked(row) for row in rows], "total": len(rows)}
        )

    async def challenge(self, call: Call) -> Answer:
        """Ask a provider, as the operator."""
        body = call.json if isinstance(call.json, dict) else {}
        ident = body.get("provider_id")
        if isinstance(ident, bool) or not isinstance(ident, int | str):
            raise Fault(400, "provider_id is required")
        number = provider_access.number(str(ident))
        row = await self._engine.store.run(ask, number, now=call.now)
        return Answer({"success": True, "challenge": {**_asked(row), "provider_id": number}}, 201)

    async def auto(self, call: Call) -> Answer:
        """Be checked at once, by what is told here and what heartbeats said, without a chain to compute."""
        body = call.json if isinstance(call.json, dict) else {}
        verdict = await self._engine.store.run(check_now, call.provider.id, body, now=call.now)
        return Answer(_told(verdict))

    async def submit(self, call: Call) -> Answer:
        """Answer a challenge."""
        body = call.json if isinstance(call.json, dict) else {}
        ident = body.get("challenge_id")
        if not isinstance(ident, str) or not ident or "\x00" in ident:
            raise Fault(400, "challenge_id is required")
        verdict = await self._engine.store.run(answered, call.provider.id, ident, body, now=call.now)
        return Answer({**_told(verdict), "challenge_id": ident})


def chain(nonce: str, gpu_name: str, vram_mib: int, rounds: int) -> str:
    """The proof: SHA-256 of `<nonce>:<gpu name>:<MiB>`, and then of each sum's hex, `rounds` times in all.

    Example:
        >>> chain("n", "RTX 4090", 24564, 1) == hashlib.sha256(b"n:RTX 4090:24564").hexdigest()
        True
    """
    found = f"{nonce}:{gpu_name}:{vram_mib}"
    for _ in range(rounds):
        found = hashlib.sha256(found.encode("utf-8", "replace")).hexdigest()
    return found


def judge(provider: Row[Any], told: Mapping[str, Any]) -> Verdict:
    """What a provider tells of its GPU, against what is known of it."""
    known, said = provider_rows.profile(provider), _said(told)
    flags = []
    if provider.last_heartbeat is None:
        flags.append("never_heard_of")
    if said.get("gpu_name") != known.get("gpu_name", provider.gpu_model):
        flags.append("gpu_name_differs")
    memory = said.get("gpu_vram_mib")
    if memory is None or abs(memory - provider.vram_mib) * 100 > _TOLERANCE_PERCENT * provider.vram_mib:
        flags.append("vram_differs")
    if said.get("gpu_count", provider.gpu_count) != provider.gpu_count:
        flags.append("gpu_count_differs")
    if said.get("compute_capability", known.get("compute_capability")) != known.get("compute_capability"):
        flags.append("compute_capability_differs")
    if not (said.get("driver_version") or known.get("driver_version")):
        flags.append("driver_version_missing")
    return _scored(flags)


def waiting(connection: Connection, provider_id: int, now: int) -> list[Row[Any]]:
    """Challenges that a provider may answer still."""
    query = select(challenges).where(
        challenges.c.provider_id == provider_id, challenges.c.status == "pending", challenges.c.expires_at > now
    )
    return list(connection.execute(query.order_by(challenges.c.created_at)))


def ask(connection: Connection, provider_id: int, *, now: int) -> Row[Any]:
    """A new challenge.

    Raises:
        Fault: 404; 409 when too many wait.
    """
    provider_access.known(connection, provider_id)
    if len(waiting(connection, provider_id, now)) >= MOST_OPEN:
        raise Fault(409, f"{MOST_OPEN} challenges of this provider wait for an answer; see what becomes of them first")
    ident = str(uuid4())
    connection.execute(
        challenges.insert().values(
            id=ident,
            provider_id=provider_id,
            nonce=secrets.token_hex(16),
            rounds=ROUNDS,
            status="pending",
            expires_at=now + OPEN_SECONDS * 1_000_000,
            created_at=now,
        )
    )
    return connection.execute(select(challenges).where(challenges.c.id == ident)).one()


def answered(connection: Connection, provider_id: int, ident: str, told: Mapping[str, Any], *, now: int) -> Verdict:
    """Judge the answer to a challenge, and act on it; each can be answered once.

    Raises:
        Fault: 404 for somebody else's or none, 409 for one that was answered or is too old.
    """
    query = select(challenges).where(challenges.c.id == ident, challenges.c.provider_id == provider_id)
    row = connection.execute(query).first()
    if row is None:
        raise Fault(404, "Challenge not found")
    if row.status != "pending" or row.expires_at <= now:
        raise Fault(409, "Challenge was answered already, or is too old", challenge_id=ident)
    provider = provider_access.known(connection, provider_id)
    verdict, said, proof = judge(provider, told), _said(told), told.get("proof")
    expected = chain(row.nonce, str(said.get("gpu_name", "")), int(said.get("gpu_vram_mib", 0)), int(row.rounds))
    given = proof.strip().lower() if isinstance(proof, str) else ""
    if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
        verdict = _scored([*verdict.flags, "wrong_proof"])
    connection.execute(
        challenges.update()
        .where(challenges.c.id == ident)
        .values(status=verdict.word, score=verdict.score, flags=wire.text(verdict.flags), answered_at=now)
    )
    _act(connection, provider, verdict, now)
    return verdict


def check_now(connection: Connection, provider_id: int, told: Mapping[str, Any], *, now: int) -> Verdict:
    """Judge what a provider tells of itself, and act on it."""
    provider = provider_access.known(connection, provider_id)
    verdict = judge(provider, told)
    _act(connection, provider, verdict, now)
    return verdict


def _act(connection: Connection, provider: Row[Any], verdict: Verdict, now: int) -> None:
    noted = {"status": verdict.word, "score": verdict.score, "flags": list(verdict.flags), "at": now}
    known = {**provider_rows.profile(provider), "verification": noted}
    provider_rows.change(connection, provider.id, now, profile=wire.text(known))
    if verdict.word == "failed":
        admin_providers.suspend(connection, provider.id, now)


def _said(told: Mapping[str, Any]) -> Mapping[str, Any]:
    found = heartbeat_bodies.read({"gpu_status": dict(told), "gpu_spec": dict(told)}, "").profile
    return {**found, **({"gpu_vram_mib": int(found["gpu_vram_mib"])} if "gpu_vram_mib" in found else {})}


def _scored(flags: Sequence[str]) -> Verdict:
    return Verdict(max(0, 100 - sum(_LOSSES[flag] for flag in flags)), tuple(flags))


def _asked(row: Row[Any]) -> dict[str, Any]:
    return {
        "challenge_id": row.id,
        "nonce": row.nonce,
        "rounds": row.rounds,
        "proof": "sha256 of '<nonce>:<gpu_name>:<gpu_vram_mib>', then of each hex sum, `rounds` times in all",
        "status": row.status,
        "flags": [] if row.flags is None else json.loads(row.flags),
        "expires_at": wire.iso(row.expires_at),
        "created_at": wire.iso(row.created_at),
    }


def _told(verdict: Verdict) -> dict[str, Any]:
    return {"success": True, "status": verdict.word, "score": verdict.score, "flags": list(verdict.flags)}
