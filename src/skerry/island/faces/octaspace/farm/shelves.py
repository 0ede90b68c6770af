"""What users put into the farm's storage: packages, whole or in parts, each account's apart and bounded together."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from skerry.island.engine.errors import Invalid, NotFound, TooLarge
from skerry.units import GIB, MIB, format_size

MOST_PARTS = 10_000
MOST_PART_BYTES = 64 * MIB
MOST_ACCOUNT_BYTES = 40 * GIB
_MOST_UPLOADS = 64
_ABANDONED_SECONDS = 3 * 86_400.0
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_FLUSH = 1 << 20


@dataclass(frozen=True, slots=True)
class Shelf:
    """The place of one job of one account.

    Args:
        directory: where it is.
        key: names the job among all accounts' jobs.
    """

    directory: Path
    key: str

    @property
    def package(self) -> Path:
        """Its package."""
        return self.directory / "package.zip"


class Shelves:
    """Below one directory: `<account>/<job>/package.zip`, `details.json`, and `uploads/<id>/` for parts.

    Args:
        directory: made when missing, closed to other users.
        most_bytes: what one account may keep here.
    """

    def __init__(self, directory: Path, *, most_bytes: int = MOST_ACCOUNT_BYTES) -> None:
        self._directory = directory
        self._most = most_bytes
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def shelf(self, account: str, job_id: str) -> Shelf:
        """The place of a job. Raises Invalid for an id that is no UUID."""
        id = job_id.lower()
        if not _UUID.fullmatch(id):
            raise Invalid("a job's id is a UUID")
        key = hashlib.sha256(f"{account}\0{id}".encode()).hexdigest()[:32]
        return Shelf(self._directory / _name(account) / key, key)

    async def package_size(self, shelf: Shelf) -> int | None:
        """Bytes of the package; None until it was uploaded."""
        try:
            return (await asyncio.to_thread(shelf.package.stat)).st_size
        except FileNotFoundError:
            return None

    async def put_package(self, account: str, shelf: Shelf, chunks: AsyncIterator[bytes]) -> None:
        """Take in a package in one piece. Raises TooLarge."""
        most = min(MOST_PART_BYTES, await self._room(account))
        part = await asyncio.to_thread(_fresh, shelf.directory)
        try:
            await _write(part, chunks, most)
            await asyncio.to_thread(_publish, part, shelf.package)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)

    async def create_upload(self, shelf: Shelf) -> str:
        """Begin an upload in parts; its id. Raises TooLarge for too many at a time."""
        return await asyncio.to_thread(_create_upload, shelf)

    async def put_part(self, account: str, shelf: Shelf, upload: str, number: int, chunks: AsyncIterator[bytes]) -> str:
        """Take in a part; the tag that names its content. Raises NotFound, Invalid, TooLarge."""
        place = _upload_of(shelf, upload)
        if not 1 <= number <= MOST_PARTS:
            raise Invalid(f"parts are numbered from 1 to {MOST_PARTS}")
        most = min(MOST_PART_BYTES, await self._room(account))
        part = await asyncio.to_thread(_fresh, place)
        try:
            tag = await _write(part, chunks, most)
            await asyncio.to_thread(_publish, part, place / f"{number:05d}-{tag}")
            return tag
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)

    async def complete_upload(self, shelf: Shelf, upload: str, parts: Sequence[tuple[int, str]]) -> None:
        """Make the package of its parts, in their order; the same again does nothing. Raises NotFound, Invalid."""
        await asyncio.to_thread(_complete, shelf, upload, parts)

    async def abort_upload(self, shelf: Shelf, upload: str) -> None:
        """Drop an upload's parts. Raises NotFound."""
        await asyncio.to_thread(shutil.rmtree, _upload_of(shelf, upload))

    async def remove_package(self, shelf: Shelf) -> bool:
        """Delete a package; False when there is none."""
        try:
            await asyncio.to_thread(shelf.package.unlink)
        except FileNotFoundError:
            return False
        return True

    async def remove(self, key: str) -> None:
        """Drop everything of a job, by its shelf's key."""
        await asyncio.to_thread(_remove, self._directory, key)

    async def keep_details(self, shelf: Shelf, details: dict[str, Any]) -> None:
        """Remember what `job_details` answers."""
        await asyncio.to_thread(_keep, shelf, json.dumps(details).encode())

    async def details(self, shelf: Shelf) -> dict[str, Any] | None:
        """What was remembered."""
        try:
            kept: dict[str, Any] = json.loads(await asyncio.to_thread((shelf.directory / "details.json").read_bytes))
        except FileNotFoundError:
            return None
        return kept

    async def sweep(self, now: float) -> None:
        """Drop uploads that nobody has added to for days; `now` in seconds since 1970."""
        await asyncio.to_thread(_sweep, self._directory, now - _ABANDONED_SECONDS)

    async def _room(self, account: str) -> int:
        """Bytes that an account may still put here. Raises TooLarge when there are none."""
        left = self._most - await asyncio.to_thread(_size, self._directory / _name(account))
        if left <= 0:
            raise TooLarge(f"your packages take up {format_size(self._most)}, which is all you may; delete some")
        return left


