"""Keeps one command of the test driver: starts it, stores its output, ends it in time, records its end."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The sandbox's own home stands for the one that the engine names.
HOME = b"/home/user"


def main(base: str) -> None:
    request = json.loads(Path(f"{base}.request").read_text())
    stdin = tempfile.TemporaryFile()  # noqa: SIM115
    stdin.write(bytes.fromhex(request["stdin"]))
    stdin.seek(0)
    eight = tempfile.TemporaryFile()  # noqa: SIM115
    files = request["files"].encode()
    eight.write(bytes.fromhex(request["state"] or "").replace(HOME, files))
    eight.seek(0)
    nine = os.memfd_create("state")
    os.fchmod(nine, 0o1600)
    cwd = request["files"] if request["cwd"] == HOME.decode() else request["cwd"]
    env = {name: value.replace(HOME.decode(), request["files"]) for name, value in request["env"].items()}

    # Here already, so that nothing that starting a program needs for itself gets one of these numbers.
    assert max(stdin.fileno(), eight.fileno(), nine) < 8
    os.dup2(eight.fileno(), 8)
    os.dup2(nine, 9)
    began = time.monotonic_ns()
    try:
        process = subprocess.Popen(
            request["argv"],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=open(f"{base}.out", "wb"),  # noqa: SIM115
            stderr=subprocess.STDOUT if request["merge_output"] else open(f"{base}.err", "wb"),  # noqa: SIM115
            pass_fds=[fd for fd, wanted in ((8, request["state"]), (9, request["keep_state"])) if wanted],
            start_new_session=True,
        )
    except OSError:
        record(base, request, began, 127, "not_found", None)
        known = Path(f"{base}.pid")
        temporary = known.with_suffix(".pid-part")
        temporary.write_text(json.dumps({"keeper": os.getpid(), "command": os.getpid()}))
        temporary.rename(known)
        return
    temporary = Path(f"{base}.pid-new")
    temporary.write_text(json.dumps({"keeper": os.getpid(), "command": process.pid}))
    temporary.rename(f"{base}.pid")
    ended_by, hard, heard = None, None, ""
    while process.poll() is None:
        now = time.monotonic_ns()
        asked = wish(base)
        if asked not in ("", heard):
            # Each wish counts, also after another one: the least patient is met.
            heard, until = asked, now + float(asked) * 1e9
            ended_by, hard = ended_by or "cancelled", until if hard is None else min(hard, until)
            os.killpg(process.pid, signal.SIGTERM)
        elif ended_by is None and request["timeout"] is not None and now - began > request["timeout"] * 1e9:
            ended_by, hard = "timeout", now + request["grace"] * 1e9
            os.killpg(process.pid, signal.SIGTERM)
        elif hard is not None and now > hard:
            os.killpg(process.pid, signal.SIGKILL)
            hard = None
        time.sleep(0.003)
    code = process.returncode
    if ended_by == "timeout":
        code, cause = 124, "timeout"
    elif ended_by == "cancelled":
        code, cause = 137 if code == -9 else 143, "cancelled"
    elif code < 0:
        code, cause = 128 - code, "signaled"
    else:
        cause = "exited"
    written = os.pread(nine, os.lseek(nine, 0, os.SEEK_CUR), 0)
    state = written.replace(files, HOME) if request["keep_state"] else None
    record(base, request, began, code, cause, state)


def wish(base: str) -> str:
    """The grace with which somebody wants its end, if anybody does: the file may be being written."""
    try:
        return Path(f"{base}.cancel").read_text()
    except FileNotFoundError:
        return ""


def record(base: str, request: dict, began: int, code: int, cause: str, state: bytes | None) -> None:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    sizes = [os.stat(f"{base}.{kind}").st_size for kind in ("out", "err")]
    content = {
        "exit_code": code,
        "cause": cause,
        "stdout_bytes": sizes[0],
        "stderr_bytes": sizes[1],
        "dropped_bytes": 0,
        "cpu_ns": round((usage.ru_utime + usage.ru_stime) * 1e9),
        "max_rss_bytes": usage.ru_maxrss * 1024,
        "wall_ns": time.monotonic_ns() - began,
        "state": None if state is None else state.hex(),
    }
    temporary = Path(f"{base}.json-new")
    temporary.write_text(json.dumps(content))
    temporary.rename(f"{base}.json")


main(sys.argv[1])
