"""How the farm answers, and how it tells who asks."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from skerry.island.asgi import Scope, Send

VERSION = "20241125"


class Refusal(Exception):
    """A request is refused with a status; the message is for a person."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def config(farm_host: str, api_token: str, queue_token: str) -> str:
    """What a user pastes into the add-on.

    Args:
        farm_host: base URL of the farm.
        api_token: key for the storage.
        queue_token: key for the queue manager.

    Example:
        >>> config("https://farm.example.test", "kkkkkkkk", "q1")
        'WyJodHRwczovL2Zhcm0uZXhhbXBsZS50ZXN0IiwgImtra2tra2trIiwgInExIl0='
    """
    return base64.b64encode(json.dumps([farm_host, api_token, queue_token]).encode()).decode()


def query(scope: Scope) -> Mapping[str, str]:
    """Parameters of the query; of those with one name the first counts. Raises Refusal."""
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise Refusal(400, "The query cannot be read") from None
    return dict(reversed(pairs))


def decode(body: bytes) -> Any:
    """A body's JSON. Raises Refusal."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not JSON") from None


async def answer(send: Send, status: int, value: Any) -> None:
    """Send JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
