"""The upload state machine of sync (protocol section 5.5), pure: what a chunk means, given what was received before."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.schemas import SyncEntry

MOST_CHUNKS = 10_000
LONGEST_UPLOAD_ID = 128
_DIGEST = re.compile(r"[0-9a-f]{64}")

EntryKind = Literal["chunk", "presign", "commit"]
UploadState = Literal["open", "complete", "written"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Bytes `[start, end)` that were received; `digest` is their SHA-256."""

    start: int
    end: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file on its way into a VM."""

    vm_id: str
    upload_id: str
    path: str
    size: int
    presigned: bool
    state: UploadState
    secret: bool
    expected: str | None
    digest: str | None
    expires_at: float


def kind_of(entry: SyncEntry) -> EntryKind:
    """Which of the three kinds an entry is, decided by the keys that are present.

    Raises:
        ArkerFault: `bad_request` when required keys are missing or keys of two kinds are mixed.
    """
    if entry.content is not None:
        if entry.presigned:
            raise ArkerFault("bad_request", "an entry with content cannot ask for a presigned upload")
        if entry.upload_id is None or entry.start is None or entry.end is None:
            raise ArkerFault("bad_request", "a chunk needs upload_id, content, start and end")
        return "chunk"
    if entry.start is not None or entry.end is not None:
        raise ArkerFault("bad_request", "start and end belong to a chunk, which needs content")
    if entry.presigned:
        if entry.upload_id is not None:
            raise ArkerFault("bad_request", "the server chooses the upload_id of a presigned upload")
        return "presign"
    if entry.upload_id is None:
        raise ArkerFault("bad_request", "an entry needs content, presigned or upload_id")
    return "commit"


def check_entry(entry: SyncEntry, largest: int) -> None:
    """Refuse what no entry may hold.

    Raises:
        ArkerFault: `bad_request`, or `payload_too_large` when the file would exceed `largest` bytes.
    """
    if entry.upload_id is not None and not (
        1 <= len(entry.upload_id) <= LONGEST_UPLOAD_ID and all("!" <= letter <= "~" for letter in entry.upload_id)
    ):
        raise ArkerFault("bad_request", f"upload_id must be 1 to {LONGEST_UPLOAD_ID} printable ASCII characters")
    if entry.sha256 is not None and not _DIGEST.fullmatch(entry.sha256):
        raise ArkerFault("bad_request", "sha256 must be 64 lower-case hexadecimal digits")
    if entry.size > largest:
        raise ArkerFault("payload_too_large", f"a file of {entry.size} bytes exceeds the limit of {largest}")


def chunk_bytes(entry: SyncEntry) -> bytes:
    """The decoded content of a chunk whose range fits it.

    Raises:
        ArkerFault: `bad_request` for a range that is reversed, exceeds the size, or does not fit the content.
    """
    start, end = entry.start or 0, entry.end or 0
    try:
        data = binascii.a2b_base64(entry.content or "", strict_mode=True)
    except (binascii.Error, ValueError):
        raise ArkerFault("bad_request", "content is not valid base64") from None
    if start > end:
        raise ArkerFault("bad_request", f"range {start}..{end} runs backwards")
    if end > entry.size:
        raise ArkerFault("bad_request", f"range {start}..{end} exceeds the size {entry.size}")
    if end - start != len(data):
        raise ArkerFault("bad_request", f"range {start}..{end} does not fit {len(data)} bytes of content")
    return data


def same_upload(upload: Upload, entry: SyncEntry) -> None:
    """Refuse an entry that speaks of a known upload in other terms.

    Raises:
        ArkerFault: `conflict` for another size or path.
    """
    if upload.size != entry.size:
        raise ArkerFault("conflict", f"upload {upload.upload_id} was declared with size {upload.size}")
    if upload.path != entry.path:
        raise ArkerFault("conflict", f"upload {upload.upload_id} belongs to another path")


def overlaps(chunks: Iterable[Chunk], start: int, end: int) -> list[Chunk]:
    """Received chunks that share bytes with `[start, end)`."""
    return [chunk for chunk in chunks if max(chunk.start, start) < min(chunk.end, end)]


def merge(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of half-open ranges as ascending, disjoint, non-touching ranges; empty ones vanish.

    Example:
        >>> merge([(4, 8), (0, 4), (10, 12), (5, 5)])
        [(0, 8), (10, 12)]
    """
    merged: list[tuple[int, int]] = []
    for start, end in sorted(item for item in ranges if item[0] < item[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def received(ranges: Sequence[tuple[int, int]]) -> int:
    """Bytes covered by merged ranges."""
    return sum(end - start for start, end in ranges)


def covers(ranges: Sequence[tuple[int, int]], size: int) -> bool:
    """Whether merged ranges are the whole file `0..size`."""
    return size == 0 or list(ranges) == [(0, size)]


def assembly(chunks: Iterable[Chunk], size: int) -> list[tuple[Chunk, int, int]]:
    """The pieces that make the whole file in order: a chunk, and which slice of it.

    Raises:
        ValueError: the chunks do not cover the file.
    """
    pieces: list[tuple[Chunk, int, int]] = []
    position = 0
    for chunk in sorted(chunks, key=lambda item: (item.start, -item.end)):
        if chunk.end <= position:
            continue
        if chunk.start > position:
            break
        pieces.append((chunk, position - chunk.start, chunk.end - chunk.start))
        position = chunk.end
    if position != size:
        raise ValueError(f"chunks reach byte {position} of {size}")
    return pieces
