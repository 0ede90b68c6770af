"""Path segments are exactly those of `encodeURIComponent`."""

from __future__ import annotations

import string
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry._kernel.urls import base_url, query, segment
from skerry.errors import ConfigurationError, InvalidRequestError

UNESCAPED = set(string.ascii_letters + string.digits + "-_.!~*'()")
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts)
def test_segment_reads_back_and_holds_no_separator(text: str) -> None:
    encoded = segment(text)
    assert unquote(encoded) == text
    assert not set(encoded) & set("/?#& %".replace("%", ""))


@given(texts)
def test_segment_leaves_exactly_the_documented_characters(text: str) -> None:
    if text in (".", ".."):
        return
    expected = "".join(
        letter if letter in UNESCAPED else "".join(f"%{byte:02X}" for byte in letter.encode()) for letter in text
    )
    assert segment(text) == expected


def test_dot_segments_cannot_climb() -> None:
    assert segment("..") == "%2E%2E"
    assert segment(".") == "%2E"
    assert segment("...") == "..."


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        segment("\ud800")


@given(st.dictionaries(texts.filter(bool), texts, max_size=5))
def test_query_reads_back(parameters: dict[str, str]) -> None:
    text = query(parameters)
    assert dict(parse_qsl(text[1:], keep_blank_values=True)) == parameters
    assert text.startswith("?") == bool(parameters)


def test_query_values() -> None:
    assert query({"a": True, "b": 3, "c": "x y"}) == "?a=true&b=3&c=x%20y"


@given(st.text("/ \t", max_size=4), st.text("/ \t", max_size=4))
def test_base_url_loses_blanks_and_slashes(before: str, after: str) -> None:
    assert base_url(before.replace("/", "") + "https://h.test/api" + after.replace(" ", "").replace("\t", "")) == (
        "https://h.test/api"
    )


@pytest.mark.parametrize("text", ["", "  ", "///", " / "])
def test_empty_base_url(text: str) -> None:
    with pytest.raises(ConfigurationError, match="burst_url must not be empty"):
        base_url(text, name="burst_url")
