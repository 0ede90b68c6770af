"""Files: the way up, the way down, and what is repeated on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skerry import AsyncArker
from skerry._kernel.options import RequestOptions
from skerry._kernel.request import BodySource, Request, TransportFailure
from skerry.errors import ConnectionFailedError, ProtocolError
from skerry.networks.arker import CHUNK_SIZE, ArkerError, AsyncComputer
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

OK = answer(200, {"results": [{"complete": True, "written": True}]})
TARGET = answer(200, {"results": [{"presigned_url": "https://store.test/put/secret?sig=1", "upload_id": "u1"}]})
BIG = b"x" * (CHUNK_SIZE + 1)


def _failed(code: str, message: str) -> Any:
    return answer(
        200, {"results": [{"complete": False, "written": False, "error": {"code": code, "message": message}}]}
    )


def _vm(*steps: Step, **options: Any) -> tuple[AsyncComputer, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*steps), Notes()
    client = AsyncArker(
        "k",
        base_url="https://api.test",
        transport=transport,
        effects=notes.effects,
        sleeper=notes.async_sleep,
        environ={},
        **options,
    )
    return client.vm("vmh-1"), transport, notes


def _entry(request: Request) -> dict[str, Any]:
    assert isinstance(request.body, bytes)
    entry: dict[str, Any] = json.loads(request.body)["writes"][0]
    return entry


async def test_the_limit_itself_travels_inside() -> None:
    vm, transport, _ = _vm(OK)
    await vm.sync.write_file("/home/user/a", BIG[:-1])
    assert [request.url for request in transport.sent] == ["https://api.test/v1/vms/vmh-1/sync"]
    assert _entry(transport.sent[0])["end"] == CHUNK_SIZE


@pytest.mark.parametrize("data", ["", b"", bytearray(), memoryview(b"")])
async def test_empty_files(data: Any) -> None:
    vm, transport, _ = _vm(OK)
    await vm.sync.write_file("/home/user/a", data)
    assert {name: _entry(transport.sent[0])[name] for name in ("size", "start", "end", "content")} == {
        "size": 0,
        "start": 0,
        "end": 0,
        "content": "",
    }


async def test_local_files(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"small")
    large.write_bytes(BIG)
    vm, transport, _ = _vm(OK, TARGET, answer(200), OK)
    await vm.sync.write_file("/home/user/a", small)
    await vm.sync.write_file("/home/user/b", large)
    body = transport.sent[2].body
    assert isinstance(body, BodySource)
    assert body.length == len(BIG)
    assert b"".join(body.open()) == BIG
    with pytest.raises(FileNotFoundError):
        await vm.sync.write_file("/home/user/c", tmp_path / "missing")


async def test_the_store_gets_bytes_and_nothing_of_ours() -> None:
    vm, transport, _ = _vm(TARGET, answer(200), OK)
    await vm.sync.write_file("/home/user/a", BIG, options=RequestOptions(headers={"x-a": "1"}))
    put = transport.sent[1]
    assert (put.method, put.url, put.headers, put.body) == ("PUT", "https://store.test/put/secret?sig=1", (), BIG)
    assert [request.timeout for request in transport.sent] == [120.0, 600.0, 120.0]
    assert _entry(transport.sent[2]) == {"path": "/home/user/a", "size": len(BIG), "upload_id": "u1"}


async def test_storing_has_its_own_retries() -> None:
    steps = (TARGET, answer(503), TransportFailure("cut"), TransportFailure("late", "timeout"), answer(200), OK)
    vm, transport, notes = _vm(*steps)
    await vm.sync.write_file("/home/user/a", BIG)
    assert [request.method for request in transport.sent] == ["POST", "PUT", "PUT", "PUT", "PUT", "POST"]
    assert notes.slept == [0.2, 0.4, 0.8]
    vm, transport, _ = _vm(TARGET, answer(503), retry={"attempts": 2})
    with pytest.raises(ArkerError, match="internal: upload PUT failed: 503") as caught:
        await vm.sync.write_file("/home/user/a", BIG)
    assert (caught.value.status, len(transport.sent)) == (503, 3)
    vm, transport, _ = _vm(TARGET, answer(500))
    with pytest.raises(ArkerError, match="upload PUT failed: 500"):
        await vm.sync.write_file("/home/user/a", BIG)
    assert len(transport.sent) == 2
    vm, transport, _ = _vm(TARGET, TransportFailure("cut"), retry=False)
    with pytest.raises(ConnectionFailedError, match="network_error: cut"):
        await vm.sync.write_file("/home/user/a", BIG)


async def test_fetching_is_tried_once() -> None:
    where = answer(200, {"presigned_url": "https://store.test/get/secret", "size": 5, "expires_in": 900})
    vm, transport, _ = _vm(where, answer(200, "body"))
    assert await vm.sync.read_file("/home/user/a") == b'"body"'
    assert transport.sent[1].headers == ()
    assert transport.sent[1].timeout == 300.0
    for failure, message in (
        (answer(503), "internal: signed GET failed: 503"),
        (TransportFailure("cut"), "network_error: cut"),
    ):
        vm, transport, _ = _vm(where, failure)
        with pytest.raises(ArkerError) as caught:
            await vm.sync.read_file("/home/user/a")
        assert str(caught.value) == message
        assert len(transport.sent) == 2


async def test_trouble_inside_an_answer_restarts_the_whole_call() -> None:
    again = _failed("internal", "store: SlowDown")
    vm, transport, notes = _vm(answer(503), again, answer(503), again, OK)
    await vm.sync.write_file("/home/user/a", "x")
    assert len({_entry(request)["upload_id"] for request in transport.sent}) == 1
    assert notes.slept == [0.2, 0.2, 0.2, 0.4]
    vm, transport, notes = _vm(_failed("unavailable", "x"), retry={"attempts": 3})
    with pytest.raises(ArkerError, match="unavailable: x") as caught:
        await vm.sync.write_file("/home/user/a", "x")
    assert (caught.value.status, len(transport.sent), notes.slept) == (200, 3, [0.2, 0.4])
    assert caught.value.operation == "sync.write"


async def test_callers_limit_holds_for_the_outer_loop_too() -> None:
    vm, transport, _ = _vm(_failed("unavailable", "x"))
    with pytest.raises(ArkerError):
        await vm.sync.write_file("/home/user/a", "x", options=RequestOptions(retries=0))
    assert len(transport.sent) == 1


@pytest.mark.parametrize("error", [{}, {"code": 1, "message": None}, "text"])
async def test_odd_entry_errors(error: Any) -> None:
    vm, _, _ = _vm(answer(200, {"results": [{"complete": True, "written": True, "error": error}]}))
    with pytest.raises(ArkerError) as caught:
        await vm.sync.write_file("/home/user/a", "x")
    assert caught.value.code == "internal"
    assert caught.value.status == 200


@pytest.mark.parametrize("body", [{}, {"results": []}, {"results": [None]}, {"results": {}}, [], "x"])
async def test_missing_results(body: Any) -> None:
    vm, _, _ = _vm(answer(200, body))
    with pytest.raises(ProtocolError, match=r"internal: write response missing results\[0\]") as caught:
        await vm.sync.write_file("/home/user/a", "x")
    assert caught.value.status == 200


@pytest.mark.parametrize("body", [[], {"ok": True}, {"presigned_url": ""}])
async def test_read_answers_without_sense(body: Any) -> None:
    vm, _, _ = _vm(answer(200, body))
    with pytest.raises(ProtocolError, match="read response"):
        await vm.sync.read_file("/home/user/a")


async def test_commit_must_say_that_it_is_written() -> None:
    vm, _, _ = _vm(TARGET, answer(200), answer(200, {"results": [{"complete": True, "written": False}]}))
    with pytest.raises(ProtocolError, match="presigned write commit did not complete"):
        await vm.sync.write_file("/home/user/a", BIG)


async def test_raw_answers_count_every_request() -> None:
    vm, _, _ = _vm(TARGET, answer(503), answer(200), OK)
    seen = await vm.sync.with_raw_response.write_file("/home/user/a", BIG)
    assert (seen.attempts, seen.status, seen.parsed) == (4, 200, None)
    vm, _, _ = _vm(answer(200, {"content": "x", "encoding": "utf8"}))
    assert (await vm.with_raw_response.sync.read_file("/a")).parsed == b"x"
