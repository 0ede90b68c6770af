"""The HTTP that a proxy has to understand: request heads, their rewriting, and where a body ends. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

LONGEST_HEAD = 64 * 1024

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = re.compile(rb"HTTP/1\.[01]")
_HOP_BY_HOP = {b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive", b"host", b"te"}
_REASONS = {400: "Bad Request", 403: "Forbidden", 501: "Not Implemented", 502: "Bad Gateway", 504: "Gateway Timeout"}


class BadRequest(ValueError):
    """A request that no proxy should guess at; the message is for the client."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request as it was asked of the proxy.

    Args:
        method: as sent.
        host: name or address to connect to.
        port: port to connect to.
        tunnel: whether it is a CONNECT.
        forward: the head to send on; empty for a tunnel.
        body: what follows: nothing, `length` bytes, chunks, or an upgraded stream without end.
        length: bytes of the body when `body` is `length`.
    """

    method: str
    host: str
    port: int
    tunnel: bool
    forward: bytes = b""
    body: Literal["none", "length", "chunked", "stream"] = "none"
    length: int = 0


def parse_head(data: bytes) -> Head:
    """Read a request head, ending in an empty line, as a forward proxy gets it.

    Raises:
        BadRequest: malformed, ambiguous, or not meant for a proxy.
    """
    lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if any(byte in line for line in lines for byte in (b"\r", b"\n", b"\0")):
        raise BadRequest("the request has stray line breaks")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _VERSION.fullmatch(parts[2]):
        raise BadRequest("this is not an HTTP/1 request")
    method, target, version = parts
    if any(byte <= 0x20 or byte == 0x7F for byte in target):
        raise BadRequest("the address holds control characters")
    fields = [_field(line) for line in lines[1:]]
    if method == b"CONNECT":
        host, port = split_authority(target, None)
        return Head(method.decode(), host, port, tunnel=True)
    host, port, authority, path = _absolute(target)
    upgrade = any(
        name == b"connection" and b"upgrade" in [part.strip().lower() for part in value.split(b",")]
        for name, value, _ in fields
    )
    kind, length = _body(fields)
    head = [b" ".join((method, path, version)), b"Host: " + authority]
    named = _named_by_connection(fields)
    head += [raw for name, _, raw in fields if name not in _HOP_BY_HOP and (name not in named or name == b"upgrade")]
    head.append(b"Connection: Upgrade" if upgrade else b"Connection: close")
    forward = b"\r\n".join(head) + b"\r\n\r\n"
    return Head(
        method.decode(), host, port, tunnel=False, forward=forward, body="stream" if upgrade else kind, length=length
    )


def split_authority(text: bytes, default: int | None) -> tuple[str, int]:
    """Host and port of `host:port`, `address:port` or `[address]:port`.

    Raises:
        BadRequest: malformed, or the port is missing and there is no default.
    """
    try:
        decoded = text.decode("ascii")
        parts = urlsplit(f"//{decoded}")
        port = parts.port if parts.port is not None else default
    except (UnicodeDecodeError, ValueError):
        raise BadRequest("the request names no usable host and port") from None
    if not parts.hostname or port is None or port == 0 or parts.path or parts.query or parts.fragment:
        raise BadRequest("the request names no usable host and port")
    return parts.hostname, port


def answer(status: int, text: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A complete plain-text answer after which the connection ends."""
    body = f"{text}\n".encode()
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunk_size(line: bytes) -> int:
    """The size that a chunk's first line gives.

    Raises:
        BadRequest: not a size.
    """
    digits = line.split(b";", 1)[0].strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", digits):
        raise BadRequest("the request's body has a malformed chunk")
    return int(digits, 16)


def _field(line: bytes) -> tuple[bytes, bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name):
        raise BadRequest("the request has a malformed header")
    return name.lower(), value.strip(b" \t"), line


def _absolute(target: bytes) -> tuple[str, int, bytes, bytes]:
    """Host, port, authority without user name, and path of an absolute target."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise BadRequest("this is the way out of a sandbox: ask it for absolute http:// addresses or CONNECT")
    if scheme.lower() == b"https":
        raise BadRequest("https goes through CONNECT, not through an absolute address")
    match = re.fullmatch(rb"([^/?#]*)(/[^#]*|\?[^#]*)?(?:#.*)?", rest, re.DOTALL)
    if match is None:
        raise BadRequest("the address is malformed")
    authority = match.group(1).rpartition(b"@")[2]
    path = match.group(2) or b"/"
    if path.startswith(b"?"):
        path = b"/" + path
    host, port = split_authority(authority, 80)
    return host, port, authority, path


def _named_by_connection(fields: list[tuple[bytes, bytes, bytes]]) -> set[bytes]:
    return {part.strip().lower() for name, value, _ in fields if name == b"connection" for part in value.split(b",")}


def _body(fields: list[tuple[bytes, bytes, bytes]]) -> tuple[Literal["none", "length", "chunked"], int]:
    lengths = {value for name, value, _ in fields if name == b"content-length"}
    codings = [value.lower() for name, value, _ in fields if name == b"transfer-encoding"]
    if codings:
        # Two readings of one body are how requests are smuggled.
        if lengths or codings != [b"chunked"]:
            raise BadRequest("the request's body can be read in two ways")
        return "chunked", 0
    if not lengths:
        return "none", 0
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", length := lengths.pop()):
        raise BadRequest("the request's length is malformed")
    return "length", int(length)
