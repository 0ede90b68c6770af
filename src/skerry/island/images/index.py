"""`images.json`: which images there are and what they are called; safe for several processes at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from skerry.island.engine.errors import Invalid, NotFound
from skerry.island.images.reference import parse_reference

_DEEPEST_ALIAS = 8


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How an image wants to be run, from its OCI configuration; empty for images that never said."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    labels: dict[str, str] = {}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One image on disk.

    Args:
        root: the image whose files it has, `host` included; empty for one with a tree of its own, `rootfs/<id>`.
        files: on `host`, whether it has files of its own besides.
        trees: directories of this machine that it shows besides, read-only, each with its absolute path inside.
        private: its content has only ever been given out for credentials.
    """

    id: str
    name: str
    source: str
    digest: str
    size_bytes: int
    created_at: datetime
    env: dict[str, str] = {}
    config: ImageConfig = ImageConfig()
    root: str = ""
    files: bool = False
    trees: tuple[tuple[str, str], ...] = ()
    private: bool = False


class Table(msgspec.Struct, kw_only=True):
    """The whole file.

    Args:
        images: entries by id.
        names: ids by canonical reference, one image may have many.
        aliases: further names of names, such as `ubuntu` for `ubuntu:24.04`.
    """

    version: int = 1
    images: dict[str, Entry] = {}
    names: dict[str, str] = {}
    aliases: dict[str, str] = {}

    def resolve(self, name: str) -> str | None:
        """The id that a name, an alias or an id stands for, or None."""
        for _ in range(_DEEPEST_ALIAS):
            if name not in self.aliases:
                break
            name = self.aliases[name]
        if name == "host" or name in self.images:
            return name
        try:
            return self.names.get(parse_reference(name).canonical)
        except Invalid:
            return None

    def names_of(self, image_id: str) -> list[str]:
        """Every canonical reference of an image."""
        return sorted(name for name, target in self.names.items() if target == image_id)


class Index:
    """The table on disk, cached until the file changes.

    Args:
        directory: holds `images.json` and `images.lock`.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "images.json"
        self._lock = directory / "images.lock"
        self._seen: tuple[int, int, int] | None = None
        self._table = Table()

    def read(self) -> Table:
        """The table as it is now; not to be changed by the caller."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return Table()
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._table = self._load()
            self._seen = seen
        return self._table

    def entry(self, image_id: str) -> Entry:
        """The entry of an id.

        Raises:
            NotFound: no such image.
        """
        try:
            return self.read().images[image_id]
        except KeyError:
            raise NotFound(f"there is no image {image_id!r} here") from None

    @contextlib.contextmanager
    def change(self) -> Iterator[Table]:
        """The table to be changed, alone among all processes; written when the block ends without an error."""
        with open(self._lock, "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            table = self._load() if self._file.exists() else Table()
            before = msgspec.json.encode(table)
            yield table
            after = msgspec.json.encode(table)
            if after != before:
                self._write(msgspec.json.format(after, indent=1))

    def _load(self) -> Table:
        try:
            table = msgspec.json.decode(self._file.read_bytes(), type=Table)
        except msgspec.MsgspecError as error:
            raise Invalid(f"{self._file} is damaged ({error}); move it away and pull the images again") from None
        if table.version != 1:
            raise Invalid(f"{self._file} was written by a newer version (format {table.version})")
        return table

    def _write(self, content: bytes) -> None:
        fresh = self._file.with_suffix(".json.new")
        with open(fresh, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)
