"""Starting programs from inside the agent: where they are, what they are held to, why they cannot be started."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat

from skerry.island.sandbox.agent.refusal import Refusal
from skerry.island.sandbox.agent.user import spawn_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RESET = (signal.SIGPIPE, signal.SIGXFSZ)
_NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.E2BIG)
_BOUNDS = range(16)


class NotStarted(Exception):
    """A program that cannot be started; `code` is what a shell would say of it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Spawner:
    """Starts every program of one agent, each in a session of its own.

    Args:
        oom_adjust: our own `/proc/self/oom_score_adj`, open for writing, or None.
        soft_files: descriptors that a command may have open, where that is fewer than the agent itself needs.
    """

    def __init__(self, *, oom_adjust: int | None = None, soft_files: int | None = None) -> None:
        self._oom_adjust = oom_adjust
        self._soft_files = soft_files

    def spawn(self, request: dict[str, Any], actions: list[tuple[Any, ...]]) -> int:
        """Start what a request asks for (`argv`, `env`, `cwd`, perhaps `user`); the process id.

        Raises:
            NotStarted: there is no such program or directory, or it may not be executed.
            Refusal: `limits` when there is no room for another process; `unsupported`.
        """
        argv, env, user = request["argv"], request["env"], request.get("user")
        try:
            os.chdir(request["cwd"])
        except (OSError, ValueError) as error:
            raise NotStarted(127, f"cannot enter {request['cwd']}: {_why(error)}") from None
        if self._oom_adjust is not None:
            # The kernel shall take a command, not the agent, when memory runs out; children inherit the figure.
            os.write(self._oom_adjust, b"500")
        hard = 0
        if self._soft_files is not None:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._soft_files, hard))
        try:
            path = locate(argv[0], env)
            try:
                return _posix_spawn(path, argv, env, actions, user)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                return _posix_spawn("/bin/sh", ["/bin/sh", path, *argv[1:]], env, actions, user)
        except ValueError as error:
            raise Refusal("unsupported", str(error)) from None
        except (FileNotFoundError, NotADirectoryError):
            raise NotStarted(127, f"{argv[0]}: command not found") from None
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise Refusal("limits", f"cannot start {argv[0]}: {error.strerror}") from None
            raise NotStarted(126, f"{argv[0]}: {error.strerror}") from None
        finally:
            if self._soft_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            if self._oom_adjust is not None:
                os.write(self._oom_adjust, b"0")
            os.chdir("/")


def locate(name: str, env: dict[str, str]) -> str:
    """The program a name stands for, in the PATH of the command's own environment. Raises FileNotFoundError."""
    if "/" in name:
        return name
    for directory in env.get("PATH", _DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            found = os.stat(path)
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o111:
            return path
    raise FileNotFoundError(errno.ENOENT, name)


def circumstances(request: dict[str, Any]) -> tuple[object, ...]:
    """What a program that is started now would find, besides what the request says: itself, and its bounds.

    Raises:
        OSError: there is no such program.
    """
    program = os.stat(locate(request["argv"][0], request["env"]))
    identity = (program.st_dev, program.st_ino, program.st_size, program.st_mtime_ns, program.st_ctime_ns)
    return identity, *map(resource.getrlimit, _BOUNDS)


def _posix_spawn(
    path: str, argv: list[str], env: dict[str, str], actions: list[tuple[Any, ...]], user: list[int] | None
) -> int:
    if user is not None:
        return spawn_as(user, path, argv, env, actions, _RESET)
    return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_RESET)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
