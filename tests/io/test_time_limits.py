"""Time limits, in the HTTP library's own terms."""

from __future__ import annotations

import math

import pytest

from skerry._io.httpx_support import CONNECT_SECONDS, limits_of


@pytest.mark.parametrize(
    ("timeout", "connect", "read"),
    [(None, CONNECT_SECONDS, None), (2.5, 2.5, 2.5), (1e30, CONNECT_SECONDS, None), (math.inf, CONNECT_SECONDS, None)],
)
def test_more_than_the_system_can_count_is_no_limit(timeout: float | None, connect: float, read: float | None) -> None:
    assert limits_of(timeout) == {"connect": connect, "read": read, "write": read, "pool": read}
