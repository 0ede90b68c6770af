"""A point-in-time copy of an upper directory, with everything an overlay means by it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import time
from pathlib import Path

from skerry.island.sandbox.layers import reflink
from skerry.island.sandbox.layers.trees import Cursor, Moved, regular_file

# These stamp the change time of a file when a page that was written back is stored to through a memory map again;
# memory file systems never write back, so they never notice.
_STAMPING = {"ext2", "ext3", "ext4", "xfs", "f2fs"}
# The kernel's file clock may lag behind ours by a tick.
_TICK_NS = 50_000_000
_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


class TreeCopy:
    """One copy in the making, in one pass (`now`) or in two (`ahead` while the source is in use, then `now`).

    Copied are directories, regular files (holes, hard links), symbolic links, pipes and whiteouts, with owners,
    modes, times and extended attributes, overlay's marks among them. Sockets and device nodes are left out.

    The first pass notes each copy's source and its change time. The second redoes every file whose source differs
    by then, or had changed shortly before the first pass read it.

    Args:
        source: directory to copy.
        target: existing empty directory of our own, made equal to it.
        spare: directory on the same file system for leftovers; its content means nothing afterwards.
        share: let files share extents where the file system can.
    """

    def __init__(self, source: Path, target: Path, spare: Path, *, share: bool) -> None:
        self._source = source
        self._target = target
        self._spare = spare
        self._share = share
        self._stamps: dict[int, tuple[int, int]] = {}
        self._linked: set[int] = set()
        self._horizon: int | None = None
        self._again = False

    def ahead(self) -> bool:
        """Copy what stands still while the source is in use; False if that cannot be trusted, nothing is lost then."""
        if _filesystem(self._source) not in _STAMPING:
            return False
        self._horizon = time.time_ns() - _TICK_NS
        _sync(self._source)
        try:
            self._copy()
        except OSError as error:
            if error.errno in _OUT_OF_SPACE:
                raise
            # The tree was rearranged under us; `now` starts from what is there already.
            return True
        finally:
            self._horizon = None
            self._again = True
        return True

    def now(self) -> None:
        """Make the target equal to the source, which nobody changes meanwhile."""
        self._copy()

    def _copy(self) -> None:
        # Names given to linked files by an earlier pass say nothing about this one.
        self._linked.clear()
        self._links = self._spare / secrets.token_hex(4)
        self._links.mkdir(0o700)
        links = os.open(self._links, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Cursor(self._source, need=0o500) as source, Cursor(self._target, need=0o700) as target:
                pending = [self._names(source, target)]
                while pending:
                    if pending[-1]:
                        if self._entry(source, target, pending[-1].pop(), links):
                            pending.append(self._names(source, target))
                        continue
                    pending.pop()
                    if pending:
                        target.up(lambda fd: _copy_attributes(source.fd, fd, source.mode))
                        source.up()
                target.close(lambda fd: _copy_attributes(source.fd, fd, source.mode))
        finally:
            os.close(links)

    def _names(self, source: Cursor, target: Cursor) -> list[str]:
        """What is to be copied here; what an earlier pass copied and is gone since leaves the target."""
        names = os.listdir(source.fd)
        if self._again:
            for name in set(os.listdir(target.fd)).difference(names):
                self._discard(target.fd, name)
        return names

    def _entry(self, source: Cursor, target: Cursor, name: str, links: int) -> bool:
        """Copy one entry; True if it is a directory, into which both cursors have gone."""
        try:
            status = os.stat(name, dir_fd=source.fd, follow_symlinks=False)
        except FileNotFoundError:
            if self._horizon is None:
                raise
            return False
        existing = self._existing(target.fd, name)
        if stat.S_ISDIR(status.st_mode):
            return self._directory(source, target, name, existing)
        if existing is not None:
            if self._stamps.get(existing.st_ino) == (status.st_ino, status.st_ctime_ns):
                return False
            self._discard(target.fd, name)
        if stat.S_ISREG(status.st_mode):
            self._regular(source.fd, target.fd, name, links)
            return False
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source.fd), name, dir_fd=target.fd)
        elif stat.S_ISFIFO(status.st_mode):
            os.mkfifo(name, 0o600, dir_fd=target.fd)
        elif is_whiteout(status):
            os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=target.fd)
        else:
            return False
        _copy_special(source.fd, target.fd, name, status)
        return False

    def _existing(self, target: int, name: str) -> os.stat_result | None:
        if not self._again:
            return None
        try:
            return os.stat(name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _directory(self, source: Cursor, target: Cursor, name: str, existing: os.stat_result | None) -> bool:
        if existing is not None and not stat.S_ISDIR(existing.st_mode):
            self._discard(target.fd, name)
            existing = None
        try:
            source.down(name)
        except OSError:
            if self._horizon is None:
                raise
            return False
        if existing is None:
            os.mkdir(name, 0o700, dir_fd=target.fd)
        target.down(name)
        return True

    def _regular(self, source: int, target: int, name: str, links: int) -> None:
        try:
            with regular_file(source, name, force=True) as data:
                self._file(data, target, name, links)
        except (Moved, FileNotFoundError):
            if self._horizon is None:
                raise

    def _file(self, data: int, target: int, name: str, links: int) -> None:
        before = os.fstat(data)
        several = before.st_nlink > 1
        if several and before.st_ino in self._linked:
            os.link(str(before.st_ino), name, src_dir_fd=links, dst_dir_fd=target)
            return
        copy_file(data, target, name, share=self._share)
        if several:
            os.link(name, str(before.st_ino), src_dir_fd=target, dst_dir_fd=links)
            self._linked.add(before.st_ino)
        if self._horizon is not None and before.st_ctime_ns < self._horizon:
            made = os.stat(name, dir_fd=target, follow_symlinks=False)
            self._stamps[made.st_ino] = (before.st_ino, before.st_ctime_ns)

    def _discard(self, target: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=target)
        except IsADirectoryError:
            moved = self._spare / secrets.token_hex(4)
            with contextlib.suppress(OSError):
                os.chmod(f"/proc/self/fd/{target}/{name}", 0o700)
            os.rename(name, moved, src_dir_fd=target)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether overlay reads this entry as `deleted here`."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def copy_file(data: int, directory: int, name: str, *, share: bool) -> None:
    """Copy an open regular file, with its attributes, to a new name.

    Args:
        data: descriptor of the source.
        directory: descriptor of the directory that gets the copy.
        name: the new name; must not exist.
        share: share extents where possible.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    made = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        reflink.copy_data(data, made, reflink=share)
        _copy_attributes(data, made, None)
    finally:
        os.close(made)


