"""Where sandboxes' control groups are made on this machine: version 2, version 1, or honestly nowhere.

Groups live in `<hierarchy>/<name>/<scope>/<id>`, and nothing outside `<name>/<scope>` is ever changed. In version 2
that means: a controller that the owner of the machine (or systemd) has not enabled for the children of any group we
may write to is reported as missing instead of being enabled by us.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.limits import cgroup_v1, cgroup_v2
from skerry.island.sandbox.limits.cgroup import Cgroup, read, remove_directory, write
from skerry.island.sandbox.limits.cgroup_v1 import CgroupV1
from skerry.island.sandbox.limits.cgroup_v2 import CgroupV2
from skerry.island.sandbox.spec import Limits

__all__ = ["Cgroup", "Cgroups"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WANTED = ("cpu", "memory", "pids", "freezer")
# Each is lost to another island that ends at that very moment.
_TRIES = 100


class Cgroups:
    """Makes and finds the control groups of one island's sandboxes.

    Args:
        v1: parent of all groups by controller of version 1.
        v2: parent of all groups in version 2, used if there is no `v1`.
        controllers: those enabled below `v2`.
        missing: (limit, reason) for each of `cpu`, `memory`, `pids`, `freezer` that cannot be enforced.
    """

    def __init__(
        self,
        *,
        v1: Mapping[str, Path] | None = None,
        v2: Path | None = None,
        controllers: frozenset[str] = frozenset(),
        missing: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._v1 = dict(v1 or {})
        self._v2 = v2
        self._controllers = controllers
        self.missing = missing
        self.backend = "v1" if self._v1 else "v2" if v2 is not None else "none"
        absent = {name for name, _ in missing}
        self.active = () if self.backend == "none" else tuple(name for name in _WANTED if name not in absent)

    @classmethod
    def detect(
        cls,
        scope: str,
        name: str = "skerry",
        *,
        mounts: Path = Path("/proc/self/mountinfo"),
        own: Path = Path("/proc/self/cgroup"),
    ) -> Cgroups:
        """Find out by trying what can be made here.

        Version 2 is used if it has any of our controllers, else version 1 if any of its hierarchies lets us, else
        version 2 for stopping and killing alone.

        Args:
            scope: keeps islands on one machine apart; `[A-Za-z0-9_-]{1,64}`.
            name: the first directory below each hierarchy, likewise.
            mounts: the kernel's table of mounts.
            own: the kernel's list of our own groups.

        Raises:
            ValueError: scope or name is unusable.
        """
        if _NAME.fullmatch(scope) is None or _NAME.fullmatch(name) is None:
            raise ValueError(f"not a name for control groups: {name!r}, {scope!r}")
        hierarchies = list(_hierarchies(mounts))
        second = _second(hierarchies, own, Path(name, scope))
        if second is not None and second[1]:
            return cls(v2=second[0], controllers=second[1], missing=_missing_v2(*second))
        first = _first(hierarchies, Path(name, scope))
        if first:
            if second is not None:
                _remove_parents(second[0])
            reasons = tuple((name, "no writable cgroup v1 hierarchy") for name in _WANTED if name not in first)
            return cls(v1=first, missing=reasons)
        if second is not None:
            return cls(v2=second[0], missing=_missing_v2(*second))
        reason = "no cgroup hierarchy lets this user make groups" if hierarchies else "no cgroup hierarchy is mounted"
        return cls(missing=tuple((name, reason) for name in _WANTED))

    def create(self, id: str, limits: Limits) -> Cgroup:
        """Make a group with limits; an empty leftover of the same id is replaced.

        Raises:
            SandboxError: `exists` (processes live in it), `limits` (the kernel refuses them).
        """
        if _NAME.fullmatch(id) is None:
            raise SandboxError("limits", f"not a name for a control group: {id!r}")
        made: list[Path] = []
        try:
            for parent in self._parents():
                self._make(parent / id)
                made.append(parent / id)
            group = self._group(id)
            group.update(limits)
        except BaseException:
            for directory in made:
                with contextlib.suppress(OSError):
                    remove_directory(directory)
            raise
        return group

    def find(self, id: str) -> Cgroup | None:
        """The group made earlier, also by an earlier life of this island; None if there is none."""
        if _NAME.fullmatch(id) is None or not any((parent / id).is_dir() for parent in self._parents()):
            return None
        return self._group(id)

    def ids(self) -> list[str]:
        """Every group of this scope, sorted; complete or not."""
        found: set[str] = set()
        for parent in self._parents():
            with contextlib.suppress(FileNotFoundError), os.scandir(parent) as listing:
                found.update(entry.name for entry in listing if entry.is_dir(follow_symlinks=False))
        return sorted(found)

    def close(self) -> None:
        """Remove the scope's directories if no group is left in them; `create` would make them again."""
        for parent in self._parents():
            _remove_parents(parent)

    def _parents(self) -> list[Path]:
        if self._v1:
            return list(dict.fromkeys(self._v1.values()))
        return [] if self._v2 is None else [self._v2]

    def _group(self, id: str) -> Cgroup:
        if self._v1:
            here = {name: parent / id for name, parent in self._v1.items() if (parent / id).is_dir()}
            return CgroupV1(id, here)
        if self._v2 is not None:
            return CgroupV2(id, self._v2 / id, self._controllers)
        return Cgroup(id)

    def _make(self, directory: Path) -> None:
        try:
            os.mkdir(directory)
        except FileExistsError:
            if not remove_directory(directory):
                raise SandboxError("exists", f"control group {directory} is in use") from None
            os.mkdir(directory)
        except FileNotFoundError:
            # Another island that ended may have removed the common parent, while ours held no group.
            _make_parents(directory.parent, self._controllers)
            os.mkdir(directory)


