"""Files that come as bytes: held in memory, or written to disk while they arrive."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self


class Download(bytes):
    """The bytes of a file.

    Attributes:
        content_type: what the service says they are; None where it says nothing.
    """

    content_type: str | None

    def __new__(cls, content: bytes = b"", content_type: str | None = None) -> Self:
        download = super().__new__(cls, content)
        download.content_type = content_type
        return download

    def __reduce__(self) -> tuple[type[Download], tuple[bytes, str | None]]:
        return type(self), (bytes(self), self.content_type)


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that was written to disk.

    Attributes:
        path: where it is.
        size: bytes.
        content_type: what the service says they are; None where it says nothing.
    """

    path: Path
    size: int
    content_type: str | None


class FileSink:
    """Takes a file while it arrives; it appears under its name only once it is whole.

    Until then it is a temporary file beside it, which only its owner can read: an ident file is a credential.

    Args:
        path: where it is to be; what is there is replaced.

    Raises:
        OSError: there is no such folder, or it cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.size = 0
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder; name the file in it")
        handle, part = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".part", dir=self.path.parent)
        self._part = Path(part)
        self._file: IO[bytes] = os.fdopen(handle, "wb")

    def begin(self) -> None:
        """Start afresh."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Take the next piece."""
        self._file.write(chunk)
        self.size += len(chunk)

    def commit(self) -> None:
        """Put the file in its place, whole."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)
