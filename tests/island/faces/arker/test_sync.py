"""Transfers over a real store: what is received, what is written and when, what survives a restart."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.clock import VirtualClock
from skerry.island.engine.errors import NotFound, Unavailable
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.schemas import ChunkResult, CommitResult, PresignResult, SyncEntry
from skerry.island.faces.arker.sync import INLINE_READ_BYTES, Sync
from skerry.island.faces.arker.tokens import GetGrant, PutGrant, TokenSigner
from skerry.island.objects.blobs import DirectoryBlobs
from skerry.island.store.store import Store

pytestmark = pytest.mark.anyio
STORE_URL = "http://island/_store/"


class Sandboxes:
    """The files of one VM, `v`, of one account, `a`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.modes: dict[str, int] = {}
        self.writes = 0
        self.full = False

    async def get(self, account_id: str, vm_id: str) -> object:
        if (account_id, vm_id) != ("a", "v"):
            raise NotFound("no such sandbox")
        return object()

    async def read_file(self, account_id: str, vm_id: str, path: str, *, beneath: str) -> tuple[BinaryIO, int]:
        assert beneath == "/home/user"
        if path not in self.files:
            raise NotFound("no such file")
        return io.BytesIO(self.files[path]), len(self.files[path])

    async def write_file(
        self, account_id: str, vm_id: str, path: str, source: BinaryIO, size: int, *, beneath: str, mode: int
    ) -> None:
        assert beneath == "/home/user"
        if self.full:
            raise Unavailable("the disk is full")
        data = source.read()
        assert len(data) == size
        self.writes += 1
        self.files[path] = data
        self.modes[path] = mode


class World:
    def __init__(self, store: Store, blobs: DirectoryBlobs, directory: Path) -> None:
        self.sandboxes = Sandboxes()
        self.store = store
        self.blobs = blobs
        self.clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.settings = SimpleNamespace(max_upload_bytes=10_000, run_retention=100.0, data_dir=directory)
        self.directory = directory
        self.restart()

    def restart(self) -> None:
        """A new server on the same data."""
        self.signer = TokenSigner(b"k" * 32)
        self.sync = Sync(self, self.signer)  # type: ignore[arg-type]

    def kept(self) -> int:
        """How many blobs are on disk."""
        return sum(1 for path in (self.directory / "objects").rglob("*") if path.is_file() and len(path.name) >= 60)

    async def write(self, *entries: SyncEntry) -> list[Any]:
        answer = await self.sync.write("a", "v", list(entries), STORE_URL)
        assert len(answer.results) == len(entries)
        return list(answer.results)

    async def put(self, url: str, data: bytes, *, announce: bool = True) -> None:
        grant = self.signer.open(url.removeprefix(STORE_URL), PutGrant, self.clock.now().timestamp())

        async def body() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 100):
                yield data[start : start + 100]

        await self.sync.receive(grant, len(data) if announce else None, body())


@pytest.fixture
async def world(tmp_path: Path):
    store = await Store.open(f"sqlite:///{tmp_path / 'island.db'}")
    (tmp_path / "objects").mkdir()
    yield World(store, DirectoryBlobs(tmp_path / "objects"), tmp_path)
    await store.close()


def chunk(
    content: bytes, start: int, end: int, upload: str = "u", path: str = "/home/user/f", **more: Any
) -> SyncEntry:
    return SyncEntry(
        path=path,
        size=more.pop("size", len(content)),
        upload_id=upload,
        content=base64.b64encode(content[start:end]).decode(),
        start=start,
        end=end,
        **more,
    )


def code(result: Any) -> str | None:
    return None if result.error is None else str(result.error.code)


async def test_one_chunk_writes_the_file_and_repeating_it_changes_nothing(world: World) -> None:
    (result,) = await world.write(chunk(b"hello", 0, 5))
    assert isinstance(result, ChunkResult)
    assert (result.complete, result.written, result.received_bytes, result.error) == (True, True, 5, None)
    assert [(item.start, item.end) for item in result.ranges] == [(0, 5)]
    assert world.sandboxes.files == {"/home/user/f": b"hello"}
    assert world.sandboxes.modes == {"/home/user/f": 0o644}
    world.sandboxes.files["/home/user/f"] = b"changed since"
    world.restart()
    assert await world.write(chunk(b"hello", 0, 5)) == [result]
    assert world.sandboxes.files == {"/home/user/f": b"changed since"}
    assert world.kept() == 0


