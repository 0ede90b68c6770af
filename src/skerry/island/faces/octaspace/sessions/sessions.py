"""What becomes of a service that was started: info, logs, stop, and the lists (protocol sections 3.10 to 3.12)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.errors import not_found
from skerry.island.faces.octaspace.sessions import session_rows, states
from skerry.island.faces.octaspace.sessions.carrier import Carrier
from skerry.island.faces.octaspace.sessions.session_views import SessionViews
from skerry.island.faces.octaspace.validation import Form
from skerry.island.faces.octaspace.wire import millis
from skerry.island.ground.answers import Answer
from skerry.island.ground.texts import is_uuid

STOP_SECONDS = 15.0
"""How long a stop waits for the session's end before it answers all the same."""


class Sessions:
    """The caller's sessions.

    Args:
        engine: open.
        carrier: carries them.
        views: shows them.
    """

    def __init__(self, engine: Engine, carrier: Carrier, views: SessionViews) -> None:
        self._engine = engine
        self._carrier = carrier
        self._views = views

    def routes(self) -> list[Route]:
        """What it answers."""
        recent = {"recent": "true: the last ended sessions as well"}
        stop: dict[str, Any] = {
            "path": "/services/{uuid}/stop",
            "handler": self.stop,
            "answer": "Nothing",
            "changes": True,
            "faults": (404, 422),
        }
        return [
            Route(
                method="GET",
                path="/services/{uuid}/info",
                handler=self.info,
                summary="One session that goes on",
                answer="ServiceInfo",
                faults=(404,),
            ),
            Route(
                method="GET",
                path="/services/{uuid}/logs",
                handler=self.logs,
                summary="Logs of a session",
                answer="SessionLogs",
                parameters={"recent": "true: of a session that has ended too"},
                faults=(404,),
            ),
            Route(
                method="POST", body="Stop", summary="End a session, with a score from 1 to 5 if there is one", **stop
            ),
            Route(method="GET", summary="End a session, as older clients do", **stop),
            Route(
                method="GET",
                path="/sessions",
                handler=self.list,
                summary="The caller's sessions",
                answer="ServiceInfo",
                listed=True,
                parameters=recent,
            ),
        ]

    async def info(self, call: Call, uuid: str) -> Answer:
        """GET /services/{uuid}/info; one that has ended is not found (section 11.3)."""
        return Answer(await self._view(await self._active(call, uuid), call))

    async def logs(self, call: Call, uuid: str) -> Answer:
        """GET /services/{uuid}/logs."""
        session = await self._known(call, uuid) if call.flag("recent") else await self._active(call, uuid)
        events = await self._engine.store.read(session_rows.told, session.uuid)
        written = session.log if session.log is not None else await self._carrier.log_of(session)
        return Answer(
            {
                "system": [{"msg": event.message, "ts": millis(event.at)} for event in events],
                "container": written.decode("utf-8", "replace"),
            }
        )

    async def stop(self, call: Call, uuid: str) -> Answer:
        """POST and GET /services/{uuid}/stop."""
        score = None
        if call.has_body and call.json is not None:
            form = Form(call.json)
            score = form.whole("score", least=1, most=5) if form.has("score") else None
        session = await self._active(call, uuid)
        values: dict[str, Any] = {} if score is None else {"score": score}
        if not await self._carrier.end(session.uuid, states.NORMAL, **values) and score is not None:
            await self._engine.store.run(_rate, session.uuid, score, call.now)
        await self._carrier.finished(session.uuid, STOP_SECONDS)
        return Answer({})

    async def list(self, call: Call) -> Answer:
        """GET /sessions."""
        found = await self._engine.store.read(_list, call.account_id, call.flag("recent"))
        return Answer([await self._view(session, call) for session in found])

    async def _view(self, session: Row[Any], call: Call) -> dict[str, Any]:
        return await self._views.view(session, call.place, call.now, await self._carrier.moved(session))

    async def _active(self, call: Call, uuid: str) -> Row[Any]:
        session = await self._known(call, uuid)
        if session.finished_at is not None:
            # A loop that waits for it to be ready learns of its end here, and nowhere why.
            told = await self._engine.store.read(session_rows.told, session.uuid)
            raise not_found("Service", f"it has ended: {told[-1].message.strip()}")
        return session

    async def _known(self, call: Call, uuid: str) -> Row[Any]:
        found = None
        if is_uuid(uuid):
            found = await self._engine.store.read(session_rows.of_account, call.account_id, uuid)
        if found is None:
            raise not_found("Service")
        return found


def _list(connection: Connection, account_id: str, recent: bool) -> list[Row[Any]]:
    """Those that go on; with `recent` the last ended ones too, the newest of all first (section 1.1)."""
    going = session_rows.active(connection, account_id)
    return [*reversed(going), *session_rows.finished(connection, account_id)] if recent else going


def _rate(connection: Connection, uuid: str, score: int, now: int) -> None:
    session_rows.put(connection, uuid, now, score=score)
