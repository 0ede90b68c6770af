"""Writable layers of sandboxes: who stands on what, and constant-time forks that survive a kill at any point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skerry.island.sandbox.driver import ImageSource


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
    ) -> None: ...

    def create(self, id: str, image: str, *, files: Mapping[str, bytes] | None = None) -> None:
        """Make a sandbox with an empty upper on an image; `files` (name -> content) appear in its directory with it.

        Raises:
            SandboxError: `exists`, `unknown_image`.
        """

    def ids(self) -> list[str]:
        """Every sandbox on disk."""

    def exists(self, id: str) -> bool:
        """Whether the sandbox is there."""

    def directory(self, id: str) -> Path:
        """The sandbox's own directory. Raises SandboxError `unknown_sandbox`; so do all methods below."""

    def upper(self, id: str) -> Path:
        """Its writable layer."""

    def work(self, id: str) -> Path:
        """Overlay's work directory beside the upper; not for anything else."""

    def fresh_work(self, id: str) -> Path:
        """Replace the work directory by an empty one (after a `volatile` mount, which marks it) and return it."""

    def image(self, id: str) -> str:
        """Id of the image at the bottom."""

    def depth(self, id: str) -> int:
        """Number of the sandbox's own frozen layers, without its upper and without the image."""

    def lowers(self, id: str) -> list[Path]:
        """Lower directories, topmost first, the image's root directory last."""

    def hold(self, id: str) -> list[Path]:
        """The lowers, recorded as mounted until `release`, also over a restart of this process. Repeatable."""

    def release(self, id: str) -> None:
        """No overlay of this sandbox is mounted any more; harmless when none was."""

    def held(self, id: str) -> bool:
        """Whether `hold` is in force (perhaps from an earlier life: release it when no agent is found)."""

    def relayer(self, parent: str, child: str, *, files: Mapping[str, bytes] | None = None) -> None:
        """Fork an idle parent in constant time: its upper becomes a frozen layer under fresh uppers of both.

        An untouched upper is not frozen; then the child just shares the chain. Interrupted anywhere, `recover`
        (or, on an error, this call itself) completes it or takes it back, and nothing is lost.

        Raises:
            SandboxError: `exists` (child), `unsupported` (parent is held), `disk_full`.
        """

    def precopy(self, parent: str, child: str) -> bool:
        """Copy a *running* parent's upper ahead of the freeze, so that `copy` redoes only what changed since.

        False when it would not help or cannot be trusted (reflinks make the copy instant; file systems that do not
        stamp writes through memory maps). Dropped by `forget_copy`, `remove(child)` or `recover`.
        """

    def copy(
        self, parent: str, child: str, *, files: Mapping[str, bytes] | None = None
    ) -> Literal["reflink", "copy"]:
        """Fork a *frozen* parent by copying its upper as of now; the caller freezes before and thaws after.

        Raises:
            SandboxError: `exists` (child), `disk_full`.
        """

    def forget_copy(self, child: str) -> None:
        """Drop what `precopy` made for a child that will not be; harmless otherwise."""

    def remove(self, id: str) -> None:
        """Forget a sandbox and the layers only it used; returns at once, deletion goes on in the background."""

    def flatten(self, id: str) -> int:
        """Merge the sandbox's own layers into one by hard links and return the new depth; may run while it lives.

        Other sandboxes on the old layers keep them. A chain that uses overlay features which cannot be merged
        (redirected directories, metadata-only copies) is left as it is.
        """

    def disk_bytes(self, id: str, *, enough: int | None = None) -> int:
        """Allocated bytes of the upper, hard links once; stops counting beyond `enough` or after many entries."""

    @property
    def reflink(self) -> bool:
        """Whether this state directory can share file extents, so that `copy` costs no data."""

    def recover(self) -> Recovery:
        """Complete or undo what a crash interrupted and throw away what belongs to nothing. Call before any use."""

    def close(self, timeout: float = 5.0) -> None:
        """Let background deletion end, for at most `timeout` seconds; what remains is deleted at the next start."""
