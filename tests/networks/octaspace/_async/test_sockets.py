"""What arrives over real sockets, and files that come in pieces."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from skerry._kernel.options import Deadline
from skerry.networks.octaspace import (
    AsyncOctaSpace,
    OctaAbortedError,
    OctaNetworkError,
    OctaTimeoutError,
    ResponseContext,
)
from tests.io.script import Notes
from tests.networks.octaspace.server import PIECE, PIECES, PlainServer

pytestmark = pytest.mark.anyio

KEY = "k" * 64
WHOLE = PIECE * PIECES
ODD = ["a/b", "café noir", "x?y#z", "..", ".", "%2F", "~!*'()", "a+b&c=d", "🚀", "a;b:c@d", "\\ |"]


@pytest.mark.parametrize("uuid", ODD)
async def test_odd_ids_arrive_as_one_segment(plain_server: PlainServer, uuid: str) -> None:
    async with AsyncOctaSpace(KEY, plain_server.url, retries=0) as client:
        info = await client.services.session(uuid).info()
    target = plain_server.asked[0][1]
    assert info.extra["target"] == target
    assert target.count("/") == 3
    assert not {"?", "#"} & set(target)


async def test_what_arrives(plain_server: PlainServer) -> None:
    async with AsyncOctaSpace(KEY, f"{plain_server.url}/some%20path//") as client:
        await client.services.vpn.start(11, subkind="wg")
        await client.services.session("u").stop()
        await client.network.get()
    start, stop, network = plain_server.asked
    assert (start[0], start[1], start[3]) == ("POST", "/some%20path//services/vpn", b'{"node_id":11,"subkind":"wg"}')
    assert {name: start[2].get(name) for name in ("authorization", "accept", "content-type")} == {
        "authorization": KEY,
        "accept": "application/json",
        "content-type": "application/json",
    }
    assert start[2]["user-agent"].startswith("skerry/")
    assert (stop[2].get("content-length"), "content-type" in stop[2]) == ("0", False)
    assert "authorization" not in network[2]


async def test_a_file_in_memory(plain_server: PlainServer) -> None:
    async with AsyncOctaSpace(KEY, plain_server.url) as client:
        logs = await client.nodes.download_logs(7)
    assert logs == WHOLE
    assert logs.content_type == "application/gzip"


async def test_a_file_on_disk_is_whole_or_not_there(plain_server: PlainServer, tmp_path: Path) -> None:
    plain_server.cuts = 1
    notes, told = Notes(), list[ResponseContext]()
    target = tmp_path / "logs.tar.gz"
    target.write_bytes(b"old")
    async with AsyncOctaSpace(KEY, plain_server.url, sleeper=notes.async_sleep, on_response=told.append) as client:
        saved = await client.nodes.save_logs(7, target)
        assert (saved.path, saved.size, saved.content_type) == (target, len(WHOLE), "application/gzip")
        assert target.read_bytes() == WHOLE
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert len(notes.slept) == 1
        plain_server.cuts = 3
        with pytest.raises(OctaNetworkError):
            await client.nodes.save_logs(7, target)
        raw = await client.nodes.with_raw_response.save_logs("7", str(target), retries=0)
    assert (raw.status, raw.body, raw.parsed.size) == (200, b"", len(WHOLE))
    assert [path.name for path in tmp_path.iterdir()] == ["logs.tar.gz"]
    assert len(plain_server.asked) == 2 + 3 + 1
    # There is no answer to be told of when it breaks off.
    assert [(context.status, context.headers["Content-Type"]) for context in told] == [(200, "application/gzip")] * 2
    assert all(context.duration_ms >= 0 for context in told)


async def test_places_that_cannot_be_written_are_found_before_anything_is_sent(
    plain_server: PlainServer, tmp_path: Path
) -> None:
    async with AsyncOctaSpace(KEY, plain_server.url) as client:
        with pytest.raises(IsADirectoryError):
            await client.nodes.save_ident(7, tmp_path)
        with pytest.raises(FileNotFoundError):
            await client.nodes.save_ident(7, tmp_path / "absent" / "file")
    assert plain_server.asked == []
    assert list(tmp_path.iterdir()) == []


async def test_time_runs_out(plain_server: PlainServer, tmp_path: Path) -> None:
    notes = Notes()
    async with AsyncOctaSpace(KEY, plain_server.url, timeout_ms=50, retries=1, sleeper=notes.async_sleep) as client:
        with pytest.raises(OctaTimeoutError, match=r"Request timed out after 50ms|in time"):
            await client.services.session("stall").info()
        # A busy server may not have come to what was asked before time ran out.
        assert len(notes.slept) == 1
        with pytest.raises(OctaAbortedError, match="deadline has passed"):
            await client.services.session("stall").info(timeout=None, cancel=Deadline(0.05))
