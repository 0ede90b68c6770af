"""How an engine process is spoken to: OpenAI's API over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from skerry._kernel.sse import EventParser
from skerry.errors import ProtocolError
from skerry.island.engine.errors import EngineError, Invalid, Unavailable

if TYPE_CHECKING:
    import httpx2

_CONNECT_SECONDS = 10.0
# Fewer than the engine has threads for (see `llama`): a connection more would wait until an idle one is given up.
_CONNECTIONS = 32
_LONGEST_ERROR = 65_536


class EngineClient:
    """Asks one engine process.

    Args:
        base_url: without a path.
        api_key: sent with each request, unless None.
    """

    def __init__(self, base_url: str, *, api_key: str | None) -> None:
        self._base_url = base_url
        self._headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
        self._http: httpx2.AsyncClient | None = None

    async def healthy(self) -> bool:
        """Whether the engine says that it can serve."""
        import httpx2

        try:
            answer = await self._client().get("/health", timeout=_CONNECT_SECONDS)
        except httpx2.TransportError:
            return False
        return answer.status_code == 200

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of an answer as they come; leaving the context ends the generation.

        Raises:
            Invalid: the engine refuses the request. Unavailable: it cannot answer, or has died.
        """
        async with self._send(path, body) as answer:
            yield _events(answer)

    @asynccontextmanager
    async def forward(self, method: str, path: str, content: bytes) -> AsyncIterator[Forwarded]:
        """Any request as it stands, and whatever the engine answers; leaving the context ends the generation.

        Raises:
            Unavailable: the engine has died.
        """
        import httpx2

        headers = {"content-type": "application/json"} if content else {}
        request = self._client().build_request(method, path, content=content, headers=headers)
        try:
            answer = await self._client().send(request, stream=True)
            try:
                kind = answer.headers.get("content-type", "application/json")
                yield Forwarded(answer.status_code, kind, answer.aiter_raw())
            finally:
                await answer.aclose()
        except httpx2.TransportError as error:
            raise Died(str(error)) from None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def _client(self) -> httpx2.AsyncClient:
        if self._http is None:
            import httpx2

            self._http = httpx2.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                # Nothing is said while a long prompt is read; whoever asks decides how long is too long.
                timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
                # llama.cpp closes a connection after a stream, whatever it announces.
                limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0),
                trust_env=False,
            )
        return self._http

    @asynccontextmanager
    async def _send(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        import httpx2

        client = self._client()
        try:
            content = msgspec.json.encode(body)
        except UnicodeEncodeError:
            raise Invalid("the request holds half a character (a lone surrogate), which is no text") from None
        request = client.build_request("POST", path, content=content, headers={"content-type": "application/json"})
        try:
            answer = await client.send(request, stream=True)
            try:
                if answer.status_code >= 400:
                    raise refusal(answer.status_code, (await answer.aread())[:_LONGEST_ERROR])
                yield answer
            finally:
                await answer.aclose()
        except httpx2.TransportError as error:
            raise Died(str(error)) from None


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


async def _events(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    parser = EventParser()
    async for piece in answer.aiter_raw():
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
