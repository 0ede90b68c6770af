"""VPN: a session is a relay of its own, billed by what it carries (protocol sections 3.9 and 5.3)."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Protocol

from sqlalchemy import Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.traffic import Moved
from skerry.island.faces.octaspace.sessions import states
from skerry.island.faces.octaspace.sessions.works import Ending, StartFailed, Tell

_LOOK_SECONDS = 5.0

log = logging.getLogger("skerry.island.octaspace")


class Carried(Protocol):
    """Bytes as a relay's server sees them."""

    @property
    def received(self) -> int:
        """From the user."""

    @property
    def sent(self) -> int:
        """To the user."""


class Relay(Protocol):
    """A VPN server of one session."""

    @property
    def config(self) -> str:
        """What the user gives a client program (section 9)."""

    @property
    def exit_ip(self) -> str:
        """The address that the world sees."""

    async def traffic(self) -> Carried:
        """Bytes since it began."""

    async def alive(self) -> bool:
        """Whether it still serves."""


class Relays(Protocol):
    """Makes relays, and finds them again."""

    async def start(self, id: str, *, subkind: str, protocol: str | None, label: str) -> Relay:
        """A relay, the same for the same id."""

    async def find(self, id: str) -> Relay | None:
        """One that lives."""

    async def stop(self, id: str) -> Carried:
        """End it; its last counters, which it says again until it is forgotten."""

    async def forget(self, id: str) -> None:
        """Drop the last counters."""

    async def recover(self, wanted: Collection[str]) -> None:
        """End those that nobody wants."""

    async def rest(self) -> None:
        """End all processes; `start` brings each relay back."""


class VpnWork:
    """Sessions of VPN.

    Args:
        engine: open.
        relays: of this machine; None where it has none.
        failure: what relays raise when they cannot be started.
    """

    def __init__(self, engine: Engine, relays: Relays | None, failure: type[Exception]) -> None:
        self._engine = engine
        self._relays = relays
        self._failure = failure
        self._last: dict[str, Moved] = {}
        self._before: dict[str, Moved] = {}

    async def begin(self, session: Row[Any], tell: Tell) -> None:
        """Start the relay."""
        await tell(states.PREPARING, f"Preparing node {session.node_id}\n")
        await tell(states.STARTING, f"Starting a {session.kind} relay\n")
        relays = self._have()
        try:
            relay = await relays.start(
                session.uuid, subkind=session.kind, protocol=session.protocol, label=f"octa-{session.node_id}"
            )
        except self._failure as error:
            raise StartFailed(str(error)) from None
        sealed = self._engine.vault.seal(relay.config.encode(), config_context(session.uuid))
        await tell(states.CONFIGURING, "Relay started\n", config=sealed, exit_ip=relay.exit_ip)

    async def alive(self, session: Row[Any]) -> bool:
        """Whether the relay serves; one that rested with the island is brought back."""
        if self._relays is None:
            return False
        relay = await self._relays.find(session.uuid)
        if relay is None:
            try:
                relay = await self._relays.start(
                    session.uuid, subkind=session.kind, protocol=session.protocol, label=f"octa-{session.node_id}"
                )
            except self._failure as error:
                log.warning("the relay of session %s does not come back: %s", session.uuid, error)
                return False
        return await relay.alive()

    async def follow(self, session: Row[Any], *, adopted: bool) -> Ending:
        """Until the relay is gone."""
        relays = self._have()
        while True:
            relay = await relays.find(session.uuid)
            if relay is None or not await relay.alive():
                return Ending(reason=states.NODE_LOST, message="The relay was lost", at=session.seen_at)
            await self._engine.clock.sleep(_LOOK_SECONDS)

    async def moved(self, session: Row[Any]) -> Moved:
        """What the relay has carried beyond what the row knew when this server first looked."""
        self._before.setdefault(session.uuid, Moved(session.tx, session.rx))
        relay = None if self._relays is None else await self._relays.find(session.uuid)
        if relay is not None:
            self._note(session.uuid, await relay.traffic())
        known = self._last.get(session.uuid)
        return Moved() if known is None else known - self._before[session.uuid]

    async def quiet_since(self, session: Row[Any]) -> float | None:
        """None: a VPN that nobody uses costs nothing, so that no idle limit is needed."""
        return None

    async def halt(self, session: Row[Any]) -> None:
        """End the relay; its credentials are worthless from now on."""
        if self._relays is not None:
            self._before.setdefault(session.uuid, Moved(session.tx, session.rx))
            self._note(session.uuid, await self._relays.stop(session.uuid))

    async def log(self, session: Row[Any]) -> bytes:
        """Nothing: a relay keeps no log of its users."""
        return b""

    async def end(self, session: Row[Any]) -> None:
        """Forget it."""
        if self._relays is not None:
            await self._relays.forget(session.uuid)
        self._last.pop(session.uuid, None)
        self._before.pop(session.uuid, None)

    async def recover(self, wanted: Collection[str]) -> None:
        """End relays of sessions that have ended."""
        if self._relays is not None:
            await self._relays.recover(wanted)

    def _have(self) -> Relays:
        if self._relays is None:
            raise StartFailed("this island has no VPN relays")
        return self._relays

    def _note(self, uuid: str, counters: Carried) -> None:
        moved = Moved(counters.received, counters.sent)
        before = self._last.get(uuid, Moved())
        self._last[uuid] = Moved(max(before.sent, moved.sent), max(before.received, moved.received))


def config_context(uuid: str) -> str:
    """Under what a relay's configuration is sealed."""
    return f"octaspace session:{uuid}:config"
