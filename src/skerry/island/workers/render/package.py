"""What may be handed in: a .blend file, or a zip with one at its root. Looked at here, unpacked only in a sandbox."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from skerry.island.engine.errors import Invalid, TooLarge
from skerry.units import GIB, format_size

MOST_UNPACKED = 20 * GIB
MOST_ENTRIES = 50_000
_ADDONS = "enabled_addons.json"
_MOST_ADDONS_BYTES = 1 << 16
# Plain, and as older and newer Blender compress it.
_BLEND_SIGNS = (b"BLENDER", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What was handed in.

    Args:
        name: under which it is kept.
        scene: path of the .blend file in the zip; None when the file itself is one.
        addons: those that its maker had enabled, which are not enabled here.
    """

    name: str
    scene: str | None
    addons: tuple[str, ...] = ()


def inspect(path: Path) -> Package:
    """What a file is.

    Raises:
        Invalid: it can never be rendered; the message says what it should be. TooLarge: it unpacks to too much.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(_BLEND_SIGNS):
        return Package(name="scene.blend", scene=None)
    if not zipfile.is_zipfile(path):
        raise Invalid("this is neither a .blend file nor a zip with one")
    try:
        with zipfile.ZipFile(path) as archive:
            return _archive(archive)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError) as error:
        raise Invalid(f"the zip cannot be read: {error}") from None


def _archive(archive: zipfile.ZipFile) -> Package:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise TooLarge(f"the zip has {len(entries)} entries; at most {MOST_ENTRIES} are unpacked")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MOST_UNPACKED:
        raise TooLarge(f"the zip unpacks to {format_size(unpacked)}; at most {format_size(MOST_UNPACKED)} are")
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        if entry.filename.startswith(("/", "\\")) or ".." in parts or "\0" in entry.filename:
            raise Invalid(f"the zip has a path that leads out of it: {entry.filename!r}")
        if entry.flag_bits & _ENCRYPTED:
            raise Invalid("the zip is encrypted")
    scenes = [entry.filename for entry in entries if _is_scene(entry.filename)]
    if len(scenes) != 1:
        raise Invalid(f"the zip has {len(scenes)} .blend files at its root; it must have exactly one")
    return Package(name="package.zip", scene=scenes[0], addons=_addons(archive))


def _is_scene(name: str) -> bool:
    return "/" not in name and name.lower().endswith(".blend")


def _addons(archive: zipfile.ZipFile) -> tuple[str, ...]:
    try:
        entry = archive.getinfo(_ADDONS)
    except KeyError:
        return ()
    if entry.file_size > _MOST_ADDONS_BYTES:
        raise Invalid(f"{_ADDONS} is larger than {_MOST_ADDONS_BYTES} bytes")
    with archive.open(entry) as file:
        text = file.read(_MOST_ADDONS_BYTES + 1)
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(f"{_ADDONS} is no JSON") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid(f"{_ADDONS} is no list of names")
    return tuple(names)
