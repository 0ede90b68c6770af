"""How soon a thread is let run once there is something for it to do, where others keep every processor busy.

A run passes from one process to the next half a dozen times, each of which sleeps until then. Since Linux 6.12 a thread
may ask for short turns: it gets no more of the processor than before, but gets it at once when it wakes. Older kernels
take no notice.
"""

from __future__ import annotations

import ctypes
import os
import struct

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}.get(os.uname().machine)
_ATTR = struct.Struct("=IIQiIQQQ")
_RESET_ON_FORK = 0x01
_TURN_NS = 100_000


def be_prompt() -> bool:
    """Ask for short turns of the processor for the calling thread, not for what it starts.

    Nothing is asked for where the owner has chosen a priority; False then, and when the kernel refuses.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    # What a favoured thread starts would lose that favour too.
    if _SCHED_SETATTR is None or nice < 0 or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    wish = _ATTR.pack(_ATTR.size, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, _TURN_NS, 0, 0)
    result: int = ctypes.CDLL(None).syscall(ctypes.c_long(_SCHED_SETATTR), ctypes.c_long(0), wish, ctypes.c_long(0))
    return result == 0
