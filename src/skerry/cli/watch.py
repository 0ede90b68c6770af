"""Following a run from the command line: live output, Ctrl-C, and the status to end with."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skerry.cli import exits, island_link
from skerry.cli.output import note
from skerry.errors import ConnectionFailedError

if TYPE_CHECKING:
    from skerry.cli.island_link import Link
    from skerry.island.admin.models import RunView

SECOND_CHANCE = 2.0
REATTACH = 30.0


@dataclass
class Watch:
    """One run being followed.

    Args:
        link: the island it runs on.
        sandbox_id: its sandbox.
        run_id: the run.
        collect: keep the output instead of printing it.
    """

    link: Link
    sandbox_id: str
    run_id: str
    collect: bool = False
    received: dict[str, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    offsets: dict[str, int] = field(default_factory=lambda: {"stdout": 0, "stderr": 0})
    detached: bool = False

    def follow(self) -> RunView | None:
        """Relay output until the run ends; None when the user detached.

        Raises:
            ConnectionFailedError: the island went away and did not come back in time; the run is on record there.
        """
        while True:
            try:
                return self._relay()
            except KeyboardInterrupt:
                if self._detach():
                    return None
            except ConnectionFailedError:
                self._reattach()

    def _relay(self) -> RunView:
        with self.link.admin() as admin:
            for event in admin.events(self.run_id, stdout=self.offsets["stdout"], stderr=self.offsets["stderr"]):
                if event.run is not None:
                    return event.run
                if event.stream is not None:
                    self._take(event.stream, event.data)
        raise ConnectionFailedError("the log stream ended before the run did", outcome="unknown")

    def _take(self, stream: str, data: bytes) -> None:
        self.offsets[stream] += len(data)
        if self.collect:
            self.received[stream] += data
            return
        sink = sys.stdout if stream == "stdout" else sys.stderr
        sink.buffer.write(data)
        sink.flush()

    def _detach(self) -> bool:
        """Give a second Ctrl-C its chance to cancel. True: detach; False: cancelled, watch it end."""
        try:
            note(f"\nskerry: detaching; press Ctrl-C again within {SECOND_CHANCE:.0f} s to cancel the run")
            threading.Event().wait(SECOND_CHANCE)
        except KeyboardInterrupt:
            with self.link.arker() as arker:
                arker.vm(self.sandbox_id).cancel_run(self.run_id)
            note("skerry: cancelled")
            return False
        self.detached = True
        note(f"skerry: detached; the run goes on in {self.sandbox_id}")
        note(f"  again:   skerry logs --follow {self.run_id}")
        note(f"  cancel:  skerry sandbox rm {self.sandbox_id}")
        return True

    def _reattach(self) -> None:
        note("skerry: lost the island; the run is on record there, looking for it again")
        deadline = time.monotonic() + REATTACH
        while time.monotonic() < deadline:
            link = island_link.find(self.link.data_dir)
            if link is not None:
                self.link = link
                return
            time.sleep(0.25)
        raise ConnectionFailedError(
            f"the island on {self.link.data_dir} went away; `skerry up --detach`, "
            f"then `skerry logs --follow {self.run_id}`",
            outcome="unknown",
        )


def status_of(run: RunView) -> int:
    """The exit status to pass through."""
    if run.exit_code is None or run.exit_code < 0:
        note(f"skerry: the run was lost ({run.cause or run.state})")
        return exits.UNREACHABLE
    return run.exit_code


def summary(run: RunView) -> str:
    """One line about a run that has ended."""
    parts = [f"exit {run.exit_code}" if run.cause in (None, "exited") else f"{run.cause}, exit {run.exit_code}"]
    if run.duration_seconds is not None:
        parts.append(f"{run.duration_seconds:.3f} s")
    if run.cost is not None:
        parts.append(f"{run.cost.amount} {run.cost.currency}")
    if run.dropped_bytes:
        parts.append(dropped(run))
    return ", ".join(parts)


def dropped(run: RunView) -> str:
    """How much of the output is missing."""
    return f"{run.dropped_bytes} bytes of output beyond the limit were dropped"


def run_json(run: RunView, watch: Watch | None = None) -> dict[str, Any]:
    """A run as JSON data, with its collected output where there is some."""
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(run)
    if watch is not None:
        for stream, content in watch.received.items():
            text, encoding = encoded(bytes(content))
            data[stream], data[f"{stream}_encoding"] = text, encoding
    return data


def encoded(data: bytes) -> tuple[str, str]:
    """Bytes as text where they are UTF-8, else as base64, with the name of which."""
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        import base64

        return base64.b64encode(data).decode(), "base64"
