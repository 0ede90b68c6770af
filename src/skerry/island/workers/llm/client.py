"""How an engine process is spoken to: OpenAI's API over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import msgspec

from skerry._kernel.sse import EventParser
from skerry.errors import ProtocolError
from skerry.island.engine.errors import EngineError, Invalid, Unavailable

_CONNECT_SECONDS = 60.0
_HEALTH_SECONDS = 10.0
_READ = 65_536
# Fewer than the engine has threads for (see `llama`): a connection more would wait until an idle one is given up.
_CONNECTIONS = 32
_LONGEST_ERROR = 65_536


class EngineClient:
    """Asks one engine process. Each request has a connection of its own: llama.cpp closes it after a stream.

    Args:
        host, port: where the engine listens.
        api_key: sent with each request, unless None.
    """

    def __init__(self, host: str, port: int, *, api_key: str | None) -> None:
        self._host = host
        self._port = port
        self._api_key = api_key
        self._places = asyncio.Semaphore(_CONNECTIONS)

    async def healthy(self) -> bool:
        """Whether the engine says that it can serve."""
        try:
            async with asyncio.timeout(_HEALTH_SECONDS), self.forward("GET", "/health", b"") as answer:
                return answer.status == 200
        except (Died, TimeoutError):
            return False

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of an answer as they come; leaving the context ends the generation.

        Raises:
            Invalid: the engine refuses the request. Unavailable: it cannot answer, or has died.
        """
        try:
            content = msgspec.json.encode(body)
        except UnicodeEncodeError:
            raise Invalid("the request holds half a character (a lone surrogate), which is no text") from None
        async with self.forward("POST", path, content) as answer:
            if answer.status >= 400:
                said = b"".join([piece async for piece in answer.pieces])
                raise refusal(answer.status, said[:_LONGEST_ERROR])
            yield _events(answer.pieces)

    @asynccontextmanager
    async def forward(self, method: str, path: str, content: bytes) -> AsyncIterator[Forwarded]:
        """Any request as it stands, and whatever the engine answers; leaving the context ends the generation.

        Raises:
            Unavailable: the engine has died.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        headers = [("Host", f"{host}:{self._port}"), ("Connection", "close")]
        if content:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        if self._api_key is not None:
            headers.append(("Authorization", f"Bearer {self._api_key}"))
        async with self._places:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection(self._host, self._port)
            except (OSError, TimeoutError) as error:
                raise Died(str(error)) from None
            try:
                exchange = _Exchange(reader)
                writer.write(exchange.request(h11.Request(method=method, target=path, headers=headers), content))
                response = await exchange.response()
                kinds = [value.decode("latin-1") for name, value in response.headers if name == b"content-type"]
                yield Forwarded(response.status_code, kinds[0] if kinds else "application/json", exchange.pieces())
            finally:
                # The engine takes the end of the connection for the end of all interest.
                writer.transport.abort()


class _Exchange:
    """One request and its answer over HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._wire = h11.Connection(h11.CLIENT)

    def request(self, head: h11.Request, content: bytes) -> bytes:
        """The bytes to send."""
        events = [head, *([h11.Data(data=content)] if content else []), h11.EndOfMessage()]
        return b"".join(self._wire.send(event) or b"" for event in events)

    async def response(self) -> h11.Response:
        """The head of the answer. Raises Died."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Died."""
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def _next(self) -> Any:
        try:
            while (event := self._wire.next_event()) is h11.NEED_DATA:
                self._wire.receive_data(await self._reader.read(_READ))
        except (OSError, h11.RemoteProtocolError) as error:
            raise Died(str(error)) from None
        if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise Died("the connection ended before the answer did")
        return event


@dataclass(frozen=True, slots=True)
class Forwarded:
    """An engine's own answer.

    Args:
        status: of HTTP.
        content_type: of its body.
        pieces: the body as it comes.
    """

    status: int
    content_type: str
    pieces: AsyncIterator[bytes]


class Died(Unavailable):
    """The connection to the engine broke: its process has ended, or ends."""

    def __init__(self, why: str) -> None:
        super().__init__("the model's process ended while it was answering; try again", retry_after=1.0)
        self.why = why


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    parser = EventParser()
    async for piece in pieces:
        try:
            for event in parser.feed(piece):
                if event.data == "[DONE]":
                    return
                found = msgspec.json.decode(event.data)
                if not isinstance(found, dict):
                    raise Unavailable("the model's process sent an event that is no object")
                if "error" in found:
                    raise _problem(500, found)
                yield found
        except (msgspec.DecodeError, ProtocolError):
            raise Unavailable("the model's process sent an event that cannot be read") from None


def refusal(status: int, content: bytes) -> EngineError:
    """The engine's refusal in our words."""
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        found = None
    return _problem(status, found)


def _problem(status: int, found: Any) -> EngineError:
    problem = found.get("error", found) if isinstance(found, dict) else None
    if not isinstance(problem, dict):
        problem = {"message": str(problem or f"status {status}")}
    message, kind = str(problem.get("message", "")), problem.get("type")
    if kind == "exceed_context_size_error":
        prompt, context = problem.get("n_prompt_tokens"), problem.get("n_ctx")
        return Invalid(
            f"the prompt has {prompt} tokens, and with its answer it may have {context} here; shorten it, or serve the "
            f"model with a larger max_model_len if it was trained on more"
        )
    code = problem.get("code")
    number = code if isinstance(code, int) and 400 <= code < 600 else status
    if 400 <= number < 500 and number not in (401, 403, 429):
        return Invalid(f"the model's engine refuses the request: {message}")
    return Unavailable(
        f"the model's engine cannot answer: {message}", retry_after=1.0 if number in (429, 503) else None
    )