@dataclass(frozen=True, slots=True)
class _Hierarchy:
    mount: Path
    root: str
    controllers: frozenset[str] | None
    """Of version 1; None for version 2."""


def _hierarchies(table: Path) -> Iterator[_Hierarchy]:
    for line in table.read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        root, mount = fields.split()[3:5]
        if kind == "cgroup2":
            yield _Hierarchy(Path(mount), root, None)
        elif kind == "cgroup":
            yield _Hierarchy(Path(mount), root, frozenset(options.split(",")))


def _first(hierarchies: list[_Hierarchy], below: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for hierarchy in hierarchies:
        names = [name for name in cgroup_v1.CONTROLLERS if name in (hierarchy.controllers or ())]
        parent = hierarchy.mount / below
        if names and not found.keys() & set(names) and _make_parents(parent, frozenset()):
            found.update(dict.fromkeys(names, parent))
    # The order decides which hierarchy is asked for processes: one that every kernel keeps exact.
    return {name: found[name] for name in cgroup_v1.CONTROLLERS if name in found}


def _second(hierarchies: list[_Hierarchy], own: Path, below: Path) -> tuple[Path, frozenset[str]] | None:
    """The best place for groups of version 2 and the controllers enabled in it."""
    for hierarchy in hierarchies:
        if hierarchy.controllers is not None:
            continue
        for base in sorted(_bases(hierarchy, own), key=lambda base: -len(_delegated(base))):
            parent = base / below
            if not _make_parents(parent, _delegated(base)):
                continue
            if os.geteuid() == 0 or _can_move(parent):
                return parent, _delegated(parent)
            _remove_parents(parent)
    return None


def _bases(hierarchy: _Hierarchy, own: Path) -> list[Path]:
    """Groups that ours could be made in: for root the top first, for others the one they are in first."""
    inside = next((line[3:] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
    relative = inside[len(hierarchy.root.rstrip("/")) :] if inside.startswith(hierarchy.root) else "/"
    here = hierarchy.mount / relative.strip("/")
    bases = [base for base in (here, *here.parents) if base.is_relative_to(hierarchy.mount)]
    if os.geteuid() == 0:
        bases.reverse()
    return [base for base in bases if os.access(base, os.W_OK)]


def _delegated(group: Path) -> frozenset[str]:
    """Our controllers that are enabled for the children of a group."""
    with contextlib.suppress(OSError):
        return frozenset(read(group / "cgroup.subtree_control").split()).intersection(cgroup_v2.CONTROLLERS)
    return frozenset()


def _make_parents(scope: Path, controllers: frozenset[str]) -> bool:
    """Make `<name>/<scope>` and hand controllers down to its children; False if we may not."""
    for _ in range(_TRIES):
        try:
            for directory in (scope.parent, scope):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(directory)
                for controller in controllers:
                    with contextlib.suppress(OSError):
                        write(directory / "cgroup.subtree_control", f"+{controller}")
            return os.access(scope / "cgroup.procs", os.W_OK)
        except OSError as error:
            # Another island that ended has removed the common parent in between.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                return False
    return False


def _remove_parents(scope: Path) -> None:
    with contextlib.suppress(OSError):
        if remove_directory(scope):
            remove_directory(scope.parent)


def _can_move(scope: Path) -> bool:
    """Whether a process of ours may be moved below: that takes rights on all groups between there and here."""
    program = shutil.which("cat")
    if program is None:
        return False
    probe = scope / "probe"
    try:
        os.mkdir(probe)
    except OSError:
        return False
    try:
        with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            try:
                write(probe / "cgroup.procs", str(process.pid))
            except OSError:
                return False
            finally:
                process.communicate()
    finally:
        CgroupV2("probe", probe, frozenset()).remove()
    return True


def _missing_v2(parent: Path, controllers: frozenset[str]) -> tuple[tuple[str, str], ...]:
    place = parent.parent.parent / "cgroup.subtree_control"
    reasons = [(name, f"not enabled in {place}") for name in cgroup_v2.CONTROLLERS if name not in controllers]
    return tuple(reasons)
