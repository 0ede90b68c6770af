"""Content-addressed bytes: named by their SHA-256, stored once."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from skerry.island.engine.errors import Invalid, NotFound, TooLarge, Unavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")
_INLINE = 128 * 1024


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored bytes: `digest` is their SHA-256 in hexadecimal."""

    digest: str
    size: int


class Blobs(Protocol):
    """Where bytes are kept."""

    async def put(
        self, chunks: AsyncIterable[bytes], *, limit: int, size: int | None = None, digest: str | None = None
    ) -> Blob:
        """Store a stream, all or nothing.

        Args:
            chunks: the bytes.
            limit: most bytes taken.
            size: exact count that must come, if known.
            digest: SHA-256 that they must have, if known.

        Raises:
            TooLarge: more than `limit`. Invalid: another size or digest. Unavailable: the disk is full.
        """

    async def open(self, digest: str) -> tuple[BinaryIO, int]:
        """The bytes opened for reading, and their count. Raises NotFound."""

    async def delete(self, digest: str) -> bool:
        """Drop the bytes; False when they were not there."""


class DirectoryBlobs:
    """Blobs as plain files `<first two digits>/<digest>` below a directory.

    Args:
        directory: made when first needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / "incoming"

    async def put(
        self, chunks: AsyncIterable[bytes], *, limit: int, size: int | None = None, digest: str | None = None
    ) -> Blob:
        """Store a stream, all or nothing.

        Args:
            chunks: the bytes.
            limit: most bytes taken.
            size: exact count that must come, if known.
            digest: SHA-256 that they must have, if known.

        Raises:
            TooLarge: more than `limit`. Invalid: another size or digest. Unavailable: the disk is full.
        """
        if size is not None and size > limit:
            raise TooLarge(f"{size} bytes are more than the {limit} allowed")
        try:
            fd, name = await asyncio.to_thread(self._draft)
        except OSError as error:
            raise _unavailable(error) from error
        temporary = Path(name)
        try:
            with os.fdopen(fd, "wb") as file:
                sha, count = await self._receive(chunks, file, limit)
            if size is not None and count != size:
                raise Invalid(f"{count} bytes came where {size} were announced")
            if digest is not None and sha != digest:
                raise Invalid(f"the bytes have SHA-256 {sha}, not {digest}")
            await asyncio.to_thread(self._publish, temporary, sha)
            return Blob(sha, count)
        except OSError as error:
            raise _unavailable(error) from error
        finally:
            await asyncio.to_thread(temporary.unlink, missing_ok=True)

    async def open(self, digest: str) -> tuple[BinaryIO, int]:
        """The bytes opened for reading, and their count. Raises NotFound."""
        try:
            file = self._path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"there are no bytes with SHA-256 {digest}") from None
        return file, os.fstat(file.fileno()).st_size

    async def delete(self, digest: str) -> bool:
        """Drop the bytes; False when they were not there."""
        try:
            self._path(digest).unlink()
        except FileNotFoundError:
            return False
        return True

    async def sweep(self) -> None:
        """Drop what interrupted uploads left; only while none is going on."""
        await asyncio.to_thread(shutil.rmtree, self._incoming, ignore_errors=True)

    async def _receive(self, chunks: AsyncIterable[bytes], file: BinaryIO, limit: int) -> tuple[str, int]:
        sha, count = hashlib.sha256(), 0
        async for chunk in chunks:
            count += len(chunk)
            if count > limit:
                raise TooLarge(f"more than {limit} bytes came")
            if len(chunk) < _INLINE:
                file.write(chunk)
                sha.update(chunk)
            else:
                await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(sha.update, chunk)
        return sha.hexdigest(), count

    def _draft(self) -> tuple[int, str]:
        # One by one: the mode is not that of parents that are made on the way.
        for directory in (self._incoming.parent, self._incoming):
            directory.mkdir(mode=0o700, exist_ok=True)
        return tempfile.mkstemp(dir=self._incoming)

    def _publish(self, temporary: Path, digest: str) -> None:
        target = self._path(digest)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(temporary, target)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise NotFound(f"{digest!r} is no SHA-256")
        return self._directory / digest[:2] / digest


def _unavailable(error: OSError) -> Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("the disk is full: the bytes cannot be stored")
    return Unavailable(f"the bytes cannot be stored: {error.strerror}")
