"""How moments, identifiers, money and JSON are written, and what JSON is taken."""

from __future__ import annotations

import contextlib
import itertools
import json
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.engine.errors import EngineError, PaymentRequired, Unavailable
from skerry.island.faces.dispersed import wire
from skerry.island.faces.dispersed.errors import Issue, envelope, fault_of, from_engine, invalid
from skerry.island.ground.texts import is_uuid, iso, maybe_iso

NOW = 1_776_765_600_123_456


def test_moments() -> None:
    assert iso(NOW) == "2026-04-21T10:00:00.123Z"
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert maybe_iso(None) is None
    assert maybe_iso(NOW) == iso(NOW)


@given(st.lists(st.integers(0, 1 << 52), min_size=2, max_size=6, unique=True))
def test_uuids_are_in_the_order_of_time(moments: list[int]) -> None:
    made = [wire.new_uuid(moment) for moment in sorted(moments)]
    assert sorted(made) == made
    for moment, text in zip(sorted(moments), made, strict=True):
        uuid = UUID(text)
        assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
        assert uuid.int >> 80 == moment // 1000
        assert is_uuid(text)


def test_uuids_of_one_moment_are_in_the_order_of_their_making() -> None:
    made = [wire.new_uuid(NOW) for _ in range(20_000)]
    assert all(one < other for one, other in itertools.pairwise(made))


def test_what_is_a_uuid() -> None:
    assert is_uuid("019582A6-27FC-731D-AF0A-594F04D6D0D5")
    for text in ("", "missing-uuid", "{019582a6-27fc-731d-af0a-594f04d6d0d5}", "019582a627fc731daf0a594f04d6d0d5", "ä"):
        assert not is_uuid(text)


@given(st.integers(-(10**18), 10**18))
def test_money_is_exact(micros: int) -> None:
    text = wire.encode({"usd": wire.usd(micros)}).decode()
    assert Decimal(text[len('{"usd":') : -1]) * 1_000_000 == micros
    assert "e" not in text.lower().replace("usd", "")
    assert isinstance(json.loads(text)["usd"], int | float)
    assert wire.micros_of(wire.usd(micros)) == micros


@pytest.mark.parametrize("text", ["0.0000001", "NaN", "Infinity", "1e400", "1e-400", "0.1234567"])
def test_amounts_that_are_none(text: str) -> None:
    assert wire.micros_of(Decimal(text)) is None


def test_amounts_that_are_nothing() -> None:
    assert [wire.micros_of(Decimal(text)) for text in ("0", "-0", "0e400", "0.000000000")] == [0, 0, 0, 0]


def test_both_envelopes_say_the_same() -> None:
    fault = invalid([Issue("too_small", ("a", 0), "must be more"), Issue("custom", ("b",), "must not")])
    body = envelope(fault, NOW)
    assert body["error"] == {name: body[name] for name in ("code", "detail", "details", "timestamp")}
    assert body["details"] == [
        {"code": "too_small", "path": ["a", 0], "message": "must be more"},
        {"code": "custom", "path": ["b"], "message": "must not"},
    ]
    assert body["detail"] == "a.0: must be more (and 1 more)"
    assert (body["status"], body["code"]) == (400, "VALIDATION_ERROR")


def test_refusals_of_the_engine() -> None:
    def told(error: EngineError) -> tuple[int, str]:
        fault = from_engine(error)
        assert fault is not None
        return fault.status, fault.code

    assert told(PaymentRequired("no")) == (402, "INSUFFICIENT_BALANCE")
    assert told(Unavailable("no")) == (503, "SERVICE_UNAVAILABLE")
    later = from_engine(Unavailable("no", retry_after=1.6))
    assert later is not None
    assert later.headers == ((b"retry-after", b"2"),)
    # What it has no words for is a defect, and told as one.
    assert from_engine(EngineError("inside")) is None
    defect = fault_of(EngineError("inside"))
    assert (defect.status, defect.code) == (500, "INTERNAL_ERROR")
    assert "inside" not in defect.detail


_PLAIN = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 60), 1 << 60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _PLAIN,
    lambda inner: st.lists(inner) | st.dictionaries(_PLAIN, inner),
)


@given(_VALUES)
def test_json_is_read_as_it_was_written(value: object) -> None:
    assert wire.decode(json.dumps(value).encode()) == value
    assert wire.decode(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=40))
def test_other_bytes_are_unreadable(body: bytes) -> None:
    with contextlib.suppress(wire.Unreadable):
        assert json.dumps(wire.decode(body)) is not None
