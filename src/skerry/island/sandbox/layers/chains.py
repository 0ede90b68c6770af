"""What a sandbox stands on, as the file `chain.json` that is replaced but never changed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class UnreadableChain(Exception):
    """A chain file exists but does not say what it should."""


@dataclass(frozen=True, slots=True)
class Chain:
    """An image and the frozen layers on it, newest first."""

    image: str
    layers: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The content of a chain file."""
        return json.dumps({"version": 1, "image": self.image, "layers": self.layers}).encode()

    @classmethod
    def read(cls, path: Path) -> Chain:
        """Read a chain file.

        Raises:
            FileNotFoundError: there is none.
            UnreadableChain: it is damaged or of another version.
        """
        try:
            data: Any = json.loads(path.read_bytes())
            if data["version"] != 1:
                raise UnreadableChain(f"{path}: version {data['version']!r}")
            chain = cls(data["image"], tuple(data["layers"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableChain(f"{path}: {error}") from None
        if not isinstance(chain.image, str) or not all(isinstance(name, str) for name in chain.layers):
            raise UnreadableChain(f"{path}: names must be texts")
        return chain


def write_file(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Replace or make a file at once; after a power cut it holds the old content or the new, never half of it.

    Without `sync` a power cut may leave it empty; all else, a killed process too, is as safe.
    """
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(new, path)
