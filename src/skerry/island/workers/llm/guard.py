"""Runs a program that knows nothing of us, so that it and all that it starts end when we end.

    python -I -S guard.py PROGRAM [ARGUMENT...]

It ends everything when its standard input ends, when it is told to, or when whoever started it dies; and itself when
the program does. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_ROUNDS = 100


def main() -> None:
    """Run the program that the arguments name."""
    libc = ctypes.CDLL(None, use_errno=True)

    def set_option(option: int, value: int) -> None:
        libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3)

    # SIGTERM and not SIGKILL: there is something to be done.
    set_option(_PR_SET_PDEATHSIG, signal.SIGTERM)
    set_option(_PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _end(1))
    process = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: set_option(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - there are no threads yet
    )
    threading.Thread(target=_end_with_input, daemon=True).start()
    _end(process.wait() & 0xFF)


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    _end(0)


def _end(status: int) -> None:
    """Kill every descendant: they become our children as their parents die."""
    for _ in range(_ROUNDS):
        children = _children()
        if not children:
            break
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            except OSError:
                pass  # somebody else waited for it
    os._exit(status)


def _children() -> list[int]:
    found = []
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children") as file:
                found += [int(number) for number in file.read().split()]
        except OSError:
            continue
    return found


if __name__ == "__main__":
    main()
