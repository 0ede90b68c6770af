"""The processes around an agent: who lives, in which session, how to stop and signal them. Standard library only."""

from __future__ import annotations

import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Entry:
    """One line of the process table."""

    __slots__ = ("parent", "pid", "resident", "session", "state")

    def __init__(self, pid: int, state: str, parent: int, session: int, resident: int) -> None:
        self.pid = pid
        self.state = state
        self.parent = parent
        self.session = session
        self.resident = resident


def table() -> list[Entry]:
    """Every living process of the sandbox but the agent: all others for a PID 1, its descendants otherwise."""
    found: list[Entry] = []
    own = os.getpid()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == own:
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                line = file.read(1024)
        except OSError:
            continue
        # The command may contain anything, but only it can contain a parenthesis.
        fields = line[line.rfind(b")") + 2 :].split()
        if len(fields) > 21 and fields[0] not in (b"Z", b"X"):
            found.append(Entry(int(name), fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[21]) * _PAGE))
    return found if own == 1 else _descendants(own, found)


def _descendants(root: int, found: list[Entry]) -> list[Entry]:
    children: dict[int, list[Entry]] = {}
    for entry in found:
        children.setdefault(entry.parent, []).append(entry)
    reached: list[Entry] = []
    queue = [root]
    while queue:
        for entry in children.pop(queue.pop(), ()):
            reached.append(entry)
            queue.append(entry.pid)
    return reached


def signal_session(session: int, number: int, *, leader_gone: bool = False) -> int:
    """Signal every process of a session and return how many there were.

    Args:
        session: the id, which is its first process's id.
        number: the signal.
        leader_gone: that first process was seen to end. If one of that id lives, it is another's: nobody is signalled.
    """
    hit: set[int] = set()
    # A process may fork between the reading of the table and the signal; look again until nobody new shows up.
    for _ in range(50):
        members = [entry for entry in table() if entry.session == session]
        if leader_gone and any(entry.pid == session for entry in members):
            return 0
        fresh = [entry for entry in members if entry.pid not in hit]
        if not fresh:
            break
        for entry in fresh:
            hit.add(entry.pid)
            try:
                os.kill(entry.pid, number)
            except (ProcessLookupError, PermissionError):
                continue
        if number != signal.SIGKILL:
            break
    return len(hit)


def stop_all(alive: Callable[[], list[Entry]] = table) -> list[int]:
    """SIGSTOP every process until all stand still; returns those that were running, for `continue_all`."""
    stopped: list[int] = []
    for _ in range(1000):
        moving = [entry for entry in alive() if entry.state not in ("T", "t")]
        if not moving:
            break
        for entry in moving:
            try:
                os.kill(entry.pid, signal.SIGSTOP)
            except (ProcessLookupError, PermissionError):
                continue
            if entry.pid not in stopped:
                stopped.append(entry.pid)
        select.select([], [], [], 0.001)
    return stopped


def continue_all(stopped: list[int]) -> None:
    """SIGCONT what `stop_all` stopped, children first, so that no parent sees a stopped child."""
    for pid in sorted(stopped, reverse=True):
        try:
            os.kill(pid, signal.SIGCONT)
        except (ProcessLookupError, PermissionError):
            continue
