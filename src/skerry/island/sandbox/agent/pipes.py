"""What a command of the agent writes to: a pipe for each output, a file in memory for its state."""

from __future__ import annotations

import errno
import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skerry.island.sandbox.agent.runs import Run

STATE_LIMIT = 1 << 20
CHUNK = 65_536
_LEFT_IN_PIPE = 2 << 20
_SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class Stream:
    """One output of a run: the read end of its pipe and the file that keeps the first `cap` bytes."""

    __slots__ = ("cap", "dropped", "fd", "kept", "run", "sink")

    def __init__(self, run: Run | None, sink: int, cap: int) -> None:
        self.run = run
        self.fd = -1
        self.sink = sink
        self.cap = cap
        self.kept = 0
        self.dropped = 0

    def take(self, data: bytes) -> None:
        """Keep what fits; a full disk or a cut file costs output, never the run."""
        room = min(len(data), self.cap - self.kept)
        done = 0
        try:
            while done < room:
                done += os.write(self.sink, data[done:room] if done or room < len(data) else data)
        except OSError:
            pass
        self.kept += done
        self.dropped += len(data) - done

    def drain(self) -> bool:
        """Take what is in the pipe without waiting for whoever else holds it; True when all ends are closed."""
        left = _LEFT_IN_PIPE
        while left > 0:
            try:
                data = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return False
            if not data:
                return True
            self.take(data)
            left -= len(data)
        return False


class Pipes:
    """Both ends of what a command writes to.

    Args:
        keep: whether it gets a descriptor 9 for its state.
        merge: whether both outputs go into one pipe.

    Attributes:
        out, err: our ends of its outputs; `err` is -1 when there is one for both.
        state: the file behind its descriptor 9, or -1.
        actions: what gives the command its ends, for `posix_spawn`.

    Raises:
        OSError: no descriptors are left.
    """

    __slots__ = ("_theirs", "actions", "err", "out", "state")

    def __init__(self, *, keep: bool, merge: bool = False) -> None:
        self.out = self.err = self.state = -1
        self.actions: list[tuple[int, ...]] = []
        self._theirs: list[int] = []
        try:
            self.out = self._pipe(1)
            if merge:
                self.actions.append((os.POSIX_SPAWN_DUP2, self._theirs[0], 2))
            else:
                self.err = self._pipe(2)
            if keep:
                self.state = _state_file()
                self.actions.append((os.POSIX_SPAWN_DUP2, self.state, 9))
        except OSError:
            self.close()
            raise

    def _pipe(self, number: int) -> int:
        read, write = os.pipe2(os.O_CLOEXEC)
        self._theirs.append(write)
        # Only our end: the flag belongs to the open file, and programs expect a blocking standard output.
        os.set_blocking(read, False)
        self.actions.append((os.POSIX_SPAWN_DUP2, write, number))
        return read

    def given(self) -> None:
        """The command has its ends: close our copies."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def close(self) -> None:
        """There is no such command, or not any more."""
        self.given()
        for fd in (self.out, self.err, self.state):
            if fd >= 0:
                os.close(fd)
        self.out = self.err = self.state = -1


def read_state(fd: int) -> bytes:
    """What a command has written to its descriptor 9; `STATE_LIMIT` bytes of it when it was more."""
    return os.pread(fd, os.lseek(fd, 0, os.SEEK_CUR), 0)


def memory_file(content: bytes) -> int:
    """A file in memory that holds `content`, positioned at its start."""
    fd = os.memfd_create("given", os.MFD_CLOEXEC)
    try:
        if os.write(fd, content) < len(content):
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd


def _state_file() -> int:
    """A file in memory that holds `STATE_LIMIT` bytes and never more.

    A shell writes its state in hundreds of small pieces; into a pipe, each of them could wake the agent.
    """
    fd = os.memfd_create("state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        try:
            os.ftruncate(fd, STATE_LIMIT)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError as error:
            # No file of this sandbox may be so large, which bounds this one as well.
            if error.errno != errno.EFBIG:
                raise
        # By the sticky bit, which no other regular file has, a shell knows that its descriptor 9 is still this one.
        os.fchmod(fd, 0o1600)
    except OSError:
        os.close(fd)
        raise
    return fd
