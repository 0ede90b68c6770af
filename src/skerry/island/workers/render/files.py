"""Files of render jobs: what came in, the frames that came out, the log. Each appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import BinaryIO

from skerry.island.engine.errors import Invalid
from skerry.island.workers.render.formats import frame_name
from skerry.island.workers.render.values import FrameFile

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_LOG = 4 << 20


class JobFiles:
    """Below `jobs/`: `<job>/input/`, `<job>/output/NNNN.<extension>`, `<job>/log.txt`; `.new-*` is being made.

    Args:
        state_dir: everything of the render workers.
    """

    def __init__(self, state_dir: Path) -> None:
        self.jobs = state_dir / "jobs"
        # Drivers without mounts let sandboxes' users pass through, and see nothing.
        for directory in (state_dir, self.jobs):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o711)

    def add(self, id: str, source: Path, name: str) -> None:
        """Take in the file of a job, under a name of its `input/`. Not one byte is shared with the source."""
        staged = self.jobs / f".new-{secrets.token_hex(8)}"
        try:
            for directory in (staged, staged / "input", staged / "output"):
                directory.mkdir()
                directory.chmod(0o700 if directory.name == "output" else 0o755)
            kept = staged / "input" / name
            shutil.copyfile(source, kept)
            kept.chmod(0o644)
            _flush(kept)
            self.remove(id)
            staged.rename(self._directory(id))
            _flush(self.jobs)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise

    def put_frame(self, id: str, frame: int, extension: str, source: BinaryIO) -> None:
        """Put a finished frame in its place."""
        place = self._directory(id) / "output" / frame_name(frame, extension)
        part = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        try:
            with part.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            part.replace(place)
            _flush(place.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def frame(self, id: str, frame: int, extension: str) -> FrameFile | None:
        """A frame's file, if it is there."""
        path = self._directory(id) / "output" / frame_name(frame, extension)
        try:
            return FrameFile(path, path.stat().st_size)
        except FileNotFoundError:
            return None

    def add_log(self, id: str, heading: str, source: Path | None) -> None:
        """Append what a process has said, its beginning left out where the log would grow too long."""
        path = self._directory(id) / "log.txt"
        with contextlib.suppress(FileNotFoundError), path.open("ab") as log:
            log.write(f"== {heading}\n".encode())
            room = _MOST_LOG - log.tell()
            if source is None or room <= 0:
                return
            with contextlib.suppress(FileNotFoundError), source.open("rb") as said:
                size = os.fstat(said.fileno()).st_size
                if size > room:
                    said.seek(size - room)
                    log.write(b"(its beginning is left out)\n")
                shutil.copyfileobj(said, log)

    def log(self, id: str) -> bytes:
        """What Blender has said of a job, attempt by attempt."""
        try:
            return (self._directory(id) / "log.txt").read_bytes()
        except FileNotFoundError:
            return b""

    def remove(self, id: str) -> None:
        """Delete everything of a job."""
        directory = self._directory(id)
        if not directory.is_dir():
            return
        dead = self.jobs / f".old-{secrets.token_hex(8)}"
        directory.rename(dead)
        shutil.rmtree(dead)

    def ids(self) -> list[str]:
        """Every job that has files."""
        return [name for name in os.listdir(self.jobs) if not name.startswith(".")]

    def sweep(self) -> None:
        """Delete what a crash left half made."""
        for name in os.listdir(self.jobs):
            if name.startswith("."):
                shutil.rmtree(self.jobs / name, ignore_errors=True)

    def _directory(self, id: str) -> Path:
        return self.jobs / check_id(id)


def check_id(id: str) -> str:
    """The id, if it can name a job or a worker. Raises `Invalid`."""
    if not ID.fullmatch(id):
        raise Invalid(f"{id!r} is no id; use 1 to 64 of A-Z a-z 0-9 _ -")
    return id


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
