"""The canonical texts: what a query and a body look like before they are hashed."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry._kernel.model import NOT_GIVEN
from skerry.errors import InvalidRequestError
from skerry.networks.dispersed.canonical import (
    canonical_json,
    canonical_query,
    key_order,
    number_text,
    quoted,
    utf16,
)
from skerry.networks.dispersed.models import Job

finite = st.floats(allow_nan=False, allow_infinity=False)
whole_text = st.text(st.characters(exclude_categories=["Cs"]))
any_text = st.text(st.characters() | st.characters(categories=["Cs"]))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (-2.0, "-2"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (123456.789, "123456.789"),
        (1e16, "10000000000000000"),
        (1.2345678901234568e20, "123456789012345680000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e21, "1.5e+21"),
        (-1.5e300, "-1.5e+300"),
        (1e-6, "0.000001"),
        (1.5e-6, "0.0000015"),
        (1e-7, "1e-7"),
        (1.25e-7, "1.25e-7"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (2251799813685248.5, "2251799813685248.5"),
        (9007199254740993, "9007199254740993"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_numbers_look_as_in_ecmascript(number: float, text: str) -> None:
    assert number_text(number) == text


@given(finite)
def test_numbers_read_back(number: float) -> None:
    text = number_text(number)
    assert float(text) == number
    assert re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?(e[+-][1-9]\d*)?", text)
    assert ("e" in text) == (number != 0 and not 1e-6 <= abs(number) < 1e21)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_without_a_form(number: float) -> None:
    for make in (canonical_json, lambda value: canonical_query({"a": value})):
        with pytest.raises(ValueError, match="no form in JSON"):
            make([number])


@given(plain)
def test_bodies_read_back(value: Any) -> None:
    body = canonical_json(value)
    again = json.loads(body)
    # Integral floats come back as integers, pairs of surrogates as the character they stand for.
    assert canonical_json(again) == body
    assert b" " not in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", body)


@given(st.dictionaries(any_text | st.integers(0, 2**33).map(str), st.none()))
def test_keys_are_ordered_as_in_javascript(value: dict[str, None]) -> None:
    keys = list(json.loads(canonical_json(value)))
    indices = [key for key in keys if re.fullmatch(r"0|[1-9]\d*", key, re.ASCII) and int(key) < 2**32 - 1]
    others = [key for key in keys if key not in indices]
    assert keys == indices + others
    assert indices == sorted(indices, key=int)
    assert others == sorted(others, key=utf16)


def test_key_order_by_example() -> None:
    keys = ["a", "\ue000", "🚀", "10", "9", "01", "-1", "4294967294", "4294967295", "1.5", "", "B"]
    keys.sort(key=key_order)
    assert keys == ["9", "10", "4294967294", "", "-1", "01", "1.5", "4294967295", "B", "a", "🚀", "\ue000"]


def test_what_a_body_may_hold() -> None:
    moment = datetime(2026, 5, 8, 20, 0, 0, 1500, timezone(timedelta(hours=2)))
    uuid = UUID(int=1)
    assert canonical_json({"t": moment, "u": uuid}) == (
        b'{"t":"2026-05-08T18:00:00.001Z","u":"00000000-0000-0000-0000-000000000001"}'
    )
    assert canonical_json({"a": NOT_GIVEN, "b": None, "c": [NOT_GIVEN, 1], "d": (True, False)}) == (
        b'{"b":null,"c":[1],"d":[true,false]}'
    )
    assert canonical_json(None) == b"null"
    assert json.loads(canonical_json(Job(title="x")))["title"] == "x"
    assert canonical_json('"\\\b\f\n\r\t\x00\x1f\x7f/\u2028é') == (
        '"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f/\u2028é"'.encode()
    )
    assert canonical_json(["\ud83d", "\ud83d\ude80", "\ude80\ud83d"]) == '["\\ud83d","🚀","\\ude80\\ud83d"]'.encode()


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, {"a": {1, 2}}, b"x", {"a": [b"x"]}, {None: 1}])
def test_what_a_body_may_not_hold(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)
    with pytest.raises(InvalidRequestError):
        canonical_json(datetime(2026, 1, 1))


@given(st.lists(st.tuples(whole_text, whole_text)))
def test_queries_read_back_in_order(pairs: list[tuple[str, str]]) -> None:
    query = canonical_query(pairs)
    assert re.fullmatch(r"(?:[A-Za-z0-9._~=&-]|%[0-9A-F]{2})*", query)
    expected = sorted(pairs, key=lambda pair: (utf16(pair[0]), utf16(pair[1])))
    assert parse_qsl(query, keep_blank_values=True) == expected
    assert query.count("=") == len(pairs)


def test_what_a_query_may_hold() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    query = canonical_query(
        {
            "f": 24.0,
            "b": True,
            "n": None,
            "x": NOT_GIVEN,
            "l": ["a b", 1, None, 2.5],
            "t": (moment, None),
            "u": UUID(int=2),
            "s": {"b", "a"},
        }
    )
    assert query == (
        "b=true&f=24&l=a%20b%2C1%2C%2C2.5&s=a%2Cb&t=2026-01-01T00%3A00%3A00.000Z%2C"
        "&u=00000000-0000-0000-0000-000000000002"
    )
    assert canonical_query([("a", "2"), ("a", "1"), ("a", None)]) == "a=1&a=2"
    assert canonical_query(None) == canonical_query({}) == ""


@pytest.mark.parametrize("parameters", [{"a": object()}, {"a": {"b": 1}}, {1: "a"}, {"a": b"x"}])
def test_what_a_query_may_not_hold(parameters: Any) -> None:
    with pytest.raises(TypeError):
        canonical_query(parameters)


def test_half_a_character_has_no_place_in_a_url() -> None:
    with pytest.raises(InvalidRequestError, match="cannot be written"):
        quoted("\ud83d")
    assert quoted("\ud83d\ude80") == quoted("🚀") == "%F0%9F%9A%80"
