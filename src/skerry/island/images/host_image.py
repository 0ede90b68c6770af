"""The `host` image as it is now: made when first asked for, and again when the machine's packages change."""

from __future__ import annotations

import errno
import threading
from datetime import UTC, datetime
from pathlib import Path

from skerry.island.engine.errors import Unavailable
from skerry.island.engine.records import Image
from skerry.island.images import host
from skerry.island.images.index import Index
from skerry.island.images.rootfs import LocalRootFs
from skerry.island.images.staging import staged

HOST = "host"
# A change of any of these means that packages or certificates came or went.
_SIGNS = ("etc", "etc/alternatives", "etc/ld.so.cache", "etc/ssl/certs", "usr")


class HostImage:
    """Keeps `rootfs/host-<stamp>` true to the machine.

    Args:
        machine: root of the machine that is shown; another directory in tests.
        roots: where the root is published.
        incoming: where it is made.
        index: its lock keeps other processes from publishing at the same time.
    """

    def __init__(self, machine: Path, roots: Path, incoming: Path, index: Index) -> None:
        self._machine = machine
        self._roots = roots
        self._incoming = incoming
        self._index = index
        self._lock = threading.Lock()
        self._made: tuple[tuple[int, ...], Image, LocalRootFs] | None = None

    def current(self) -> tuple[Image, LocalRootFs]:
        """The image and its root.

        Raises:
            Unavailable: the disk is full.
        """
        signs = tuple(_changed_at(self._machine / sign) for sign in _SIGNS)
        with self._lock:
            if self._made is None or self._made[0] != signs:
                try:
                    self._made = (signs, *self._make())
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                        raise
                    raise Unavailable("the disk is full: no space left for the image of this machine") from error
            return self._made[1:]

    def _make(self) -> tuple[Image, LocalRootFs]:
        plan = host.survey(self._machine)
        target = self._roots / f"{HOST}-{plan.stamp}"
        if not host.intact(plan, target):
            with staged(self._incoming) as work:
                fresh = work / "root"
                fresh.mkdir()
                host.build(plan, fresh)
                with self._index.change():
                    if not host.intact(plan, target):
                        if target.exists():
                            target.rename(work / "damaged")
                        fresh.rename(target)
        root = host.rootfs(plan, target)
        image = Image(
            id=HOST,
            name=HOST,
            source="machine",
            size_bytes=plan.size_bytes,
            created_at=datetime.fromtimestamp(target.stat().st_mtime, UTC),
            env=root.env,
        )
        return image, root


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
