"""One sandbox's control group, whatever version the kernel offers, and the one that does nothing where it has none."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import Limits

CPU_PERIOD_US = 100_000
# The kernel refuses quotas below this, so a hundredth of a CPU is the least that can be given.
_CPU_LEAST_US = 1_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02


class Cgroup:
    """The control group of one sandbox. This class is also the answer where there are none: it knows nothing.

    All calls are synchronous; those with a `timeout` may take that many seconds, the others well under a millisecond,
    except `add`, for which the kernel may wait some milliseconds.

    Args:
        id: the sandbox.
        directories: its directory in each hierarchy, the first one telling which processes are in it.
        active: which of `cpu`, `memory`, `pids`, `freezer` are really enforced.
        entry: name of the file in each directory that a process writes `0` into to enter by itself.
    """

    def __init__(
        self, id: str, directories: Sequence[Path] = (), active: Sequence[str] = (), *, entry: str = ""
    ) -> None:
        self.id = id
        self.active = tuple(active)
        self._directories = tuple(directories)
        self.entries = tuple(directory / entry for directory in directories)
        """A single-threaded process that writes `0` into each of these is in; in version 1 without `add`'s waiting."""

    @property
    def oom_file(self) -> Path | None:
        """File with a line `oom_kill <count>`, for reading again and again through one descriptor."""
        return None

    def add(self, pid: int) -> None:
        """Move a process (all its threads) in; its later children follow.

        Raises:
            ProcessLookupError: it has ended.
            OSError: the group is gone, or the kernel refuses.
        """
        for directory in self._directories:
            write(directory / "cgroup.procs", str(pid))

    def pids(self) -> list[int]:
        """Ids of the processes in it, as seen from here; empty if there is no group."""
        for directory in self._directories[:1]:
            # Processes of a pid namespace that we do not see are listed as 0.
            return [pid for line in read(directory / "cgroup.procs").split() if (pid := int(line))]
        return []

    def freeze(self, timeout: float = 2.0) -> bool:
        """Stop every process; False, with everything running, if that did not happen in `timeout` seconds."""
        return False

    def thaw(self) -> None:
        """Let them run again; harmless when they do."""

    def kill(self, timeout: float = 30.0) -> bool:
        """SIGKILL every process until none is left; False if some outlived `timeout` seconds."""
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while self.pids():
            # Standing still, none can outrun the signals by forking; they take effect when thawed.
            frozen = self.freeze(min(0.2, timeout))
            self._signal()
            if frozen:
                self.thaw()
            if time.monotonic() > deadline:
                return not self.pids()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True

    def update(self, limits: Limits) -> None:
        """Put new limits in force at once.

        Version 1 refuses less memory than is in use and cannot be reclaimed; version 2 kills for it.

        Raises:
            SandboxError: `limits`, if the kernel refuses; the old ones stay.
        """

    def oom_kills(self) -> int | None:
        """Processes killed here for lack of memory, so far; None if nobody counts."""
        return None if self.oom_file is None else field(self.oom_file, "oom_kill")

    def memory_bytes(self) -> int | None:
        """Memory charged now, page cache included; None if nobody counts."""
        return None

    def cpu_ns(self) -> int | None:
        """Processor time used, by ended processes too; None if nobody counts."""
        return None

    def remove(self, timeout: float = 30.0) -> bool:
        """Drop the group once it is empty, waiting at most `timeout` seconds; True if it is gone."""
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        left = list(self._directories)
        while left:
            left = [directory for directory in left if not remove_directory(directory)]
            if not left:
                break
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True

    def _signal(self) -> None:
        handles: dict[int, int] = {}
        try:
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    handles[pid] = os.pidfd_open(pid)
            # A number that is still listed now means the process the handle was opened for, not a successor.
            for pid in self.pids():
                if pid in handles:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
        finally:
            for handle in handles.values():
                os.close(handle)


def apply(settings: Sequence[tuple[Path, str]]) -> None:
    """Write files in order, all of them or none.

    Raises:
        SandboxError: `limits`, if the kernel refuses one.
    """
    before: list[tuple[Path, str]] = []
    for path, value in settings:
        try:
            old = read(path).strip()
            write(path, value)
        except OSError as error:
            for done, content in reversed(before):
                with contextlib.suppress(OSError):
                    write(done, content)
            raise SandboxError("limits", f"{path.name} = {value}: {error.strerror}") from error
        before.append((path, old))


def cpu_quota_us(limits: Limits) -> int | None:
    """Microseconds of processor time per `CPU_PERIOD_US`; None for no limit."""
    if limits.cpu_millis is None:
        return None
    return max(limits.cpu_millis * CPU_PERIOD_US // 1000, _CPU_LEAST_US)


def wait_for(path: Path, text: str, timeout: float, *, again: tuple[Path, str] | None = None) -> bool:
    """Wait until a control file contains a text, writing `again` = (file, value) before each look but the first."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while text not in read(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        if again is not None:
            write(*again)
    return True


def field(path: Path, name: str) -> int | None:
    """The number behind a name in a file of `name number` lines; None if file or line is missing."""
    with contextlib.suppress(FileNotFoundError):
        for line in read(path).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return None


def number(path: Path) -> int | None:
    """The number in a file; None if it is missing or says `max`."""
    try:
        return int(read(path))
    except (FileNotFoundError, ValueError):
        return None


def read(path: Path) -> str:
    """The content of a control file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65_536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(fd)


def write(path: Path, value: str) -> None:
    """Write a control file, which must exist, in one call as the kernel wants it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def remove_directory(path: Path) -> bool:
    """Remove an empty group; True if it is gone, False if processes or groups are in it."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True
