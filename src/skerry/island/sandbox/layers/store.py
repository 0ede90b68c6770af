"""Writable layers of sandboxes: who stands on what, and constant-time forks that survive a kill at any point.

Everything is told by directories and two small files, so that a crash leaves nothing to guess:

* `sandboxes/<id>` exists only complete: it is made under a name with a leading dot and renamed.
* `chain.json` in it names image and layers; it is replaced by rename, which is the moment a fork or merge counts.
* `held.json` is a second name of the chain file that was in force when an overlay was mounted.
* `journal/<layer>.json` is written before the only step that takes several renames, the freezing of an upper.
* a layer that no chain and no held chain names belongs to nobody and is deleted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skerry.island.sandbox.driver import ImageSource, SandboxError
from skerry.island.sandbox.layers import reflink
from skerry.island.sandbox.layers.chains import Chain, UnreadableChain, write_file
from skerry.island.sandbox.layers.flatten import Merge, Unmergeable
from skerry.island.sandbox.layers.journal import Entry, ForkJournal, is_empty
from skerry.island.sandbox.layers.layout import CHAIN, HELD, ID, Layout, copy_root, rename_directory
from skerry.island.sandbox.layers.references import References
from skerry.island.sandbox.layers.treecopy import TreeCopy
from skerry.island.sandbox.layers.trees import measure
from skerry.island.sandbox.space import space

# Below this much a copy is quicker than what must be done to make one in two passes.
_FEW_BYTES = 32 << 20
_FEW_ENTRIES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What `LayerStore.recover` found.

    Args:
        completed: ids whose interrupted fork was carried through.
        undone: ids whose interrupted fork was taken back; the parent is as before it.
        removed: names of directories that belonged to nothing and went to the trash.
        unreadable: ids whose chain.json cannot be read; they are left alone, and no layer is collected meanwhile.
    """

    completed: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