async def test_an_empty_file(world: World) -> None:
    (result,) = await world.write(chunk(b"", 0, 0))
    assert (result.complete, result.written, result.ranges, result.received_bytes) == (True, True, [], 0)
    assert world.sandboxes.files == {"/home/user/f": b""}


async def test_an_empty_chunk_says_nothing(world: World) -> None:
    (result,) = await world.write(chunk(b"hello", 2, 2))
    assert (result.complete, result.ranges, result.error) == (False, [], None)
    await world.write(chunk(b"hello", 0, 5))
    (result,) = await world.write(chunk(b"hello", 2, 2))
    assert (result.written, result.received_bytes, world.kept()) == (True, 5, 0)


async def test_a_secret_is_for_its_owner_only(world: World) -> None:
    await world.write(chunk(b"hello", 0, 5, is_secret=True))
    assert world.sandboxes.modes == {"/home/user/f": 0o600}


async def test_chunks_in_any_order_with_restarts_between(world: World) -> None:
    content = bytes(range(100))
    (result,) = await world.write(chunk(content, 60, 100))
    assert (result.complete, result.written, result.received_bytes) == (False, False, 40)
    world.restart()
    (result,) = await world.write(chunk(content, 0, 30))
    assert [(item.start, item.end) for item in result.ranges] == [(0, 30), (60, 100)]
    assert world.sandboxes.writes == 0
    world.restart()
    (result,) = await world.write(chunk(content, 20, 70))
    assert (result.complete, result.written, result.received_bytes) == (True, True, 100)
    assert world.sandboxes.files == {"/home/user/f": content}
    assert world.kept() == 0
    # Any part may be repeated afterwards.
    assert await world.write(chunk(content, 60, 100)) == [result]
    assert world.sandboxes.writes == 1


async def test_an_overlap_must_agree(world: World) -> None:
    await world.write(chunk(b"0123456789", 0, 6))
    (result,) = await world.write(chunk(b"0123X56789", 4, 8))
    assert (code(result), result.complete) == ("conflict", False)
    assert "overlaps prior chunk" in result.error.message
    (result,) = await world.write(chunk(b"0123456789", 4, 10))
    assert result.written
    assert world.sandboxes.files == {"/home/user/f": b"0123456789"}
    (result,) = await world.write(chunk(b"0123456789", 1, 3))
    assert code(result) == "conflict"


async def test_a_known_upload_keeps_its_size_and_path(world: World) -> None:
    await world.write(chunk(b"0123456789", 0, 6))
    assert code((await world.write(chunk(b"0123456789", 6, 9, size=9)))[0]) == "conflict"
    assert code((await world.write(chunk(b"0123456789", 6, 10, path="/home/user/g")))[0]) == "conflict"
    assert code((await world.write(SyncEntry(path="/home/user/f", size=10, upload_id="u")))[0]) == "conflict"


async def test_checksums_are_checked(world: World) -> None:
    content = b"0123456789"
    whole = hashlib.sha256(content).hexdigest()
    assert code((await world.write(chunk(content, 0, 10, sha256="0" * 64)))[0]) == "bad_request"
    assert (await world.write(chunk(content, 0, 10, sha256=whole)))[0].written
    # On a part, it may speak of the part or of the whole.
    part = hashlib.sha256(content[:4]).hexdigest()
    assert code((await world.write(chunk(content, 0, 4, "v", sha256=part)))[0]) is None
    assert (await world.write(chunk(content, 4, 10, "v", sha256=whole)))[0].written
    await world.write(chunk(content, 0, 4, "w", sha256="1" * 64))
    (result,) = await world.write(chunk(content, 4, 10, "w"))
    assert code(result) == "bad_request"
    assert world.kept() == 0
    # The upload begins anew.
    (result,) = await world.write(chunk(content, 0, 4, "w"))
    assert result.received_bytes == 4


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (SyncEntry(path="/etc/passwd", size=1, upload_id="u", content="AA==", start=0, end=1), "bad_request"),
        (SyncEntry(path="/home/user/../x", size=1, upload_id="u", content="AA==", start=0, end=1), "bad_request"),
        (SyncEntry(path="/home/user/f", size=1, upload_id="u", content="AA==", start=0, end=2), "bad_request"),
        (SyncEntry(path="/home/user/f", size=1, upload_id="u", content="AA==", start=1, end=0), "bad_request"),
        (SyncEntry(path="/home/user/f", size=1, upload_id="u", content="????", start=0, end=1), "bad_request"),
        (SyncEntry(path="/home/user/f", size=10_001, presigned=True), "payload_too_large"),
        (SyncEntry(path="relative", size=1, presigned=True), "bad_request"),
        (SyncEntry(path="/home/user/f", size=1, upload_id="unknown"), "not_found"),
        (SyncEntry(path="/home/user/f", size=1), "bad_request"),
    ],
)
async def test_a_bad_entry_harms_no_other(world: World, entry: SyncEntry, expected: str) -> None:
    bad, good = await world.write(entry, chunk(b"fine", 0, 4, "good", "/home/user/good"))
    assert code(bad) == expected
    assert (bad.complete, bad.written, bad.path, bad.size) == (False, False, entry.path, entry.size)
    assert good.written
    assert world.sandboxes.files == {"/home/user/good": b"fine"}


