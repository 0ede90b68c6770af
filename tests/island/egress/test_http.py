"""Request heads as a proxy reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.sandbox.egress.http import BadRequest, answer, chunk_size, parse_head


def head(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def test_connect() -> None:
    parsed = parse_head(head("CONNECT example.com:443 HTTP/1.1", "Host: example.com:443"))
    assert (parsed.tunnel, parsed.host, parsed.port) == (True, "example.com", 443)
    assert parse_head(head("CONNECT [2001:db8::1]:443 HTTP/1.1")).host == "2001:db8::1"


def test_absolute_addresses_become_relative() -> None:
    parsed = parse_head(
        head(
            "POST http://user:pass@Example.com:8080/a/b?c=d#e HTTP/1.1",
            "Host: other.example",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic eDp5",
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
            "X-Kept: \xe9",
            "Content-Length: 5",
        )
    )
    assert (parsed.host, parsed.port, parsed.body, parsed.length) == ("example.com", 8080, "length", 5)
    assert parsed.forward.split(b"\r\n") == [
        b"POST /a/b?c=d HTTP/1.1",
        b"Host: Example.com:8080",
        b"X-Kept: \xe9",
        b"Content-Length: 5",
        b"Connection: close",
        b"",
        b"",
    ]


@pytest.mark.parametrize(
    ("target", "path"), [("http://a", "/"), ("http://a?x", "/?x"), ("HTTP://a/", "/"), ("http://a/%7e[x]", "/%7e[x]")]
)
def test_paths_are_left_as_they_are(target: str, path: str) -> None:
    assert parse_head(head(f"GET {target} HTTP/1.1")).forward.startswith(f"GET {path} HTTP/1.1\r\n".encode())


def test_upgrades_become_streams() -> None:
    parsed = parse_head(head("GET http://a/ws HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"))
    assert parsed.body == "stream"
    assert b"Upgrade: websocket\r\nConnection: Upgrade\r\n" in parsed.forward


@pytest.mark.parametrize(
    "lines",
    [
        ("GET / HTTP/1.1", "Host: a"),
        ("GET https://a/ HTTP/1.1",),
        ("GET ftp://a/ HTTP/1.1",),
        ("GET http:///x HTTP/1.1",),
        ("GET http://a:0/ HTTP/1.1",),
        ("GET http://a:99999/ HTTP/1.1",),
        ("GET http://[::1/ HTTP/1.1",),
        ("GET http://a\tb/ HTTP/1.1",),
        ("CONNECT a HTTP/1.1",),
        ("CONNECT a:x HTTP/1.1",),
        ("CONNECT a:1/x HTTP/1.1",),
        ("GET http://a/ HTTP/2",),
        ("GET  http://a/ HTTP/1.1",),
        ("GET http://a/",),
        ("G\x00T http://a/ HTTP/1.1",),
        ("GET http://a/ HTTP/1.1", "X: a\nEvil: b"),
        ("GET http://a/ HTTP/1.1", "X: a\rEvil: b"),
        ("GET http://a/ HTTP/1.1", " folded"),
        ("GET http://a/ HTTP/1.1", "Name : value"),
        ("GET http://a/ HTTP/1.1", "no colon"),
        ("POST http://a/ HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"),
        ("POST http://a/ HTTP/1.1", "Content-Length: 5", "Content-Length: 6"),
        ("POST http://a/ HTTP/1.1", "Content-Length: +5"),
        ("POST http://a/ HTTP/1.1", "Content-Length: -1"),
        ("POST http://a/ HTTP/1.1", "Transfer-Encoding: gzip, chunked"),
        ("POST http://a/ HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    ],
)
def test_what_no_proxy_should_guess_at(lines: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest):
        parse_head(head(*lines))


def test_chunk_sizes() -> None:
    assert chunk_size(b"1aF;name=value\r\n") == 0x1AF
    for line in (b"\r\n", b"-1\r\n", b"0x5\r\n", b"g\r\n", b"1" * 20):
        with pytest.raises(BadRequest):
            chunk_size(line)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_refused(data: bytes) -> None:
    try:
        parsed = parse_head(data + b"\r\n\r\n")
    except BadRequest:
        return
    assert parsed.host
    assert 0 < parsed.port < 65536
    assert parsed.forward.count(b"\r\n\r\n") <= 1


def test_answers_end_the_connection() -> None:
    text = answer(403, "no", {"X-A": "b"})
    assert text.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"X-A: b\r\n" in text
    assert text.endswith(b"Content-Length: 3\r\nConnection: close\r\nX-A: b\r\n\r\nno\n")
