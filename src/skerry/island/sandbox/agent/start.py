"""How an agent comes to be, whatever walls it gets: its zygote's life, and what a process does to become an agent."""

from __future__ import annotations

import array
import fcntl
import gc
import json
import os
import resource
import signal
import socket

from skerry.island.sandbox.linux import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FIRST_FD = 16


def serve(fd: int, build: Callable[[dict[str, Any], socket.socket, list[int], socket.socket], None]) -> None:
    """The life of a zygote: it has each request built that comes through the socket `fd`, until that ends.

    Args:
        fd: a connected socket.
        build: starts the process of an agent, given the request, the control socket, all descriptors (the first is the
            control socket's) and the socket that requests come through. What it raises is reported.
    """
    requests = socket.socket(fileno=fd)
    reset_signals()
    # Ended children then vanish by themselves.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    rename("skerry-zygote")
    gc.collect()
    gc.freeze()
    while True:
        packet, ancillary, _, _ = requests.recvmsg(131_072, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        control = socket.socket(fileno=fds[0])
        try:
            request = json.loads(packet)
            if request.get("big"):
                memory = fds.pop()
                request = json.loads(os.pread(memory, os.fstat(memory).st_size, 0))
                os.close(memory)
            build(request, control, list(fds), requests)
        except Exception as error:
            report(control, error)
        control.close()
        for descriptor in fds[1:]:
            os.close(descriptor)


def settle(fds: list[int]) -> list[int]:
    """Move the descriptors an agent keeps above 15, put /dev/null on 0 to 9 and close all others.

    Numbers below 10 are then free to be given to commands without ever meeting one of the agent's own.
    """
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD) for fd in fds]
    null = fcntl.fcntl(
        os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), fcntl.F_DUPFD_CLOEXEC, max(moved, default=15) + 1
    )
    os.closerange(0, _FIRST_FD)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in moved and int(name) != null:
            try:
                os.close(int(name))
            except OSError:
                continue  # the listing's own descriptor
    for number in range(10):
        os.dup2(null, number, inheritable=False)
    os.close(null)
    return moved


def reset_signals() -> None:
    """Undo what a shell or service manager may have told our ancestors to ignore."""
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # SIGKILL, SIGSTOP and those the C library keeps
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)


def confine_resources(limits: dict[str, int]) -> None:
    """Set resource limits (names of the `resource` module), as far as our own leave room."""
    for name, value in limits.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(number, (value, value))


def rename(title: str) -> None:
    """Show `title` instead of the command line, which would tell sandboxes paths of this machine."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
        sc.overwrite(int(fields[45]), int(fields[46]), title.encode())
        write("/proc/self/comm", title)
    except (OSError, IndexError):
        pass


def write(path: str, text: str) -> None:
    """Into a file that the kernel reads at once."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def report(control: socket.socket, error: BaseException) -> None:
    """Tell the server why there will be no sandbox."""
    try:
        failure = {"error": f"{type(error).__name__}: {error}", "errno": getattr(error, "errno", None)}
        control.send(json.dumps(failure).encode())
    except OSError:
        os._exit(1)
