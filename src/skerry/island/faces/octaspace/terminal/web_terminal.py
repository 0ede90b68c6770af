"""The terminal of a session in a browser (`ssh_web`, protocol sections 3.10 and 5.1): its page and its WebSocket.

On the WebSocket, bytes are what is typed and what is shown, and text is JSON: `{"type": "resize", "cols", "rows"}` from
the browser, `{"type": "exit", "code"}` to it. Each connection has a shell of its own, which ends with it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from skerry.island.asgi import Receive, Scope, Send
from skerry.island.browsers import own_origin
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError
from skerry.island.faces.octaspace import requests
from skerry.island.faces.octaspace.call import Call, Place, Route
from skerry.island.faces.octaspace.errors import Fault
from skerry.island.faces.octaspace.sessions import session_rows, states
from skerry.island.faces.octaspace.sessions.mr_work import MrWork, secret_context
from skerry.island.faces.octaspace.terminal import terminal_pages, terminal_tokens
from skerry.island.faces.octaspace.terminal.terminal_link import TerminalLink
from skerry.island.gateway import refuse
from skerry.island.ground.answers import Answer
from skerry.island.ground.texts import digits, is_uuid
from skerry.island.store.values import micros

MOST_OF_SESSION = 8
MOST_IN_ALL = 64
MOST_SIDE = 1_000

_NO_ENTRY = "This link does not open a terminal: it has expired, or its session has ended. Ask for a new one."
_TRY_LATER = 1013
_FAILED = 1011

log = logging.getLogger("skerry.island.octaspace")


class WebTerminal:
    """Lets browsers into sessions.

    Args:
        engine: open.
        machines: knows a session's environment.
    """

    def __init__(self, engine: Engine, machines: MrWork) -> None:
        self._engine = engine
        self._machines = machines
        self._open: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/ssh/{uuid}",
                handler=self.page,
                summary="A terminal in the browser",
                access="public",
                parameters={"token": "as in `ssh_web`"},
                faults=(401,),
            )
        ]

    def url(self, session: Row[Any], place: Place, now: int) -> str:
        """`ssh_web` of a session.

        Args:
            session: that is ready.
            place: how the caller reached the island.
            now: microseconds since 1970.
        """
        return f"{place.root}/ssh/{session.uuid}?token={self._token(session, now)}"

    async def page(self, call: Call, uuid: str) -> Answer:
        """GET /ssh/{uuid}."""
        if await self._admitted(uuid, call.query, call.now) is None:
            return terminal_pages.refusal(401, _NO_ENTRY)
        return terminal_pages.page(call.place)

    async def websocket(self, scope: Scope, receive: Receive, send: Send, uuid: str) -> None:
        """Serve a WebSocket whose `connect` is still unread.

        Args:
            uuid: of the session, from the path `/ssh/{uuid}/socket`.
        """
        if not own_origin(scope):
            await refuse(scope, receive, send, 403, "Terminals are opened from their own page only.\n")
            return
        try:
            query = requests.query_of(scope)
        except Fault:
            query = {}
        session = await self._admitted(uuid, query, micros(self._engine.clock.now()))
        if session is None:
            await refuse(scope, receive, send, 401, f"{_NO_ENTRY}\n")
            return
        await receive()
        await send({"type": "websocket.accept"})
        if self._open[uuid] >= MOST_OF_SESSION or self._open.total() >= MOST_IN_ALL:
            await send({"type": "websocket.close", "code": _TRY_LATER, "reason": "There are too many terminals."})
            return
        self._open[uuid] += 1
        try:
            await self._serve(session, Size.of(query), receive, send)
        finally:
            self._open[uuid] -= 1
            self._open += Counter()

    async def _serve(self, session: Row[Any], size: Size, receive: Receive, send: Send) -> None:
        shown = {name: value for name, value in self._machines.envs(session).items() if name.isidentifier()}
        try:
            terminal = await self._engine.sandboxes.open_terminal(
                session.account_id,
                session.sandbox_id,
                env=shown,
                columns=size.columns,
                rows=size.rows,
                cwd="~",
                metered=False,
            )
        except EngineError as error:
            log.info("no terminal in session %s: %s", session.uuid, error)
            await send({"type": "websocket.close", "code": _FAILED, "reason": error.message[:100]})
            return
        link = TerminalLink(terminal, receive, send)

        def count(sent: int, received: int) -> None:
            self._engine.traffic.count(session.sandbox_id, sent=sent, received=received)
            self._engine.sandboxes.touch(session.sandbox_id)

        await link.carry(count)

    async def _admitted(self, uuid: str, query: Mapping[str, str], now: int) -> Row[Any] | None:
        """The session that a token opens."""
        token = query.get("token", "")
        if not is_uuid(uuid) or not token:
            return None
        session = await self._engine.store.read(session_rows.find, uuid.lower())
        if session is None or session.service != "mr" or session.state != states.READY:
            return None
        secret = self._secret(session)
        return session if terminal_tokens.admits(secret, session.uuid, token, now // 1_000_000) else None

    def _token(self, session: Row[Any], now: int) -> str:
        return terminal_tokens.make(self._secret(session), session.uuid, now // 1_000_000)

    def _secret(self, session: Row[Any]) -> bytes:
        return self._engine.vault.open(session.secret, secret_context(session.uuid))


@dataclass(frozen=True, slots=True)
class Size:
    """Of a window, in characters."""

    columns: int = 80
    rows: int = 24

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Size:
        """From `cols` and `rows`, numbers or their text; the usual size where they are none."""
        return cls(_side(given.get("cols"), 80), _side(given.get("rows"), 24))


def _side(value: Any, usual: int) -> int:
    found = digits(str(value), 9)
    return usual if found is None else min(MOST_SIDE, max(1, found))
