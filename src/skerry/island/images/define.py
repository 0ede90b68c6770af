"""Images defined by hand: another image's files under another program, with a few files of one's own."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from skerry.island.engine.errors import Invalid, NotFound
from skerry.island.images.index import ImageConfig
from skerry.island.images.rootfs import LocalRootFs
from skerry.island.images.tree import Tree

_NEVER = ("dev", "proc", "sys")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What an image says about its program in place of what it said before; None leaves it.

    Args:
        entrypoint: program and first arguments; the former command goes with the former entrypoint.
        command: further arguments.
        env: further variables.
        working_dir: absolute directory.
        user: name or number, with an optional `:group`.
    """

    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    user: str | None = None

    def __bool__(self) -> bool:
        return bool(self.env) or any(
            value is not None for value in (self.entrypoint, self.command, self.working_dir, self.user)
        )

    def check(self) -> None:
        """Refuse what no program can be given.

        Raises:
            Invalid: with the reason.
        """
        words = (*(self.entrypoint or ()), *(self.command or ()), *self.env.values(), self.user or "")
        if any("\0" in word for word in words):
            raise Invalid("a program, its arguments and variables cannot contain a NUL character")
        for name in self.env:
            if not name or "=" in name or "\0" in name:
                raise Invalid(f"{name!r} cannot be an environment variable")
        if self.working_dir is not None:
            inside(self.working_dir)

    def apply(self, config: ImageConfig, env: Mapping[str, str]) -> tuple[ImageConfig, dict[str, str]]:
        """Configuration and environment with these in place."""
        command = () if self.entrypoint is not None else config.command
        changed = ImageConfig(
            entrypoint=config.entrypoint if self.entrypoint is None else self.entrypoint,
            command=command if self.command is None else self.command,
            working_dir=config.working_dir if self.working_dir is None else self.working_dir,
            user=config.user if self.user is None else self.user,
            labels=config.labels,
        )
        return changed, {**env, **self.env}


NOTHING = Overrides()


def derived_digest(
    base: str,
    config: ImageConfig,
    env: Mapping[str, str],
    files: Mapping[str, str],
    trees: Sequence[tuple[str, str]] = (),
) -> str:
    """What names an image by all that it consists of.

    Args:
        base: id or digest of what it stands on.
        files: path inside to a digest of mode and content.
        trees: directories that it shows, whose content may change.
    """
    parts: list[object] = [base, config, sorted(env.items()), sorted(files.items())]
    whole = msgspec.json.encode([*parts, *([sorted(trees)] if trees else [])])
    return f"sha256:{hashlib.sha256(whole).hexdigest()}"


def inside(path: str) -> tuple[str, ...]:
    """Components of an absolute path inside an image.

    Raises:
        Invalid: relative, climbing with `..`, or in a directory that every sandbox has of its own.
    """
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not path.startswith("/") or ".." in parts or "\0" in path:
        raise Invalid(f"{path!r} is no absolute path inside an image")
    if parts and parts[0] in _NEVER:
        raise Invalid(f"{path!r} lies in /{parts[0]}, which every sandbox has of its own")
    return parts


def shown_trees(
    trees: Sequence[tuple[Path, str]], hidden: Sequence[tuple[Path, str]], private: Path
) -> tuple[tuple[str, str], ...]:
    """Directories of this machine as an image keeps them.

    Args:
        trees: each with its absolute path inside.
        hidden: what the image shows from the machine already.
        private: what no image may show: the island's keys and everybody's files are there.

    Raises:
        Invalid: an impossible path, or one inside or around what is shown there already, or a directory that holds, or
            is, what is private. NotFound: no such directory.
    """
    taken = [target for _, target in hidden]
    found = []
    for source, path in trees:
        target = "/" + "/".join(inside(path))
        if target == "/" or any(f"{target}/".startswith(f"{it}/") or it.startswith(f"{target}/") for it in taken):
            raise Invalid(f"{path!r} cannot show a directory: the machine itself is shown there")
        if not source.is_dir():
            raise NotFound(f"there is no directory {source}")
        resolved = source.resolve()
        if private.resolve().is_relative_to(resolved):
            raise Invalid(f"{source} cannot be shown: the island's own files are in it")
        taken.append(target)
        found.append((str(resolved), target))
    return tuple(found)


def link_tree(source: Path, target: Path) -> None:
    """A tree with the same files, which are not copied; `target` must not exist. Both are never written to later."""
    target.mkdir(mode=0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            place = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                link_tree(Path(entry.path), place)
                continue
            try:
                os.link(entry.path, place, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EPERM):
                    raise
                shutil.copy2(entry.path, place, follow_symlinks=False)
    status = source.stat()
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid)
    target.chmod(stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def stage_files(
    root: LocalRootFs, files: Sequence[tuple[Path, str]], work: Path, *, thin: bool, earlier: Path | None
) -> dict[str, str]:
    """Make `work/root`: the whole tree with the files in it, or, when `thin`, the files alone.

    Args:
        root: what they are put on.
        files: source, and absolute path inside.
        work: private directory.
        thin: the rest of the tree changes with the machine and is added later.
        earlier: files that a thin tree begins with.

    Returns:
        Path inside to a digest of mode and content. Raises as `place_files`.
    """
    whole, own = work / ("whole" if thin else "root"), work / "root"
    link_tree(root.directory, whole)
    placed = place_files(whole, files, [target for _, target in root.binds])
    if thin:
        if earlier is None:
            own.mkdir(mode=0o755)
        else:
            link_tree(earlier, own)
        for path in placed:
            place = own / path[1:]
            place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.hardlink_to(whole / path[1:])
    return placed


def place_files(root: Path, files: Sequence[tuple[Path, str]], hidden: Sequence[str]) -> dict[str, str]:
    """Copy files of this machine into a tree, in place of what is there.

    Args:
        root: a tree that nobody uses yet.
        files: source, and absolute path inside.
        hidden: directories inside in which a sandbox would not see them.

    Returns:
        Path inside to a digest of mode and content.

    Raises:
        Invalid: an impossible path. NotFound: no such source.
    """
    placed: dict[str, str] = {}
    with closing(Tree(root)) as tree:
        for source, path in files:
            parts = inside(path)
            if not parts:
                raise Invalid("a file needs a name inside the image")
            directory, above = tree.directory(parts[:-1], create=True)
            resolved = "/" + "/".join((*above, parts[-1]))
            for place in hidden:
                if f"{resolved}/".startswith(f"{place}/"):
                    raise Invalid(f"{path!r} lies in {place}, which this image shows from the machine itself")
            placed[resolved] = _place(source, tree, directory, parts[-1])
    return placed


def _place(source: Path, tree: Tree, directory: int, name: str) -> str:
    try:
        with open(source, "rb") as file:
            executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
            try:
                present = os.lstat(name, dir_fd=directory)
            except FileNotFoundError:
                present = None
            if present is not None and stat.S_ISDIR(present.st_mode):
                raise Invalid(f"{name!r} is a directory of the image; name the file inside it")
            # What is there shares its content with another image: it is replaced, never written to.
            tree.remove(directory, name)
            digest = hashlib.sha256(b"x" if executable else b"-")
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=directory)
            with open(made, "wb") as copy:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    copy.write(piece)
                os.fchmod(copy.fileno(), 0o755 if executable else 0o644)
            return digest.hexdigest()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound(f"there is no file {source}") from None
    except PermissionError:
        raise Invalid(f"{source} cannot be read by the island") from None
