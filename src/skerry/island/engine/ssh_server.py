"""The SSH server: logins by public key, each to one sandbox. Loads asyncssh; `ssh` imports it late.

Nothing of the SSH protocol's wider offer is had: no passwords, no agent, X11 or remote forwarding, no compression
(which would be one more parser before anybody has logged in).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from pathlib import Path
from typing import Any, Protocol

import asyncssh

from skerry.island.engine import ssh_keys
from skerry.island.engine.errors import EngineError
from skerry.island.engine.forwarding import CONNECT_SECONDS, Link
from skerry.island.engine.records import SshGrants
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.engine.ssh_channels import Command, Surroundings, Tunnel

LOGIN_SECONDS = 30.0
MOST_PENDING = 64
MOST_CHANNELS = 32
# Each offer of a key asks twice, anything else once.
MOST_QUESTIONS = 24
MOST_VARIABLES = 64
MOST_UNSENT = 1 << 20
# Three of them unanswered end a connection; a client that is merely stopped (^Z) is given that long.
_KEEPALIVE_SECONDS = 300.0
_HANG_UP_SECONDS = 5.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

log = logging.getLogger("skerry.engine.ssh")


class Grants(Protocol):
    """Who knows who may log in."""

    async def grants(self, sandbox_id: str) -> SshGrants | None:
        """The grants of a sandbox."""


class SshServer:
    """Serves connections that others have accepted.

    Args:
        grants: asked at every login.
        sandboxes: run what was asked for.
        directory: where the host key is kept.

    Attributes:
        public_key: of the server, in OpenSSH's one-line form.
    """

    def __init__(self, grants: Grants, sandboxes: Sandboxes, directory: Path) -> None:
        self.grants = grants.grants
        self.sandboxes = sandboxes
        key = ssh_keys.host_key(directory)
        self.public_key = ssh_keys.public_line(key)
        self.parse_public_key = ssh_keys.parse_public_key
        self._options = asyncssh.SSHServerConnectionOptions(
            server_host_keys=[key],
            server_version="Skerry",
            public_key_auth=True,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            x509_trusted_certs=None,
            agent_forwarding=False,
            x11_forwarding=False,
            line_editor=False,
            encoding=None,
            compression_algs=None,
            login_timeout=LOGIN_SECONDS,
            keepalive_interval=_KEEPALIVE_SECONDS,
        )
        self._pending: list[asyncio.Task[Any]] = []
        self._logins: set[Login] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        noisy = logging.getLogger("asyncssh")
        if noisy.level == logging.NOTSET:
            # It writes commands and user names into the log of whoever embeds an island.
            noisy.setLevel(logging.WARNING)

    async def serve(self, link: Link, sandbox_id: str | None) -> None:
        """Speak SSH on a connection until it ends; see `Ssh.serve`."""
        login = Login(self, sandbox_id, link)
        task = asyncio.current_task()
        assert task is not None
        self._pending.append(task)
        if len(self._pending) > MOST_PENDING:
            # Whoever has dallied longest makes room: a flood of silent clients locks nobody out who can log in at once.
            self._pending.pop(0).cancel()
        self._logins.add(login)
        try:
            await self._converse(login, link, task)
        finally:
            self._logins.discard(login)

    async def _converse(self, login: Login, link: Link, task: asyncio.Task[Any]) -> None:
        try:
            connection = await asyncssh.run_server(link.socket, options=self._options, server_factory=lambda: login)
        except Exception as error:
            # Whatever a stranger's bytes brought about in the library: one line, and nothing in it can be forged.
            log.info("no login from %s: %s", link.peer, ascii(error)[:200])
            return
        finally:
            if task in self._pending:
                self._pending.remove(task)
        log.info("%s logged in to %s with %s", link.peer, login.sandbox_id, login.fingerprint)
        try:
            await connection.wait_closed()
        finally:
            connection.abort()
            await connection.wait_closed()

    async def drop(self, sandbox_id: str, keep: Collection[str] = ()) -> None:
        """Hang up on those in a sandbox whose key is not one to `keep` (by fingerprint), or not known yet."""
        doomed = [it for it in self._logins if it.sandbox_id == sandbox_id and it.fingerprint not in keep]
        for login in doomed:
            login.end("no longer authorized")

    async def close(self) -> None:
        """End every connection, and wait until the commands have been told."""
        for login in list(self._logins):
            login.end("the island is stopping")
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_HANG_UP_SECONDS)
        await self.abandon()

    async def abandon(self) -> None:
        """Let go of every command at once."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that belongs to the server and that `close` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _FewVariables(dict[bytes, bytes]):
    """What a client has set for a command; more than `MOST_VARIABLES` are dropped."""

    def __setitem__(self, name: bytes, value: bytes) -> None:
        if name in self or len(self) < MOST_VARIABLES:
            super().__setitem__(name, value)


