"""What a sandbox that renders can see: the machine's own programs, Blender, and one job's input, all read-only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from skerry.island.sandbox.driver import ImageSource, RootFs, SandboxError
from skerry.island.workers.render.blender import Blender

BLENDER = "blender"
"""The image without any job's input."""

_JOB = "job-"


@dataclass(slots=True, kw_only=True)
class Room:
    """A root file system; satisfies `skerry.island.sandbox.driver.RootFs`."""

    directory: Path
    binds: tuple[tuple[Path, str], ...]
    env: dict[str, str] = field(default_factory=dict)


def image_of(job_id: str) -> str:
    """The image in which a job is rendered."""
    return _JOB + job_id


class Rooms:
    """Satisfies `skerry.island.sandbox.driver.ImageSource`.

    Everything is shown at its own path, because drivers without mounts cannot show it elsewhere.

    Args:
        images: has the machine's own programs as `host`.
        blender: what renders.
        jobs: holds `<job>/input` directories.
    """

    def __init__(self, images: ImageSource, blender: Blender, jobs: Path) -> None:
        self._images = images
        self._blender = blender
        self._jobs = jobs.resolve()

    def input_of(self, job_id: str) -> Path:
        """Where a job's input is, here and in its sandboxes."""
        return self._jobs / job_id / "input"

    def rootfs(self, image_id: str) -> RootFs:
        """The root for Blender alone, or with the input of one job.

        Raises:
            SandboxError: reason `unknown_image`.
        """
        host = self._images.rootfs("host")
        shown = list(self._blender.trees)
        if image_id.startswith(_JOB):
            place = self.input_of(image_id.removeprefix(_JOB))
            if not place.is_dir():
                raise SandboxError("unknown_image", f"there is no input of a job at {place}")
            shown.append(place)
        elif image_id not in (BLENDER, "host"):
            raise SandboxError("unknown_image", f"there is no image {image_id!r} here")
        binds = [*host.binds, *((tree, str(tree)) for tree in shown)]
        return Room(directory=host.directory, binds=tuple(binds), env=host.env)
