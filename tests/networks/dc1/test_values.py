"""Models, signatures, waits and prices."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import InvalidRequestError
from skerry.money import Money
from skerry.networks.dc1 import (
    TERMINAL,
    Claim,
    hold_for,
    settle,
    sign_task_spec,
    verify_callback,
    verify_task_spec,
)
from skerry.networks.dc1.answers import reader
from skerry.networks.dc1.codes import error_of
from skerry.networks.dc1.models import Job, PaymentHistory, Provider, Submission
from skerry.networks.dc1.polling import backoff, interval_for
from skerry.networks.dc1.pricing import round_half_up
from skerry.networks.dc1.signing import sign_callback, task_spec_text
from skerry.networks.dc1.values import gigabytes, halala, image_bytes
from tests.networks.dc1.said import said


def test_jobs_have_one_name() -> None:
    assert (Job(job_id="job-1", number=7).id, Job(number=7).id, Job().id) == ("job-1", "7", "")
    nested = reader(Submission)(said(201, {"success": True, "job": {"id": 9, "new": {"x": 1}}}))
    assert (nested.name, nested.job.raw, nested.job.extra) == ("9", {"id": 9, "new": {"x": 1}}, {"new": {"x": 1}})
    assert [Submission(job_id="a").name, Submission(id=3).name, Submission().name] == ["a", "3", ""]
    assert Job(status="permanently_new").is_done is False
    assert all(Job(status=status).is_done for status in TERMINAL)


def test_inner_objects_keep_what_is_not_known() -> None:
    history = reader(PaymentHistory)(said(200, {"balance_sar": "10.46", "jobs": [{"job_id": "a", "surprise": [1.5]}]}))
    assert history.jobs[0].extra == {"surprise": [1.5]}
    assert (history.balance_sar, history.balance) == (Decimal("10.46"), Money(0, "SAR"))


@pytest.mark.parametrize(
    ("mebibytes", "expected"), [(24564, 24.0), (8188, 8.0), (256, 0.3), (0, 0.0), (None, 0.0), (True, 0.0)]
)
def test_gigabytes_have_one_place(mebibytes: Any, expected: float) -> None:
    assert gigabytes(mebibytes) == expected
    assert Provider(vram_mib=24564, vram_gb_reported=1).vram_gb == 24.0


@given(st.integers(0, 1 << 24))
def test_gigabytes_are_rounded_half_up(mebibytes: int) -> None:
    assert gigabytes(mebibytes) == math.floor(Fraction(mebibytes * 10, 1024) + Fraction(1, 2)) / 10


def test_money_is_never_guessed() -> None:
    assert [halala(value) for value in (75, 75.0, None, "75", 7.5, True)] == [
        Money(amount, "SAR") for amount in (75, 75, 0, 0, 0, 0)
    ]
    assert (image_bytes("!"), image_bytes(None), image_bytes("aGk=")) == (None, None, b"hi")


def test_what_is_signed_of_a_claim() -> None:
    spec = {"serve_mode": True, "model": "m"}
    text = '{"serve_mode":true,"model":"m"}'
    assert Claim(task_spec=spec).signed_text == text
    assert Claim(task_spec="print(1)\n").signed_text == "print(1)\n"
    assert Claim(task_spec=spec, task_spec_raw="as it was").signed_text == "as it was"
    assert Claim().signed_text is None
    assert task_spec_text(spec) == text
    assert verify_task_spec("s", text, sign_task_spec("s", text))
    assert not verify_task_spec("s", text, sign_task_spec("other", text))


def test_callbacks_are_taken_with_and_without_prefix() -> None:
    digest = sign_callback("k", b"body")
    for signature in (digest, f"sha256={digest}", f" {digest.upper()}\n"):
        assert verify_callback("k", b"body", signature)
    for signature in ("", "sha256=", digest[:-1], f"md5={digest}", "\u0660" * 64):
        assert not verify_callback("k", b"body", signature)


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"retryAfterSeconds": 60, "retryAfterMs": 60000}, 60.0),
        ({"retryAfterSeconds": 2}, 2.0),
        ({"retryAfterMs": 250}, 0.25),
        ({"retryAfterSeconds": "soon"}, None),
        ({"retryAfterSeconds": -1}, None),
        ({"retryAfterSeconds": True}, None),
        ([], None),
    ],
)
def test_bodies_say_how_long_to_wait(body: Any, asked: float | None) -> None:
    error = error_of(said(429, body))
    assert error is not None
    assert error.retry_after == asked


def test_waits() -> None:
    assert [interval_for(kind) for kind in ("llm_inference", "image_generation", "training", "vllm_serve", None)] == [
        5.0,
        5.0,
        15.0,
        15.0,
        5.0,
    ]
    assert [backoff(failed, 5.0, None, lambda: 0.0) for failed in (1, 2, 3, 4, 99)] == [10.0, 20.0, 40.0, 60.0, 60.0]
    assert backoff(1, 5.0, 60.0, lambda: 0.0) == 60.0
    assert backoff(1, 5.0, None, lambda: 0.999) < 11.0


@given(st.integers(1, 10**6), st.integers(1, 40), st.integers(1, 1000))
def test_whole_prices_are_exact(minutes: int, rate: int, hold: int) -> None:
    assert round_half_up(rate * minutes / 2) == (rate * minutes + 1) // 2
    assert hold_for("llm_inference", minutes) == Money(15 * minutes, "SAR")
    settled = settle(Money(hold, "SAR"), minutes, 0.25)
    assert settled.charged + settled.refund == Money(hold, "SAR")
    assert settled.provider + settled.fee == settled.charged
    assert settled.charged <= settled.actual
    failed = settle(Money(hold, "SAR"), minutes, 0.25, success=False)
    assert (failed.charged.amount, failed.refund.amount) == (0, hold)


@pytest.mark.parametrize("minutes", [0, -1, math.inf, math.nan])
def test_there_is_no_price_for_no_time(minutes: float) -> None:
    with pytest.raises(InvalidRequestError, match="positive"):
        hold_for("training", minutes)
