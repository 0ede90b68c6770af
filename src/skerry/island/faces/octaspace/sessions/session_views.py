"""Sessions in the network's words (protocol sections 3.10 and 3.11)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.ports import SSH_ONLY
from skerry.island.engine.records import PublishedPort
from skerry.island.engine.traffic import Moved
from skerry.island.faces.octaspace.call import Place
from skerry.island.faces.octaspace.sessions import states
from skerry.island.faces.octaspace.sessions.mr_request import SSH_PORT
from skerry.island.faces.octaspace.sessions.mr_work import envs_context
from skerry.island.faces.octaspace.sessions.vpn_work import config_context
from skerry.island.faces.octaspace.wire import charge, millis

_ANYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - not bound here
_SECOND = 1_000_000


class SessionViews:
    """Shows sessions.

    Args:
        engine: open.
        ssh_web: the address of a session's terminal in the browser, as told at a moment (microseconds since 1970).
    """

    def __init__(self, engine: Engine, ssh_web: Callable[[Row[Any], Place, int], str]) -> None:
        self._engine = engine
        self._ssh_web = ssh_web

    async def view(self, session: Row[Any], place: Place, now: int, moved: Moved) -> dict[str, Any]:
        """One session.

        Args:
            place: how the caller reached the island.
            now: microseconds since 1970.
            moved: bytes that the row does not know of yet.
        """
        shown = self._common(session, now, moved)
        if session.finished_at is not None:
            shown |= {"finished_at": millis(session.finished_at), "termination_reason": session.reason}
        else:
            shown["progress"] = states.PROGRESS[session.state]
        if session.service == "vpn":
            return shown | self._vpn(session)
        shown |= self._machine(session, place)
        if session.finished_at is None:
            shown |= await self._reach(session, place, now)
        return shown

    def _common(self, session: Row[Any], now: int, moved: Moved) -> dict[str, Any]:
        chosen = self._engine.settings.octaspace
        end = session.finished_at if session.finished_at is not None else now
        ready = session.ready_at
        return {
            "uuid": session.uuid,
            "service": session.service,
            "kind": session.kind,
            "node_id": session.node_id,
            "is_ready": session.state == states.READY,
            "duration": 0 if ready is None else max(0, end - ready) // _SECOND,
            "started_at": millis(session.started_at),
            "charge_amount": charge(int(session.charged), chosen.charge_amount),
            "tx": session.tx + moved.sent,
            "rx": session.rx + moved.received,
            "country": chosen.country,
            "country_iso": chosen.country_iso,
            "city": chosen.city,
            "node_hw": json.loads(session.hardware),
            "prices": {
                "base_usd": session.base_usd,
                "currency_usd": bool(session.currency_usd),
                "market_price": session.market_price / _SECOND,
            },
        }

    def _vpn(self, session: Row[Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if session.exit_ip:
            shown["ip"] = session.exit_ip
        # Clients take any text here for a configuration that works.
        if session.config is not None and session.state == states.READY:
            shown["config"] = self._engine.vault.open(session.config, config_context(session.uuid)).decode()
        return shown

    def _machine(self, session: Row[Any], place: Place) -> dict[str, Any]:
        envs = json.loads(self._engine.vault.open(session.envs, envs_context(session.uuid)))
        return {
            "app_name": session.app_name or "",
            "app_logo": session.app_logo or "",
            "public_ip": reached(self._engine, place),
            "container_id": [session.sandbox_id] if session.sandbox_id else [],
            "user_envs": envs,
            "ports_matrix": {},
            "urls": {},
        }

    async def _reach(self, session: Row[Any], place: Place, now: int) -> dict[str, Any]:
        """Ports, URLs and logins, once they are there."""
        if session.state != states.READY:
            return {}
        if session.sandbox_id is None:
            return {"urls": self._urls(session, place)}
        host = reached(self._engine, place)
        published = [it for it in await self._engine.ports.of_sandbox(session.sandbox_id) if it.listening]
        matrix = _matrix(published)
        shown: dict[str, Any] = {"ports_matrix": matrix, "urls": self._urls(session, place)}
        if str(SSH_PORT) in matrix:
            shown["ssh_direct"] = {"host": host, "port": matrix[str(SSH_PORT)]}
        for known in published:
            if known.port == SSH_ONLY:
                shown["ssh_proxy"] = {"host": host, "port": known.host_port}
        if session.service == "mr":
            shown["ssh_web"] = self._ssh_web(session, place, now)
        return shown

    def _urls(self, session: Row[Any], place: Place) -> dict[str, str]:
        asked = json.loads(session.request)
        urls = {
            str(port): f"{place.scheme}://{port}-{session.label}.{place.suffix}/"
            for port in asked.get("http_ports", ())
        }
        if session.service == "render":
            urls["farm"] = f"{place.root}/farm"
        return urls


def _matrix(published: Sequence[PublishedPort]) -> dict[str, int]:
    """Ports inside and the host ports that lead to them."""
    return {str(known.port): known.host_port for known in published if known.port != SSH_ONLY}


def reached(engine: Engine, place: Place) -> str:
    """The host name or address by which a caller reaches this machine's ports."""
    public = engine.settings.public_host
    if public:
        return public.rpartition(":")[0] or public
    if engine.settings.host in _ANYWHERE:
        return place.host.rpartition(":")[0] or place.host
    return engine.settings.host
