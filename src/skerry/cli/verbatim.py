"""JSON as it came: laid out anew, with every number and text written as the sender wrote it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from skerry._kernel.redaction import MASK, redact
from skerry.errors import ProtocolError

SECRET_NAME = re.compile(r"secret|password|passwd|token|private_?key|credential", re.IGNORECASE)
"""What the names of secrets have in them."""


def laid_out(body: bytes, *, lines: bool = True) -> str:
    """JSON with line breaks and indents, or on one line; what is not JSON becomes a JSON string."""
    return msgspec.json.format(as_json(body), indent=2 if lines else -1).decode("utf-8", "replace")


def as_json(body: bytes) -> bytes:
    """The body where it is JSON, `null` for none, a JSON string of its text otherwise."""
    if not body.strip():
        return b"null"
    try:
        msgspec.json.format(body)
        body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.dumps(body.decode("utf-8", "replace")).encode()
    return body


def document(kind: str, facts: dict[str, Any]) -> str:
    """What `output.print_json` would print, for facts of which some are `Raw`."""
    text = msgspec.json.encode({"schema": f"skerry.{kind}/1", **facts})
    return msgspec.json.format(text, indent=2).decode()


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]


def items(body: bytes) -> list[bytes]:
    """The objects of one page of a list.

    Raises:
        ProtocolError: there is no list in it.
    """
    try:
        return [bytes(item) for item in msgspec.json.decode(body, type=_Page).data]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProtocolError("the answer is no page of a list") from None


def masked(body: bytes) -> bytes:
    """JSON in which members with the name of a secret, and whatever looks like a key, are replaced by `***`."""
    text = body.strip()
    if text.startswith(b"{"):
        named = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return msgspec.json.encode({name: msgspec.Raw(_member(name, bytes(raw))) for name, raw in named.items()})
    if text.startswith(b"["):
        listed = msgspec.json.decode(text, type=list[msgspec.Raw])
        return msgspec.json.encode([msgspec.Raw(masked(bytes(raw))) for raw in listed])
    return redact(text.decode()).encode() if text.startswith(b'"') else text


def _member(name: str, value: bytes) -> bytes:
    if SECRET_NAME.search(name) and value.strip() not in (b"null", b'""', b"true", b"false"):
        return json.dumps(MASK).encode()
    return masked(value)