def _name(account: str) -> str:
    return hashlib.sha256(account.encode()).hexdigest()[:32]


def _upload_of(shelf: Shelf, upload: str) -> Path:
    place = shelf.directory / "uploads" / upload
    if not _UPLOAD.fullmatch(upload) or not place.is_dir():
        raise NotFound("there is no such upload")
    return place


def _create_upload(shelf: Shelf) -> str:
    uploads = shelf.directory / "uploads"
    uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
    if len(os.listdir(uploads)) >= _MOST_UPLOADS:
        raise TooLarge("too many uploads were begun for this job; abort some")
    id = secrets.token_hex(16)
    (uploads / id).mkdir(mode=0o700)
    return id


def _fresh(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / f".new-{secrets.token_hex(8)}"


async def _write(path: Path, chunks: AsyncIterator[bytes], most: int) -> str:
    """Write a body as it comes; its MD5, which names parts and protects nothing."""
    digest = hashlib.md5(usedforsecurity=False)
    total = 0
    waiting = bytearray()
    file = await asyncio.to_thread(path.open, "xb")
    try:
        async for chunk in chunks:
            total += len(chunk)
            if total > most:
                raise TooLarge(f"at most {format_size(most)} fit here; send larger packages in parts")
            waiting += chunk
            if len(waiting) >= _FLUSH:
                await asyncio.to_thread(_append, file, digest, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(_append, file, digest, bytes(waiting))
    finally:
        await asyncio.to_thread(file.close)
    return digest.hexdigest()


def _append(file: BinaryIO, digest: Any, data: bytes) -> None:
    digest.update(data)
    file.write(data)


def _publish(part: Path, place: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(place)


def _complete(shelf: Shelf, upload: str, parts: Sequence[tuple[int, str]]) -> None:
    done = shelf.directory / "uploads" / f"{upload}.done"
    if _UPLOAD.fullmatch(upload) and done.exists():
        return
    place = _upload_of(shelf, upload)
    ordered = sorted(parts)
    if not ordered or len({number for number, _ in ordered}) != len(ordered):
        raise Invalid("parts are named once each, and there is at least one")
    names = [f"{number:05d}-{tag}" for number, tag in ordered]
    for name in names:
        if not re.fullmatch(r"\d{5}-[0-9a-f]{32}", name) or not (place / name).is_file():
            raise Invalid(f"part {int(name[:5])} was not uploaded with that etag")
    whole = _fresh(shelf.directory)
    try:
        with whole.open("xb") as target:
            for name in names:
                with (place / name).open("rb") as source:
                    shutil.copyfileobj(source, target, _FLUSH)
        _publish(whole, shelf.package)
    finally:
        whole.unlink(missing_ok=True)
    done.touch()
    shutil.rmtree(place)


def _keep(shelf: Shelf, text: bytes) -> None:
    part = _fresh(shelf.directory)
    part.write_bytes(text)
    _publish(part, shelf.directory / "details.json")


def _size(directory: Path) -> int:
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _remove(directory: Path, key: str) -> None:
    for place in directory.glob(f"*/{key}"):
        shutil.rmtree(place)


def _sweep(directory: Path, before: float) -> None:
    for upload in directory.glob("*/*/uploads/*"):
        try:
            if upload.stat().st_mtime >= before:
                continue
            if upload.is_dir():
                shutil.rmtree(upload)
            else:
                upload.unlink()
        except FileNotFoundError:
            continue
