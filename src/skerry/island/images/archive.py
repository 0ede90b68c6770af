"""Reading archives that nobody vouches for: decompressed in small steps, forwards only, within a budget."""

from __future__ import annotations

import bz2
import hashlib
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from skerry.island.engine.errors import Invalid, TooLarge, Unsupported
from skerry.units import MIB, format_size

_STEP = 256 * 1024
_OUTPUT_STEP = MIB
# Headers are read whole into memory by tarfile; a layer has no business with longer ones.
_LONGEST_HEADER = MIB


class Stopped(Exception):
    """The reader was told to stop; nobody waits for the result any more."""


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class _Gzip:
    """One gzip member, with the interface of `lzma.LZMADecompressor`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def decompressed(file: BinaryIO) -> Iterator[bytes]:
    """The content of a plain, gzip, zstd, xz or bzip2 file in pieces of at most one MiB.

    The kind is told by the first bytes, not by what a manifest claims.

    Raises:
        Invalid: damaged. Unsupported: zstd, and this Python has no module for it.
    """
    start = file.read(_STEP)
    try:
        if start.startswith(b"\x1f\x8b"):
            yield from _members(file, start, _Gzip)
        elif start.startswith(b"\x28\xb5\x2f\xfd"):
            yield from _zstd(file, start)
        elif start.startswith(b"\xfd7zXZ\x00"):
            yield from _members(file, start, lzma.LZMADecompressor)
        elif start.startswith(b"BZh"):
            yield from _members(file, start, bz2.BZ2Decompressor)
        else:
            while start:
                yield start
                start = file.read(_STEP)
    except (zlib.error, lzma.LZMAError, EOFError, ValueError) as error:
        raise Invalid(f"the compressed data is damaged: {error}") from None


def _members(
    file: BinaryIO, data: bytes, new: Callable[[], _Gzip | lzma.LZMADecompressor | bz2.BZ2Decompressor]
) -> Iterator[bytes]:
    """Concatenated members, each of them complete; zero padding after the last is tolerated."""
    while data:
        stream = new()
        while not stream.eof:
            piece = stream.decompress(data, _OUTPUT_STEP)
            data = b""
            if piece:
                yield piece
            elif stream.needs_input and not stream.eof:
                data = file.read(_STEP)
                if not data:
                    raise EOFError("it ends too early")
        data = stream.unused_data or file.read(_STEP)
        while data and not data.strip(b"\0"):
            data = file.read(_STEP)


def _zstd(file: BinaryIO, start: bytes) -> Iterator[bytes]:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        yield from _members(file, start, module.ZstdDecompressor)
        return
    try:
        module = importlib.import_module("zstandard")
    except ImportError:
        raise Unsupported(
            "this archive is compressed with zstd; install the Python package `backports.zstd` and try again"
        ) from None
    file.seek(0)
    reader = module.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    try:
        while piece := reader.read(_OUTPUT_STEP):
            yield piece
    except module.ZstdError as error:
        raise EOFError(str(error)) from None


class ForwardReader:
    """Decompressed bytes as a file that `tarfile` can walk, counted, hashed and never held whole.

    Args:
        pieces: the content.
        limit: bytes after which reading fails.
        stopped: asked before every piece; true makes reading raise `Stopped`.
    """

    def __init__(self, pieces: Iterator[bytes], *, limit: int, stopped: Callable[[], bool] = lambda: False) -> None:
        self._pieces = pieces
        self._limit = limit
        self._stopped = stopped
        self._buffer = b""
        self._used = 0
        self._position = 0
        self._received = 0
        self._hash = hashlib.sha256()
        self._header_left = _LONGEST_HEADER
        self.last_read = b""

    def begin_header(self) -> None:
        """The next reads are those of one entry's header, which must be short."""
        self._header_left = _LONGEST_HEADER

    def tell(self) -> int:
        """How many bytes were consumed."""
        return self._position

    def seek(self, position: int, whence: int = 0) -> int:
        """Skip forwards to a position.

        Raises:
            Invalid: backwards, which only a malformed header asks for.
        """
        if whence != 0 or position < self._position:
            raise Invalid("the archive contradicts itself: an entry starts before the previous one ends")
        for _ in self.pieces(position - self._position):
            pass
        return self._position

    def read(self, count: int) -> bytes:
        """Up to `count` bytes of a header, fewer only at the end."""
        self._header_left -= count
        if count < 0 or self._header_left < 0:
            raise Invalid("the archive has an entry with an absurdly long header")
        self.last_read = b"".join(self.pieces(count))
        return self.last_read

    def pieces(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes in pieces, fewer only at the end."""
        while count > 0:
            if self._used == len(self._buffer) and not self._refill():
                return
            piece = self._buffer[self._used : self._used + count]
            self._used += len(piece)
            self._position += len(piece)
            count -= len(piece)
            yield piece

    def finish(self) -> str:
        """Read to the end and return the digest of all of it, as `sha256:<hex>`."""
        while self._refill():
            pass
        return f"sha256:{self._hash.hexdigest()}"

    def _refill(self) -> bool:
        if self._stopped():
            raise Stopped
        self._buffer = next(self._pieces, b"")
        self._used = 0
        self._received += len(self._buffer)
        self._hash.update(self._buffer)
        if self._received > self._limit:
            raise TooLarge(f"the archive unpacks to more than the allowed {format_size(self._limit)}")
        return bool(self._buffer)
