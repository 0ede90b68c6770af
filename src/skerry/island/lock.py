"""One server per data directory, enforced by the kernel."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from skerry.errors import ConfigurationError
from skerry.island.store.layout import explained


class DataDirectoryLock:
    """An exclusive lock on a data directory, freed by the kernel when its holder dies however it dies.

    Args:
        data_dir: the directory; made if missing.
        kind: what the holder is, for the message of who comes second.
    """

    def __init__(self, data_dir: Path, kind: str = "island") -> None:
        self._kind = kind
        self.path = data_dir / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            ConfigurationError: another process holds it (the message names it), or the directory is not usable.
        """
        descriptor: int | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            assert descriptor is not None
            holder = _holder(descriptor)
            os.close(descriptor)
            raise ConfigurationError(
                f"another {self._kind} already uses {self.path.parent} ({holder}); stop it or choose another data "
                "directory"
            ) from None
        except OSError as error:
            if descriptor is not None:
                os.close(descriptor)
            raise explained(error, self.path.parent) from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Free the lock; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> DataDirectoryLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return f"pid {text}" if text.isdigit() else "its pid is not known"
