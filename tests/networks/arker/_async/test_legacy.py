"""What the recorded cases of 0.2.0 do not cover."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skerry._kernel.request import TransportFailure
from skerry.errors import ConnectionFailedError, ProtocolError
from skerry.networks.arker import CHUNK_SIZE, ArkerError
from skerry.networks.arker.legacy import AsyncArkerLegacy
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio


def _client(*steps: Step, **options: Any) -> tuple[AsyncArkerLegacy, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*steps), Notes()
    client = AsyncArkerLegacy(
        "k", transport=transport, effects=notes.effects, sleeper=notes.async_sleep, environ={}, **options
    )
    return client, transport, notes


async def test_default_endpoint() -> None:
    client, transport, _ = _client(answer(200, {"items": [], "total": 0}))
    assert client.base_url == "https://aws-burst-us-west-2.arker.ai"
    async with client:
        assert len(await client.list()) == 0
    assert transport.closed == 0


async def test_an_island_may_be_its_own_directory() -> None:
    client, transport, _ = _client(
        answer(200, {"items": [{"vm_id": "v"}], "total": 1}),
        answer(200, {"vm_id": "vmh-2"}),
        base_url="http://127.0.0.1:1/arker",
        directory_url="http://127.0.0.1:1/arker/",
    )
    assert [vm.vm_id for vm in await client.list(q="x")] == ["v"]
    child = await client.vm("ubuntu").fork()
    assert child.id == "vmh-2"
    assert [request.url for request in transport.sent] == [
        "http://127.0.0.1:1/arker/api/v1/vms/list?q=x",
        "http://127.0.0.1:1/arker/api/v1/vms/fork",
    ]


async def test_transport_failures_are_not_repeated_and_not_arkers() -> None:
    client, transport, _ = _client(TransportFailure("cut"))
    with pytest.raises(ConnectionFailedError) as caught:
        await client.list()
    assert not isinstance(caught.value, ArkerError)
    assert len(transport.sent) == 1


async def test_only_nested_errors_are_understood() -> None:
    client, transport, _ = _client(answer(404, {"code": "unavailable", "message": "x"}))
    with pytest.raises(ArkerError) as caught:
        await client.list()
    assert (caught.value.code, caught.value.status, len(transport.sent)) == ("internal", 404, 1)


async def test_sessions_without_a_name_are_number_0() -> None:
    client, transport, _ = _client(answer(200, {"session_id": 0}), answer(200, {"session_id": None}))
    assert (await client.vm("v").run("x", session_id=None)).session_id == "0"
    assert (await client.vm("v").run("x", session_id="repl")).session_id == ""
    assert [json.loads(request.body or b"")["session_id"] for request in transport.sent] == [0, "repl"]


async def test_an_empty_base_url_is_none() -> None:
    client, _, _ = _client(base_url="")
    assert client.base_url == "https://aws-burst-us-west-2.arker.ai"


async def test_absent_lists_are_empty() -> None:
    client, _, _ = _client(answer(200, {}))
    page = await client.list()
    assert (page.items, page.total, len(page)) == ([], 0, 0)


async def test_incomplete_writes_are_told_in_the_words_of_0_2_0() -> None:
    client, _, _ = _client(answer(200, {"results": [{"complete": True}]}))
    with pytest.raises(ProtocolError, match=r"fast-path write returned without complete\+written"):
        await client.vm("v").sync.write_file("/home/user/x", "x")
    target = answer(200, {"results": [{"presigned_url": "https://store.test/p", "upload_id": "u"}]})
    client, _, _ = _client(target, answer(403))
    with pytest.raises(ArkerError, match="internal: S3 PUT failed: 403"):
        await client.vm("v").sync.write_file("/home/user/x", b"x" * (CHUNK_SIZE + 1))


async def test_fork_needs_an_id() -> None:
    client, _, _ = _client(answer(200, {}))
    with pytest.raises(ProtocolError, match="fork response missing vm_id"):
        await client.vm("x").fork()


async def test_commit_flags_do_not_matter() -> None:
    target = {"results": [{"presigned_url": "https://store.test/p", "upload_id": "u"}]}
    client, transport, _ = _client(answer(200, target), answer(200), answer(200, {"results": [{}]}))
    await client.vm("x").sync.write_file("/home/user/a", b"x" * (CHUNK_SIZE + 1))
    assert [request.method for request in transport.sent] == ["POST", "PUT", "POST"]
    assert transport.sent[1].headers == ()
