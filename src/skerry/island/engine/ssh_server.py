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
from skerry.island.engine.ssh_channels import Command, Tunnel

LOGIN_SECONDS = 30.0
MOST_PENDING = 64
MOST_CHANNELS = 32
# Each offer of a key asks twice, anything else once.
MOST_QUESTIONS = 24
_KEEPALIVE_SECONDS = 60.0
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
            self._pending[0].cancel()
        self._logins.add(login)
        try:
            await self._converse(login, link, task)
        finally:
            self._logins.discard(login)

    async def _converse(self, login: Login, link: Link, task: asyncio.Task[Any]) -> None:
        try:
            connection = await asyncssh.run_server(link.socket, options=self._options, server_factory=lambda: login)
        except (OSError, asyncssh.Error) as error:
            log.info("no login from %s: %s", link.peer, error)
            return
        finally:
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

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection = None

    def end(self, why: str) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, why)

    def begin_auth(self, username: str) -> bool:
        self.sandbox_id = self._given or username
        self._grants = self.fingerprint = None
        return True

    def public_key_auth_supported(self) -> bool:
        # Asked with every attempt, of whatever method, which makes it the place to count them.
        self._questions += 1
        if self._questions > MOST_QUESTIONS and self._connection is not None:
            log.info("too many attempts to log in from %s", self._link.peer)
            self._connection.disconnect(
                asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many authentication failures"
            )
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        grants = await self._server.grants(self.sandbox_id)
        found = ssh_keys.granted(grants.public_keys if grants else {}, key)
        self._grants, self.fingerprint = (grants, found) if found else (None, None)
        return found is not None

    def session_requested(self) -> Any:
        if not self._room():
            return False
        assert self._grants is not None
        return Command(self._server.sandboxes, self._grants, self._server.spawn, self._left)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
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
        return Tunnel(inside, lambda: sandboxes.touch(grants.sandbox_id), self._server.spawn, self._left)
