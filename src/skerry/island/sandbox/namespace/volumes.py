"""Other images' trees inside a sandbox, read-only: where they may be put, and what is mounted for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skerry.island.sandbox.driver import ImageSource, RootFs, SandboxError
from skerry.island.sandbox.spec import Volume

MOST_VOLUMES = 16
_NEVER = ("/dev", "/proc", "/sys")


def check_volumes(volumes: Sequence[Volume], image: RootFs, images: ImageSource) -> None:
    """Refuse volumes that could not be mounted, or would take away what every sandbox needs.

    Args:
        volumes: what is asked for.
        image: the root they are mounted in.
        images: where their trees are.

    Raises:
        SandboxError: `path` (too many as well), `unknown_image`.
    """
    if len(volumes) > MOST_VOLUMES:
        raise SandboxError("path", f"a sandbox can have {MOST_VOLUMES} volumes, not {len(volumes)}")
    taken = [(target, "is shown from the machine itself") for _, target in image.binds]
    for volume in volumes:
        path = volume.path
        parts = path.split("/")
        if (
            not path.startswith("/")
            or path == "/"
            or "\0" in path
            or len(path) > 1024
            or {"", ".", ".."} & {*parts[1:]}
        ):
            raise SandboxError("path", f"a volume cannot be at {path!r}; name an absolute directory such as /data")
        for place in _NEVER:
            if within(path, place):
                raise SandboxError("path", f"a volume cannot be at {path}: every sandbox has {place} of its own")
        for place, why in taken:
            if within(path, place) or within(place, path):
                raise SandboxError("path", f"a volume cannot be at {path}: {place} {why}")
        images.rootfs(volume.image_id)
        taken.append((path, "is another volume"))


def binds(volumes: Sequence[Volume], images: ImageSource) -> list[tuple[Path, str]]:
    """What is mounted for volumes, outer trees first. Raises SandboxError `unknown_image`."""
    found: list[tuple[Path, str]] = []
    for volume in volumes:
        root = images.rootfs(volume.image_id)
        found.append((root.directory, volume.path))
        found += [(source, f"{volume.path}{target}") for source, target in root.binds]
    return found


def within(path: str, place: str) -> bool:
    """Whether a path is a place or lies in it."""
    return path == place or path.startswith(f"{place}/")
