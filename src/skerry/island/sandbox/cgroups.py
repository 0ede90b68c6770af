"""Control groups of sandboxes: version 2, version 1, both halves of a hybrid machine, or honestly none."""

from __future__ import annotations

from skerry.island.sandbox.spec import Limits


class Cgroup:
    """The control group of one sandbox; with backend `none` every method works and says it knows nothing.

    All calls are synchronous; those with a `timeout` may take that many seconds, the others well under a millisecond.
    """

    id: str
    active: tuple[str, ...]
    """Which of `cpu`, `memory`, `pids`, `freezer` are really enforced here."""

    def add(self, pid: int) -> None:
        """Move a process (all its threads) in; its later children follow. Raises ProcessLookupError if it is gone."""

    def pids(self) -> list[int]:
        """Ids of the processes in it, as seen from here; empty for `none`."""

    def freeze(self, timeout: float = 2.0) -> bool:
        """Stop every process; False (and everything running) if that did not happen in `timeout` seconds."""

    def thaw(self) -> None:
        """Let them run again."""

    def kill(self, timeout: float = 5.0) -> bool:
        """SIGKILL every process until none is left; False if some outlived `timeout` seconds."""

    def update(self, limits: Limits) -> None:
        """Put new limits in force at once.

        Raises:
            SandboxError: `limits`, if the kernel refuses (such as less memory than is in use); the old ones stay.
        """

    def oom_kills(self) -> int | None:
        """Processes killed here for lack of memory, so far."""

    def memory_bytes(self) -> int | None:
        """Memory charged now, page cache included."""

    def cpu_ns(self) -> int | None:
        """Processor time used, by ended processes too."""

    def remove(self, timeout: float = 2.0) -> bool:
        """Drop the group once it is empty, waiting at most `timeout` seconds; True if it is gone."""


class Cgroups:
    """Where sandboxes' control groups are made on this machine: `<hierarchy>/<name>/<scope>/<id>`.

    Only groups below `<name>/<scope>` are ever touched.
    """

    backend: str
    """`v2`, `v1` or `none`."""
    active: tuple[str, ...]
    """What groups made here enforce: some of `cpu`, `memory`, `pids`, `freezer`."""
    missing: tuple[tuple[str, str], ...]
    """What they do not, with the reason, for `Barriers.missing`."""

    @classmethod
    def detect(cls, scope: str, name: str = "skerry") -> Cgroups:
        """Find out by trying what can be made here; `scope` keeps islands apart (`[A-Za-z0-9_-]{1,64}`)."""

    def create(self, id: str, limits: Limits) -> Cgroup:
        """Make a group with limits; an empty leftover of the same id is replaced.

        Raises:
            SandboxError: `exists` (processes live in it), `limits` (the kernel refuses them).
        """

    def find(self, id: str) -> Cgroup | None:
        """The group made earlier, also by an earlier life of this island."""

    def ids(self) -> list[str]:
        """Every group of this scope."""

    def close(self) -> None:
        """Remove the scope's directories if no group is left in them."""
