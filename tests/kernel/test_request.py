"""Requests and responses as values."""

from __future__ import annotations

import dataclasses

import pytest

from skerry._kernel.request import BodySource, Request, Response, merge_headers
from skerry.errors import InvalidRequestError


def test_values_are_frozen() -> None:
    request = Request("GET", "https://h.test/")
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.url = "x"  # type: ignore[misc]
    again = request.but(attempt=2)
    assert (again.attempt, again.url, request.attempt) == (2, request.url, 1)


def test_headers_by_any_case() -> None:
    response = Response(204, (("x-request-id", "r"),))
    assert response.header("X-Request-ID") == "r"
    assert response.request_id == "r"
    assert response.ok
    assert response.header("missing") is None
    assert Response(404, body=b"\xff").text == "\ufffd"


def test_later_headers_win_and_names_become_lower_case() -> None:
    assert merge_headers([("A", "1"), ("b", "2")], [("a", "3")]) == (("a", "3"), ("b", "2"))


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "caf\u00e9", "\x00"])
def test_values_that_cannot_be_sent_are_refused(value: str) -> None:
    with pytest.raises(InvalidRequestError, match="'x-a'"):
        merge_headers([("X-A", value)])


def test_body_source_opens_afresh() -> None:
    source = BodySource(lambda: iter([b"a", b"b"]), 2)
    assert b"".join(source.open()) == b"".join(source.open()) == b"ab"
