"""Finding the island of a data directory, and starting one when there is none."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skerry.errors import ConfigurationError, ConnectionFailedError, DeadlineExceededError, ServerError
from skerry.island import environment, libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skerry.island.admin.client import Admin
    from skerry.networks.arker import Arker
    from skerry.networks.dispersed import Dispersed
    from skerry.networks.octaspace import OctaSpace

DEFAULT_PORT = 4242
START_DEADLINE = 180.0
IDLE_EXIT = 900.0
_ANSWER_SECONDS = 20.0
_SAYS = "skerry: "


@dataclass(frozen=True)
class Link:
    """A running island: where it is and how to be let in.

    Args:
        url: its address.
        pid: its process.
        version: of the server.
        started_at: RFC 3339.
        data_dir: what it works on.
        owner_key: for `/_island/v1`.
        keys: as in `credentials.json`.
        idle_exit: seconds of quiet after which it stops by itself; None for never.
        origins: whose pages may call it; None where its server does not tell.
    """

    url: str
    pid: int
    version: str
    started_at: str
    data_dir: Path
    owner_key: str = field(repr=False)
    keys: dict[str, str] = field(repr=False)
    idle_exit: float | None = None
    origins: frozenset[str] | None = None

    def base_url(self, network: str) -> str:
        """Where the face of a network answers."""
        return f"{self.url}/{network}"

    def networks(self) -> list[str]:
        """The networks it speaks."""
        return environment.networks(self.keys)

    def environment(self, network: str | None = None) -> dict[str, str]:
        """The variables that point clients at this island, of one network or of all.

        Raises:
            ConfigurationError: the island does not speak this network.
        """
        return environment.variables(self.url, self.keys, network)

    def client_settings(self, network: str) -> dict[str, Any]:
        """Arguments that bind a network's client to this island.

        Raises:
            ConfigurationError: the island does not speak this network.
        """
        return environment.client_settings(network, self.url, self.keys)

    def operator_settings(self, network: str) -> dict[str, Any]:
        """Further arguments with which a network's client may do what only the operator may; empty for most."""
        return {"admin_token": self.owner_key} if network == "dc1" else {}

    def arker(self) -> Arker:
        """A client of the Arker face."""
        from skerry.networks.arker import Arker

        return Arker(**self.client_settings("arker"), timeout=None)

    def dispersed(self) -> Dispersed:
        """A client of the Dispersed face.

        Raises:
            ConfigurationError: the island does not speak Dispersed.
        """
        from skerry.networks.dispersed import Dispersed

        return Dispersed(**self.client_settings("dispersed"))

    def octaspace(self) -> OctaSpace:
        """A client of the OctaSpace face.

        Raises:
            ConfigurationError: the island does not speak OctaSpace.
        """
        from skerry.networks.octaspace import OctaSpace

        return OctaSpace(**self.client_settings("octaspace"))

    def admin(self) -> Admin:
        """A client of the owner's API."""
        from skerry.island.admin.client import Admin

        return Admin(self.url, self.owner_key)


def data_dir(given: Path | None = None) -> Path:
    """The data directory: as given, from SKERRY_DATA_DIR, or the platform's."""
    if given is not None:
        return given.absolute()
    if text := os.environ.get("SKERRY_DATA_DIR"):
        return Path(text).absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("skerry"))


def read(directory: Path) -> Link:
    """What the files of a data directory say about its island.

    Raises:
        ConnectionFailedError: they say that none runs.
        ConfigurationError: they are another user's.
    """
    try:
        server = json.loads((directory / "server.json").read_text())
        return Link(
            url=server["url"],
            pid=server["pid"],
            version=server["version"],
            started_at=server["started_at"],
            data_dir=directory,
            owner_key=(directory / "owner.key").read_text().strip(),
            keys=json.loads((directory / "credentials.json").read_text())["keys"],
            idle_exit=server.get("idle_exit"),
            origins=frozenset(server["origins"]) if "origins" in server else None,
        )
    except PermissionError as error:
        raise foreign(error) from None
    except (FileNotFoundError, NotADirectoryError, KeyError, ValueError):
        raise ConnectionFailedError(f"no island runs on {directory}", outcome="not_sent", retryable=False) from None


def foreign(error: PermissionError) -> ConfigurationError:
    """The error to raise for a data directory that the system does not let us read."""
    return ConfigurationError(f"{error.filename} is another user's; set SKERRY_DATA_DIR to a directory of yours")


def find(directory: Path) -> Link | None:
    """The island that works on this directory, if one answers now."""
    try:
        link = read(directory)
    except ConnectionFailedError:
        return None
    # A server that has just followed a killed one may answer before it has replaced the other's file.
    return link if alive(link.pid) and _answers(link) else None


