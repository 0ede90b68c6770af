"""The one step that takes several renames: a parent's upper becomes a layer under parent and child.

An entry is on disk before the first rename. The parent's chain file is the judge: if it names the new layer the fork
counts and is carried through, else it is taken back. Both can be repeated, so a second crash changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from skerry.island.sandbox.layers.chains import Chain, write_file
from skerry.island.sandbox.layers.layout import CHAIN, Layout, copy_root, rename_directory
from skerry.island.sandbox.layers.trees import Cursor

_NEXT = "upper.next"


@dataclass(frozen=True, slots=True)
class Entry:
    """A fork that re-layers.

    Args:
        parent: id of the sandbox whose upper is frozen.
        child: id of the sandbox to be.
        layer: name of the layer that the upper becomes.
        staged: name of the child's directory, complete but not yet published.
    """

    parent: str
    child: str
    layer: str
    staged: str


class ForkJournal:
    """Forks by re-layering, and what a crash leaves of them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def fork(self, entry: Entry, after: Chain) -> None:
        """Freeze the parent's upper and publish the staged child; on an error nothing has happened.

        Args:
            entry: what to do.
            after: chain of both from then on, its first layer being the new one.

        Raises:
            OSError: it could not be done.
        """
        path = self._path(entry.layer)
        parent = self._layout.sandboxes / entry.parent
        try:
            self._prepare(parent)
            write_file(path, json.dumps(asdict(entry)).encode())
            rename_directory(parent / "upper", self._layout.layers / entry.layer)
            os.rename(parent / _NEXT, parent / "upper")
            write_file(parent / CHAIN, after.to_bytes())
            os.rename(self._layout.sandboxes / entry.staged, self._layout.sandboxes / entry.child)
            os.unlink(path)
        except OSError:
            counts = self._settle(entry)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            if not counts:
                raise

    def recover(self) -> tuple[list[str], list[str]]:
        """Settle every entry a crash left; children that are there now, and children that will not be."""
        completed: list[str] = []
        undone: list[str] = []
        for path in sorted(self._layout.journal.iterdir()):
            # Without the suffix, or empty after a power cut: an entry that was being written, so nothing was done yet.
            if path.suffix == ".json" and (entry := _read(path)) is not None:
                (completed if self._settle(entry) else undone).append(entry.child)
            os.unlink(path)
        for parent in self._layout.sandboxes.iterdir():
            if parent.is_dir():
                self._layout.discard(parent / _NEXT)
        return completed, undone

    def _path(self, layer: str) -> Path:
        return self._layout.journal / f"{layer}.json"

    def _prepare(self, parent: Path) -> None:
        fresh = parent / _NEXT
        self._layout.discard(fresh)
        self._layout.own_directory(fresh, 0o755)
        copy_root(parent / "upper", fresh)

    def _settle(self, entry: Entry) -> bool:
        parent, staged = self._layout.sandboxes / entry.parent, self._layout.sandboxes / entry.staged
        frozen = self._layout.layers / entry.layer
        if (parent / CHAIN).exists() and (
            entry.layer in self._layout.layers_of(parent / CHAIN) or self._overtaken(entry)
        ):
            self._complete(entry, parent, frozen)
            return True
        if frozen.exists() and parent.is_dir():
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(parent / "upper")
            rename_directory(frozen, parent / "upper")
        self._layout.discard(parent / _NEXT)
        self._layout.discard(staged)
        return False

    def _complete(self, entry: Entry, parent: Path, frozen: Path) -> None:
        staged = self._layout.sandboxes / entry.staged
        upper, fresh = parent / "upper", parent / _NEXT
        if not frozen.exists():
            rename_directory(upper, frozen)
        if not upper.exists():
            if not fresh.exists():
                self._layout.own_directory(fresh, 0o755)
            copy_root(frozen, fresh)
            os.rename(fresh, upper)
        if staged.exists():
            os.rename(staged, self._layout.sandboxes / entry.child)

    def _overtaken(self, entry: Entry) -> bool:
        """Whether the parent was used before recovery: then its new upper is worth keeping, and the fork counts."""
        parent = self._layout.sandboxes / entry.parent
        if not (self._layout.layers / entry.layer).exists() or not (parent / "upper").exists():
            return False
        if is_empty(parent / "upper"):
            return False
        chain = Chain.read(parent / CHAIN)
        write_file(parent / CHAIN, Chain(chain.image, (entry.layer, *chain.layers)).to_bytes())
        return True


def is_empty(directory: Path) -> bool:
    """Whether a directory, perhaps one that a sandbox closed to its owner, holds nothing."""
    with Cursor(directory, need=0o500) as cursor, os.scandir(cursor.fd) as listing:
        return next(listing, None) is None


def _read(path: Path) -> Entry | None:
    try:
        return Entry(**json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        return None
