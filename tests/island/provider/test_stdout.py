"""What becomes of a program's output."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.provider.machine import cards_of, memory
from skerry.island.provider.stdout import Lines, phase_of, result_text

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(st.binary(max_size=400), st.integers(1, 64))
def test_lines_are_the_same_however_they_come(content: bytes, size: int) -> None:
    whole = Lines()
    expected = [*whole.feed(content), *whole.end()]
    cut = Lines()
    found = []
    for begin in range(0, len(content), size):
        found += cut.feed(content[begin : begin + size])
    found += cut.end()
    assert found == expected
    for text, place in found:
        assert text
        rest = Lines(place)
        assert [*rest.feed(content[place:]), *rest.end()] == [line for line in expected if line[1] > place]


@patient
@given(st.binary(max_size=300), st.integers(8, 64))
def test_short_output_is_whole_and_long_output_is_bounded(content: bytes, limit: int) -> None:
    text = result_text(content, limit)
    if len(content) <= limit:
        assert text == content.decode(errors="replace").replace("\0", "\ufffd")
    elif b"DC1_RESULT_JSON:" not in content:
        assert len(text) < limit + 60


@patient
@given(st.binary(max_size=300), st.text('ab{}:",1', max_size=200), st.integers(8, 64))
def test_the_result_is_always_whole_and_last(before: bytes, result: str, limit: int) -> None:
    marked = f"DC1_RESULT_JSON:{result}\n"
    text = result_text(before.replace(b"DC1", b"dc1") + b"\n" + marked.encode(), limit)
    assert text.endswith("\n" + marked)


def test_the_last_marker_counts_and_what_follows_a_huge_one_is_left_out() -> None:
    flood = b"x" * 50 + b"\nDC1_RESULT_JSON:1\n" + b"y" * 50 + b"\nDC1_RESULT_JSON:2\n" + b"z" * 90
    assert "DC1_RESULT_JSON:2\n" in result_text(flood, 40)


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        ("[dcp-phase] generating", "generating"),
        ("  [dc1-phase]   loading_model  ", "loading_model"),
        ("[dcp-phase] dancing", None),
        ("x [dcp-phase] generating", None),
        ("[dcp-phase] generating now", None),
    ],
)
def test_phases(line: str, phase: str | None) -> None:
    assert phase_of(line) == phase


def test_the_drivers_table_is_read_whatever_it_leaves_out() -> None:
    table = (
        "0, NVIDIA H100 80GB HBM3, 81559, 80994, 3, 41, 70.50, 550.54.14, 9.0\n1, Tesla, 16000, [N/A], [N/A], , , 1\nx"
    )
    cards, driver, compute = cards_of(table)
    assert [(card.name, card.free_mib, card.celsius) for card in cards] == [
        ("NVIDIA H100 80GB HBM3", 80994, 41.0),
        ("Tesla", 16000, None),
    ]
    assert (driver, compute) == ("550.54.14", "9.0")
    assert cards_of("") == ((), None, None)
    total, free = memory()
    assert 0 < free <= total