def copy_directory_attributes(source: int, target: int, mode: int, *, without: str) -> None:
    """Owner, mode, times and extended attributes of one open directory to another, but no attribute of a prefix."""
    _copy_attributes(source, target, mode, without)


def _copy_attributes(source: int, target: int, mode: int | None, without: str | None = None) -> None:
    status, made = os.fstat(source), os.fstat(target)
    if (status.st_uid, status.st_gid) != (made.st_uid, made.st_gid):
        os.chown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode) if mode is None else mode)
    _copy_xattrs(source, target, follow=True, without=without)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_special(source: int, target: int, name: str, status: os.stat_result) -> None:
    made = os.stat(name, dir_fd=target, follow_symlinks=False)
    if (status.st_uid, status.st_gid) != (made.st_uid, made.st_gid):
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
    _copy_xattrs(f"/proc/self/fd/{source}/{name}", f"/proc/self/fd/{target}/{name}", follow=False)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_xattrs(source: int | str, target: int | str, *, follow: bool, without: str | None = None) -> None:
    try:
        names = os.listxattr(source, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for name in names:
        if without is not None and name.startswith(without):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=follow), follow_symlinks=follow)
        except OSError as error:
            # Labels of security modules and the like are not ours to give; overlay's marks are part of the data.
            if error.errno == errno.ENODATA or (
                error.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES) and ".overlay." not in name
            ):
                continue
            raise


def _filesystem(path: Path) -> str:
    """Type of the file system that a directory is on, or an empty text if the kernel's table does not tell."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == number:
                return rest.split()[0]
    return ""


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(fd)
