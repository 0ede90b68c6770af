"""Interactive terminals over WebSocket: tickets, frames, attachment (protocol section 6)."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs

import msgspec

from skerry.island.asgi import Receive, Send
from skerry.island.engine.engine import Engine
from skerry.island.faces.arker import tables
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.terminals import LiveTerminal, Terminals, Viewer
from skerry.island.faces.arker.wire import number
from skerry.island.ground.waiting import first_of, give_up
from skerry.island.sandbox.driver import Terminal

TICKET_SECONDS = 60
UNWATCHED_SECONDS = 900.0
LONGEST_COMMAND = 65_536


class ResizeFrame(msgspec.Struct, tag_field="type", tag="resize"):
    """The client's window changed."""

    cols: int
    rows: int


class KillFrame(msgspec.Struct, tag_field="type", tag="kill"):
    """End the terminal."""


class PingFrame(msgspec.Struct, tag_field="type", tag="ping"):
    """Is anybody there?"""


Frame = ResizeFrame | KillFrame | PingFrame
_frames = msgspec.json.Decoder(Frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the query of a terminal request asks for.

    Args:
        columns, rows: window size.
        command: instead of a login shell.
        unwatched: seconds the terminal lives on with nobody attached; None for as long as its session.
        ticket: stands for a key.
    """

    columns: int = 80
    rows: int = 24
    command: str | None = None
    unwatched: float | None = UNWATCHED_SECONDS
    ticket: str | None = None


def wish_of(query: bytes) -> Wish:
    """Read the query of a terminal request.

    Raises:
        ArkerFault: `bad_request` for values that cannot be meant.
    """
    try:
        fields = {name: values[-1] for name, values in parse_qs(query.decode("ascii"), errors="strict").items()}
    except ValueError:
        raise ArkerFault("bad_request", "the query is not valid") from None
    persist = fields.get("persist")
    if persist not in (None, "true", "false", "1", "0"):
        raise ArkerFault("bad_request", "persist is true or false")
    unwatched: float | None = UNWATCHED_SECONDS
    if persist is not None:
        unwatched = None if persist in ("true", "1") else 0.0
    if "cancel_ttl_secs" in fields:
        unwatched = float(number("cancel_ttl_secs", fields["cancel_ttl_secs"], 0, 86_400))
    command = fields.get("command")
    if command is not None and (len(command) > LONGEST_COMMAND or "\x00" in command):
        raise ArkerFault("bad_request", "the command is too long or contains NUL")
    return Wish(
        columns=number("cols", fields.get("cols", "80"), 1, 1000),
        rows=number("rows", fields.get("rows", "24"), 1, 1000),
        command=command or None,
        unwatched=unwatched,
        ticket=fields.get("ticket"),
    )


class Pty:
    """Tickets and attachments.

    Args:
        engine: opens terminals.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.terminals = Terminals()
        self._fading: set[asyncio.Task[None]] = set()

    async def issue(self, account_id: str, vm_id: str, session_id: str, command: str | None = None) -> str:
        """A ticket for one attachment within `TICKET_SECONDS`, kept only as a digest."""
        ticket = secrets.token_urlsafe(32)
        now = self._engine.clock.now().timestamp()
        await self._engine.store.run(
            tables.put_ticket,
            _digest(ticket),
            account_id=account_id,
            vm_id=vm_id,
            session_id=session_id,
            command=command or None,
            expires_at=now + TICKET_SECONDS,
            now=now,
        )
        return ticket

    async def redeem(self, ticket: str, vm_id: str, session_id: str) -> tuple[str, str | None]:
        """Use up a ticket; the account it admits and the command it was issued for.

        Raises:
            ArkerFault: `unauthorized`.
        """
        found = await self._engine.store.run(
            tables.take_ticket,
            _digest(ticket),
            vm_id=vm_id,
            session_id=session_id,
            now=self._engine.clock.now().timestamp(),
        )
        if found is None:
            raise ArkerFault("unauthorized", "this ticket was used, has expired, or is for another session")
        return found

    async def attach(
        self, account_id: str, vm_id: str, session_id: str, wish: Wish, receive: Receive, send: Send
    ) -> None:
        """Join a WebSocket to the session's terminal, opening it if there is none.

        Args:
            account_id: who asks, already known to own the VM.
            vm_id: where.
            session_id: an existing session.
            wish: size, command, life without viewers.
            receive: of a WebSocket whose `connect` is still unread.
            send: of the same.

        Raises:
            EngineError: the terminal cannot be opened; nothing was sent yet.
        """

        async def opener() -> Terminal:
            return await self._engine.sandboxes.open_terminal(
                account_id, vm_id, command=wish.command, session_id=session_id, columns=wish.columns, rows=wish.rows
            )

        live = await self.terminals.open(vm_id, session_id, opener)
        await receive()
        await send({"type": "websocket.accept"})
        viewer = live.attach()
        # Whoever came last decides the size, as with any shared terminal.
        await live.resize(wish.columns, wish.rows)
        try:
            async with first_of(self._inward(live, receive, send), self._outward(live, viewer, send)):
                pass
        finally:
            live.detach(viewer)
            self._fade(live, wish.unwatched)

    async def _inward(self, live: LiveTerminal, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data is not None:
                live.type(data)
                continue
            try:
                frame = _frames.decode(message.get("text") or "")
            except msgspec.DecodeError:
                await send({"type": "websocket.close", "code": 1007, "reason": "unknown control frame"})
                return
            if isinstance(frame, ResizeFrame):
                if 1 <= frame.cols <= 1000 and 1 <= frame.rows <= 1000:
                    await live.resize(frame.cols, frame.rows)
            elif isinstance(frame, KillFrame):
                await live.close()
            else:
                await send({"type": "websocket.send", "text": '{"type":"pong"}'})

    async def _outward(self, live: LiveTerminal, viewer: Viewer, send: Send) -> None:
        while (data := await viewer.next()) is not None:
            live.caught_up()
            await send({"type": "websocket.send", "bytes": data})
        code = live.exit_code
        await send({"type": "websocket.send", "text": msgspec.json.encode({"type": "exit", "code": code}).decode()})
        await send({"type": "websocket.close", "code": 1000, "reason": "the terminal ended"})

    def _fade(self, live: LiveTerminal, seconds: float | None) -> None:
        """End a terminal that nobody watches for that long."""
        if seconds is None or live.ended or live.watched:
            return

        visits = live.visits

        async def fade() -> None:
            await self._engine.clock.sleep(seconds)
            if live.visits == visits:
                await live.close()

        task = asyncio.create_task(fade())
        self._fading.add(task)
        task.add_done_callback(self._fading.discard)

    async def stop(self) -> None:
        """End every terminal."""
        await give_up(*self._fading)
        await self.terminals.close_all()


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()
