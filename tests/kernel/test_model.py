"""Models keep what they do not know, and absent differs from null."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry._kernel.model import NOT_GIVEN, Model, Moment, NotGiven, decode, encode, parse_json, replace, shape
from skerry._kernel.model import given as only_given

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
).filter(lambda value: "\\ud" not in json.dumps(value))


class Part(Model, frozen=True, kw_only=True):
    name: str
    size: int = 0


class Whole(Model, frozen=True, kw_only=True):
    id: str
    parts: list[Part]
    best: Part | None = None
    mode: Literal["a"] | str = "a"
    note: str | NotGiven | None = NOT_GIVEN


def test_unknown_fields_are_kept() -> None:
    body = b'{"id": "x", "parts": [{"name": "p", "colour": "red"}], "new": {"a": 1}}'
    whole = decode(body, Whole)
    assert whole.parts[0].name == "p"
    assert whole.extra == {"new": {"a": 1}}
    assert whole.raw["parts"][0]["colour"] == "red"
    assert whole.to_dict() == json.loads(body)


def test_absent_null_and_value_stay_apart() -> None:
    for body in (
        {"id": "x", "parts": []},
        {"id": "x", "parts": [], "note": None},
        {"id": "x", "parts": [], "note": ""},
    ):
        whole = decode(json.dumps(body).encode(), Whole)
        assert whole.note == body.get("note", NOT_GIVEN)
        assert ("note" in json.loads(encode(whole))) == ("note" in body)


@given(plain)
def test_any_answer_is_read(value: Any) -> None:
    whole = decode(json.dumps(value).encode(), Whole)
    assert whole.raw == value
    assert isinstance(whole.to_dict(), dict)
    assert isinstance(repr(whole), str)


@given(
    st.fixed_dictionaries({}, optional={"id": plain, "parts": plain | st.lists(plain), "best": plain, "mode": plain})
)
def test_what_fits_is_converted_and_what_does_not_is_kept(value: dict[str, Any]) -> None:
    whole = shape(value, Whole)
    for name in ("id", "mode"):
        if name in value:
            assert getattr(whole, name) == value[name]
    if isinstance(value.get("best"), dict):
        assert isinstance(whole.best, Part)
    if isinstance(value.get("parts"), list):
        assert len(whole.parts) == len(value["parts"])


@given(plain)
def test_json_reads_back(value: Any) -> None:
    assert parse_json(encode(value)) == value


def test_json_as_lenient_clients_read_it() -> None:
    assert parse_json(b"") == {}
    assert parse_json(b" ") is NOT_GIVEN
    assert parse_json(b"<html>") is NOT_GIVEN
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]
    assert parse_json(b'"\xff"') == "\ufffd"
    assert parse_json(b'"\\ud800"') == "\ud800"
    # Nested too deep for any reader.
    assert parse_json(b"[" * 100_000) is NOT_GIVEN


def test_undefined_goes_at_every_level_and_nothing_else() -> None:
    value = {"a": NOT_GIVEN, "b": None, "c": {"d": NOT_GIVEN, "e": False}, "f": [0, {"g": NOT_GIVEN}], "h": "", "i": []}
    assert only_given(value) == {"b": None, "c": {"e": False}, "f": [0, {}], "h": "", "i": []}
    assert parse_json(encode(value)) == only_given(value)


def test_models_are_values() -> None:
    part = Part(name="p")
    with pytest.raises(AttributeError):
        part.name = "q"  # type: ignore[misc]
    assert replace(part, size=3) == Part(name="p", size=3)
    assert part.raw == {"name": "p", "size": 0}
    assert part.extra == {}


class Dated(Model, frozen=True, kw_only=True):
    at: Moment | None = None
    other: Moment | None = None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-08T18:23:45.166Z", datetime(2026, 5, 8, 18, 23, 45, 166000, UTC)),
        ("2026-05-08T20:23:45+02:00", datetime(2026, 5, 8, 18, 23, 45, tzinfo=UTC)),
        ("2026-05-08T18:23:45", datetime(2026, 5, 8, 18, 23, 45, tzinfo=UTC)),
        ("2026-05-08", datetime(2026, 5, 8, tzinfo=UTC)),
        ("soon", "soon"),
        (5, 5),
        (None, None),
    ],
)
def test_moments_are_aware(text: Any, moment: Any) -> None:
    read = decode(json.dumps({"at": text, "other": "2026-01-01T00:00:00Z"}).encode(), Dated)
    assert read.at == moment
    assert read.other == datetime(2026, 1, 1, tzinfo=UTC)
    assert read.raw["at"] == text
