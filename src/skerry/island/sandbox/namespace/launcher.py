"""Keeps the zygote running and hands it what is to be built."""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import skerry
from skerry.island.sandbox.handles.channel import LARGEST_PACKET, memory_file

# The packages are made by hand, so that none of their other modules is ever loaded into an agent's memory.
_BOOT = """
import sys, types
root, fd, zygote = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sandbox = "skerry.island.sandbox"
rooms = [sandbox + "." + room for room in ("agent", "linux", "namespace", "process")]
for name in ("skerry", "skerry.island", sandbox, *rooms):
    package = types.ModuleType(name)
    package.__path__ = [root + "/" + name.replace(".", "/")]
    sys.modules[name] = package
zygote = sandbox + "." + zygote
__import__(zygote)
sys.modules[zygote].main(fd)
"""
_STOP_SECONDS = 5.0


class Launcher:
    """One zygote, started on first use and again whenever it died.

    Args:
        zygote: the module of `sandbox` that it runs.
    """

    def __init__(self, zygote: str = "namespace.zygote") -> None:
        self._zygote = zygote
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = asyncio.Lock()

    async def build(self, request: dict[str, Any], fds: Sequence[int]) -> None:
        """Have a sandbox built; see the zygotes for the request. The descriptors stay the caller's.

        Raises:
            OSError: no zygote could be started.
        """
        packet = json.dumps(request, separators=(",", ":")).encode()
        extra: list[int] = []
        if len(packet) > LARGEST_PACKET:
            extra = [memory_file(packet)]
            packet = b'{"big":true}'
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*fds, *extra]))]
        try:
            async with self._lock:
                for attempt in (1, 2):
                    connection = await self._running()
                    try:
                        await self._send(connection, packet, ancillary)
                        return
                    except (BrokenPipeError, ConnectionResetError):
                        await self._stop()
                        if attempt == 2:
                            raise
        finally:
            for fd in extra:
                os.close(fd)

    async def _send(
        self, connection: socket.socket, packet: bytes, ancillary: list[tuple[int, int, array.array[int]]]
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection.sendmsg([packet], ancillary)
                return
            except BlockingIOError:
                ready = asyncio.Event()
                loop.add_writer(connection.fileno(), ready.set)
                try:
                    await ready.wait()
                finally:
                    loop.remove_writer(connection.fileno())

    async def _running(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        self._process, connection = await asyncio.to_thread(_start, self._zygote)
        self._socket = connection
        return connection

    @property
    def pid(self) -> int | None:
        """The zygote's process id, if it was started."""
        return None if self._process is None else self._process.pid

    async def stop(self) -> None:
        """End the zygote; what it built lives on."""
        async with self._lock:
            await self._stop()

    async def _stop(self) -> None:
        connection, self._socket = self._socket, None
        process, self._process = self._process, None
        if connection is not None:
            connection.close()
        if process is not None:
            await asyncio.to_thread(_end, process)


def _start(zygote: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        source = str(Path(skerry.__file__).parent.parent)
        command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, source, str(theirs.fileno()), zygote]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return process, ours


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
