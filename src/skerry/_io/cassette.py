"""Recorded exchanges as data: what a recorder writes and a player reads, secrets masked."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skerry._kernel.redaction import redact, redact_headers, redact_url
from skerry._kernel.request import Body, BodySource, Request, Response, TransportFailure
from skerry.errors import SkerryError

VERSION = 1
# What a library or a connection adds says nothing about the exchange, and changes from run to run.
_PASSING_HEADERS = frozenset({"date", "server", "user-agent", "content-length", "transfer-encoding", "connection"})


def _body_of(body: Body) -> bytes | None:
    return b"".join(body.open()) if isinstance(body, BodySource) else body


def _pack(body: bytes | None) -> Any:
    if body is None:
        return None
    try:
        return redact(body.decode())
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode("ascii")}


def _unpack(value: Any) -> bytes:
    if value is None:
        return b""
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else str(value).encode()


def _headers(pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
    return [[name, value] for name, value in redact_headers(pairs) if name not in _PASSING_HEADERS]


@dataclass
class Cassette:
    """Exchanges in the order they happened.

    A cassette holds no credentials: keys, tokens and signatures in headers, URLs and texts are masked when they are
    recorded. Two requests are the same when method, masked URL and masked body are.

    Attributes:
        exchanges: JSON data, one object for each.
    """

    exchanges: list[dict[str, Any]] = field(default_factory=list)
    _played: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def load(cls, path: Path) -> Cassette:
        """Read a cassette from a file.

        Raises:
            SkerryError: the file is no cassette of this version.
            OSError: the file cannot be read.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise SkerryError(f"{path} is not a cassette of version {VERSION}")
        return cls(content["exchanges"])

    def save(self, path: Path) -> None:
        """Write the cassette to a file, which is replaced as a whole."""
        text = json.dumps({"version": VERSION, "exchanges": self.exchanges}, indent=1, ensure_ascii=False)
        draft = path.with_name(path.name + ".part")
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)

    def record(self, request: Request, outcome: Response | TransportFailure) -> None:
        """Add an exchange."""
        exchange: dict[str, Any] = {"request": _request(request)}
        if isinstance(outcome, Response):
            exchange["response"] = {
                "status": outcome.status,
                "headers": _headers(outcome.headers),
                "body": _pack(outcome.body),
            }
        else:
            exchange["failure"] = {"message": redact(outcome.message), "kind": outcome.kind}
        with self._lock:
            self.exchanges.append(exchange)

    def play(self, request: Request) -> Response:
        """The recorded outcome of the next exchange, which must have been for the same request.

        Raises:
            TransportFailure: that is what was recorded.
            SkerryError: another request was recorded, or none.
        """
        with self._lock:
            if self._played >= len(self.exchanges):
                raise SkerryError(f"nothing more was recorded; asked for {request.method} {_url(request)}")
            exchange = self.exchanges[self._played]
            wanted, recorded = _request(request), exchange["request"]
            for part in ("method", "url", "body"):
                if wanted[part] != recorded[part]:
                    raise SkerryError(
                        f"exchange {self._played + 1} was recorded with {part} {recorded[part]!r}, not {wanted[part]!r}"
                    )
            self._played += 1
        if "failure" in exchange:
            raise TransportFailure(exchange["failure"]["message"], exchange["failure"]["kind"])
        response = exchange["response"]
        headers = tuple((str(name), str(value)) for name, value in response["headers"])
        return Response(response["status"], headers, _unpack(response["body"]))

    @property
    def finished(self) -> bool:
        """Whether every recorded exchange was played."""
        return self._played == len(self.exchanges)


def _url(request: Request) -> str:
    return redact_url(request.url, secret=request.secret)


def _request(request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": _url(request),
        "headers": _headers(request.headers),
        "body": _pack(_body_of(request.body)),
    }
