"""The `host` image: the machine's own programs, read-only, under a root that holds none of its secrets.

`survey` reads what the machine offers into a `Plan`, a plain value whose `stamp` changes only when its content does;
`build` writes a plan to a directory. Files belong to whoever builds: under a driver that maps that owner to the
sandbox's uid 0, the sandbox's root can read all of it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skerry.island.images import host_files
from skerry.island.images.rootfs import DEFAULT_PATH, LocalRootFs
from skerry.units import MIB

_FORMAT = b"host image 1"
_LARGEST_FILE = 32 * MIB
_LARGEST_TOTAL = 256 * MIB
_DEEPEST = 12

_DIRECTORIES = (
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/user", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
)
_LINKS = (("etc/mtab", "/proc/self/mounts"), ("var/lock", "/run/lock"), ("var/run", "/run"))
_PROGRAM_TREES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SKELETON = (".bashrc", ".profile", ".bash_logout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the `host` image will consist of; every path is relative to its root.

    Args:
        directories: path and mode, parents first.
        links: symbolic links and their targets.
        files: path, content and mode.
        binds: machine directories to show read-only, with their absolute path inside.
    """

    directories: tuple[tuple[str, int], ...]
    links: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, bytes, int], ...]
    binds: tuple[tuple[Path, str], ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of file content, without the machine's own trees."""
        return sum(len(content) for _, content, _ in self.files)

    @property
    def stamp(self) -> str:
        """Sixteen hexadecimal digits that name this content."""
        digest = hashlib.sha256(_FORMAT)
        for directory, mode in self.directories:
            digest.update(f"d {directory}\0{mode:o}\0".encode(errors="surrogateescape"))
        for link, target in self.links:
            digest.update(f"l {link}\0{target}\0".encode(errors="surrogateescape"))
        for file, content, mode in self.files:
            digest.update(f"f {file}\0{mode:o}\0".encode(errors="surrogateescape"))
            digest.update(hashlib.sha256(content).digest())
        for source, inside in self.binds:
            digest.update(f"b {source}\0{inside}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]


def survey(machine: Path = Path("/")) -> Plan:
    """Read what this machine can show to sandboxes.

    Args:
        machine: root of the machine; another directory in tests.

    Only world-readable files of the whitelist in `host_files` are taken, and none that looks like a key.
    """
    links = dict(_LINKS)
    binds: list[tuple[Path, str]] = [(machine / "usr", "/usr")]
    extra: list[tuple[str, int]] = []
    for name in _PROGRAM_TREES:
        path = machine / name
        if path.is_symlink() and _points_into_usr(machine, path):
            links[name] = os.readlink(path)
        elif path.is_dir():
            extra.append((name, 0o755))
            binds.append((path.resolve(), f"/{name}"))
    shell = "/bin/bash" if _has_program(machine, "bash") else "/bin/sh"
    files = {f"etc/{name}": (text.encode(), 0o644) for name, text in sorted(host_files.written_anew(shell).items())}
    for found in _walk_etc(machine, "", 0):
        inside = f"etc/{found.path}"
        if inside in files or inside in links:
            continue
        if found.kind == "directory":
            extra.append((inside, 0o755))
        elif found.kind == "link":
            links[inside] = found.target
        else:
            files[inside] = (found.content, found.mode)
    for name in _SKELETON:
        skeleton = _read_public(machine / "etc/skel" / name)
        if skeleton is not None:
            for home in ("home/user", "root"):
                files[f"{home}/{name}"] = (skeleton, 0o644)
    if sum(len(content) for content, _ in files.values()) > _LARGEST_TOTAL:
        raise OSError(f"the public part of {machine / 'etc'} is larger than {_LARGEST_TOTAL} bytes")
    return Plan(
        directories=_DIRECTORIES + tuple(extra),
        links=tuple(sorted(links.items())),
        files=tuple((path, content, mode) for path, (content, mode) in sorted(files.items())),
        binds=tuple(binds),
    )


def build(plan: Plan, directory: Path) -> None:
    """Write a plan's directories, links and files below an existing empty directory."""
    directory.chmod(0o755)
    for name, mode in plan.directories:
        path = directory / name
        path.mkdir()
        path.chmod(mode)
    for name, target in plan.links:
        (directory / name).symlink_to(target)
    for name, content, mode in plan.files:
        path = directory / name
        path.write_bytes(content)
        path.chmod(mode)


def intact(plan: Plan, directory: Path) -> bool:
    """Whether a directory holds the whole of a plan; after a power cut it may not."""
    try:
        return all(
            stat.S_ISREG((status := (directory / name).lstat()).st_mode) and status.st_size == len(content)
            for name, content, _ in plan.files
        ) and all(os.path.lexists(directory / name) for name, _ in plan.directories + plan.links)
    except FileNotFoundError:
        return False


def rootfs(plan: Plan, directory: Path) -> LocalRootFs:
    """The built plan as a driver takes it."""
    return LocalRootFs(directory=directory, binds=plan.binds, env={"PATH": DEFAULT_PATH, "LANG": "C.UTF-8"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    path: str
    kind: str
    target: str = ""
    content: bytes = b""
    mode: int = 0o644


def _walk_etc(machine: Path, path: str, depth: int, *, shown: bool = False) -> Iterator[_Found]:
    """Entries of /etc that are shown, directories before what is in them."""
    try:
        names = sorted(os.listdir(machine / "etc" / path))
    except OSError:
        return  # not ours to read, so not the sandbox's either
    for name in names:
        inner = f"{path}/{name}" if path else name
        full = machine / "etc" / inner
        here = shown or host_files.is_shown(inner)
        if not here and not host_files.leads_to_shown(inner):
            continue
        if full.is_symlink():
            if here or _stays_in(inner, os.readlink(full)):
                yield from _link(machine, inner)
        elif full.is_dir():
            if depth < _DEEPEST:
                yield _Found(path=inner, kind="directory")
                yield from _walk_etc(machine, inner, depth + 1, shown=here)
        elif here:
            yield from _file(inner, full)


def _file(path: str, full: Path) -> Iterator[_Found]:
    content = _read_public(full)
    if content is not None and not host_files.may_hold_key(path, content):
        executable = full.stat().st_mode & stat.S_IXOTH
        yield _Found(path=path, kind="file", content=content, mode=0o755 if executable else 0o644)


def _link(machine: Path, path: str) -> Iterator[_Found]:
    """A link that stays valid inside is kept; one that leads elsewhere is replaced by what it leads to."""
    full = machine / "etc" / path
    target = os.readlink(full)
    if _stays_in(path, target):
        yield _Found(path=path, kind="link", target=target)
    elif full.is_file():
        yield from _file(path, full)


def _stays_in(path: str, target: str) -> bool:
    absolute = os.path.normpath(os.path.join("/etc", os.path.dirname(path), target))
    return absolute.startswith(("/usr/", "/etc/"))


def _read_public(path: Path) -> bytes | None:
    """The content of a regular file that everyone may read, else None."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IROTH or status.st_size > _LARGEST_FILE:
            return None
        return file.read(_LARGEST_FILE)


def _points_into_usr(machine: Path, path: Path) -> bool:
    return path.resolve().is_relative_to((machine / "usr").resolve())


def _has_program(machine: Path, name: str) -> bool:
    return any((machine / tree / name).exists() for tree in ("bin", "usr/bin"))
