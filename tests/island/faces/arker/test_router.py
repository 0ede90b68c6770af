"""Paths: split before they are decoded, fixed words before variables, honest 404 and 405."""

from __future__ import annotations

import pytest

from skerry.island.faces.arker.call import Route, Router
from skerry.island.faces.arker.errors import ArkerFault


async def _nothing() -> None:
    return


@pytest.fixture
def router() -> Router:
    router = Router()
    for method, pattern in (
        ("GET", "/vms"),
        ("GET", "/vms/{id}"),
        ("DELETE", "/vms/{id}"),
        ("GET", "/vms/list"),
        ("POST", "/vms/{id}/fork"),
        ("GET", "/vms/{id}/runs/{run}"),
    ):
        router.add(method, pattern, Route(handler=_nothing))
    return router


def test_variables_are_decoded_after_the_split(router: Router) -> None:
    assert router.find("POST", b"vms/a%2Fb%3A1/fork")[1] == ["a/b:1"]
    assert router.find("GET", b"vms/a/runs/%C3%BC!~*'()")[1] == ["a", "ü!~*'()"]


def test_fixed_words_come_before_variables(router: Router) -> None:
    assert router.find("GET", b"vms/list")[1] == []
    assert router.find("GET", b"vms/other")[1] == ["other"]
    # A VM may be called like a fixed word where no such method is.
    assert router.find("DELETE", b"vms/list")[1] == ["list"]


def test_unknown_paths_and_methods(router: Router) -> None:
    for path in (b"", b"vm", b"vms/a/b/c/d", b"vms/a/Fork"):
        with pytest.raises(ArkerFault) as caught:
            router.find("GET", path)
        assert caught.value.code == "not_found"
    with pytest.raises(ArkerFault) as caught:
        router.find("PATCH", b"vms/a")
    assert (caught.value.code, caught.value.allow) == ("method_not_allowed", "DELETE, GET")


@pytest.mark.parametrize("path", [b"vms/%FF", b"vms/a%00b"])
def test_impossible_texts_are_bad_requests(router: Router, path: bytes) -> None:
    with pytest.raises(ArkerFault) as caught:
        router.find("GET", path)
    assert caught.value.code == "bad_request"