async def test_an_entry_is_written_again_after_the_disk_was_full(world: World) -> None:
    world.sandboxes.full = True
    (result,) = await world.write(chunk(b"hello", 0, 5))
    assert (code(result), result.written) == ("unavailable", False)
    world.sandboxes.full = False
    assert (await world.write(chunk(b"hello", 0, 5)))[0].written


async def test_the_same_chunk_twice_at_once_is_written_once(world: World) -> None:
    results = await asyncio.gather(*(world.write(chunk(b"hello", 0, 5)) for _ in range(5)))
    assert all(result == results[0] for result in results)
    assert world.sandboxes.writes == 1


async def test_a_vm_of_another_is_not_there(world: World) -> None:
    with pytest.raises(NotFound):
        await world.sync.write("b", "v", [], STORE_URL)
    with pytest.raises(NotFound):
        await world.sync.read("b", "v", "/home/user/f", STORE_URL)


async def test_the_presigned_sequence(world: World) -> None:
    content = bytes(range(250))
    (begun,) = await world.write(SyncEntry(path="/home/user/big", size=250, presigned=True))
    assert isinstance(begun, PresignResult)
    assert (begun.method, begun.expires_in, begun.complete, begun.written) == ("PUT", 900, False, False)
    commit = SyncEntry(path="/home/user/big", size=250, upload_id=begun.upload_id)
    assert code((await world.write(commit))[0]) == "conflict"
    for wrong in (content[:-1], content + b"x"):
        for announce in (True, False):
            with pytest.raises(ArkerFault) as caught:
                await world.put(begun.presigned_url, wrong, announce=announce)
            assert caught.value.code == "bad_request"
    await world.put(begun.presigned_url, b"y" * 250)
    # The client may not have seen the answer; the last PUT counts.
    await world.put(begun.presigned_url, content, announce=False)
    assert world.kept() == 1
    assert world.sandboxes.files == {}
    world.restart()
    (done,) = await world.write(commit)
    assert isinstance(done, CommitResult)
    assert (done.complete, done.written, done.error) == (True, True, None)
    assert world.sandboxes.files == {"/home/user/big": content}
    assert await world.write(commit) == [done]
    assert (world.sandboxes.writes, world.kept()) == (1, 0)
    with pytest.raises(ArkerFault) as caught:
        await world.put(begun.presigned_url, content)
    assert caught.value.code == "conflict"


async def test_a_presigned_checksum(world: World) -> None:
    (begun,) = await world.write(SyncEntry(path="/home/user/big", size=3, presigned=True))
    await world.put(begun.presigned_url, b"abc")
    wrong = SyncEntry(path="/home/user/big", size=3, upload_id=begun.upload_id, sha256="0" * 64)
    assert code((await world.write(wrong))[0]) == "bad_request"
    right = SyncEntry(
        path="/home/user/big", size=3, upload_id=begun.upload_id, sha256=hashlib.sha256(b"abc").hexdigest()
    )
    assert (await world.write(right))[0].written


async def test_an_upload_nobody_fed_expires(world: World) -> None:
    (begun,) = await world.write(SyncEntry(path="/home/user/big", size=3, presigned=True))
    world.clock.advance(901)
    commit = SyncEntry(path="/home/user/big", size=3, upload_id=begun.upload_id)
    assert code((await world.write(commit))[0]) == "not_found"
    await world.sync.collect_expired()
    assert code((await world.write(commit))[0]) == "not_found"


async def test_an_upload_that_was_fed_may_be_committed_later(world: World) -> None:
    (begun,) = await world.write(SyncEntry(path="/home/user/big", size=3, presigned=True))
    await world.put(begun.presigned_url, b"abc")
    world.clock.advance(1000)
    await world.sync.collect_expired()
    commit = SyncEntry(path="/home/user/big", size=3, upload_id=begun.upload_id)
    assert (await world.write(commit))[0].written


