"""Which paths files may take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.paths import sync_path


@pytest.mark.parametrize(
    "path", ["/home/user/a", "/home/user/a/b c/ü.txt", "/home/user/.hidden", "/home/user/..a", "/home/user/a/./b"]
)
def test_paths_below_home_pass_unchanged(path: str) -> None:
    assert sync_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a.txt",
        "./a",
        "/",
        "/etc/passwd",
        "/home/user",
        "/home/user/",
        "/home/user//",
        "/home/user/.",
        "/home/user/..",
        "/home/user/../x",
        "/home/user/a/../b",
        "/home/user/a/..",
        "/home/users/a",
        "/home/user2/a",
        "//home/user/a",
        "/home/./user/a",
        "/home/user/a\x00b",
        "/home/user/" + "a" * 256,
        "/home/user/" + "a/" * 2050,
        "/HOME/user/a",
        "/home/user/\ud800",
    ],
)
def test_all_other_paths_are_bad_requests(path: str) -> None:
    with pytest.raises(ArkerFault) as caught:
        sync_path(path)
    assert caught.value.code == "bad_request"


@given(st.text(max_size=60))
def test_what_passes_is_below_home(tail: str) -> None:
    import posixpath

    path = "/home/user/" + tail
    try:
        sync_path(path)
    except ArkerFault:
        return
    assert posixpath.normpath(path).startswith("/home/user/")
