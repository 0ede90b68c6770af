"""What tests of pictures share: models for the stand-in, workers that use it, and a reader of PNG files."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skerry.island.workers.image import DiffusionChoices, DiffusionWorkers
from tests.processes import children, command

PATIENCE = 60.0
STAND_IN = Path(__file__).with_name("stand_in.py")


def add_model(data_dir: Path, name: str, wish: str = "") -> Path:
    """A folder that the stand-in takes for a model."""
    folder = data_dir / "diffusion" / "models" / name
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StandIn"}')
    (folder / "wish").write_text(wish)
    return folder


def workers_of(data_dir: Path, *, environ: dict[str, str] | None = None, clock: Any = None, **choices: Any) -> Any:
    """Workers whose processes are the stand-in, and which see no model of this machine."""
    given = {"grace_seconds": PATIENCE, "hub": False, **choices}
    alone = {"HF_HOME": str(data_dir / "no-cache"), **({} if environ is None else environ)}
    return DiffusionWorkers(
        data_dir,
        choices=DiffusionChoices(**given),
        environ=alone,
        clock=clock,
        python=Path(sys.executable),
        script=STAND_IN,
    )


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(true: Callable[[], bool]) -> None:
    """Wait for something outside of this process."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


def read_pid(folder: Path) -> int:
    return int((folder / "pid").read_text())


def drawing(folder: Path) -> list[int]:
    """Our processes that were started for a model and live, whether or not they have come so far as to say so."""
    return [pid for pid in children(os.getpid()) if str(folder).encode() in command(pid)]


def decode(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and the RGB samples of a PNG; every checksum is looked at."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, []
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", png, place + 8 + length)[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        place += 12 + length
    assert chunks[0][0] == b"IHDR"
    assert chunks[-1] == (b"IEND", b"")
    width, height, depth, colour, *ways = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, colour, ways) == (8, 2, [0, 0, 0])
    raw = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    return width, height, _unfiltered(raw, width, height)


def _unfiltered(raw: bytes, width: int, height: int) -> bytes:
    stride, above, rows = 3 * width, bytearray(3 * width), []
    assert len(raw) == height * (stride + 1)
    for number in range(height):
        kind, row = raw[number * (stride + 1)], bytearray(raw[number * (stride + 1) + 1 : (number + 1) * (stride + 1)])
        for at in range(stride):
            left, up = (row[at - 3] if at >= 3 else 0), above[at]
            corner = above[at - 3] if at >= 3 else 0
            row[at] = (row[at] + (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]) & 255
        rows.append(bytes(row))
        above = row
    return b"".join(rows)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))
