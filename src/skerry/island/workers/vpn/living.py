"""How the server speaks with what lives of a relay, and ends it. Synchronous; to be called in threads."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import skerry
from skerry.island.workers.vpn import uplinks
from skerry.island.workers.vpn.build import CONTROL, PIDS
from skerry.island.workers.vpn.records import Records
from skerry.island.workers.vpn.values import RelayError, Traffic

# Packages are made by hand, so that the keeper carries none of their other modules.
_BOOT = """
import sys, types
means = ["sandbox", "sandbox.linux", "sandbox.namespace", "workers", "workers.vpn"]
for name in ("skerry", "skerry.island", *("skerry.island." + name for name in means)):
    package = types.ModuleType(name)
    package.__path__ = [sys.argv[1] + "/" + name.replace(".", "/")]
    sys.modules[name] = package
import skerry.island.workers.vpn.build as build
build.main(sys.argv[2:])
"""
# Not for how long something takes, but for how long a busy machine may stand still.
_BUILD_SECONDS = 150.0
_ANSWER_SECONDS = 30.0
_END_SECONDS = 10.0
_PACKET = 1 << 18


def build(home: Path, lock: int, endpoint: Mapping[str, socket.socket]) -> None:
    """Have a relay made from its directory; it lives when this returns. The descriptors stay the caller's.

    Raises:
        RelayError: `failed`.
    """
    (home / PIDS).unlink(missing_ok=True)
    handed = {"lock": lock, **{name: one.fileno() for name, one in endpoint.items()}}
    source = str(Path(skerry.__file__).parent.parent)
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, source, str(home)]
    process = subprocess.Popen(
        [*command, *(f"{name}={fd}" for name, fd in handed.items())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=list(handed.values()),
        env={"PATH": uplinks.PATH, "LC_ALL": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
    )
    try:
        output, complaint = process.communicate(timeout=_BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RelayError("failed", f"the relay was not ready within {_BUILD_SECONDS:g} s") from None
    try:
        answer = json.loads(output)
    except ValueError:
        answer = {"error": complaint.decode(errors="replace").strip()[-400:] or "its builder ended without a word"}
    if "error" in answer:
        raise RelayError("failed", f"the relay could not be started: {answer['error']}")


def ask(home: Path, op: str, *, timeout: float = _ANSWER_SECONDS) -> dict[str, Any] | None:
    """One question to a relay's keeper; None when nobody answers in time.

    Args:
        home: the relay's directory.
        op: `status` or `stop`.
        timeout: seconds.
    """
    try:
        folder = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(timeout)
            # Its full path may be longer than a socket's address.
            connection.connect(f"/proc/self/fd/{folder}/{CONTROL}")
            connection.send(json.dumps({"op": op}).encode())
            packet = connection.recv(_PACKET)
        answer: dict[str, Any] | None = json.loads(packet) if packet else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(folder)
    return answer if answer is not None and "received" in answer else None


def end(records: Records, id: str, *, veth: bool) -> Traffic:
    """End what lives of a relay, keep its final counts, remove everything else. May be repeated, and interrupted.

    Args:
        records: where it is.
        id: which.
        veth: whether we are one who makes veth pairs, and so may have to remove one.

    Raises:
        RelayError: `failed`: something of it will not go.
    """
    home = records.home(id)
    said = records.ended(id)
    if home.is_dir():
        lock = _end_processes(records, id)
        try:
            if veth:
                uplinks.remove_veth(uplinks.tag(str(records.directory), id))
            if said is None:
                said = records.traffic(id)
                records.end(id, said)
            records.remove(id)
        except uplinks.UplinkError as error:
            raise RelayError("failed", str(error)) from None
        finally:
            os.close(lock)
    return said or Traffic()


def rest(records: Records, id: str, *, veth: bool) -> None:
    """End what lives of a relay and keep everything else, so that it can be built again. May be repeated.

    Args:
        records: where it is.
        id: which.
        veth: as for `end`.

    Raises:
        RelayError: `failed`: something of it will not go.
    """
    try:
        lock = _end_processes(records, id)
    except FileNotFoundError:
        # It was removed, perhaps just now: a start that is taken back goes on in its thread.
        return
    try:
        if veth:
            uplinks.remove_veth(uplinks.tag(str(records.directory), id))
    except uplinks.UplinkError as error:
        raise RelayError("failed", str(error)) from None
    finally:
        os.close(lock)


def _end_processes(records: Records, id: str) -> int:
    """Until nothing of the relay lives; returns its lock."""
    deadline = time.monotonic() + _BUILD_SECONDS + _END_SECONDS
    home = records.home(id)
    while (lock := records.acquire(id)) is None:
        if ask(home, "stop", timeout=1.0) is not None:
            lock = wait_for_lock(records, id, _END_SECONDS)
            if lock is not None:
                break
        keeper = records.pids(id).get("keeper")
        if keeper is not None:
            _kill(keeper, records, id)
        lock = wait_for_lock(records, id, 0.5)
        if lock is not None:
            break
        if time.monotonic() > deadline:
            raise RelayError("failed", f"the relay {id} does not end; its directory is {home}")
    _end_slirp(records.pids(id).get("slirp"))
    return lock


def wait_for_lock(records: Records, id: str, seconds: float) -> int | None:
    """The relay's lock, for which nothing of it must live any more; None when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while (lock := records.acquire(id)) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return lock


def _kill(pid: int, records: Records, id: str) -> None:
    """Kill the keeper, with it all its namespaces; never a process that got its number after it."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            lock = records.acquire(id)
            if lock is None:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            else:
                os.close(lock)
        finally:
            os.close(handle)


def _end_slirp(pid: int | None) -> None:
    """It ends by itself when its relay does; wait for that, and insist if need be."""
    if pid is None:
        return
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() != "slirp4netns":
                return
            if not select.select([handle], [], [], _END_SECONDS)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