async def test_what_expired_is_collected_and_what_is_shared_stays(world: World) -> None:
    await world.write(chunk(b"0123456789", 0, 5, "old"))
    world.clock.advance(80_000)
    await world.write(chunk(b"0123456789", 0, 5, "new"))
    assert world.kept() == 1
    world.clock.advance(10_000)
    await world.sync.collect_expired()
    assert world.kept() == 1
    assert (await world.write(chunk(b"0123456789", 5, 10, "new")))[0].written
    assert world.kept() == 0


async def test_a_deleted_vm_takes_its_uploads_along(world: World) -> None:
    await world.write(chunk(b"0123456789", 0, 5))
    (begun,) = await world.write(SyncEntry(path="/home/user/big", size=3, presigned=True))
    await world.put(begun.presigned_url, b"abc")
    await world.sync.drop_vm("v")
    assert world.kept() == 0
    with pytest.raises(ArkerFault) as caught:
        await world.put(begun.presigned_url, b"abc")
    assert caught.value.code == "not_found"


async def test_reading(world: World) -> None:
    world.sandboxes.files = {
        "/home/user/t": "grüß\n".encode(),
        "/home/user/b": b"\xff\x00",
        "/home/user/big": bytes(INLINE_READ_BYTES),
    }
    text = await world.sync.read("a", "v", "/home/user/t", STORE_URL)
    assert (text.content, text.encoding, text.size) == ("grüß\n", "utf-8", 7)  # type: ignore[union-attr]
    binary = await world.sync.read("a", "v", "/home/user/b", STORE_URL)
    assert (binary.content, binary.encoding) == ("/wA=", "base64")  # type: ignore[union-attr]
    big = await world.sync.read("a", "v", "/home/user/big", STORE_URL)
    assert (big.method, big.size) == ("GET", INLINE_READ_BYTES)  # type: ignore[union-attr]
    token = big.presigned_url.removeprefix(STORE_URL)  # type: ignore[union-attr]
    file, size = await world.sync.download(world.signer.open(token, GetGrant, 0))
    assert (len(file.read()), size) == (INLINE_READ_BYTES, INLINE_READ_BYTES)
    for path, message in (("/home/user/no", "file not found: /home/user/no"), ("/etc/shadow", "only paths below")):
        with pytest.raises(ArkerFault, match=message):
            await world.sync.read("a", "v", path, STORE_URL)


@st.composite
def histories(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int, bool]]]:
    content = draw(st.binary(min_size=1, max_size=24))
    size = len(content)
    step = st.tuples(st.integers(0, size), st.integers(0, size), st.booleans())
    steps = draw(st.lists(step.map(lambda s: (min(s[:2]), max(s[:2]), s[2])), max_size=12))
    return content, steps


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories())
def test_any_history_of_chunks_ends_in_the_right_file(
    history: tuple[bytes, list[tuple[int, int, bool]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A model beside the real thing: bytes received so far, and chunks that lie (`True`) must be refused."""
    content, steps = history
    directory = tmp_path_factory.mktemp("sync")

    async def play() -> None:
        store = await Store.open(f"sqlite:///{directory / 'island.db'}")
        (directory / "objects").mkdir()
        world = World(store, DirectoryBlobs(directory / "objects"), directory)
        have: set[int] = set()
        exact: set[tuple[int, int]] = set()
        try:
            for start, end, lie in steps:
                touched = set(range(start, end))
                done = have == set(range(len(content)))
                data = bytes(byte ^ 1 for byte in content) if lie else content
                (result,) = await world.write(chunk(data, start, end))
                if (lie and touched & have) or (done and touched and (start, end) not in exact):
                    assert code(result) == "conflict"
                    continue
                assert result.error is None
                if lie and touched:
                    # A lie about bytes nobody knows yet becomes the truth; this history is over.
                    return
                have |= touched
                exact.add((start, end))
                complete = have == set(range(len(content)))
                assert result.received_bytes == len(have)
                assert result.written is result.complete is complete
                assert ("/home/user/f" in world.sandboxes.files) is complete
                if complete:
                    assert world.sandboxes.files["/home/user/f"] == content
                    assert (world.sandboxes.writes, world.kept()) == (1, 0)
                world.restart()
        finally:
            await store.close()

    asyncio.run(play())