class Login(asyncssh.SSHServer):
    """One connection: who it is, and what it may open."""

    def __init__(self, server: SshServer, sandbox_id: str | None, link: Link) -> None:
        self._server = server
        self._link = link
        self._connection: asyncssh.SSHServerConnection | None = None
        self._questions = 0
        self._channels = 0
        self._given = sandbox_id
        self.sandbox_id = sandbox_id or ""
        self.fingerprint: str | None = None
        self._grants: SshGrants | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """The connection exists; nothing has been said yet."""
        self._connection = conn
        # asyncssh queues without bound for a client that does not read but grants wide windows or asks for replies.
        transport: Any = conn._transport
        transport.set_write_buffer_limits(high=MOST_UNSENT)

        def behind() -> None:
            self._writable.clear()
            transport.pause_reading()

        def caught_up() -> None:
            self._writable.set()
            transport.resume_reading()

        conn.pause_writing = behind  # type: ignore[method-assign]
        conn.resume_writing = caught_up  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._connection = None
        self._writable.set()

    def end(self, why: str) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, why)

    def begin_auth(self, username: str) -> bool:
        """Somebody says a name, perhaps not the first; every name needs a key."""
        self.sandbox_id = self._given or username
        self._grants = self.fingerprint = None
        return True

    def public_key_auth_supported(self) -> bool:
        """Yes, for so many questions."""
        # Asked with every attempt, of whatever method, which makes it the place to count them.
        self._questions += 1
        if self._questions > MOST_QUESTIONS and self._connection is not None:
            log.info("too many attempts to log in from %s", self._link.peer)
            self._connection.disconnect(
                asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many authentication failures"
            )
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether this key is granted; the same work for a name that nobody has."""
        grants = await self._server.grants(self.sandbox_id)
        found = ssh_keys.granted(grants.public_keys if grants else {}, key)
        self._grants, self.fingerprint = (grants, found) if found else (None, None)
        return found is not None

    def session_requested(self) -> Any:
        """A channel for a command, if there is room for one more."""
        if not self._room():
            return False
        assert self._grants is not None
        assert self._connection is not None
        channel = self._connection.create_server_channel()
        channel._env = _FewVariables()
        return channel, Command(
            self._server.sandboxes, self._grants, Surroundings(self._writable, self._server.spawn, self._left)
        )

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        """A channel into the sandbox's loopback (`direct-tcpip`), if there is room for one more."""
        if dest_host not in _LOOPBACK:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "only the sandbox's own loopback can be reached"
            )
        if not self._room():
            return False
        return self._dial(dest_port)

    def _room(self) -> bool:
        if self._grants is None or self._channels >= MOST_CHANNELS:
            return False
        self._channels += 1
        return True

    def _left(self) -> None:
        self._channels -= 1

    async def _dial(self, port: int) -> Tunnel:
        assert self._grants is not None
        grants, sandboxes = self._grants, self._server.sandboxes
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                inside = await sandboxes.dial(grants.account_id, grants.sandbox_id, port)
        except (EngineError, OSError) as error:
            self._left()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
        if self._connection is None:
            inside.close()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the client has left")
        return Tunnel(
            inside,
            lambda: sandboxes.touch(grants.sandbox_id),
            Surroundings(self._writable, self._server.spawn, self._left),
        )
