"""What an outside provider must know again after a crash: jobs that it claimed, and what it was about to report.

One file for each try of a job, replaced as a whole. What is to be reported is written before it is first sent and
never changed, so that whatever happens a job is reported in one way only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from skerry.island.provider.records import Outcome, ProviderJob
from skerry.island.provider.rooms import token

KEPT_SECONDS = 3_600.0
"""For which a settled job is remembered: claimed again, its first result is reported again (section 5.7)."""

log = logging.getLogger("skerry.provider")


class _Entry(msgspec.Struct):
    """One try of a job.

    Args:
        job: as claimed.
        outcome: what is reported, once that is known.
        settled_at: when the platform had it, seconds since 1970.
    """

    job: ProviderJob
    outcome: Outcome | None = None
    settled_at: float | None = None


_decoder = msgspec.json.Decoder(_Entry)


class Journal:
    """Entries of one provider.

    Args:
        directory: made if missing; nobody else writes there.
        now: the present moment.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._directory = directory
        self._now = now
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._entries: dict[str, _Entry] = {}
        for path in sorted(directory.glob("dc1-*.json")):
            try:
                self._entries[path.stem] = _decoder.decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError) as error:
                log.warning("%s cannot be read and is left alone: %s", path, error)
        self._forget()

    def going(self) -> list[ProviderJob]:
        """Jobs whose result the platform does not have, in the order in which they were claimed."""
        entries = [entry.job for entry in self._entries.values() if entry.settled_at is None]
        return sorted(entries, key=lambda job: (job.claimed_at or datetime.min.replace(tzinfo=UTC), job.id))

    def knows(self, job_id: str) -> bool:
        """Whether any try of a job is here."""
        return any(entry.job.job_id == job_id for entry in self._entries.values())

    def claimed(self, job: ProviderJob) -> None:
        """A job is ours from now on; nothing changes where that is known."""
        if token(job) not in self._entries:
            self._put(_Entry(job))

    def decided(self, job: ProviderJob, outcome: Outcome) -> Outcome:
        """Fix what is reported of a job; what was fixed before stays."""
        entry = self._entries.get(token(job)) or _Entry(job)
        if entry.outcome is None:
            entry.outcome = outcome
            self._put(entry)
        assert entry.outcome is not None
        return entry.outcome

    def settled(self, job: ProviderJob) -> None:
        """The platform has the result."""
        entry = self._entries.get(token(job))
        if entry is not None:
            entry.settled_at = self._now().timestamp()
            self._put(entry)
        self._forget()

    def outcome(self, job: ProviderJob) -> Outcome | None:
        """What is, or was lately, reported of a job."""
        self._forget()
        entry = self._entries.get(token(job))
        return None if entry is None else entry.outcome

    def drop(self, job: ProviderJob) -> None:
        """Forget a job."""
        self._entries.pop(token(job), None)
        self._path(token(job)).unlink(missing_ok=True)

    def _forget(self) -> None:
        limit = self._now().timestamp() - KEPT_SECONDS
        for name, entry in list(self._entries.items()):
            if entry.settled_at is not None and entry.settled_at < limit:
                del self._entries[name]
                self._path(name).unlink(missing_ok=True)

    def _put(self, entry: _Entry) -> None:
        name = token(entry.job)
        self._entries[name] = entry
        path = self._path(name)
        spare = path.with_suffix(".new")
        descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(entry))
        os.replace(spare, path)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"
