"""When the server program of a relay answers, and how many bytes it has moved: one way to ask per kind of program.

A gauge counts from zero each time its program starts, but for the interface's, which lives as long as the relay.
"""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Gauge(Protocol):
        """One way to ask."""

        restarts: bool
        """Whether its counts begin anew with the program."""

        def started(self) -> None:
            """The program was started, for the first time or again."""

        def ready(self) -> bool:
            """Whether it serves users now; asked often until it says yes, then no more."""

        def read(self) -> tuple[int, int] | None:
            """Bytes from the user and to the user; None when it does not answer just now."""


_PATIENCE = 2.0
_LONGEST = 65_536
_LISTENING, _BOUND = "0A", "07"


def gauge(plan: dict[str, Any]) -> Gauge:
    """The gauge that a relay's plan asks for."""
    if plan["kind"] == "wireguard":
        return WireGuardGauge(plan["socket"], plan["request"])
    if plan["kind"] == "openvpn":
        return OpenVpnGauge(plan["socket"])
    return InterfaceGauge(plan["interface"], plan["port"], udp=plan["udp"])


class WireGuardGauge:
    """Sets the interface up through its control socket, and reads the peer's counters there.

    They count what was authenticated: whole data and handshake messages, as `wg show transfer` prints them.
    """

    restarts = True

    def __init__(self, path: str, request: str) -> None:
        self._path = path
        self._request = request

    def started(self) -> None:
        # A socket left by the last life of the program would refuse, and the next one makes its own.
        if os.path.exists(self._path):
            os.unlink(self._path)

    def ready(self) -> bool:
        return parse_uapi(self._ask(self._request)).get("errno") == "0"

    def read(self) -> tuple[int, int] | None:
        values = parse_uapi(self._ask("get=1\n\n"))
        if values.get("errno") != "0":
            return None
        return int(values.get("rx_bytes", 0)), int(values.get("tx_bytes", 0))

    def _ask(self, request: str) -> str:
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_PATIENCE)
                connection.connect(self._path)
                connection.sendall(request.encode())
                while not answer.endswith(b"\n\n") and len(answer) < _LONGEST:
                    piece = connection.recv(_LONGEST)
                    if not piece:
                        break
                    answer += piece
        except OSError:
            return ""
        return answer.decode(errors="replace")


def parse_uapi(text: str) -> dict[str, str]:
    """An answer of WireGuard's control socket with at most one peer; numbers of bytes stay text.

    Example:
        >>> parse_uapi("rx_bytes=148\\ntx_bytes=92\\nerrno=0\\n\\n")["rx_bytes"]
        '148'
    """
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


class OpenVpnGauge:
    """Asks through the management interface: its state, and its load.

    The load counts datagrams of all clients since the program started, control messages included, and none of those
    that failed `tls-crypt`.
    """

    restarts = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: socket.socket | None = None

    def started(self) -> None:
        self._drop()
        if os.path.exists(self._path):
            os.unlink(self._path)

    def ready(self) -> bool:
        return any(",CONNECTED," in line for line in self._ask("state", "END"))

    def read(self) -> tuple[int, int] | None:
        for line in self._ask("load-stats", "SUCCESS:"):
            moved = parse_load(line)
            if moved is not None:
                return moved
        return None

    def _ask(self, command: str, last: str) -> list[str]:
        """Lines of the answer up to the one that starts with `last`; notices in between are skipped."""
        lines: list[str] = []
        try:
            if self._connection is None:
                self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._connection.settimeout(_PATIENCE)
                self._connection.connect(self._path)
            self._connection.sendall(f"{command}\n".encode())
            left = ""
            while len(left) < _LONGEST:
                piece = self._connection.recv(_LONGEST)
                if not piece:
                    raise ConnectionResetError
                *whole, left = (left + piece.decode(errors="replace")).split("\n")
                for line in (line.rstrip("\r") for line in whole):
                    if line.startswith(last):
                        return [*lines, line]
                    if not line.startswith(">"):
                        lines.append(line)
        except OSError:
            self._drop()
        return []

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def parse_load(line: str) -> tuple[int, int] | None:
    """Bytes in and out, from OpenVPN's answer to `load-stats`; None for any other line.

    Example:
        >>> parse_load("SUCCESS: nclients=1,bytesin=4711,bytesout=815")
        (4711, 815)
    """
    if not line.startswith("SUCCESS: nclients="):
        return None
    values = dict(part.split("=", 1) for part in line.removeprefix("SUCCESS: ").split(","))
    return int(values["bytesin"]), int(values["bytesout"])


class InterfaceGauge:
    """For proxies: ready when they listen; counted is the way out, where only users' traffic goes.

    What leaves for a destination came from the user, and what comes in from there goes to the user: packets with their
    IP headers, names looked up on the user's behalf included.
    """

    restarts = False

    def __init__(self, interface: str, port: int, *, udp: bool) -> None:
        self._interface = interface
        self._port = port
        self._udp = udp

    def started(self) -> None:
        pass

    def ready(self) -> bool:
        return listens(_text("/proc/net/tcp"), self._port, _LISTENING) and (
            not self._udp or listens(_text("/proc/net/udp"), self._port, _BOUND)
        )

    def read(self) -> tuple[int, int] | None:
        return parse_interface(_text("/proc/net/dev"), self._interface)


def listens(table: str, port: int, state: str) -> bool:
    """Whether a port is open, by the kernel's table of sockets (`/proc/net/tcp` or `udp`)."""
    wanted = f":{port:04X}"
    rows = (line.split() for line in table.splitlines()[1:])
    return any(row[1].endswith(wanted) and row[3] == state for row in rows)


def parse_interface(table: str, interface: str) -> tuple[int, int] | None:
    """Bytes sent and received by an interface, in this order, by `/proc/net/dev`."""
    for line in table.splitlines():
        name, colon, rest = line.partition(":")
        if colon and name.strip() == interface:
            values = rest.split()
            return int(values[8]), int(values[0])
    return None


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()
