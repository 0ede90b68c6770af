"""What a provider's loop needs of the platform whose jobs it carries out, and how a platform says no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from skerry.island.provider.records import HostStatus, LogLine, Outcome, ProviderJob


class PlatformError(Exception):
    """The root; the message is written for the provider's owner."""


class PlatformUnavailable(PlatformError):
    """It cannot be reached, or is too busy: the same may go well later.

    Args:
        retry_after: seconds after which it may, where the platform said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PlatformRefused(PlatformError):
    """It said no, and will say so again: a wrong key, a job of somebody else's, one that is settled."""


class Platform(Protocol):
    """Where jobs come from and results go. Every call may be repeated, and may raise `PlatformError`."""

    async def heartbeat(self, status: HostStatus) -> None:
        """Say that the machine is there, and how it is."""

    async def claim(self) -> ProviderJob | None:
        """Take the next job, which counts as running from now on; None when there is none."""

    async def progress(self, job: ProviderJob, phase: str) -> None:
        """Say how far a job is: one of `PHASES`."""

    async def log(self, job: ProviderJob, lines: Sequence[LogLine]) -> None:
        """Add lines to a job's log, 500 at most."""

    async def endpoint_ready(self, job: ProviderJob, port: int) -> str:
        """Say that a serving job answers on a port of this machine; where renters reach it."""

    async def finish(self, job: ProviderJob, outcome: Outcome) -> None:
        """Report how a job went. Whatever was to be reported first stays: another outcome later changes nothing."""

    async def wanted(self, job: ProviderJob) -> bool:
        """Whether a job shall go on here: it is neither cancelled, settled, nor somebody else's by now."""

    async def going(self) -> list[ProviderJob]:
        """Jobs that this provider had claimed before it was started, and that are not over."""

    def reported(self, job: ProviderJob) -> Outcome | None:
        """What `finish` was told of this try of a job within the last hour, also before a crash."""

    async def let_go(self, job: ProviderJob) -> None:
        """Forget a job that is no longer wanted."""

    async def wait(self, seconds: float) -> None:
        """Return after so long, or as soon as there may be work."""
