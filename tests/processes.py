"""What the kernel says of processes, in single looks: between two of them a process may have ended."""

from __future__ import annotations

from pathlib import Path


def state(pid: int) -> str:
    """The letter of what it does; X, as of one that is being removed, when there is none."""
    return _field(pid, 0) or "X"


def alive(pid: int) -> bool:
    """Whether it lives and is no zombie."""
    return state(pid) not in "ZX"


def began(pid: int) -> str:
    """When it was started, in ticks: others may have its number later. Nothing of one that is gone."""
    return _field(pid, 19)


def parent(pid: int) -> int:
    """Who is told of its end; 0 when it is gone."""
    return int(_field(pid, 1) or 0)


def children(pid: int) -> list[int]:
    """Those that it has started and that live."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [child for child in map(int, found) if alive(child)]


def asleep(pids: list[int]) -> bool:
    """Whether that is one process, which waits for something."""
    return len(pids) == 1 and state(pids[0]) == "S"


def command(pid: int) -> bytes:
    """Its program and arguments, each behind a NUL; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def every() -> list[int]:
    """All that this process can see."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _field(pid: int, number: int) -> str:
    """One of the fields behind its name in `/proc/PID/stat`."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[number]
    except (FileNotFoundError, ProcessLookupError):
        return ""
