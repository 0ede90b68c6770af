"""Jobs that wait for a node, in lines of those that need the same: the oldest of a line speaks for all behind it.

A job whose failed slots must rest before they are tried again stands in no line meanwhile.

A copy of what rows say, kept so that nobody reads every waiting job's row each time something happens. An entry too
many does no harm, for a job is given a node by its row alone; its row's every change is noted by `Progress.waits`.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from skerry.island.faces.dispersed.jobs.placement import Need

Turn = tuple[int, str]
"""When a job was created, and its UUID: its place in the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A waiting job.

    Args:
        turn: its place in the order.
        need: what one run of it asks for.
        assign_by: milliseconds since 1970; None while runs of it go on, whose other slots fail nothing.
    """

    turn: Turn
    need: Need
    assign_by: int | None


class Waiting:
    """Everybody who waits.

    Attributes:
        untold: jobs that have not been told yet why they wait.
    """

    def __init__(self) -> None:
        self.untold: set[str] = set()
        self._entries: dict[str, Entry] = {}
        self._lines: dict[Need, list[Turn]] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._rests: dict[str, int] = {}
        self._rested: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, job: Row[Any], need: Need) -> None:
        """Take a job in, or take note of how it has changed."""
        self.leave(job.uuid)
        pending = job.status == "PENDING"
        entry = Entry(turn=(job.created_at, job.uuid), need=need, assign_by=job.assign_by_ms if pending else None)
        self._entries[job.uuid] = entry
        self._line_up(entry)
        if entry.assign_by is not None:
            heapq.heappush(self._deadlines, (entry.assign_by, job.uuid))
        if pending:
            self.untold.add(job.uuid)

    def leave(self, uuid: str) -> None:
        """It waits no longer; nothing happens where it did not."""
        entry = self._entries.pop(uuid, None)
        if entry is None:
            return
        self.untold.discard(uuid)
        if self._rests.pop(uuid, None) is None:
            self._step_out(entry)

    def rest(self, uuid: str, until: int) -> None:
        """Take a job out of its line until a moment, microseconds since 1970; nothing where it does not wait."""
        entry = self._entries.get(uuid)
        if entry is None:
            return
        self.untold.discard(uuid)
        if uuid not in self._rests:
            self._step_out(entry)
        self._rests[uuid] = until
        heapq.heappush(self._rested, (until, uuid))

    def rested(self) -> int | None:
        """When the first of those who rest lines up again, microseconds since 1970."""
        while self._rested:
            until, uuid = self._rested[0]
            if self._rests.get(uuid) == until:
                return until
            heapq.heappop(self._rested)
        return None

    def line_up(self, now: int) -> None:
        """Let those stand in their lines again who have rested until now."""
        while (until := self.rested()) is not None and until <= now:
            _, uuid = heapq.heappop(self._rested)
            del self._rests[uuid]
            self._line_up(self._entries[uuid])
            if self._entries[uuid].assign_by is not None:
                self.untold.add(uuid)

    def _line_up(self, entry: Entry) -> None:
        insort(self._lines.setdefault(entry.need, []), entry.turn)

    def _step_out(self, entry: Entry) -> None:
        line = self._lines[entry.need]
        del line[bisect_left(line, entry.turn)]
        if not line:
            del self._lines[entry.need]

    def needs(self) -> list[Need]:
        """What is asked for, each once."""
        return list(self._lines)

    def need(self, uuid: str) -> Need | None:
        """What a job asks for; None when it does not wait."""
        entry = self._entries.get(uuid)
        return None if entry is None else entry.need

    def of(self, need: Need) -> list[str]:
        """Everybody in a line, the oldest first."""
        return [uuid for _, uuid in self._lines.get(need, ())]

    def in_turn(self, refused: set[Need]) -> Iterator[tuple[str, Need]]:
        """Jobs in the order of their age, leaving out lines as soon as what they need is in `refused`."""
        heads = [(line[0], number) for number, (need, line) in enumerate(self._lines.items()) if need not in refused]
        heapq.heapify(heads)
        needs = list(self._lines)
        at = [0] * len(needs)
        while heads:
            (_, uuid), number = heads[0]
            need = needs[number]
            if need not in refused:
                yield uuid, need
            line = self._lines[need]
            at[number] += 1
            if need in refused or at[number] >= len(line):
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (line[at[number]], number))

    def deadline(self) -> int | None:
        """When the first of them must have been given a node, microseconds since 1970."""
        while self._deadlines:
            assign_by, uuid = self._deadlines[0]
            entry = self._entries.get(uuid)
            if entry is not None and entry.assign_by == assign_by:
                return assign_by * 1_000
            heapq.heappop(self._deadlines)
        return None

    def met(self, now: int) -> None:
        """Deadlines up to now have been looked at; what came of them is noted as every change is."""
        while self._deadlines and self._deadlines[0][0] <= now // 1_000:
            heapq.heappop(self._deadlines)
