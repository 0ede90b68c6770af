"""What the official SDKs make of answers that leave something out or say it another way (section 4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import fields

from skerry._kernel.request import Response, TransportFailure
from skerry.networks.dc1 import (
    Balance,
    Cancellation,
    Claim,
    Completion,
    DC1DecodeError,
    JobLogs,
    JobTimeoutError,
    PaymentHistory,
    ProviderAccount,
    ProviderJob,
    ProviderListing,
    Registration,
    Renter,
    Submission,
    hold_for,
)
from skerry.networks.dc1.answers import anything, from_text, reader
from skerry.networks.dc1.codes import error_of, failure_error
from skerry.networks.dc1.models import HistoryItem, Job, JobLog


def _json(body: Any) -> Response:
    return Response(200, (), json.dumps(body).encode())


@pytest.mark.parametrize(
    "model",
    [
        Balance,
        Cancellation,
        Claim,
        HistoryItem,
        Job,
        JobLog,
        JobLogs,
        PaymentHistory,
        ProviderAccount,
        ProviderJob,
        ProviderListing,
        Registration,
        Renter,
        Submission,
    ],
)
def test_null_says_no_more_than_nothing(model: Any) -> None:
    names = [field.encode_name for field in fields(model)]
    found = reader(model)(_json(dict.fromkeys(names)))
    assert found == model()
    assert found.raw == dict.fromkeys(names)


def test_null_says_no_more_than_nothing_inside_either() -> None:
    logs = reader(JobLogs)(_json({"logs": [{"line_no": None, "level": None, "message": None}], "has_more": None}))
    assert [(line.line_no, line.level, line.message) for line in logs.logs] == [(0, "info", "")]
    assert logs.has_more is False
    assert from_text('{"line_no":null,"level":null,"line":"x"}', JobLog).level == "info"
    assert from_text("[1]", JobLog) == JobLog()


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"job": None, "job_id": "a"}, "a"),
        ({"job": "odd", "id": 17}, "17"),
        ({"job": [], "id": "b"}, "b"),
        ({"job": {"job_id": None, "id": 5}}, "5"),
        ({"job": None}, ""),
        ({"job": "odd"}, ""),
    ],
)
def test_a_new_job_is_named_wherever_that_is(body: Any, name: str) -> None:
    assert reader(Submission)(_json(body)).name == name


def test_words_of_the_sdks() -> None:
    late = TransportFailure("no complete answer within 0.05 s", "timeout")
    late.limit = 0.05
    assert failure_error(late).message == "Request timed out after 50ms"
    silent = [error_of(Response(401, (), body)) for body in (b"", b"{}", b'{"error":null}')]
    assert {error.message for error in silent if error} == {"Unauthorized: check your API key"}
    waits = (5, 0.5, 1234567, 300)
    assert [str(JobTimeoutError("j", wait)).rpartition(" ")[2] for wait in waits] == ["5s", "0.5s", "1234567s", "300s"]


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/json", b'{"a":1}', {"a": 1}),
        ("application/json", b"", {}),
        ("text/csv; charset=utf-8", b"a,b\n", "a,b\n"),
        ("text/plain", b"[1]", [1]),
        ("application/pdf", b"%PDF-1.4\xff", b"%PDF-1.4\xff"),
        ("text/event-stream", b"data: 1\n\n", "data: 1\n\n"),
    ],
)
def test_whatever_the_answer_says_it_is(kind: str, body: bytes, expected: Any) -> None:
    assert anything(Response(200, (("content-type", kind),), body)) == expected


@pytest.mark.parametrize("headers", [(), (("content-type", "text/html"),), (("content-type", "application/json"),)])
def test_pages_for_people_are_no_answer(headers: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(DC1DecodeError):
        anything(Response(200, headers, b"<html>"))


@pytest.mark.parametrize("choices", [5, {}, [], ["x"], [{"message": 1}], [{"message": {"content": [1]}}], [{}]])
def test_an_answer_without_text_has_none(choices: Any) -> None:
    assert reader(Completion)(_json({"choices": choices})).text == ""


def test_no_name_is_no_gpu() -> None:
    assert hold_for("training", 10, mode="gpu", gpu_model="") == hold_for("training", 10, mode="gpu")
