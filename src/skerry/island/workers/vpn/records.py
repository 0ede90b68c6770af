"""What is kept on disk about relays, so that the next server finds them: one directory each, and a last word.

`<id>/` holds `relay.json` (everything, credentials included, readable by the owner alone), `lock` (held by whatever of
the relay lives), `control` (the keeper's socket), `traffic` (its counts), `pids` and `log`. `ended/<id>.json` holds the
final counts of a relay that is gone, and nothing secret.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from skerry.island.workers.vpn.build import PIDS, SPEC, TRAFFIC
from skerry.island.workers.vpn.keeper import COUNTS
from skerry.island.workers.vpn.values import Traffic

_ENDED = "ended"
_LOCK = "lock"


class Records:
    """The state directory of all relays of one island.

    Args:
        directory: made when missing, for its owner alone.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory.resolve()
        (self.directory / _ENDED).mkdir(mode=0o700, exist_ok=True)

    def home(self, id: str) -> Path:
        """The relay's directory, made or not."""
        return self.directory / f"r-{id}"

    def ids(self) -> list[str]:
        """Relays that have a directory, complete or not, alive or not."""
        return sorted(path.name[2:] for path in self.directory.iterdir() if path.name.startswith("r-"))

    def ended_ids(self) -> list[str]:
        """Relays of which only the last word is left."""
        return sorted(path.stem for path in (self.directory / _ENDED).glob("*.json"))

    def write_spec(self, id: str, spec: dict[str, Any]) -> None:
        """Store everything about a relay; it exists from now on."""
        home = self.home(id)
        home.mkdir(mode=0o700, exist_ok=True)
        _write(home / SPEC, spec)

    def spec(self, id: str) -> dict[str, Any] | None:
        """What was stored; None for a relay that never got so far."""
        return _read(self.home(id) / SPEC)

    def traffic(self, id: str) -> Traffic:
        """What the keeper last wrote down, at most half a second before the end if it was killed."""
        try:
            data = (self.home(id) / TRAFFIC).read_bytes()
        except FileNotFoundError:
            data = b""
        return Traffic(*COUNTS.unpack(data)) if len(data) == COUNTS.size else Traffic()

    def pids(self, id: str) -> dict[str, int]:
        """Process ids by role; meaningful only while the lock is held."""
        return _read(self.home(id) / PIDS) or {}

    def acquire(self, id: str) -> int | None:
        """Take the relay's lock, as an inheritable descriptor; None while something of the relay lives.

        Raises:
            FileNotFoundError: the relay has no directory.
        """
        fd = os.open(self.home(id) / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def end(self, id: str, traffic: Traffic) -> None:
        """Write the last word; the counts are safe before anything of the relay is removed."""
        _write(self._last_word(id), {"received": traffic.received, "sent": traffic.sent})

    def ended(self, id: str) -> Traffic | None:
        """The last word."""
        said = _read(self._last_word(id))
        return None if said is None else Traffic(said["received"], said["sent"])

    def remove(self, id: str) -> None:
        """Remove the relay's directory."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.home(id))

    def forget(self, id: str) -> None:
        """Remove the last word."""
        self._last_word(id).unlink(missing_ok=True)

    def _last_word(self, id: str) -> Path:
        return self.directory / _ENDED / f"{id}.json"


def _write(path: Path, value: dict[str, Any]) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return value
