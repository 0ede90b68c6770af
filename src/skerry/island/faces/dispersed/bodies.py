"""The JSON body of a request, checked before anything is made of it."""

from __future__ import annotations

from typing import Any

from skerry.island.asgi import Scope, header
from skerry.island.faces.dispersed import wire
from skerry.island.faces.dispersed.errors import Fault, bad_request
from skerry.island.ground.faults import sentence


def read_json(scope: Scope, body: bytes, *, required: bool) -> tuple[Any, bool]:
    """The value of a body, and whether there is one.

    Args:
        scope: of the request.
        body: its bytes.
        required: whether it must be there.

    Raises:
        Fault: 415 for another media type than JSON, 400 for what is no JSON or missing.
    """
    if not body:
        if required:
            raise bad_request("This needs a JSON body")
        return None, False
    media = header(scope["headers"], b"content-type")
    if media is not None and not _is_json(media):
        raise Fault(415, "UNSUPPORTED_MEDIA_TYPE", "A body's Content-Type must be application/json, in UTF-8")
    try:
        return wire.decode(body), True
    except wire.Unreadable as error:
        raise bad_request(sentence(error)) from None


def _is_json(media: str) -> bool:
    kind, *parameters = (part.strip().lower() for part in media.split(";"))
    charsets = [
        value.strip('"') for name, _, value in (part.partition("=") for part in parameters) if name == "charset"
    ]
    return kind == "application/json" and all(charset in ("utf-8", "utf8") for charset in charsets)
