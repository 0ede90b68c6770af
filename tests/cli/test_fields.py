"""Bodies written as words."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.cli import fields
from skerry.cli.verbatim import as_json, items, laid_out, masked


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["title=Hello"], {"title": "Hello"}),
        (["title="], {"title": ""}),
        (["title=a=b:=c"], {"title": "a=b:=c"}),
        (["n:=1", "big:=123456789012345678901234567890"], {"n": 1, "big": 123456789012345678901234567890}),
        (["x:=null", "y:=[22, 80]", "z:=true"], {"x": None, "y": [22, 80], "z": True}),
        (["a.b.c=1", "a.b.d:=2"], {"a": {"b": {"c": "1", "d": 2}}}),
        ([r"a\.b=1", r"c\=d=2", r"e\\.f=3"], {"a.b": "1", "c=d": "2", "e\\": {"f": "3"}}),
        (["http://x:=1"], {"http://x": 1}),
    ],
)
def test_words_make_a_body(words: list[str], body: dict[str, Any]) -> None:
    assert fields.body_of(None, words) == body


def test_no_words_and_no_data_are_no_body() -> None:
    assert fields.body_of(None, []) is None
    assert fields.body_of("{}", []) == {}


def test_words_are_laid_over_data() -> None:
    data = '{"a": {"b": 1, "c": 2}, "d": [1]}'
    assert fields.body_of(data, ["a.b:=9", "d:=[]"]) == {"a": {"b": 9, "c": 2}, "d": []}


def test_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, blob, data = tmp_path / "t", tmp_path / "b", tmp_path / "d.json"
    text.write_text("Größe\n")
    blob.write_bytes(b"\xff\x00")
    data.write_text('{"k": 1}')
    assert fields.body_of(f"@{data}", [f"a=@{text}", f"b:=@{data}", f"c=@{blob}"]) == {
        "k": 1,
        "a": "Größe\n",
        "b": {"k": 1},
        "c": b"\xff\x00",
    }
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "stdin"}')))
    assert fields.body_of("-", []) == {"from": "stdin"}
    for wrong in (["a=@" + str(tmp_path / "absent")], ["a:=@" + str(blob)]):
        with pytest.raises(click.UsageError):
            fields.body_of(None, wrong)


@pytest.mark.parametrize(
    ("data", "words", "said"),
    [
        (None, ["title"], "sets no field"),
        (None, ["=x"], "sets no field"),
        (None, ["a:=nope"], "`a` is not JSON"),
        (None, ["a:=NaN"], "no number"),
        (None, ["a:=-Infinity"], "no number"),
        (None, ["a=1", "a=2"], "`a` is said twice"),
        (None, ["a=1", "a.b=2"], "`a.b` is said twice"),
        (None, ["a.b=2", "a=1"], "`a` is said twice"),
        (None, ["a..b=1"], "without a name"),
        (None, [".a=1"], "without a name"),
        (None, ["a.=1"], "without a name"),
        (None, [".".join("a" * 65) + "=1"], "more than 64"),
        (None, ["a:=" + "[" * 65 + "]" * 65], "more than 64"),
        (None, ["a:=" + "[" * 100_000], "a"),
        ("[]", [], "JSON object"),
        ("null", [], "JSON object"),
        ("nope", [], "--data is not JSON"),
        ('{"a": 1}', ["a.b=1"], "`a` is no object"),
    ],
)
def test_other_bodies_are_usage_errors(data: str | None, words: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as error:
        fields.body_of(data, words)
    assert said in str(error.value)


names = st.text(min_size=1, max_size=8)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.dictionaries(st.tuples(names) | st.tuples(names, names), leaves, max_size=5))
def test_any_body_can_be_written_as_words(wanted: dict[tuple[str, ...], Any]) -> None:
    body: dict[str, Any] = {}
    words = []
    for path, value in wanted.items():
        inner = body
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                return
        if path[-1] in inner:
            return
        inner[path[-1]] = value
        written = ".".join("".join(f"\\{c}" if c in ".=:\\" else c for c in part) for part in path)
        plain = isinstance(value, str) and not value.startswith("@")
        words.append(f"{written}={value}" if plain else f"{written}:={json.dumps(value)}")
    assert fields.body_of(None, words) == (body or None)


def test_numbers_are_printed_as_they_came() -> None:
    body = (
        b'{"a_usd": 1.10, "n": 123456789012345678901234567890, "f": 0.1000000000000000055511151231257827, "e": 1e400}'
    )
    assert laid_out(body, lines=False) == body.decode().replace(" ", "")
    assert '"a_usd": 1.10,\n' in laid_out(body)


@pytest.mark.parametrize("body", [b"plain", b"\xff", b'"\xff"', b"{", b"\x1b[2J"])
def test_what_is_not_json_is_printed_as_a_text_of_json(body: bytes) -> None:
    printed = laid_out(body)
    assert json.loads(printed) == body.decode("utf-8", "replace")
    assert "\x1b" not in printed


def test_nothing_is_null() -> None:
    assert as_json(b"") == b"null"


def test_objects_of_a_page_stay_as_they_are() -> None:
    assert items(b'{"data": [{"a": 1.10}, {"b": 2.0}], "total": 2}') == [b'{"a": 1.10}', b'{"b": 2.0}']


def test_secrets_are_masked_and_nothing_else() -> None:
    body = (
        b'{"secret":"a","n":1.10,"env":{"HF_TOKEN":"b","A":"1"},"list":[{"password":"c"},"sk_live_abcdefghi1"],'
        b'"tokens":["d"],"secret_key":null,"has_secret":true}'
    )
    assert masked(body) == (
        b'{"secret":"***","n":1.10,"env":{"HF_TOKEN":"***","A":"1"},"list":[{"password":"***"},"***"],'
        b'"tokens":"***","secret_key":null,"has_secret":true}'
    )
