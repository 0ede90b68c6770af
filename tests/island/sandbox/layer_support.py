"""What tests of layers share: an image, a second opinion on what overlays show, and real mounts for root."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.layers.store import LayerStore

View = dict[str, str | None]
"""Path -> content of a file, or None for a directory."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount an overlay outside a user namespace")


@dataclass
class Root:
    directory: Path
    binds: tuple[tuple[Path, str], ...] = ()
    env: dict[str, str] = field(default_factory=dict)


class Images:
    """One image, `host`, with a few files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if not directory.exists():
            (directory / "a").mkdir(parents=True)
            (directory / "a" / "x").write_text("image x")
            (directory / "b").write_text("image b")

    def rootfs(self, image_id: str) -> Root:
        if image_id != "host":
            raise SandboxError("unknown_image", image_id)
        return Root(self.directory)


def make_store(directory: Path, *, userxattr: bool = True, owner: tuple[int, int] | None = None) -> LayerStore:
    """A store on an image beside it."""
    return LayerStore(directory / "state", Images(directory / "image"), userxattr=userxattr, owner=owner)


def view(layers: Sequence[Path], *, userxattr: bool = True) -> View:
    """What an overlay of these layers (topmost first) shows, worked out layer by layer from the bottom."""
    mark = ("user" if userxattr else "trusted") + ".overlay.opaque"
    shown: View = {}
    for layer in reversed(layers):
        for top, directories, files in os.walk(layer):
            for name in (*directories, *files):
                path = Path(top, name)
                key = str(path.relative_to(layer))
                status = path.lstat()
                if stat.S_ISDIR(status.st_mode):
                    if _xattr(path, mark) == b"y" or shown.get(key) is not None:
                        _drop(shown, key)
                    shown[key] = None
                    continue
                _drop(shown, key)
                if not stat.S_ISCHR(status.st_mode):
                    shown[key] = path.read_text()
    return shown


def seen(store: LayerStore, id: str, *, userxattr: bool = True) -> View:
    """What a sandbox shows."""
    return view([store.upper(id), *store.lowers(id)], userxattr=userxattr)


def listing(root: Path) -> View:
    """What a directory shows."""
    return view([root])


def write(upper: Path, lowers: Sequence[Path], path: str, content: str | None) -> None:
    """Do to an upper what an overlay mounted with `userxattr` does for a write or (content None) a mkdir."""
    parts = Path(path).parts
    for depth in range(1, len(parts)):
        _directory(upper, lowers, str(Path(*parts[:depth])), new=False)
    if content is None:
        _directory(upper, lowers, path, new=True)
        return
    target = upper / path
    if _is_whiteout(target):
        target.unlink()
    target.write_text(content)


def delete(upper: Path, lowers: Sequence[Path], path: str) -> None:
    """Do to an upper what an overlay does for the removal of a file or tree."""
    parts = Path(path).parts
    target = upper / path
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    elif target.exists():
        target.unlink()
    opaque_above = any(
        _xattr(upper.joinpath(*parts[:depth]), "user.overlay.opaque") == b"y" for depth in range(1, len(parts))
    )
    if path in view(lowers) and not opaque_above:
        for depth in range(1, len(parts)):
            _directory(upper, lowers, str(Path(*parts[:depth])), new=False)
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))


@contextmanager
def mounted(store: LayerStore, id: str, scratch: Path) -> Iterator[Path]:
    """The sandbox's real overlay."""
    lowers = ":".join(str(path) for path in store.hold(id))
    scratch.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"lowerdir={lowers},upperdir={store.upper(id)},workdir={store.work(id)},index=off"
    if libc.mount(b"overlay", os.fsencode(scratch), b"overlay", 0, options.encode()) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    try:
        yield scratch
    finally:
        if libc.umount2(os.fsencode(scratch), 0) < 0:
            raise OSError(ctypes.get_errno(), "umount")
        store.release(id)


def _directory(upper: Path, lowers: Sequence[Path], path: str, *, new: bool) -> None:
    target = upper / path
    if target.is_dir():
        return
    hidden = _is_whiteout(target)
    if hidden:
        target.unlink()
    below = view(lowers)
    target.mkdir()
    if hidden or (new and path in below) or (path in below and below[path] is not None):
        os.setxattr(target, "user.overlay.opaque", b"y")


def _is_whiteout(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _xattr(path: Path, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.ENOENT):
            return None
        raise


def _drop(shown: View, key: str) -> None:
    for other in [name for name in shown if name == key or name.startswith(key + "/")]:
        del shown[other]
