"""Files in and out of VMs: reads, chunked writes, presigned transfers (protocol sections 3.5 and 5.5).

What was received is kept in rows and blobs, so an upload goes on where it stood after a crash. A file is written to the
VM in one atomic step once all of it is there; repeating a request after that changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import logging
import tempfile
import weakref
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import BinaryIO

from skerry.ids import new_ulid
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, NotFound
from skerry.island.faces.arker import tables
from skerry.island.faces.arker.errors import ArkerFault, fault_of
from skerry.island.faces.arker.paths import HOME, sync_path
from skerry.island.faces.arker.schemas import (
    ChunkResult,
    CommitResult,
    EntryError,
    InlineRead,
    PresignedRead,
    PresignResult,
    RangeInfo,
    SyncEntry,
    WriteAnswer,
)
from skerry.island.faces.arker.tokens import GetGrant, PutGrant, TokenSigner
from skerry.island.faces.arker.uploads import (
    MOST_CHUNKS,
    Chunk,
    Upload,
    assembly,
    check_entry,
    chunk_bytes,
    covers,
    kind_of,
    merge,
    overlaps,
    received,
    same_upload,
)
from skerry.island.faces.arker.wire import file_text
from skerry.units import MIB

INLINE_READ_BYTES = 8 * MIB
URL_SECONDS = 900
OPEN_UPLOAD_SECONDS = 86_400.0
MOST_ENTRIES = 1_000
COPY_BYTES = 1 * MIB

EntryResult = ChunkResult | PresignResult | CommitResult
_log = logging.getLogger("skerry.island.arker")


class Sync:
    """File transfers of every VM.

    Args:
        engine: owns the files.
        signer: makes and opens presigned tokens.
    """

    def __init__(self, engine: Engine, signer: TokenSigner) -> None:
        self._engine = engine
        self._signer = signer
        self._locks: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()
        # Blobs that a request is about to refer to; the collector must not take them in between.
        self._pinned: Counter[str] = Counter()

    async def read(self, account_id: str, vm_id: str, path: str, store_url: str) -> InlineRead | PresignedRead:
        """One file: inline when small, otherwise a URL to get it from.

        Args:
            account_id: who asks.
            vm_id: a VM of theirs.
            path: below `/home/user/`.
            store_url: where presigned URLs begin, ending with a slash.

        Raises:
            ArkerFault: `bad_request` for a refused path or a directory, `not_found` for a missing file.
        """
        sync_path(path)
        file, size = await self._open(account_id, vm_id, path)
        with contextlib.closing(file):
            if size < INLINE_READ_BYTES:
                # A file may grow while it is read; what was asked for is its size when it was opened.
                data = await asyncio.to_thread(_read_exactly, file, size)
                content, encoding = file_text(data)
                return InlineRead(path=path, size=len(data), content=content, encoding=encoding)
        grant = GetGrant(account=account_id, vm=vm_id, path=path, expires=int(self._now()) + URL_SECONDS)
        return PresignedRead(
            path=path, size=size, presigned_url=store_url + self._signer.sign(grant), expires_in=URL_SECONDS
        )

    async def download(self, grant: GetGrant) -> tuple[BinaryIO, int]:
        """The file that a GET grant admits to, opened (close it), and its size.

        Raises:
            ArkerFault: `not_found` when the file or its VM is gone.
        """
        return await self._open(grant.account, grant.vm, grant.path)

    async def _open(self, account_id: str, vm_id: str, path: str) -> tuple[BinaryIO, int]:
        await self._engine.sandboxes.get(account_id, vm_id)
        try:
            return await self._engine.sandboxes.read_file(account_id, vm_id, path, beneath=HOME)
        except NotFound:
            raise ArkerFault("not_found", f"file not found: {path}") from None

    async def write(self, account_id: str, vm_id: str, entries: list[SyncEntry], store_url: str) -> WriteAnswer:
        """Take every entry on its own; one that fails says so in its result and harms no other.

        Raises:
            ArkerFault: `bad_request` for too many entries.
            EngineError: there is no such VM.
        """
        if len(entries) > MOST_ENTRIES:
            raise ArkerFault("bad_request", f"at most {MOST_ENTRIES} entries per request")
        await self._engine.sandboxes.get(account_id, vm_id)
        return WriteAnswer(results=[await self._entry(account_id, vm_id, entry, store_url) for entry in entries])

    async def _entry(self, account_id: str, vm_id: str, entry: SyncEntry, store_url: str) -> EntryResult:
        try:
            kind = kind_of(entry)
            check_entry(entry, self._engine.settings.max_upload_bytes)
            sync_path(entry.path)
            if kind == "presign":
                return await self._presign(vm_id, entry, store_url)
            async with self._lock(vm_id, entry.upload_id or ""):
                if kind == "chunk":
                    return await self._chunk(account_id, vm_id, entry)
                return await self._commit(account_id, vm_id, entry)
        except Exception as error:
            return _failed(entry, fault_of(error))

    def _lock(self, vm_id: str, upload_id: str) -> asyncio.Lock:
        return self._locks.setdefault((vm_id, upload_id), asyncio.Lock())

    async def _chunk(self, account_id: str, vm_id: str, entry: SyncEntry) -> ChunkResult:
        data = chunk_bytes(entry)
        start, end = entry.start or 0, entry.end or 0
        chunk = Chunk(start=start, end=end, digest=hashlib.sha256(data).hexdigest())
        upload, chunks = await self._engine.store.read(tables.get_upload, vm_id, entry.upload_id or "")
        if upload is None:
            upload = Upload(
                vm_id=vm_id,
                upload_id=entry.upload_id or "",
                path=entry.path,
                size=entry.size,
                presigned=False,
                state="open",
                secret=bool(entry.is_secret),
                expected=None,
                digest=None,
                expires_at=self._now() + OPEN_UPLOAD_SECONDS,
            )
        same_upload(upload, entry)
        if upload.presigned:
            raise ArkerFault("conflict", "this upload_id belongs to a presigned upload")
        if entry.sha256 is not None and entry.sha256 != chunk.digest:
            if covers([(start, end)], entry.size):
                raise ArkerFault("bad_request", "sha256 does not match the content")
            # On a part it can only mean the whole file, which is checked once that is there.
            upload = replace(upload, expected=entry.sha256)
        known = chunk in chunks
        if not known:
            await self._agree(upload, chunks, chunk, data)
        ranges = merge([(item.start, item.end) for item in (*chunks, chunk)])
        if upload.state == "written" or not covers(ranges, upload.size):
            if not known and data and upload.state != "written":
                await self._keep(upload, chunk, data)
            return _chunk_result(upload, ranges)
        written = await self._finish(account_id, upload, chunks, chunk, data, known=known)
        return _chunk_result(written, ranges)

    async def _agree(self, upload: Upload, chunks: list[Chunk], chunk: Chunk, data: bytes) -> None:
        """Refuse a chunk that says something else about bytes already received."""
        if len(chunks) >= MOST_CHUNKS:
            raise ArkerFault("bad_request", f"at most {MOST_CHUNKS} chunks per upload")
        for other in overlaps(chunks, chunk.start, chunk.end):
            first, last = max(other.start, chunk.start), min(other.end, chunk.end)
            if upload.state == "written":
                # Its parts are gone; whether these bytes agree can no longer be told.
                raise ArkerFault("conflict", "the upload is complete; this range was not part of it")
            there = await self._slice(other.digest, first - other.start, last - other.start)
            if there != data[first - chunk.start : last - chunk.start]:
                raise ArkerFault("conflict", f"range {chunk.start}..{chunk.end} overlaps prior chunk")

    async def _keep(self, upload: Upload, chunk: Chunk, data: bytes) -> None:
        with self._pin(chunk.digest):
            await self._engine.blobs.put(_once(data), limit=max(1, len(data)))
            await self._engine.store.run(tables.put_upload, upload, [chunk])

    async def _finish(
        self, account_id: str, upload: Upload, chunks: list[Chunk], chunk: Chunk, data: bytes, *, known: bool
    ) -> Upload:
        """Write the whole file into its VM and remember that it was."""
        if (chunk.start, chunk.end) == (0, upload.size):
            source: BinaryIO = io.BytesIO(data)
            digest = chunk.digest
        else:
            if not known:
                # Kept before the file is written: a crash in between must find all of it again.
                await self._keep(upload, chunk, data)
            source, digest = await self._assemble(upload, chunks if known else [*chunks, chunk])
            known = True
        with contextlib.closing(source):
            if upload.expected is not None and upload.expected != digest:
                await self._forget(upload, [item.digest for item in (*chunks, chunk)])
                raise ArkerFault("bad_request", "sha256 does not match the content; the upload was discarded")
            await self._place(account_id, upload, source)
        written = replace(
            upload,
            state="written",
            digest=digest,
            expires_at=self._now() + max(OPEN_UPLOAD_SECONDS, self._engine.settings.run_retention),
        )
        await self._engine.store.run(tables.put_upload, written, [] if known else [chunk])
        await self._collect({item.digest for item in chunks} | ({chunk.digest} if len(chunks) else set()))
        return written

    async def _assemble(self, upload: Upload, chunks: list[Chunk]) -> tuple[BinaryIO, str]:
        pieces = assembly(chunks, upload.size)
        target: BinaryIO = tempfile.TemporaryFile(dir=self._engine.settings.data_dir)  # noqa: SIM115 - handed out
        digest = hashlib.sha256()
        try:
            for piece, first, last in pieces:
                file, _ = await self._engine.blobs.open(piece.digest)
                with contextlib.closing(file):
                    await asyncio.to_thread(_copy, file, first, last, target, digest.update)
            target.seek(0)
        except BaseException:
            target.close()
            raise
        return target, digest.hexdigest()

    async def _slice(self, digest: str, first: int, last: int) -> bytes:
        file, _ = await self._engine.blobs.open(digest)
        with contextlib.closing(file):
            file.seek(first)
            return await asyncio.to_thread(file.read, last - first)

    async def _place(self, account_id: str, upload: Upload, source: BinaryIO) -> None:
        await self._engine.sandboxes.write_file(
            account_id,
            upload.vm_id,
            upload.path,
            source,
            upload.size,
            beneath=HOME,
            mode=0o600 if upload.secret else 0o644,
        )

    async def _presign(self, vm_id: str, entry: SyncEntry, store_url: str) -> PresignResult:
        expires = int(self._now()) + URL_SECONDS
        upload = Upload(
            vm_id=vm_id,
            upload_id=new_ulid(),
            path=entry.path,
            size=entry.size,
            presigned=True,
            state="open",
            secret=bool(entry.is_secret),
            expected=entry.sha256,
            digest=None,
            expires_at=expires,
        )
        await self._engine.store.run(tables.put_upload, upload)
        grant = PutGrant(vm=vm_id, upload=upload.upload_id, size=entry.size, expires=expires)
        return PresignResult(
            path=entry.path,
            size=entry.size,
            presigned_url=store_url + self._signer.sign(grant),
            upload_id=upload.upload_id,
            expires_in=URL_SECONDS,
            method="PUT",
            complete=False,
            written=False,
            error=None,
        )

    async def receive(self, grant: PutGrant, announced: int | None, body: AsyncIterable[bytes]) -> None:
        """Take the bytes of a presigned upload; a wrong length changes nothing and leaves the URL usable.

        Args:
            grant: from the URL.
            announced: the request's Content-Length, if it had one.
            body: the bytes, streamed to disk.

        Raises:
            ArkerFault: `bad_request` for another length, `not_found` when the upload is gone, `conflict` when it was
                already written.
        """
        if announced is not None and announced != grant.size:
            raise ArkerFault("bad_request", f"this URL takes exactly {grant.size} bytes, not {announced}")
        await self._pending(grant)
        try:
            blob = await self._engine.blobs.put(body, limit=grant.size, size=grant.size)
        except EngineError as error:
            if error.code in ("too_large", "invalid"):
                raise ArkerFault("bad_request", f"this URL takes exactly {grant.size} bytes") from None
            raise
        with self._pin(blob.digest):
            async with self._lock(grant.vm, grant.upload):
                upload = await self._pending(grant)
                earlier = upload.digest
                expires = self._now() + OPEN_UPLOAD_SECONDS
                complete = replace(upload, state="complete", digest=blob.digest, expires_at=expires)
                await self._engine.store.run(tables.put_upload, complete)
            if earlier is not None and earlier != blob.digest:
                await self._collect({earlier})

    async def _pending(self, grant: PutGrant) -> Upload:
        upload, _ = await self._engine.store.read(tables.get_upload, grant.vm, grant.upload)
        if upload is None:
            raise ArkerFault("not_found", "this upload is no longer known")
        if upload.state == "written":
            raise ArkerFault("conflict", "this upload was already committed")
        return upload

    async def _commit(self, account_id: str, vm_id: str, entry: SyncEntry) -> CommitResult:
        upload, chunks = await self._engine.store.read(tables.get_upload, vm_id, entry.upload_id or "")
        if upload is None or (upload.state == "open" and upload.presigned and upload.expires_at <= self._now()):
            raise ArkerFault("not_found", f"upload not found: {entry.upload_id}")
        same_upload(upload, entry)
        if upload.state == "open" or upload.digest is None:
            missing = upload.size - received(merge([(item.start, item.end) for item in chunks]))
            raise ArkerFault("conflict", f"the upload is not complete: {missing} bytes are missing")
        for wanted in (entry.sha256, upload.expected):
            if wanted is not None and wanted != upload.digest:
                raise ArkerFault("bad_request", "sha256 does not match the content")
        if upload.state != "written":
            try:
                file, _ = await self._engine.blobs.open(upload.digest)
            except NotFound:
                raise ArkerFault("conflict", "the uploaded bytes are gone; PUT them again") from None
            with contextlib.closing(file):
                await self._place(account_id, upload, file)
            retention = max(OPEN_UPLOAD_SECONDS, self._engine.settings.run_retention)
            written = replace(upload, state="written", expires_at=self._now() + retention)
            await self._engine.store.run(tables.put_upload, written)
            await self._collect({upload.digest})
        return CommitResult(path=entry.path, size=entry.size, complete=True, written=True, error=None)

    async def collect_expired(self) -> None:
        """Forget uploads past their time, and the bytes that nobody needs any more."""
        for vm_id, upload_id, digests in await self._engine.store.read(tables.expired_uploads, self._now()):
            await self._engine.store.run(tables.drop_upload, vm_id, upload_id)
            await self._collect(set(digests))

    async def drop_vm(self, vm_id: str) -> None:
        """Forget everything about a deleted VM."""
        digests = await self._engine.store.run(tables.drop_vm, vm_id)
        await self._collect(set(digests))

    async def _forget(self, upload: Upload, digests: list[str]) -> None:
        await self._engine.store.run(tables.drop_upload, upload.vm_id, upload.upload_id)
        await self._collect(set(digests))

    async def _collect(self, digests: set[str]) -> None:
        if not digests:
            return
        needed = await self._engine.store.read(tables.blobs_in_use, sorted(digests))
        for digest in digests - needed:
            if not self._pinned[digest]:
                await self._engine.blobs.delete(digest)

    @contextlib.contextmanager
    def _pin(self, digest: str) -> Iterator[None]:
        self._pinned[digest] += 1
        try:
            yield
        finally:
            self._pinned[digest] -= 1
            if not self._pinned[digest]:
                del self._pinned[digest]

    def _now(self) -> float:
        return self._engine.clock.now().timestamp()


def _chunk_result(upload: Upload, ranges: list[tuple[int, int]]) -> ChunkResult:
    done = upload.state == "written"
    return ChunkResult(
        path=upload.path,
        size=upload.size,
        received_bytes=received(ranges),
        ranges=[RangeInfo(start=start, end=end) for start, end in ranges],
        complete=done,
        written=done,
        error=None,
    )


def _failed(entry: SyncEntry, fault: ArkerFault) -> EntryResult:
    """The result of a failed entry, in the shape of its kind as far as that can be told."""
    error = EntryError(code=fault.code, message=fault.message)
    common = {"path": entry.path, "size": entry.size, "complete": False, "written": False, "error": error}
    if entry.content is not None:
        return ChunkResult(**common, received_bytes=0, ranges=[])  # type: ignore[arg-type]
    if entry.presigned:
        return PresignResult(**common, presigned_url="", upload_id="", expires_in=0, method="PUT")  # type: ignore[arg-type]
    return CommitResult(**common)  # type: ignore[arg-type]


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    parts: list[bytes] = []
    left = size
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _copy(source: BinaryIO, first: int, last: int, target: BinaryIO, see: Callable[[bytes], None]) -> None:
    source.seek(first)
    left = last - first
    while left:
        data = source.read(min(left, COPY_BYTES))
        if not data:
            raise OSError("a stored chunk is shorter than recorded")
        see(data)
        target.write(data)
        left -= len(data)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
