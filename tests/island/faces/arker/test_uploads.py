"""The upload state machine: ranges, kinds and what the pieces make."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.schemas import SyncEntry
from skerry.island.faces.arker.uploads import (
    Chunk,
    Upload,
    assembly,
    check_entry,
    chunk_bytes,
    covers,
    kind_of,
    merge,
    overlaps,
    received,
    same_upload,
)

ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple), max_size=12)


def entry(**fields: object) -> SyncEntry:
    return SyncEntry(**{"path": "/home/user/a", "size": 4, **fields})  # type: ignore[arg-type]


@given(ranges)
def test_merged_ranges_are_the_same_set_of_bytes(given_ranges: list[tuple[int, int]]) -> None:
    merged = merge(given_ranges)
    covered = {byte for start, end in given_ranges for byte in range(start, end)}
    assert {byte for start, end in merged for byte in range(start, end)} == covered
    assert received(merged) == len(covered)
    assert all(first[1] < second[0] for first, second in itertools.pairwise(merged))
    assert all(start < end for start, end in merged)


@given(ranges, st.integers(0, 60))
def test_covering_is_having_every_byte(given_ranges: list[tuple[int, int]], size: int) -> None:
    inside = [(min(start, size), min(end, size)) for start, end in given_ranges]
    have = {byte for start, end in inside for byte in range(start, end)}
    assert covers(merge(inside), size) == (have == set(range(size)))


@given(st.binary(min_size=0, max_size=64), st.data())
def test_any_cover_assembles_to_the_file(content: bytes, data: st.DataObject) -> None:
    size = len(content)
    cuts = sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=6))})
    parts = list(itertools.pairwise(cuts))
    extra = data.draw(st.lists(st.tuples(st.integers(0, size), st.integers(0, size)).map(sorted), max_size=5))
    chunks = [Chunk(start=start, end=end, digest="") for start, end in [*parts, *map(tuple, extra)]]
    shuffled = data.draw(st.permutations(chunks))
    rebuilt = b"".join(content[chunk.start : chunk.end][first:last] for chunk, first, last in assembly(shuffled, size))
    assert rebuilt == content


def test_a_gap_does_not_assemble() -> None:
    with pytest.raises(ValueError, match="reach byte 2 of 6"):
        assembly([Chunk(start=0, end=2, digest=""), Chunk(start=3, end=6, digest="")], 6)


def test_touching_ranges_do_not_overlap_and_empty_ones_never_do() -> None:
    chunks = [Chunk(start=0, end=4, digest="a"), Chunk(start=8, end=12, digest="b")]
    assert overlaps(chunks, 4, 8) == []
    assert overlaps(chunks, 2, 2) == []
    assert [chunk.digest for chunk in overlaps(chunks, 3, 9)] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"upload_id": "u", "content": "", "start": 0, "end": 0}, "chunk"),
        ({"presigned": True}, "presign"),
        ({"upload_id": "u"}, "commit"),
        ({"upload_id": "u", "presigned": False, "sha256": "0" * 64}, "commit"),
    ],
)
def test_the_keys_tell_the_kind(fields: dict[str, object], kind: str) -> None:
    assert kind_of(entry(**fields)) == kind


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"content": "AA=="},
        {"content": "AA==", "upload_id": "u"},
        {"content": "AA==", "start": 0, "end": 1},
        {"content": "AA==", "upload_id": "u", "start": 0, "end": 1, "presigned": True},
        {"upload_id": "u", "start": 0},
        {"upload_id": "u", "presigned": True},
        {"presigned": False},
    ],
)
def test_mixed_or_missing_keys_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ArkerFault) as caught:
        kind_of(entry(**fields))
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    ("start", "end", "content"),
    [(2, 1, b""), (0, 5, b"12345"), (0, 4, b"123"), (0, 3, b"1234"), (4, 5, b"1")],
)
def test_a_chunk_fits_its_range(start: int, end: int, content: bytes) -> None:
    bad = entry(upload_id="u", start=start, end=end, content=base64.b64encode(content).decode())
    with pytest.raises(ArkerFault) as caught:
        chunk_bytes(bad)
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize("content", ["A", "AA", "AA=", "A===", "AAAA\n", "AA-_", "ü", "AA==AA=="])
def test_sloppy_base64_is_refused(content: str) -> None:
    with pytest.raises(ArkerFault, match="base64"):
        chunk_bytes(entry(upload_id="u", start=0, end=1, content=content))


@given(st.binary(max_size=100))
def test_a_good_chunk_is_its_bytes(content: bytes) -> None:
    good = entry(
        size=len(content), upload_id="u", start=0, end=len(content), content=base64.b64encode(content).decode()
    )
    assert chunk_bytes(good) == content


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"upload_id": ""}, "bad_request"),
        ({"upload_id": "a b"}, "bad_request"),
        ({"upload_id": "x" * 129}, "bad_request"),
        ({"upload_id": "ü"}, "bad_request"),
        ({"sha256": "A" * 64}, "bad_request"),
        ({"sha256": "0" * 63}, "bad_request"),
        ({"size": 101}, "payload_too_large"),
    ],
)
def test_what_no_entry_may_hold(fields: dict[str, object], code: str) -> None:
    with pytest.raises(ArkerFault) as caught:
        check_entry(entry(**fields), 100)
    assert caught.value.code == code


def test_a_known_upload_keeps_its_terms() -> None:
    upload = Upload(
        vm_id="v",
        upload_id="u",
        path="/home/user/a",
        size=4,
        presigned=False,
        state="open",
        secret=False,
        expected=None,
        digest=None,
        expires_at=0,
    )
    same_upload(upload, entry())
    for other in (entry(size=5), entry(path="/home/user/b")):
        with pytest.raises(ArkerFault) as caught:
            same_upload(upload, other)
        assert caught.value.code == "conflict"
