"""Content-addressed bytes: named by their SHA-256, stored once."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import BinaryIO, Protocol


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
