"""What every network reads of a request."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.island.ground.requests import NoText, bearer, host_of, parameters, query_text, root_of


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", ""),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_bearer_token(value: str | None, token: str) -> None:
    assert bearer(value) == token


def test_the_first_parameter_of_a_name_counts_and_the_order_stays() -> None:
    assert list(parameters("b=1&a=%C3%A9&b=2&empty=&bare").items()) == [
        ("b", "1"),
        ("a", "é"),
        ("empty", ""),
        ("bare", ""),
    ]


@pytest.mark.parametrize("text", ["a=%FF", "%C0%80=1", "&".join(["a=1"] * 101)])
def test_what_is_no_text_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(NoText):
        parameters(text)


def test_where_a_request_came_to() -> None:
    scope: dict[str, Any] = {"headers": [(b"host", b"dc1.localhost:4242")], "server": ("127.0.0.1", 4242)}
    assert host_of(scope) == "dc1.localhost:4242"
    assert root_of({**scope, "scheme": "https", "root_path": "/dc1"}) == "https://dc1.localhost:4242/dc1"
    assert root_of({"headers": [], "server": None}) == "http://127.0.0.1:80"
    assert query_text({"query_string": b"a=%20"}) == "a=%20"
    assert query_text({}) == ""
