"""Making an environment for a program: a Python to begin with, steps that say why they failed, a whole directory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.island.engine.errors import Conflict, Unsupported
from skerry.island.images.staging import remove_tree

_ABOUT = "import json, sys; print(json.dumps([*sys.version_info[:2], sys.executable, sys.base_prefix]))"
_ASK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """An interpreter that runs.

    Args:
        version: major and minor number.
        executable: absolute path.
        home: what its standard library belongs to.
    """

    version: tuple[int, int]
    executable: str
    home: str


def examine(name: str) -> Python | None:
    """What an interpreter says of itself; None if it does not run."""
    try:
        answer = subprocess.run(
            [name, "-I", "-c", _ABOUT], capture_output=True, timeout=_ASK_SECONDS, check=True, text=True
        )
        major, minor, executable, home = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Python(version=(major, minor), executable=executable, home=home)


def step(
    *command: str,
    failing: str,
    limit: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    reason: Callable[[list[str]], str] = lambda lines: lines[-1],
) -> str:
    """Run a step; its output. What it makes can be read by the sandboxes' users, whatever our umask is.

    Args:
        command: program and arguments.
        failing: what to say when it fails, before its own reason.
        limit: seconds that it may take.
        cwd: where it runs.
        env: its whole environment.
        reason: finds that in the lines, at least one, that a failed one has written; its last line by default.

    Raises:
        Unsupported: it failed.
    """
    with _held_back() as let_through:
        try:
            # Its own session: whatever it starts ends with it. What `whole` has locked, it and they keep locked.
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                umask=0o022,
                cwd=cwd,
                env=env,
                start_new_session=True,
                close_fds=False,
            )
        except OSError as error:
            raise Unsupported(f"{failing}: {error}") from None
        with child:
            try:
                let_through()
                output, told = child.communicate(timeout=limit)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Unsupported(f"{failing}: {error}") from None
                raise
    if child.returncode:
        lines = [line for line in (told + output).splitlines() if line.strip()]
        raise Unsupported(f"{failing}: {reason(lines) if lines else f'status {child.returncode}'}")
    return output


@contextmanager
def _held_back() -> Iterator[Callable[[], None]]:
    """Signals that end us have no effect until what is yielded is called, or the block has ended.

    Otherwise one that comes while a step is started would leave it running, known to nobody.
    """
    waiting: list[int] = []
    usual: dict[signal.Signals, Any] = {}

    def let_through() -> None:
        while usual:
            signal.signal(*usual.popitem())
        while waiting:
            signal.raise_signal(waiting.pop())

    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if callable(handler := signal.getsignal(number)):
                    usual[number] = handler
                    signal.signal(number, lambda number, _: waiting.append(number))
        yield let_through
    finally:
        let_through()


@contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """A fresh, empty directory to make something in; it takes the place of `directory` when the block ends well.

    Until then what is there stays, and what a killed maker left is removed.

    Raises:
        Conflict: another makes it now, or steps of a killed one still run.
    """
    directory, fresh, old = _places(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    lock = _claim(fresh)
    try:
        if os.path.lexists(old) and not os.path.lexists(directory):
            old.rename(directory)
        _remove(old)
        yield fresh
        if os.path.lexists(directory):
            directory.rename(old)
        try:
            fresh.rename(directory)
        except OSError:
            if os.path.lexists(old):
                old.rename(directory)
            raise
        _remove(old)
    except BaseException:
        _remove(fresh)
        raise
    finally:
        os.close(lock)


def unmake(directory: Path) -> bool:
    """Remove what `whole` has made, and what its killed makers left; whether anything was there.

    Raises:
        Conflict: it is being made now.
    """
    directory, fresh, old = _places(directory)
    if not any(os.path.lexists(path) for path in (directory, fresh, old)):
        return False
    lock = _claim(fresh)
    try:
        for path in (directory, old, fresh):
            _remove(path)
    finally:
        os.close(lock)
    return True


def _places(directory: Path) -> tuple[Path, Path, Path]:
    directory = Path(os.path.abspath(directory))
    return directory, directory.with_name(f"{directory.name}.new"), directory.with_name(f"{directory.name}.old")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        remove_tree(path)


def _claim(fresh: Path) -> int:
    """Make an empty directory that nobody else uses; what keeps it locked, inherited by steps."""
    while True:
        fresh.mkdir(exist_ok=True)
        try:
            lock = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its maker may have finished between the opening and the locking.
            if not os.path.lexists(fresh) or not os.path.samestat(os.fstat(lock), fresh.stat()):
                os.close(lock)
                continue
            for path in fresh.iterdir():
                _remove(path)
            os.fchmod(lock, 0o755)
            os.set_inheritable(lock, True)
        except BlockingIOError:
            os.close(lock)
            text = (
                f"another command, or what a killed one has started, still works in {fresh}; wait until that has ended"
            )
            raise Conflict(text) from None
        except BaseException:
            os.close(lock)
            raise
        return lock
