"""One engine process: started, waited for, asked, ended. It ends with us, however we end."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import msgspec

from skerry.island.engine.errors import Unavailable
from skerry.island.workers.llm.client import EngineClient
from skerry.island.workers.llm.values import Launch, Order

log = logging.getLogger("skerry.llm")

_HEALTH_SECONDS = 0.25
_END_SECONDS = 30.0
_PORT_TRIES = 5
_KEPT_LINES = 200
_LONGEST_LINE = 1 << 16
# Memory may be in use as well.
_PORT_TAKEN = re.compile(r"\bbind\b|address already in use", re.IGNORECASE)
_COMPLAINT = re.compile(r"^\S+ E +(?:\S+ +\S+: +)?(.*)")


class EngineProcess:
    """A model being served; made by `start`.

    Attributes:
        order: what it serves.
        client: asks it.
        device: `cpu` or `cuda`.
        ended: done when the process has ended, with its status.
    """

    def __init__(
        self,
        order: Order,
        process: asyncio.subprocess.Process,
        said: asyncio.StreamReader | None,
    ) -> None:
        self.order = order
        self.client = EngineClient(_reached(order.host), order.port, api_key=order.api_key)
        self.device = "cpu"
        self._process = process
        self._said = said
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reading = asyncio.ensure_future(self._read())
        self.ended: asyncio.Future[int] = asyncio.ensure_future(self._wait())

    @classmethod
    async def start(cls, order: Order, launch: Launch, *, limit: float) -> EngineProcess:
        """Start a process, and return when it serves.

        Args:
            order: what it shall serve.
            launch: how.
            limit: seconds that it may take.

        Raises:
            Unavailable: it ended, or was not ready in time; the message has the reason.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE if launch.announces else asyncio.subprocess.STDOUT,
                env=launch.env,
                cwd=launch.cwd,
                limit=_LONGEST_LINE,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"the model's process cannot be started: {error}") from None
        found = cls(order, process, process.stderr if launch.announces else process.stdout)
        try:
            async with asyncio.timeout(limit):
                await found._become_ready(launch)
        except TimeoutError:
            await found.stop()
            raise Unavailable(f"{order.model.full_name} was not loaded within {limit:g} s") from None
        except BaseException:
            await found.stop()
            raise
        return found

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self.ended.done()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def complaint(self) -> str:
        """What it said last of what went wrong; empty when it said nothing."""
        said = [found[1].strip() for line in self._lines if (found := _COMPLAINT.match(line))]
        return (said[0] if said else next((line for line in reversed(self._lines) if line.strip()), ""))[:500]

    async def stop(self) -> None:
        """End the process, whatever it is doing."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self.ended), _END_SECONDS)
        except TimeoutError:
            self._kill()
            await asyncio.shield(self.ended)

    async def _become_ready(self, launch: Launch) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        if launch.told is not None:
            stdin.write(msgspec.json.encode(launch.told) + b"\n")
        self.device = launch.device
        if launch.announces:
            line = await stdout.readline()
            said = msgspec.json.decode(line) if line else {"error": ""}
            if "error" in said:
                await self._reading_done()
                raise Unavailable(f"{self.order.model.full_name} cannot be loaded: {self.complaint() or said['error']}")
            self.device = said["device"]
            port = int(said["ready"].rpartition(":")[2])
            self.client = EngineClient(_reached(self.order.host), port, api_key=self.order.api_key)
        while not await self.client.healthy():
            if not self.alive:
                await self._reading_done()
                raise Unavailable(f"{self.order.model.full_name} cannot be loaded: {self.complaint() or 'no word why'}")
            await asyncio.sleep(_HEALTH_SECONDS)

    async def _reading_done(self) -> None:
        await asyncio.wait([self._reading], timeout=_END_SECONDS)

    async def _read(self) -> None:
        """Take what it says, so that it never waits for us."""
        assert self._said is not None
        while True:
            try:
                line = await self._said.readline()
            except ValueError:
                continue  # a line beyond all bounds; the stream has passed over it
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._lines.append(text)
            log.debug("%s: %s", self.order.alias, text)

    async def _wait(self) -> int:
        status = await self._process.wait()
        await self._reading
        return status

    def _kill(self) -> None:
        try:
            self._process.kill()
        except ProcessLookupError:
            pass  # it was faster


async def started_at_free_port(order: Order, launch: Callable[[Order], Launch], *, limit: float) -> EngineProcess:
    """As `EngineProcess.start`, at a free port of the order's host; at another one where somebody takes that meanwhile.

    Args:
        order: what it shall serve, at no port yet.
        launch: how.
        limit: seconds that each try may take.
    """
    for left in reversed(range(_PORT_TRIES)):
        placed = replace(order, port=free_port(order.host))
        try:
            return await EngineProcess.start(placed, launch(placed), limit=limit)
        except Unavailable as error:
            if not left or _PORT_TAKEN.search(error.message) is None:
                raise
    raise AssertionError("the last try returns or raises")


def free_port(host: str) -> int:
    """A TCP port that nobody listens on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def new_key() -> str:
    """An API key that nobody can guess."""
    return secrets.token_urlsafe(32)


def _reached(host: str) -> str:
    """The address at which a process of this machine reaches what listens at another."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is not bound to