def _answers(link: Link) -> bool:
    from http.client import HTTPConnection, HTTPException

    # Asking with the owner's key tells our island from whatever else may listen on a recycled port; runs, because they
    # can be read whatever the disk's state.
    parts = urlsplit(link.url)
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=_ANSWER_SECONDS)
    with closing(connection):
        try:
            connection.request("GET", "/_island/v1/runs?limit=1", headers={"authorization": f"Bearer {link.owner_key}"})
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def holder(directory: Path) -> int | None:
    """The process that has the directory's lock open, answering or not.

    Raises:
        ConfigurationError: the directory is another user's.
    """
    lock = directory / "lock"
    try:
        pid = int(lock.read_text())
    except PermissionError as error:
        raise foreign(error) from None
    except (OSError, ValueError):
        return None
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    # The number in the file alone proves nothing: process ids are used again.
    for descriptor in descriptors:
        try:
            if descriptor.samefile(lock):
                return pid
        except OSError:
            continue
    return None


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {b"Z", b"X"}


def need(directory: Path) -> Link:
    """The running island, or an error that says how to start one."""
    link = find(directory)
    if link is None:
        raise ConnectionFailedError(f"no island runs on {directory}", outcome="not_sent", retryable=False)
    return link


def ensure(directory: Path, say: Callable[[str], None]) -> Link:
    """The running island, or one started in the background that leaves when idle."""
    link = find(directory)
    if link is not None:
        return link
    say(f"skerry: starting an island on {directory} (it stops by itself when idle for {IDLE_EXIT / 60:.0f} minutes)")
    return start(directory, port=_usual_port(), idle_exit=IDLE_EXIT)


def start(
    directory: Path,
    *,
    port: int,
    host: str | None = None,
    allow_remote: bool = False,
    origins: Sequence[str] = (),
    idle_exit: float | None = None,
) -> Link:
    """Start a server in a session of its own and wait until it answers.

    Args:
        directory: its data directory, made if missing; `server.log` there gets its output.
        port: TCP port, 0 for any free one.
        host: address to bind, loopback by default.
        allow_remote: needed for any other address.
        origins: whose pages may call it; empty for what its environment says.
        idle_exit: seconds of quiet after which it stops by itself; None for never.

    Raises:
        ConfigurationError: it refused to start; in its words.
        ServerError: it ended at once; the message carries the end of its log.
        DeadlineExceededError: it runs but does not answer.
    """
    libraries.require()
    from skerry.island.store.layout import explained

    log = directory / "server.log"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sink = open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))  # noqa: SIM115 - closed below
    except OSError as error:
        raise explained(error, directory) from None
    command = [sys.executable, "-m", "skerry.island.server", "--data-dir", str(directory), "--port", str(port)]
    if host:
        command += ["--host", host]
    if allow_remote:
        command += ["--allow-remote"]
    for origin in origins:
        command += ["--origin", origin]
    if idle_exit is not None:
        command += ["--idle-exit", str(idle_exit)]
    with sink:
        began_at = sink.tell()
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True, cwd="/"
        )

    deadline = time.monotonic() + START_DEADLINE
    pause = 0.02
    while time.monotonic() < deadline:
        status = server.poll()
        link = find(directory)
        if link is not None:
            return link
        if status is not None and holder(directory) is None:
            if refusal := _refusal(log, began_at):
                raise ConfigurationError(refusal)
            if not shutil.disk_usage(directory).free:
                # It could not even say so.
                raise explained(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), directory)
            raise ServerError(
                f"the island ended with status {status} at start; {log} ends with:\n{_tail(log, began_at)}"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    raise DeadlineExceededError(f"the island did not answer within {START_DEADLINE:.0f} s; see {log}")


def _usual_port() -> int:
    if text := os.environ.get("SKERRY_PORT"):
        try:
            return int(text)
        except ValueError:
            raise ConfigurationError(f"SKERRY_PORT={text!r} is not a number") from None
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            return 0
    return DEFAULT_PORT


def _refusal(log: Path, offset: int) -> str:
    """Why a server did not start, where it knew it itself."""
    said = [line for line in _written(log, offset) if line.startswith(_SAYS)]
    return said[-1].removeprefix(_SAYS) if said else ""


def _tail(log: Path, offset: int, lines: int = 12) -> str:
    return "\n".join(f"    {line}" for line in _written(log, offset)[-lines:]) or "    (nothing)"


def _written(log: Path, offset: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace").splitlines()
