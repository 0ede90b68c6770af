"""Ident files: Erlang's external term format byte by byte, and who may have one."""

from __future__ import annotations

import string
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.octaspace.nodes.erlang_terms import term_to_binary
from skerry.island.faces.octaspace.nodes.node_ident import ident_file
from tests.island.faces.octaspace.stage import Stage

TOKEN = "0123456789abcdef" * 4
COMPRESSED = "835000000054789c2b61606060cc0512ac25f9d9a97920968381a191b189a999b985656252724a6a1aa97c003326153e"


def read(data: bytes) -> Any:
    """A term of JSON, read by the format's own description."""
    assert data[:1] == b"\x83"
    if data[1:2] == b"P":
        inner = zlib.decompress(data[6:])
        assert len(inner) == struct.unpack(">I", data[2:6])[0]
    else:
        inner = data[1:]
    value, rest = _term(inner)
    assert rest == b""
    return value


def _sized(data: bytes, width: str = ">I") -> tuple[int, bytes]:
    return struct.unpack(width, data[: struct.calcsize(width)])[0], data[struct.calcsize(width) :]


def _term(data: bytes) -> tuple[Any, bytes]:
    tag, data = data[:1], data[1:]
    if tag == b"t":
        count, data = _sized(data)
        found = {}
        for _ in range(count):
            name, data = _term(data)
            found[name], data = _term(data)
        return found, data
    if tag == b"m":
        size, data = _sized(data)
        return data[:size].decode(), data[size:]
    if tag == b"a":
        return data[0], data[1:]
    if tag == b"b":
        return _sized(data, ">i")
    if tag in (b"n", b"o"):
        size, data = _sized(data, ">B" if tag == b"n" else ">I")
        number = int.from_bytes(data[1 : 1 + size], "little")
        return -number if data[0] else number, data[1 + size :]
    if tag == b"F":
        return _sized(data, ">d")
    if tag == b"w":
        size, data = _sized(data, ">B")
        return {b"true": True, b"false": False, b"null": None}[data[:size]], data[size:]
    if tag == b"j":
        return [], data
    assert tag == b"l", tag
    count, data = _sized(data)
    items = []
    for _ in range(count):
        item, data = _term(data)
        items.append(item)
    assert data[:1] == b"j"
    return items, data[1:]


def test_the_known_answers() -> None:
    plain = term_to_binary({"token": TOKEN})
    assert plain == bytes.fromhex("8374000000016d00000005") + b"token" + bytes.fromhex("6d00000040") + TOKEN.encode()
    assert len(plain) == 85
    assert ident_file(TOKEN).hex() == COMPRESSED
    assert len(ident_file(TOKEN)) == 48


def test_what_does_not_become_smaller_is_not_compressed() -> None:
    assert term_to_binary({"a": 1}, compressed=True) == term_to_binary({"a": 1})
    assert term_to_binary("x" * 1000, compressed=True)[1:2] == b"P"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (255, "8361ff"),
        (256, "836200000100"),
        (-1, "8362ffffffff"),
        (2**31 - 1, "83627fffffff"),
        (2**31, "836e040000000080"),
        (-(2**31) - 1, "836e040101000080"),
        (2**2040, "836f0000010000" + "00" * 255 + "01"),
        (None, "8377046e756c6c"),
        (True, "83770474727565"),
        (1.5, "83463ff8000000000000"),
        ([], "836a"),
        ([1], "836c0000000161016a"),
        ({"b": "", "a": {}}, "8374000000026d00000001617400000000" + "6d00000001626d00000000"),
    ],
)
def test_each_kind_of_value(value: Any, expected: str) -> None:
    assert term_to_binary(value).hex() == expected


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        term_to_binary({"a": object()})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet=string.printable), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_can_be_read(value: Any) -> None:
    assert read(term_to_binary(value)) == value
    assert read(term_to_binary(value, compressed=True)) == value


@pytest.mark.anyio
async def test_an_operator_has_the_ident_of_a_node(stage: Stage) -> None:
    first, second, *_ = await stage.nodes()
    answer = await stage.ask("GET", f"/nodes/{first}/ident")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="node-{first}.ident"'
    token = read(answer.body)["token"]
    assert set(read(answer.body)) == {"token"}
    assert len(token) == 64
    assert int(token, 16)
    other = read((await stage.ask("GET", f"/nodes/{second}/ident")).body)["token"]
    assert other != token
    await stage.again()
    assert read((await stage.ask("GET", f"/nodes/{first}/ident")).body)["token"] == token


@pytest.mark.anyio
async def test_others_and_unknown_nodes_are_not_found(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    key = await stage.stranger()
    for what in ("ident", "logs", "reboot"):
        await stage.fails(404, "NOT_FOUND", "GET", f"/nodes/{node}/{what}", key=key)
        for id in ("0", "-1", "999", "x", "1e3", "%31%20", "9" * 40):
            await stage.fails(404, "NOT_FOUND", "GET", f"/nodes/{id}/{what}")
        await stage.fails(401, "UNAUTHORIZED", "GET", f"/nodes/{node}/{what}", key=None)