class LayerStore:
    """Directories `sandboxes/<id>/{chain.json,upper,work}`, `layers/<layer>`, `journal/`, `trash/` of one state dir.

    Every method is synchronous and safe to call from several threads; calls that concern the same sandbox must be
    serialised by the caller, except `disk_bytes`. One process at a time may use a state directory.

    A sandbox is `upper` over its own frozen layers (newest first) over the image. While an overlay is mounted on
    them the driver holds them (`hold` ... `release`): a held sandbox cannot be re-layered, and the layers it was
    mounted with outlive a flatten.

    Args:
        state_dir: where it all lives; one file system.
        images: where the read-only root of an image is found.
        userxattr: overlay marks are `user.overlay.*` (unprivileged mounts) instead of `trusted.overlay.*`.
        owner: (uid, gid) on this machine that `upper` and `work` of a new sandbox belong to; None leaves them to us.
    """

    def __init__(
        self, state_dir: Path, images: ImageSource, *, userxattr: bool, owner: tuple[int, int] | None = None
    ) -> None:
        self._images = images
        self._prefix = "user.overlay." if userxattr else "trusted.overlay."
        self._layout = Layout.make(state_dir, owner)
        self._forks = ForkJournal(self._layout)
        self._lock = threading.RLock()
        self._references = References(self._layout.sandboxes, self._unused)
        self._merged: dict[tuple[str, ...], str] = {}
        self._ahead: dict[str, tuple[Path, TreeCopy]] = {}
        self._unsynced: set[str] = set()
        self._reflink: bool | None = None

    def create(self, id: str, image: str, *, files: Mapping[str, bytes] | None = None) -> None:
        """Make a sandbox with an empty upper on an image; `files` (name -> content) appear in its directory with it.

        Raises:
            SandboxError: `exists`, `unknown_image`, `disk_full`.
        """
        self._images.rootfs(image)
        self._refuse_existing(id)
        with space():
            staged = self._stage(id, Chain(image), files)
            with self._lock:
                self._publish(staged, id, Chain(image))

    def ids(self) -> list[str]:
        """Every sandbox on disk, sorted."""
        return sorted(name for name in os.listdir(self._layout.sandboxes) if not name.startswith("."))

    def exists(self, id: str) -> bool:
        """Whether the sandbox is there."""
        return ID.fullmatch(id) is not None and (self._layout.sandboxes / id).is_dir()

    def directory(self, id: str) -> Path:
        """The sandbox's own directory. Raises SandboxError `unknown_sandbox`; so do all methods below."""
        if not self.exists(id):
            raise SandboxError("unknown_sandbox", f"no sandbox {id!r}")
        return self._layout.sandboxes / id

    def upper(self, id: str) -> Path:
        """Its writable layer."""
        return self.directory(id) / "upper"

    def work(self, id: str) -> Path:
        """Overlay's work directory beside the upper; not for anything else."""
        return self.directory(id) / "work"

    def fresh_work(self, id: str) -> Path:
        """Replace the work directory by an empty one (after a `volatile` mount, which marks it) and return it."""
        work = self.work(id)
        with self._lock, space():
            with contextlib.suppress(FileNotFoundError):
                self._layout.trash.take(work)
            self._layout.own_directory(work, 0o700)
        return work

    def image(self, id: str) -> str:
        """Id of the image at the bottom."""
        return self._chain(id).image

    def depth(self, id: str) -> int:
        """Number of the sandbox's own frozen layers, without its upper and without the image."""
        return len(self._chain(id).layers)

    def lowers(self, id: str) -> list[Path]:
        """Lower directories, topmost first, the image's root directory last.

        Raises:
            SandboxError: `unknown_image` (gone since), `lost` (the chain file is damaged).
        """
        return self._lowers(self._chain(id))

    def hold(self, id: str) -> list[Path]:
        """The lowers, recorded as mounted until `release`, also over a restart of this process. Repeatable."""
        with self._lock, space():
            chain = self._chain(id)
            lowers = self._lowers(chain)
            self.release(id)
            self._references.scan()
            directory = self.directory(id)
            if id in self._unsynced:
                _sync_files(directory)
                self._unsynced.discard(id)
            os.link(directory / CHAIN, directory / HELD)
            self._references.add(chain.layers)
        return lowers

    def release(self, id: str) -> None:
        """No overlay of this sandbox is mounted any more; harmless when none was."""
        held = self.directory(id) / HELD
        with self._lock, space():
            if held.exists():
                self._references.scan()
                layers = self._layout.layers_of(held)
                os.unlink(held)
                self._references.drop(layers)

    def held(self, id: str) -> bool:
        """Whether `hold` is in force (perhaps from an earlier life: release it when no agent is found)."""
        return (self.directory(id) / HELD).exists()

    def relayer(self, parent: str, child: str, *, files: Mapping[str, bytes] | None = None) -> None:
        """Fork an idle parent in constant time: its upper becomes a frozen layer under fresh uppers of both.

        An untouched upper is not frozen; then the child just shares the chain. Interrupted anywhere, `recover`
        (or, on an error, this call itself) completes it or takes it back, and nothing is lost.

        Raises:
            SandboxError: `exists` (child), `unsupported` (parent is held), `disk_full`.
        """
        with self._lock, space():
            self._refuse_existing(child)
            if self.held(parent):
                raise SandboxError("unsupported", f"sandbox {parent!r} is in use; its upper cannot be frozen")
            before = self._chain(parent)
            self._references.scan()
            if is_empty(self.upper(parent)):
                staged = self._stage(child, before, files)
                copy_root(self.upper(parent), staged / "upper")
                self._publish(staged, child, before)
                return
            layer = self._layout.new_layer()
            after = Chain(before.image, (layer, *before.layers))
            staged = self._stage(child, after, files)
            copy_root(self.upper(parent), staged / "upper")
            try:
                self._forks.fork(Entry(parent, child, layer, staged.name), after)
            except OSError:
                self._references.forget()
                raise
            self._references.add((layer, *after.layers))

    def precopy(self, parent: str, child: str) -> bool:
        """Copy a *running* parent's upper ahead of the freeze, so that `copy` redoes only what changed since.

        False when it would not help (little to copy, or instant copies by reflink) or cannot be trusted (file systems
        that do not stamp writes through memory maps). Dropped by `forget_copy` or by `recover`.

        Raises:
            SandboxError: `exists` (child), `disk_full`.
        """
        upper = self.upper(parent)
        self.forget_copy(child)
        with space():
            size = measure(upper, enough=_FEW_BYTES, entries=_FEW_ENTRIES)
            if self.reflink or (size.complete and size.allocated <= _FEW_BYTES):
                return False
            with self._lock:
                self._refuse_existing(child)
                staged = self._stage(child, self._chain(parent), None)
            copy = self._tree_copy(upper, staged)
            try:
                done = copy.ahead()
            except OSError:
                self._layout.discard(staged)
                raise
        if not done:
            self._layout.discard(staged)
            return False
        with self._lock:
            self._ahead[child] = (staged, copy)
        return True

    def copy(self, parent: str, child: str, *, files: Mapping[str, bytes] | None = None) -> Literal["reflink", "copy"]:
        """Fork a *frozen* parent by copying its upper as of now; the caller freezes before and thaws after.

        Nothing waits for the disk while the parent stands still: until the child's first `hold` a power cut, and only
        that, may undo the fork.

        Raises:
            SandboxError: `exists` (child), `disk_full`.
        """
        with contextlib.ExitStack() as stack, space():
            method: Literal["reflink", "copy"] = "reflink" if self.reflink else "copy"
            with self._lock:
                self._refuse_existing(child)
                chain = self._chain(parent)
                upper = self.upper(parent)
                staged, copy = self._ahead.pop(child, (None, None))
                # The chain may be flattened meanwhile, and nothing but this keeps its layers then.
                stack.enter_context(self._pinned(chain.layers))
            if staged is None or copy is None:
                staged = self._stage(child, chain, files, sync=False)
                copy = self._tree_copy(upper, staged)
            else:
                self._describe(staged, chain, files, sync=False)
            try:
                copy.now()
                self._layout.discard(staged / "spare")
            except BaseException:
                self._layout.discard(staged)
                raise
            with self._lock:
                self._publish(staged, child, chain)
                self._unsynced.add(child)
        return method

    def forget_copy(self, child: str) -> None:
        """Drop what `precopy` made for a child that will not be; harmless otherwise."""
        with self._lock:
            staged, _ = self._ahead.pop(child, (None, None))
        if staged is not None:
            self._layout.discard(staged)

    def remove(self, id: str) -> None:
        """Forget a sandbox and the layers only it used; returns at once, deletion goes on in the background."""
        with self._lock, space():
            directory = self.directory(id)
            self._references.scan()
            damaged = id in self._references.unreadable
            layers = [*self._layout.layers_of(directory / CHAIN), *self._layout.layers_of(directory / HELD)]
            self._layout.trash.take(directory)
            self._unsynced.discard(id)
            if damaged:
                self._references.forget()
            else:
                self._references.drop(layers)

    def flatten(self, id: str) -> int:
        """Merge the sandbox's own layers into one by hard links and return the new depth; may run while it lives.

        Other sandboxes on the old layers keep them; siblings flattened later share the merged layer. A chain that
        uses overlay features which cannot be merged (redirected directories, metadata-only copies) stays as it is.

        Raises:
            SandboxError: `disk_full`.
        """
        with contextlib.ExitStack() as stack, space():
            with self._lock:
                chain = self._chain(id)
                if len(chain.layers) < 2:
                    return len(chain.layers)
                layers = self._substituted(chain.layers)
                stack.enter_context(self._pinned((*chain.layers, *layers)))
            merged = layers[0] if len(layers) == 1 else self._merge(chain.image, layers)
            if merged is None:
                return len(chain.layers)
            with self._lock:
                stack.enter_context(self._pinned((merged,)))
                now = self._chain(id)
                added = len(now.layers) - len(chain.layers)
                if added < 0 or now.layers[added:] != chain.layers:
                    return len(now.layers)
                switched = Chain(now.image, (*now.layers[:added], merged))
                self._references.scan()
                write_file(self.directory(id) / CHAIN, switched.to_bytes())
                self._references.add(switched.layers)
                self._references.drop(now.layers)
                self._merged[chain.layers] = merged
            return len(switched.layers)

    def disk_bytes(self, id: str, *, enough: int | None = None) -> int:
        """Allocated bytes of the upper, hard links once; stops counting beyond `enough` or after many entries."""
        return measure(self.upper(id), enough=enough).allocated

    @property
    def reflink(self) -> bool:
        """Whether this state directory can share file extents, so that `copy` costs no data."""
        if self._reflink is None:
            self._reflink = reflink.supported(self._layout.journal)
        return self._reflink

    def recover(self) -> Recovery:
        """Complete or undo what a crash interrupted and throw away what belongs to nothing. Call before any use."""
        removed: list[str] = []
        with self._lock:
            completed, undone = self._forks.recover()
            self._ahead.clear()
            for directory in list(self._layout.sandboxes.iterdir()):
                if directory.name.startswith(".") or not _is_described(directory):
                    removed.append(directory.name)
                    self._layout.discard(directory)
            self._references.forget()
            for layer in list(self._layout.layers.iterdir()):
                if not self._references.needed(layer.name):
                    removed.append(layer.name)
                    self._layout.discard(layer)
            self._layout.trash.sweep()
            unreadable = sorted(self._references.unreadable)
        return Recovery(
            completed=tuple(completed),
            undone=tuple(undone),
            removed=tuple(sorted(removed)),
            unreadable=tuple(unreadable),
        )

    def drain(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until everything removed is really deleted; True if so."""
        return self._layout.trash.drain(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Let background deletion end, for at most `timeout` seconds; what remains is deleted at the next start."""
        self._layout.trash.close(timeout)

    def _chain(self, id: str) -> Chain:
        try:
            return Chain.read(self.directory(id) / CHAIN)
        except (UnreadableChain, FileNotFoundError) as error:
            raise SandboxError("lost", f"sandbox {id!r} cannot be read: {error}") from None

    def _lowers(self, chain: Chain) -> list[Path]:
        return [*(self._layout.layers / name for name in chain.layers), self._images.rootfs(chain.image).directory]

    def _refuse_existing(self, id: str) -> None:
        if ID.fullmatch(id) is None:
            raise SandboxError("path", f"not a sandbox id: {id!r}")
        if self.exists(id):
            raise SandboxError("exists", f"sandbox {id!r} exists already")

    def _stage(self, id: str, chain: Chain, files: Mapping[str, bytes] | None, *, sync: bool = True) -> Path:
        """A whole sandbox directory under a name that no sandbox can have."""
        staged = self._layout.sandboxes / f".{id}.{secrets.token_hex(4)}"
        os.mkdir(staged, 0o700)
        os.chmod(staged, self._layout.mode)
        try:
            self._layout.own_directory(staged / "upper", 0o755)
            self._layout.own_directory(staged / "work", 0o700)
            self._describe(staged, chain, files, sync=sync)
        except BaseException:
            self._layout.discard(staged)
            raise
        return staged

    def _describe(self, staged: Path, chain: Chain, files: Mapping[str, bytes] | None, *, sync: bool) -> None:
        for name, content in (files or {}).items():
            write_file(staged / name, content, sync=sync)
        write_file(staged / CHAIN, chain.to_bytes(), sync=sync)

    def _publish(self, staged: Path, id: str, chain: Chain) -> None:
        try:
            self._refuse_existing(id)
            self._references.scan()
            os.rename(staged, self._layout.sandboxes / id)
        except (OSError, SandboxError):
            self._layout.discard(staged)
            raise
        self._references.add(chain.layers)

    def _tree_copy(self, upper: Path, staged: Path) -> TreeCopy:
        spare = staged / "spare"
        os.mkdir(spare, 0o700)
        return TreeCopy(upper, staged / "upper", spare, share=self.reflink)

    def _merge(self, image: str, layers: tuple[str, ...]) -> str | None:
        """A new layer equal to these above their image; None if they cannot be merged."""
        below = self._images.rootfs(image).directory
        temporary = self._layout.layers / f".{secrets.token_hex(5)}"
        os.mkdir(temporary, 0o700)
        try:
            Merge([self._layout.layers / name for name in layers], below, temporary, prefix=self._prefix).run()
        except Unmergeable:
            self._layout.discard(temporary)
            return None
        except BaseException:
            self._layout.discard(temporary)
            raise
        with self._lock:
            name = self._layout.new_layer()
            rename_directory(temporary, self._layout.layers / name)
        return name

    def _substituted(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """The same layers with the longest tail that was merged before replaced by its merged layer."""
        for start in range(len(layers) - 1):
            merged = self._merged.get(layers[start:])
            if merged is not None:
                return (*layers[:start], merged)
        return layers

    @contextmanager
    def _pinned(self, layers: tuple[str, ...]) -> Iterator[None]:
        with self._lock:
            self._references.pin(layers)
        try:
            yield
        finally:
            with self._lock:
                self._references.unpin(layers)

    def _unused(self, layer: str) -> None:
        self._merged = {tail: merged for tail, merged in self._merged.items() if merged != layer}
        self._layout.discard(self._layout.layers / layer)


def _is_described(directory: Path) -> bool:
    """Whether a sandbox has a chain file with content; an empty one was never held, so nothing stood on it."""
    try:
        return os.stat(directory / CHAIN).st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _sync_files(directory: Path) -> None:
    with os.scandir(directory) as listing:
        for entry in listing:
            if entry.is_file(follow_symlinks=False):
                fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
