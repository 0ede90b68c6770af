"""A stage for DC1's recorded cases: answers by order or by route, and a clock that moves by sleeping alone."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from skerry._kernel.effects import Effects
from skerry._kernel.options import Deadline
from skerry._kernel.request import Request, Response, TransportFailure

BASE = "https://api.test"
# An answer is only recorded as slow where it comes too late.
_TOO_LATE = ("delay", "hang", "timeout")


def body_bytes(body: Any) -> bytes:
    """The bytes of a recorded answer: text as it is, JSON as JSON, and bytes of which only the number is recorded."""
    if isinstance(body, dict) and "$bytes" in body:
        return bytes(body["$bytes"])
    if isinstance(body, dict) and "$bytes_b64" in body:
        return base64.b64decode(body["$bytes_b64"])
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


class DC1Stage:
    """What happened in one replay.

    Args:
        stubs: one answer, several in order, or several in order for each `METHOD path`; the last one repeats.
        chance: what the source of randomness gives.
    """

    def __init__(self, stubs: Any, chance: float = 0.0) -> None:
        routes = stubs if isinstance(stubs, dict) and "status" not in stubs else {"": stubs}
        self._stubs = {
            place: list(answers) if isinstance(answers, list) else [answers] for place, answers in routes.items()
        }
        self.sent: list[Request] = []
        self.slept: list[float] = []
        self.now = 1000.0
        self.effects = Effects(
            monotonic=lambda: self.now, unix_ms=lambda: 1_742_671_800_000, random=lambda: chance, entropy=bytes
        )

    def answer(self, request: Request) -> Response:
        """Note the request and give the next recorded answer."""
        self.sent.append(request)
        path = unquote(urlsplit(request.url).path)
        place = "" if "" in self._stubs else f"{request.method} {path}"
        answers = self._stubs[place]
        stub = answers.pop(0) if len(answers) > 1 else answers[0]
        if any(word in name for name in stub for word in _TOO_LATE):
            raise TransportFailure("nothing came in time", "timeout")
        if "status" not in stub:
            raise TransportFailure("cut off")
        body = stub.get("body")
        given = {name.lower(): str(value) for name, value in (stub.get("headers") or {}).items()}
        headers = {"content-type": "application/json", **given}
        return Response(stub["status"], tuple(headers.items()), b"" if body is None else body_bytes(body))

    async def async_sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Move the clock."""
        self.sleep(seconds, deadline)

    def sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Move the clock."""
        self.slept.append(round(seconds, 6))
        self.now += seconds


def query_of(request: Request) -> dict[str, str]:
    """The decoded query of a request."""
    return dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))


def path_of(request: Request) -> str:
    """The decoded path of a request."""
    return unquote(urlsplit(request.url).path)


def unescaped(request: Request) -> tuple[str, dict[str, str]]:
    """Path and query as a server finds them when nothing is escaped."""
    parts = urlsplit(unquote(urlsplit(request.url)._replace(scheme="", netloc="").geturl()))
    return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))


def json_of(request: Request) -> Any:
    """The JSON body of a request, None for none."""
    return json.loads(request.body) if isinstance(request.body, bytes) and request.body else None
