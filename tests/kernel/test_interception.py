"""What hooks that take part are given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry._kernel.interception import NO_INTERCEPTORS, HeaderMap, Interceptors, RequestInfo, ResponseInfo
from skerry._kernel.request import BodySource, Request, Response

names = st.text(st.characters(codec="ascii", categories=["Lu", "Ll"]), min_size=1, max_size=6)


@given(st.lists(st.tuples(names, st.text())))
def test_headers_have_no_case(pairs: list[tuple[str, str]]) -> None:
    headers = HeaderMap(pairs)
    last = {name.lower(): value for name, value in pairs}
    assert {name.lower(): value for name, value in headers.items()} == last
    assert len(headers) == len(last)
    for name, value in last.items():
        assert headers[name.upper()] == value
        assert name.upper() in headers
        del headers[name.upper()]
    assert not headers
    assert 1 not in headers


def test_a_request_as_hooks_see_it() -> None:
    request = Request("PUT", "https://u:p@h.test:1/a%2Fb?x=%20&y", (("a", "1"),), b"{}", "things.put", 2)
    shown = RequestInfo(request)
    assert (shown.method, shown.operation, shown.attempt, shown.body) == ("PUT", "things.put", 2, b"{}")
    assert (shown.url.origin, shown.url.pathname, shown.url.search) == ("https://h.test:1", "/a%2Fb", "?x=%20&y")
    assert shown.url == request.url
    shown.headers["A"] = "2"
    assert request.headers == (("a", "1"),)
    for name in ("method", "url", "operation", "attempt", "body"):
        with pytest.raises(AttributeError):
            setattr(shown, name, "x")
    assert repr(shown) == "RequestInfo(PUT /a%2Fb, attempt=2)"
    large = RequestInfo(Request("PUT", "https://h.test", body=BodySource(lambda: iter([b"x"]), 1)))
    assert (large.body, large.url.pathname, large.url.search) == (None, "/", "")


@pytest.mark.parametrize(("body", "value"), [(b"[1]", [1]), (b"null", None), (b"{}", {})])
def test_an_answer_as_hooks_see_it(body: bytes, value: Any) -> None:
    shown = ResponseInfo(Response(200, (("content-type", "x"),), body))
    assert (shown.status, shown.ok, shown.body, shown.text) == (200, True, body, body.decode())
    assert shown.json() == shown.json() == value
    assert shown.headers["Content-Type"] == "x"
    assert repr(shown) == "ResponseInfo(200)"


@pytest.mark.parametrize("body", [b"", b"<html>"])
def test_answers_that_are_not_json(body: bytes) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        ResponseInfo(Response(200, body=body)).json()


def test_no_interceptors_cost_nothing() -> None:
    assert not NO_INTERCEPTORS
    assert Interceptors(before=[print])
    assert Interceptors(after=[print])
