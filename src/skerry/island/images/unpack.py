"""Applying archives to a root directory: image layers with their whiteouts, and plain root archives.

Nothing is ever written outside the root, whatever the archive says. Device nodes are left out, set-user-id bits are
taken off (commands in a sandbox cannot gain privileges anyway, and the files lie on the machine's own disk), extended
attributes are ignored. As root the numeric owners 0 to 65535 are kept; otherwise everything belongs to the caller.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from skerry.island.engine.errors import Invalid, NoCapacity, TooLarge
from skerry.island.images.archive import ForwardReader, decompressed
from skerry.island.images.tree import Tree
from skerry.units import GIB, format_size

MAX_BYTES = 32 * GIB
MAX_ENTRIES = 2_000_000

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_METADATA = ".wh..wh."
_NOBODY = 65534
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_Members = dict[tuple[str, ...], bool]


class Unpacker:
    """Applies layers one after the other to one root.

    Args:
        root: existing empty directory.
        max_bytes: sum of file sizes, holes included, and of the decompressed archives.
        max_entries: number of archive entries.
        stopped: asked between pieces; true ends the work with `archive.Stopped`.
    """

    def __init__(
        self,
        root: Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tree = Tree(root)
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._stopped = stopped
        self._keep_owners = os.geteuid() == 0
        self.bytes = 0
        self.entries = 0

    def close(self) -> None:
        """Release the root."""
        self._tree.close()

    def apply(self, file: Path) -> str:
        """Apply one archive and return the digest of its decompressed content (an OCI `diff_id`).

        Raises:
            Invalid: damaged or hostile. TooLarge: above a limit. NoCapacity: the disk is full.
        """
        with open(file, "rb") as source:
            reader = ForwardReader(decompressed(source), limit=self._max_bytes, stopped=self._stopped)
            # Of this layer: what it brought, true for directories. A whiteout hides only what lay below.
            brought: _Members = {}
            for member in _members(reader):
                self.entries += 1
                if self.entries > self._max_entries:
                    raise TooLarge(f"the archive has more than {self._max_entries} entries")
                try:
                    self._entry(member, reader, brought)
                except OSError as error:
                    raise _explained(member.name, error) from error
            return reader.finish()

    def _entry(self, member: tarfile.TarInfo, reader: ForwardReader, brought: _Members) -> None:
        parts = _parts(member.name)
        if not parts:
            return
        parent, above = self._tree.directory(parts[:-1], create=True)
        for depth in range(1, len(above) + 1):
            brought.setdefault(above[:depth], True)
        name = parts[-1]
        if name.startswith(_WHITEOUT):
            self._whiteout(parent, above, name, brought)
            return
        if member.isdir():
            self._make_directory(parent, name, member)
        elif member.isreg():
            self._make_file(parent, name, member, reader)
        elif member.issym():
            self._tree.remove(parent, name)
            os.symlink(member.linkname, name, dir_fd=parent)
            self._own(parent, name, member)
        elif member.islnk():
            self._make_link(parts, name, member)
        elif member.isfifo():
            self._tree.remove(parent, name)
            os.mkfifo(name, member.mode & 0o777, dir_fd=parent)
            self._own(parent, name, member)
        else:
            return
        brought[*above, name] = member.isdir()

    def _make_directory(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        try:
            exists = stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)
        except FileNotFoundError:
            exists = False
        if not exists:
            self._tree.remove(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent)
        self._own(parent, name, member)
        mode = member.mode & 0o3777
        os.chmod(name, mode if self._keep_owners else mode | 0o700, dir_fd=parent)

    def _make_file(self, parent: int, name: str, member: tarfile.TarInfo, reader: ForwardReader) -> None:
        self._account(member.size)
        reader.seek(member.offset_data)
        self._tree.remove(parent, name)
        descriptor = os.open(name, _CREATE, 0o600, dir_fd=parent)
        with open(descriptor, "wb", buffering=0) as file:
            for offset, count in _extents(member):
                if file.tell() != offset:
                    file.seek(offset)
                left = count
                for piece in reader.pieces(count):
                    _write_all(file, piece)
                    left -= len(piece)
                if left:
                    raise Invalid(f"the archive ends in the middle of {member.name!r}")
            file.truncate(member.size)
            self._own(descriptor, None, member)
            mode = member.mode & 0o777
            os.fchmod(descriptor, mode if self._keep_owners else mode | 0o400)
            with contextlib.suppress(OverflowError, ValueError):
                os.utime(descriptor, (member.mtime, member.mtime))

    def _make_link(self, parts: tuple[str, ...], name: str, member: tarfile.TarInfo) -> None:
        target = _parts(member.linkname)
        if not target:
            raise Invalid(f"{member.name!r} is a hard link to nothing")
        if target == parts:
            return
        try:
            source, _ = self._tree.directory(target[:-1], create=False)
            source = os.dup(source)
        except FileNotFoundError:
            raise Invalid(f"{member.name!r} is a hard link to {member.linkname!r}, which is not there") from None
        try:
            status = os.lstat(target[-1], dir_fd=source)
            if stat.S_ISDIR(status.st_mode):
                raise Invalid(f"{member.name!r} is a hard link to a directory")
            parent, _ = self._tree.directory(parts[:-1], create=True)
            self._tree.remove(parent, name)
            os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise Invalid(f"{member.name!r} is a hard link to {member.linkname!r}, which is not there") from None
        finally:
            os.close(source)

    def _whiteout(self, parent: int, above: tuple[str, ...], name: str, brought: _Members) -> None:
        if name == _OPAQUE:
            self._empty(parent, above, brought)
        elif not name.startswith(_METADATA):
            hidden = name.removeprefix(_WHITEOUT)
            if hidden in ("", ".", ".."):
                raise Invalid(f"{name!r} hides nothing that can be hidden")
            self._hide(parent, (*above, hidden), brought)

    def _empty(self, directory: int, path: tuple[str, ...], brought: _Members) -> None:
        """Remove what earlier layers put into a directory, at any depth, and keep what this one did."""
        for name in os.listdir(directory):
            self._hide(directory, (*path, name), brought)

    def _hide(self, parent: int, path: tuple[str, ...], brought: _Members) -> None:
        if path not in brought:
            self._tree.remove(parent, path[-1])
        elif brought[path]:
            descriptor = os.open(path[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                self._empty(descriptor, path, brought)
            finally:
                os.close(descriptor)

    def _own(self, directory: int, name: str | None, member: tarfile.TarInfo) -> None:
        if not self._keep_owners:
            return
        uid = member.uid if 0 <= member.uid <= 65535 else _NOBODY
        gid = member.gid if 0 <= member.gid <= 65535 else _NOBODY
        try:
            if name is None:
                os.fchown(directory, uid, gid)
            else:
                os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            # Root of a user namespace that maps few ids: the file stays its own.
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise

    def _account(self, size: int) -> None:
        if size < 0:
            raise Invalid("the archive has a file of negative size")
        self.bytes += size
        if self.bytes > self._max_bytes:
            raise TooLarge(f"the files are larger than the allowed {format_size(self._max_bytes)} together")


def _members(reader: ForwardReader) -> Iterator[tarfile.TarInfo]:
    try:
        reader.begin_header()
        # The reader has what tarfile uses of a file when reading; it must not offer more.
        with tarfile.TarFile(fileobj=cast("IO[bytes]", reader), mode="r", errorlevel=2) as archive:
            while True:
                reader.begin_header()
                member = archive.next()
                if member is None:
                    # To tarfile any rubbish is a proper end, unless it comes first.
                    if reader.last_read.strip(b"\0"):
                        raise Invalid("the archive is damaged or cut short")
                    return
                # tarfile would remember every entry for ever.
                cast("Any", archive).members.clear()
                yield member
    except (tarfile.TarError, RecursionError, OverflowError, UnicodeError, ValueError, KeyError, IndexError) as error:
        raise Invalid(f"not a usable tar archive: {error}") from None


def _extents(member: tarfile.TarInfo) -> list[tuple[int, int]]:
    """Where the stored bytes of a file go: one run, or several with holes between them."""
    sparse = cast("list[tuple[int, int]] | None", member.sparse)
    if sparse is None:
        return [(0, member.size)]
    # Unused places of the map read as empty runs at the start.
    runs = [(offset, count) for offset, count in sparse if count]
    end = 0
    for offset, count in runs:
        if offset < end or count < 0 or offset + count > member.size:
            raise Invalid(f"the sparse file {member.name!r} contradicts itself")
        end = offset + count
    return runs


def _parts(name: str) -> tuple[str, ...]:
    """Components of an archive path; a leading slash means the archive's root.

    Raises:
        Invalid: it climbs with `..`, or holds a zero byte.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in name:
        raise Invalid(f"the archive names a path outside itself: {name!r}")
    return parts


def _write_all(file: IO[bytes], piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _explained(name: str, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoCapacity(f"the disk is full: no room for {name!r}")
    return Invalid(f"cannot unpack {name!r}: {error.strerror}")
