"""Reading and writing files of the sandbox on behalf of the server, inside the sandbox's own root."""

from __future__ import annotations

import errno
import os
import stat

from skerry.island.sandbox.agent.refusal import Refusal
from skerry.island.sandbox.linux import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skerry.island.sandbox.agent.client import Client


class _Pending:
    __slots__ = ("client", "directory", "name", "temporary")

    def __init__(self, client: Client, directory: int, name: str, temporary: str) -> None:
        self.client = client
        self.directory = directory
        self.name = name
        self.temporary = temporary


class Files:
    """Opens files so that no link, `..` or special file leads anywhere else."""

    def __init__(self) -> None:
        self._pending: dict[int, _Pending] = {}
        self._next = 0
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # Files of /proc would show the agent itself, which alone may look into its own memory.
        self._proc = os.stat("/proc").st_dev

    def open(self, path: str, beneath: str) -> tuple[int, int]:
        """A regular file for reading, and its size.

        Raises:
            Refusal: `path`, `not_found`, `not_a_file`, `is_a_directory`.
        """
        base, inner = self._base(path, beneath, make=False)
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
            fd = sc.openat2(base, inner, flags, resolve=_rules(beneath))
        except OSError as error:
            raise _refusal(error, path) from None
        finally:
            os.close(base)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_dev == self._proc:
            os.close(fd)
            if stat.S_ISDIR(status.st_mode):
                raise Refusal("is_a_directory", f"{path} is a directory")
            raise Refusal("not_a_file", f"{path} is not a regular file")
        return fd, status.st_size

    def create(self, client: Client, path: str, beneath: str, mode: int) -> tuple[int, int]:
        """A token and a temporary file beside `path`, parents made; the file appears as `path` with `commit`.

        Raises:
            Refusal: `path`, `is_a_directory`, `not_a_file`, `disk_full`.
        """
        base, inner = self._base(path, beneath, make=True)
        parent, _, name = inner.rpartition("/")
        if name in ("", ".", ".."):
            os.close(base)
            raise Refusal("is_a_directory", f"{path} is a directory")
        try:
            directory = self._directory(base, parent, _rules(beneath))
        except OSError as error:
            raise _refusal(error, path, missing="path") from None
        finally:
            os.close(base)
        self._next += 1
        temporary = f".skerry-{self._next}-{os.urandom(6).hex()}"
        try:
            try:
                existing = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                if stat.S_ISDIR(existing):
                    raise Refusal("is_a_directory", f"{path} is a directory")
                if not stat.S_ISREG(existing) and not stat.S_ISLNK(existing):
                    raise Refusal("not_a_file", f"{path} is not a regular file")
            except FileNotFoundError:
                pass
            if os.fstat(directory).st_dev == self._proc:
                raise Refusal("path", f"{path} cannot be written")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o600, dir_fd=directory)
        except Refusal:
            os.close(directory)
            raise
        except OSError as error:
            os.close(directory)
            raise _refusal(error, path, missing="path") from None
        os.fchmod(fd, mode & 0o7777)
        self._pending[self._next] = _Pending(client, directory, name, temporary)
        return self._next, fd

    def commit(self, token: int) -> None:
        """Put a created file in place of whatever bears its name. Raises Refusal."""
        pending = self._pending.pop(token, None)
        if pending is None:
            raise Refusal("not_found", "no such upload")
        try:
            os.rename(pending.temporary, pending.name, src_dir_fd=pending.directory, dst_dir_fd=pending.directory)
        except OSError as error:
            self._drop(pending)
            raise _refusal(error, pending.name) from None
        os.close(pending.directory)

    def abort(self, token: int) -> None:
        """Remove a created file; harmless when it is gone."""
        pending = self._pending.pop(token, None)
        if pending is not None:
            self._drop(pending)

    def forget(self, client: Client) -> None:
        """Abort what a client that left had begun."""
        for token in [token for token, pending in self._pending.items() if pending.client is client]:
            self.abort(token)

    def _drop(self, pending: _Pending) -> None:
        try:
            os.unlink(pending.temporary, dir_fd=pending.directory)
        except OSError:
            pass  # someone inside removed it first
        os.close(pending.directory)

    def _base(self, path: str, beneath: str, *, make: bool) -> tuple[int, str]:
        """The directory `beneath`, open, and what remains of the path below it."""
        if "\0" in path or not path:
            raise Refusal("path", "a path is empty or holds a NUL character")
        fence = beneath.rstrip("/")
        if path.startswith("/"):
            if path != fence and not path.startswith(fence + "/"):
                raise Refusal("path", f"{path} is outside {beneath}")
            inner = path[len(fence) :].strip("/") or "."
        else:
            inner = path.strip("/") or "."
        try:
            rules = sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_MAGICLINKS
            if make:
                return self._directory(self._root, fence.strip("/"), rules), inner
            flags = os.O_PATH | os.O_DIRECTORY
            return sc.openat2(self._root, fence or "/", flags, resolve=rules), inner
        except OSError as error:
            raise _refusal(error, beneath) from None

    def _directory(self, base: int, path: str, rules: int) -> int:
        """A directory below `base` under resolution rules, made with its parents where missing."""
        flags = os.O_PATH | os.O_DIRECTORY
        try:
            return sc.openat2(base, path or ".", flags, resolve=rules)
        except FileNotFoundError:
            pass
        done = ""
        directory = os.dup(base)
        for name in path.split("/"):
            if name in ("", "."):
                continue
            done = f"{done}/{name}" if done else name
            try:
                inner = sc.openat2(base, done, flags, resolve=rules)
            except FileNotFoundError:
                try:
                    os.mkdir(name, 0o755, dir_fd=directory)
                    inner = sc.openat2(base, done, flags, resolve=rules)
                except OSError:
                    os.close(directory)
                    raise
            except OSError:
                os.close(directory)
                raise
            os.close(directory)
            directory = inner
        return directory


def _rules(beneath: str) -> int:
    if beneath.rstrip("/"):
        return sc.RESOLVE_BENEATH | sc.RESOLVE_NO_MAGICLINKS
    # Below the root itself absolute links stay inside by definition.
    return sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_MAGICLINKS


def _refusal(error: OSError, path: str, *, missing: str = "not_found") -> Refusal:
    reasons = {
        errno.ENOENT: missing,
        errno.ENOTDIR: missing,
        errno.EXDEV: "path",
        errno.ELOOP: "path",
        errno.ENAMETOOLONG: "path",
        errno.EISDIR: "is_a_directory",
        errno.ENXIO: "not_a_file",
        errno.ENOSPC: "disk_full",
        errno.EDQUOT: "disk_full",
        errno.EMFILE: "limits",
        errno.ENFILE: "limits",
    }
    reason = reasons.get(error.errno or 0, "path")
    if error.errno == errno.EXDEV:
        return Refusal(reason, f"{path} leads elsewhere through a symbolic link; only relative ones are followed here")
    return Refusal(reason, f"{path}: {os.strerror(error.errno or 0)}")
