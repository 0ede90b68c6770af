"""Where the files of each image lie: in a tree of its own, in another image's, or over the machine's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from skerry.island.images.define import link_tree
from skerry.island.images.host_image import HOST, HostImage
from skerry.island.images.index import Entry, Index
from skerry.island.images.rootfs import LocalRootFs, with_default_path
from skerry.island.images.staging import remove_tree, staged
from skerry.island.sandbox.driver import SandboxError

_HOST_GENERATIONS = 4
_ON = ".on."


class Roots:
    """Trees below `rootfs/`.

    An image that stands on `host` has its own files in `<id>/`; together with the host's they are linked into
    `<id>.on.<host tree>/`, again whenever the host has changed.

    Args:
        directory: holds the trees.
        incoming: where they are made.
        host: the machine's own image.
        index: its lock keeps other processes from publishing at the same time.
    """

    def __init__(self, directory: Path, incoming: Path, host: HostImage, index: Index) -> None:
        self._directory = directory
        self._incoming = incoming
        self._host = host
        self._index = index

    def of(self, entry: Entry) -> LocalRootFs:
        """The root of an image.

        Raises:
            SandboxError: reason `unknown_image`, for one that shows a directory that has gone.
        """
        trees = tuple((Path(source), target) for source, target in entry.trees)
        for source, _ in trees:
            if not source.is_dir():
                raise SandboxError("unknown_image", f"image {entry.name} shows {source}, which is not there any more")
        if entry.root != HOST:
            env = with_default_path(entry.env)
            return LocalRootFs(directory=self._directory / tree_of(entry), binds=trees, env=env)
        below = self._host.current()[1]
        directory = self._merged(entry, below.directory) if entry.files else below.directory
        return LocalRootFs(directory=directory, binds=(*below.binds, *trees), env={**below.env, **entry.env})

    def present(self, entry: Entry) -> bool:
        """Whether its tree is there."""
        tree = tree_of(entry)
        return tree == HOST or (self._directory / tree).is_dir()

    def only_of(self, entry: Entry, others: Iterable[Entry]) -> list[Path]:
        """The trees that go with an image when only these others stay."""
        tree = tree_of(entry)
        gone = list(self._directory.glob(f"{entry.id}{_ON}*"))
        if tree != HOST and tree not in map(tree_of, others):
            gone.append(self._directory / tree)
        return gone

    def unused(self, entries: Iterable[Entry]) -> list[Path]:
        """Trees that none of these images needs; of the host's, the latest few are needed by agents that live on."""
        known = list(entries)
        trees = list(self._directory.iterdir())
        hosts = [path for path in trees if path.name.startswith(f"{HOST}-") and _ON not in path.name]
        hosts.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        standing = {path.name for path in hosts[:_HOST_GENERATIONS]}
        kept = standing | {tree_of(entry) for entry in known}
        kept |= {f"{tree_of(entry)}{_ON}{below}" for entry in known for below in standing}
        return [path for path in trees if path.name not in kept]

    def _merged(self, entry: Entry, below: Path) -> Path:
        target = self._directory / f"{entry.id}{_ON}{below.name}"
        if not target.is_dir():
            with staged(self._incoming) as work:
                fresh = work / "root"
                link_tree(below, fresh)
                overlay_tree(self._directory / entry.id, fresh)
                with self._index.change():
                    if not target.exists():
                        fresh.rename(target)
        return target


def tree_of(entry: Entry) -> str:
    """The name of the tree that an image has, alone or with others."""
    return entry.id if entry.files or not entry.root else entry.root


def overlay_tree(source: Path, target: Path) -> None:
    """Put the files of one tree, made by ourselves, over those of another, made by ourselves."""
    for path in source.iterdir():
        place = target / path.name
        if path.is_dir() and not path.is_symlink():
            if not place.is_dir() or place.is_symlink():
                place.unlink(missing_ok=True)
                place.mkdir(mode=0o755)
            overlay_tree(path, place)
        else:
            if place.is_dir() and not place.is_symlink():
                remove_tree(place)
            place.unlink(missing_ok=True)
            place.hardlink_to(path)
