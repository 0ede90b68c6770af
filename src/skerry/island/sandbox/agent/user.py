"""Starting a program as another user of the sandbox: `posix_spawn` cannot change ids, so the agent forks."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def spawn_as(
    user: list[int],
    path: str,
    argv: list[str],
    env: dict[str, str],
    actions: list[tuple[Any, ...]],
    reset: Iterable[int],
) -> int:
    """Start a program in a session of its own; returns its process id. For agents, which have one thread.

    Args:
        user: uid, gid, then further groups.
        path: the program.
        actions: `POSIX_SPAWN_DUP2` ones only, as for `posix_spawn`.
        reset: signals that get their default action again.

    Raises:
        OSError: it cannot be started.
    """
    told, telling = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            _become(user, path, argv, env, actions, reset, telling)
        os.close(telling)
        telling = -1
        error = os.read(told, 16)
    finally:
        os.close(told)
        if telling >= 0:
            os.close(telling)
    if error:
        os.waitpid(pid, 0)
        raise OSError(int(error), os.strerror(int(error)), path)
    return pid


def _become(
    user: list[int],
    path: str,
    argv: list[str],
    env: dict[str, str],
    actions: list[tuple[Any, ...]],
    reset: Iterable[int],
    telling: int,
) -> None:
    """In the child: never returns."""
    number = 0
    try:
        os.setsid()
        for _, source, target in actions:
            os.dup2(source, target)
        for output in (1, 2):
            # Programs open /dev/stdout and /dev/stderr by name, which asks for the right to.
            try:
                os.fchown(output, user[0], user[1])
            except OSError:
                continue
        for signal_number in reset:
            signal.signal(signal_number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setgroups(user[2:])
        os.setresgid(user[1], user[1], user[1])
        os.setresuid(user[0], user[0], user[0])
        os.execve(path, argv, env)  # noqa: S606
    except OSError as error:
        number = error.errno or 1
    except BaseException:
        number = 22
    finally:
        os.write(telling, str(number).encode())
        os._exit(127)
