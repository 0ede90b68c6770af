"""Ids, sizes, times and errors."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry import errors
from skerry.errors import InvalidRequestError, SkerryError
from skerry.ids import CROCKFORD, new_id, new_ulid, ulid_from
from skerry.networks.arker.errors import ArkerNotFoundError
from skerry.times import parse_duration, parse_moment, rfc3339, utc_now
from skerry.units import GIB, KIB, MIB, format_size, parse_size

KNOWN_ULIDS = [
    (0, "00" * 10, "00000000000000000000000000"),
    (1767225600123, "00010203040506070809", "01KDVDNA3V000G40R40M30E209"),
    (1767225600123, "ff" * 10, "01KDVDNA3VZZZZZZZZZZZZZZZZ"),
    (1469918176385, "00112233445566778899", "01ARYZ6S41008J4CT4ANK7F24S"),
    (2**48 - 1, "ff" * 10, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
    (2**48 + 5, "00" * 10, "00000000050000000000000000"),
]


@pytest.mark.parametrize(("milliseconds", "random", "text"), KNOWN_ULIDS)
def test_known_ulids(milliseconds: int, random: str, text: str) -> None:
    assert ulid_from(milliseconds, bytes.fromhex(random)) == text


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_ulid_holds_time_and_randomness(milliseconds: int, randomness: bytes) -> None:
    text = ulid_from(milliseconds, randomness)
    value = 0
    for letter in text:
        value = value * 32 + CROCKFORD.index(letter)
    assert len(text) == 26
    assert value >> 80 == milliseconds
    assert value & ((1 << 80) - 1) == int.from_bytes(randomness, "big")


@given(st.integers(0, 2**48 - 2), st.integers(1, 1000))
def test_later_ulids_sort_later(milliseconds: int, step: int) -> None:
    later = min(milliseconds + step, 2**48 - 1)
    assert ulid_from(milliseconds, b"\xff" * 10) < ulid_from(later, b"\x00" * 10)


def test_fresh_ids() -> None:
    assert len({new_ulid() for _ in range(100)}) == 100
    prefix, _, rest = new_id("vmh").partition("-")
    assert prefix == "vmh"
    assert rest == rest.lower()
    with pytest.raises(ValueError, match="10 random bytes"):
        ulid_from(0, b"")


@given(st.integers(0, 10**15), st.sampled_from(["", "K", "M", "g", "kib", "MiB", "B"]))
def test_sizes(number: int, unit: str) -> None:
    factor = {"": 1, "b": 1, "k": KIB, "kib": KIB, "m": MIB, "mib": MIB, "g": GIB}[unit.lower()]
    assert parse_size(f"{number}{unit}") == number * factor


@pytest.mark.parametrize("text", ["", "-1", "1.5.0M", "12X", "GiB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_size(text)


def test_size_forms() -> None:
    assert parse_size(7) == 7
    assert parse_size("1.5GiB") == 1536 * MIB
    assert format_size(1536 * MIB) == "1.5 GiB"
    assert format_size(512) == "512 B"
    with pytest.raises(InvalidRequestError):
        parse_size(-1)


@given(st.integers(0, 59), st.integers(0, 59), st.integers(0, 23))
def test_durations(seconds: int, minutes: int, hours: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds
    assert parse_duration(timedelta(hours=hours, seconds=seconds)) == hours * 3600 + seconds


@pytest.mark.parametrize("text", ["", "1x", "m5", "-3", "nan", "inf"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_duration(text)


def test_moments() -> None:
    moment = datetime(2026, 5, 8, 20, 23, 45, 166000, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-05-08T18:23:45.166+00:00"
    assert utc_now().tzinfo is UTC
    with pytest.raises(InvalidRequestError, match="naive"):
        rfc3339(datetime(2026, 5, 8))
    assert parse_moment(rfc3339(moment)) == moment
    assert parse_moment(" 2026-05-08 ") == parse_moment("2026-05-08T00:00:00") == datetime(2026, 5, 8, tzinfo=UTC)
    for text in ("", "soon", "2026-13-01", "1767225600"):
        with pytest.raises(InvalidRequestError, match="is not a moment"):
            parse_moment(text)


def test_every_error_is_one_of_ours_and_says_so() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SkerryError)]
    assert len(kinds) > 15
    for kind in kinds:
        error = kind("it broke", network="arker", status=500, code="x", request_id="r", body=b"?")
        assert str(error) == "it broke"
        assert error.to_dict()["error"] == kind.__name__
        assert "body" not in error.to_dict()
        assert "request_id='r'" in repr(error)


def test_errors_never_show_keys() -> None:
    error = SkerryError("sent Bearer ark_live_0123456789abcdef to them")
    assert "0123456789abcdef" not in f"{error} {error!r} {error.to_dict()}"


def test_errors_travel() -> None:
    error = ArkerNotFoundError("not_found", "no such VM", 404)
    error.request_id = "r-1"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is ArkerNotFoundError
        assert (twin.code, twin.detail, twin.status, twin.request_id) == ("not_found", "no such VM", 404, "r-1")
        assert str(twin) == "not_found: no such VM"
    plain = pickle.loads(pickle.dumps(SkerryError("x", code="y")))
    assert plain.code == "y"
