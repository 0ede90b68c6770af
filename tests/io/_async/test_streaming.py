"""The driver: answers that are read while they arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.hooks import Hooks
from skerry._kernel.interception import Interceptors
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import TransportFailure
from skerry.errors import ConnectionFailedError, DeadlineExceededError, ServerError
from tests.io.dialects import TOY, toy_call
from tests.io.pieces import AsyncPieces, Piece
from tests.io.script import Notes

pytestmark = pytest.mark.anyio


def _driver(*answers: tuple[int, list[Piece]], **options: Any) -> tuple[AsyncDriver, AsyncPieces]:
    transport, notes = AsyncPieces(*answers), Notes()
    dialect = options.pop("dialect", TOY)
    return AsyncDriver(dialect, transport, effects=notes.effects, sleeper=notes.async_sleep, **options), transport


async def _all(pieces: AsyncGenerator[bytes], got: list[bytes]) -> None:
    async for piece in pieces:
        got += [piece]


async def test_pieces_come_as_they_are_and_the_connection_goes_back() -> None:
    driver, transport = _driver((200, [b"a", b"", b"bc"]))
    got: list[bytes] = []
    await _all(driver.stream(toy_call(headers=(("x-a", "1"),))), got)
    assert got == [b"a", b"", b"bc"]
    request = transport.sent[0]
    assert (request.header("authorization"), request.header("x-toy"), request.header("x-a")) == ("Signed 1", "1", "1")
    assert transport.open == 0


async def test_leaving_early_lets_go_of_the_connection() -> None:
    driver, transport = _driver((200, [b"a", b"b"]))
    pieces = driver.stream(toy_call())
    async with aclosing(pieces):
        async for piece in pieces:
            assert (piece, transport.open) == (b"a", 1)
            break
    assert transport.open == 0


async def test_refusals_are_errors_with_all_they_say() -> None:
    seen: list[Any] = []
    hooks = Hooks(on_request=[seen.append], on_response=[seen.append], on_error=[seen.append])
    driver, transport = _driver((503, [b"la", b"ter"]), hooks=hooks)
    with pytest.raises(ServerError) as caught:
        await anext(driver.stream(toy_call()))
    assert (caught.value.status, caught.value.operation, len(transport.sent)) == (503, "toys.make", 1)
    assert [type(one).__name__ for one in seen] == ["RequestSeen", "ResponseSeen", "ErrorSeen"]
    assert seen[1].body_size == 5


async def test_a_stream_that_breaks_says_so_after_what_came() -> None:
    driver, _ = _driver((200, [b"a", TransportFailure("cut")]))
    got: list[bytes] = []
    with pytest.raises(ConnectionFailedError, match="cut"):
        await _all(driver.stream(toy_call()), got)
    assert got == [b"a"]


async def test_a_deadline_ends_a_stream() -> None:
    deadline = Deadline(None)
    driver, transport = _driver((200, [b"a", b"b"]))
    pieces = driver.stream(toy_call(), RequestOptions(deadline=deadline))
    assert await anext(pieces) == b"a"
    deadline.cancel()
    with pytest.raises(DeadlineExceededError, match="cancelled by the caller"):
        await anext(pieces)
    assert transport.open == 0
    with pytest.raises(DeadlineExceededError):
        await anext(driver.stream(toy_call(), RequestOptions(deadline=deadline)))
    assert len(transport.sent) == 1


async def test_interceptors_take_part() -> None:
    seen: list[int] = []
    interceptors = Interceptors(
        before=[lambda request: request.headers.update({"x-b": "2"})],
        after=[lambda response, request: seen.append(response.status)],
    )
    driver, transport = _driver((200, [b"a"]), dialect=replace(TOY, interceptors=interceptors))
    await _all(driver.stream(toy_call()), [])
    assert (transport.sent[0].header("x-b"), seen) == ("2", [200])
