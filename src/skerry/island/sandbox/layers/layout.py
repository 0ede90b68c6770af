"""Where one state directory keeps what, and the small moves on it that several modules share."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from skerry.island.sandbox.layers.chains import Chain, UnreadableChain
from skerry.island.sandbox.layers.trash import Trash

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
CHAIN, HELD = "chain.json", "held.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """Directories of one state directory; made if missing.

    Args:
        sandboxes: one directory per sandbox; names with a leading dot are not published yet, or never will be.
        layers: frozen uppers.
        journal: forks in progress.
        trash: what is being deleted.
        owner: who uppers and work directories belong to; None for ourselves.
        mode: of directories that the overlays of another owner must be able to pass.
    """

    sandboxes: Path
    layers: Path
    journal: Path
    trash: Trash
    owner: tuple[int, int] | None
    mode: int

    @classmethod
    def make(cls, state_dir: Path, owner: tuple[int, int] | None) -> Layout:
        """Directories below `state_dir`, with uppers that belong to `owner` (uid, gid)."""
        mode = 0o700 if owner is None else 0o711
        sandboxes, layers, journal = (state_dir / name for name in ("sandboxes", "layers", "journal"))
        for directory in (sandboxes, layers, journal):
            directory.mkdir(parents=True, exist_ok=True)
            # Whatever whoever started us keeps from others by umask.
            directory.chmod(mode)
        return cls(sandboxes, layers, journal, Trash(state_dir / "trash"), owner, mode)

    def own_directory(self, path: Path, mode: int) -> None:
        """Make a directory that belongs to the sandboxes' owner, with exactly this mode."""
        os.mkdir(path, mode)
        os.chmod(path, mode)
        if self.owner is not None:
            os.chown(path, *self.owner)

    def layers_of(self, path: Path) -> tuple[str, ...]:
        """Layers that a chain file names; none if it is missing or unreadable."""
        try:
            return Chain.read(path).layers
        except (UnreadableChain, FileNotFoundError):
            return ()

    def new_layer(self) -> str:
        """A layer name that is free; the caller takes it before anyone else can ask."""
        while (self.layers / (name := secrets.token_hex(5))).exists():
            continue
        return name

    def discard(self, path: Path) -> None:
        """Throw away what may not even be there."""
        with contextlib.suppress(FileNotFoundError):
            self.trash.take(path)


def rename_directory(source: Path, target: Path) -> None:
    """Rename a directory to another parent, even one of ours that a sandbox has closed to its owner."""
    try:
        os.rename(source, target)
    except PermissionError:
        # Without privileges a directory must be writable for us to change its parent.
        mode = stat.S_IMODE(os.stat(source).st_mode)
        os.chmod(source, mode | 0o300)
        os.rename(source, target)
        os.chmod(target, mode)


def copy_root(upper: Path, fresh: Path) -> None:
    """Give a fresh upper the mode and owner of another: a sandbox's `/` looks as its upper does."""
    status, made = os.stat(upper), os.stat(fresh)
    if (status.st_uid, status.st_gid) != (made.st_uid, made.st_gid):
        os.chown(fresh, status.st_uid, status.st_gid)
    os.chmod(fresh, stat.S_IMODE(status.st_mode))
