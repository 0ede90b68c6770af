"""Strict reading of requests: bodies, headers and idempotency fingerprints."""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

import msgspec

from skerry.island.faces.arker.errors import ArkerFault

T = TypeVar("T")


def decode(body: bytes, kind: type[T], *, empty_ok: bool = False) -> T:
    """A request body as its schema.

    Args:
        body: the raw bytes.
        kind: the closed schema.
        empty_ok: whether no bytes at all mean `{}`.

    Raises:
        ArkerFault: `bad_request` for malformed JSON, bad UTF-8, a repeated key, an unknown or ill-typed field,
            nesting beyond the interpreter's depth, and texts with NUL characters.
    """
    if not body and empty_ok:
        body = b"{}"
    try:
        value = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise ArkerFault("bad_request", f"invalid request body: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ArkerFault("bad_request", "the request body is not valid JSON") from None
    except RecursionError:
        raise ArkerFault("bad_request", "the request body is nested too deeply") from None
    if b"\\u0000" in body and _has_nul(msgspec.to_builtins(value)):
        raise ArkerFault("bad_request", "the request body contains a NUL character")
    try:
        json.loads(body, object_pairs_hook=_unrepeated)
    except _RepeatedKey as error:
        raise ArkerFault("bad_request", f"the request body repeats the key {error.key!r}") from None
    except (ValueError, RecursionError):
        raise ArkerFault("bad_request", "the request body is not valid JSON") from None
    return value


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)


class _RepeatedKey(Exception):
    def __init__(self, key: str) -> None:
        self.key = key[:64]


def _unrepeated(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that says one thing twice: parsers disagree on which wins."""
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise _RepeatedKey(key)
        seen.add(key)


def number(name: str, text: str, least: int, most: int) -> int:
    """A decimal number from a query or a key; no sign, no spaces, no digits but ASCII's.

    Raises:
        ArkerFault: `bad_request` for anything that is not a number from `least` to `most`.
    """
    digits = text.lstrip("0") or text[:1]
    # A bound on the digits first: what cannot fit is never converted.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)) and least <= int(digits) <= most):
        raise ArkerFault("bad_request", f"{name} is a number from {least} to {most}")
    return int(digits)


def fingerprint(path: str, request: msgspec.Struct) -> str:
    """The identity of a request for idempotency: SHA-256 of canonical JSON with defaults applied, plus the path.

    Null and absent are one, so clients that drop nulls and clients that send them agree (protocol section 2.7).
    """
    canonical = msgspec.json.encode(_plain(request), order="sorted")
    return hashlib.sha256(path.encode() + b"\n" + canonical).hexdigest()


# To work them out takes longer than all the rest of a request.
_fields = cache(msgspec.structs.fields)


def _plain(value: Any) -> Any:
    """A decoded request as plain values, in which null has become the field's default; null by default is left out."""
    if isinstance(value, msgspec.Struct):
        found = {}
        for field in _fields(type(value)):
            item = getattr(value, field.name)
            if item is None:
                item = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            if item is not None and item is not msgspec.NODEFAULT:
                found[field.encode_name] = _plain(item)
        return found
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def idempotency_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The Idempotency-Key header, checked (protocol section 2.7).

    Raises:
        ArkerFault: `bad_request` unless it is 1 to 64 printable ASCII characters.
    """
    values = [value.decode("latin-1") for name, value in headers if name == b"idempotency-key"]
    if not values:
        return None
    if len(values) > 1:
        raise ArkerFault("bad_request", "a request has one Idempotency-Key")
    value = values[0]
    if not 1 <= len(value) <= 64 or not all(" " <= character <= "~" for character in value):
        raise ArkerFault("bad_request", "Idempotency-Key must be 1 to 64 printable ASCII characters")
    return value


def text_of(output: bytes) -> tuple[str, str]:
    """Output as wire text and the name of its encoding: `utf-8`, or `base64` for anything else."""
    try:
        return output.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return binascii.b2a_base64(output, newline=False).decode("ascii"), "base64"


def file_text(content: bytes) -> tuple[str, str]:
    """As `text_of`, but bytes that no text holds travel as base64 even where they happen to be valid UTF-8.

    In JSON every NUL takes six bytes, so a file of zeroes would be six times its size.
    """
    if b"\x00" in content:
        return binascii.b2a_base64(content, newline=False).decode("ascii"), "base64"
    return text_of(content)
