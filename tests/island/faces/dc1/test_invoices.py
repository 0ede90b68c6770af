"""Invoices of jobs, as JSON and as PDF files."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.dc1.money import pdf
from tests.island.faces.dc1.hosts import host, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def test_an_invoice(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    answer = await stage.rent("GET", f"/api/jobs/{job}/invoice")
    assert (answer.status, answer.json) == (400, {"error": "Job not completed", "current_status": "pending"})
    await mine.claim()
    stage.clock.advance(42.5)
    await mine.finish(job)
    found: dict[str, Any] = (await stage.rent("GET", f"/api/jobs/{job}/invoice")).json
    hashed = (
        f'{{"job_id":"{job}","renter_id":1,"provider_id":{mine.id},"gross_halala":11,"platform_fee_halala":3,'
        '"timestamp":"2026-03-22T19:30:42.500Z"}'
    )
    assert found["settlement_hash"] == hashlib.sha256(hashed.encode()).hexdigest()
    assert (found["gross_halala"], found["platform_fee_halala"], found["provider_earned_halala"]) == (11, 3, 8)
    assert (found["quoted_halala"], found["refunded_halala"], found["gross_sar"]) == (75, 64, "0.11")
    answer = await stage.rent("GET", f"/api/jobs/{job}/invoice.pdf")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["content-disposition"] == f'attachment; filename="dcp-invoice-{job}.pdf"'
    check(answer.body)
    assert b"(0.11 SAR)" in answer.body
    assert found["settlement_hash"].encode() in answer.body
    for headers in ({}, {"x-provider-key": mine.key}):
        assert (await stage.send("GET", f"/api/jobs/{job}/invoice", headers)).status == 403
    assert (await stage.rent("GET", "/api/jobs/nope/invoice.pdf")).status == 404
    assert (await stage.administer("GET", f"/api/jobs/{job}/invoice")).status == 200


async def test_what_cost_nothing(stage: Stage) -> None:
    job = (await submit(stage, None))["job_id"]
    await stage.rent("POST", f"/api/jobs/{job}/cancel")
    found = (await stage.rent("GET", f"/api/jobs/{job}/invoice")).json
    assert (found["gross_halala"], found["refunded_halala"], found["provider_id"]) == (0, 75, None)
    check((await stage.rent("GET", f"/api/jobs/{job}/invoice.pdf")).body)


@given(st.text(max_size=40), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=4))
def test_any_text_makes_a_file(title: str, lines: list[tuple[str, str]]) -> None:
    check(pdf.page(title, lines, foot=[title]))


def check(file: bytes) -> None:
    """Every object is where the table says, and the stream as long as it says."""
    assert file.startswith(b"%PDF-1.4\n")
    assert file.endswith(b"%%EOF\n")
    start = int(re.findall(rb"startxref\n(\d+)\n", file)[-1])
    assert file[start:].startswith(b"xref\n0 7\n")
    places = [int(place) for place in re.findall(rb"^(\d{10}) 00000 n $", file[start:], re.MULTILINE)]
    assert len(places) == 6
    for number, place in enumerate(places, 1):
        assert file[place:].startswith(b"%d 0 obj\n" % number)
    length = int(re.search(rb"/Length (\d+)", file[places[3] :])[1])  # type: ignore[index]
    begin = file.index(b"stream\n", places[3]) + len(b"stream\n")
    assert file[begin + length :].startswith(b"\nendstream")
