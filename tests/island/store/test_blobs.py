"""Bytes by their digest: whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.island.engine.errors import Invalid, NotFound, TooLarge, Unavailable
from skerry.island.objects.blobs import DirectoryBlobs

pytestmark = pytest.mark.anyio


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("chunks", [(), (b"x",), (b"a", b"", b"b"), (os.urandom(300_000), os.urandom(3))])
async def test_what_is_put_is_found(tmp_path: Path, chunks: tuple[bytes, ...]) -> None:
    blobs = DirectoryBlobs(tmp_path)
    whole = b"".join(chunks)
    blob = await blobs.put(stream(*chunks), limit=1 << 20, size=len(whole))
    assert (blob.digest, blob.size) == (hashlib.sha256(whole).hexdigest(), len(whole))
    file, size = await blobs.open(blob.digest)
    with file:
        assert (file.read(), size) == (whole, len(whole))
    again = await blobs.put(stream(whole), limit=1 << 20, digest=blob.digest)
    assert again == blob
    assert len(files(tmp_path)) == 1
    assert await blobs.delete(blob.digest)
    assert not await blobs.delete(blob.digest)
    with pytest.raises(NotFound):
        await blobs.open(blob.digest)


async def test_refused_bytes_leave_nothing(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    with pytest.raises(TooLarge):
        await blobs.put(stream(b"12", b"34"), limit=3)
    with pytest.raises(TooLarge):
        await blobs.put(stream(), limit=3, size=4)
    with pytest.raises(Invalid):
        await blobs.put(stream(b"12"), limit=3, size=3)
    with pytest.raises(Invalid):
        await blobs.put(stream(b"12"), limit=3, digest="0" * 64)
    assert files(tmp_path) == []


async def test_a_cut_stream_leaves_nothing(tmp_path: Path) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    blobs = DirectoryBlobs(tmp_path)
    with pytest.raises((ConnectionResetError, Unavailable)):
        await blobs.put(cut(), limit=100)
    assert files(tmp_path) == []


async def test_a_cancelled_stream_leaves_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"some"
        begun.set()
        await asyncio.Future()

    blobs = DirectoryBlobs(tmp_path)
    putting = asyncio.ensure_future(blobs.put(endless(), limit=100))
    await begun.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert files(tmp_path) == []


async def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = DirectoryBlobs(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(blobs, "_publish", full)
    with pytest.raises(Unavailable, match="the disk is full"):
        await blobs.put(stream(b"x"), limit=100)
    assert files(tmp_path) == []


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63])
async def test_what_is_no_digest_is_not_found(tmp_path: Path, digest: str) -> None:
    blobs = DirectoryBlobs(tmp_path)
    with pytest.raises(NotFound):
        await blobs.open(digest)
    with pytest.raises(NotFound):
        await blobs.delete(digest)


async def test_sweeping(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    kept = await blobs.put(stream(b"kept"), limit=100)
    (tmp_path / "incoming" / "left").write_bytes(b"x")
    await blobs.sweep()
    assert [path.name for path in files(tmp_path)] == [kept.digest]
    await blobs.put(stream(b"more"), limit=100)
