"""Who may log in to sandboxes, and the one SSH server that lets them in.

The entrance opens when the first sandbox can be logged in to, and asyncssh is loaded when somebody comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.island.engine.core import Core
from skerry.island.engine.errors import Invalid, NotFound
from skerry.island.engine.forwarding import Address, Forwarder, Link, bound
from skerry.island.engine.records import SshGrants
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.engine.shell import is_name
from skerry.island.store import grants as rows
from skerry.island.store.layout import write_private

if TYPE_CHECKING:
    from skerry.island.engine.ssh_server import SshServer

MOST_CONNECTIONS = 256
MOST_KEYS = 64

log = logging.getLogger("skerry.engine.ssh")


class Ssh:
    """Grants, and the common entrance, where a sandbox is named by the user name.

    Args:
        core: settings, store, clock.
        sandboxes: where what was asked for is run.
    """

    def __init__(self, core: Core, sandboxes: Sandboxes) -> None:
        self._core = core
        self._sandboxes = sandboxes
        self._forwarder: Forwarder[str] = Forwarder(core.clock, most=MOST_CONNECTIONS, most_each=MOST_CONNECTIONS)
        self._server: SshServer | None = None
        self._may_log_in: Callable[[str, Address], bool] = lambda sandbox_id, peer: True
        self._opening = asyncio.Lock()
        self._directory = core.settings.data_dir / "ssh"
        sandboxes.on_removed(self._removed)

    @property
    def address(self) -> tuple[str, int] | None:
        """(host, port) of the common entrance; None while nobody can log in, or without an SSH server."""
        port = self._forwarder.port("entrance")
        return None if port is None else (self._core.settings.host, port)

    async def host_key(self) -> str:
        """The server's public key in OpenSSH's one-line form, for a `known_hosts` file."""
        return (await self._loaded()).public_key

    @property
    def connections(self) -> int:
        """How many there are through the common entrance now."""
        return self._forwarder.connections

    def limit(self, may_log_in: Callable[[str, Address], bool]) -> None:
        """Ask somebody from where a sandbox (by its id) may be logged in to through the common entrance."""
        self._may_log_in = may_log_in

    def admits(self, sandbox_id: str, peer: Address) -> bool:
        """Whether somebody at an address may try the common entrance to a sandbox."""
        return self._may_log_in(sandbox_id, peer)

    async def start(self) -> None:
        """Open the entrance if anybody may log in."""
        if await self._core.store.read(rows.any_at_all):
            await self._open()

    async def close(self) -> None:
        """Refuse newcomers, hang up on everybody, and wait until their commands have been told."""
        await self._forwarder.close()
        if self._server is not None:
            await self._server.close()

    async def abandon(self) -> None:
        """For tests: let go of everything at once, as SIGKILL does."""
        if self._server is not None:
            await self._server.abandon()
        await self._forwarder.close()

    async def authorize(
        self,
        account_id: str,
        sandbox_id: str,
        public_keys: Sequence[str],
        *,
        metered: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> SshGrants:
        """Let the holders of these keys, and nobody else, log in to a sandbox; whoever no longer may is hung up on.

        Args:
            account_id: owner.
            sandbox_id: which.
            public_keys: OpenSSH public keys, at most 64; none ends every login.
            metered: charge what is run by the second; False where the face charges for the sandbox as a whole.
            env: variables of every command beside the sandbox's own.

        Raises:
            NotFound: no such sandbox. Invalid: no public key, or impossible variables.
        """
        if len(public_keys) > MOST_KEYS:
            raise Invalid(f"at most {MOST_KEYS} keys can log in to a sandbox")
        for name, value in (env or {}).items():
            if not is_name(name) or "\0" in value:
                raise Invalid(f"{name!r} cannot be an environment variable")
        keys: dict[str, str] = {}
        if public_keys:
            parse = (await self._loaded()).parse_public_key
            keys = dict(map(parse, public_keys))
        grants = SshGrants(
            sandbox_id=sandbox_id, account_id=account_id, public_keys=keys, metered=metered, env=dict(env or {})
        )
        if not await self._core.store.run(rows.replace, grants, self._core.now()):
            raise NotFound(f"there is no sandbox {sandbox_id}")
        if keys:
            await self._open()
        if self._server is not None:
            await self._server.drop(sandbox_id, keep=keys)
        return grants

    async def check(self, public_keys: Sequence[str]) -> None:
        """Refuse what is no OpenSSH public key.

        Raises:
            Invalid: with the reason.
        """
        if public_keys:
            parse = (await self._loaded()).parse_public_key
            for key in public_keys:
                parse(key)

    async def grants(self, sandbox_id: str) -> SshGrants | None:
        """Who may log in to a sandbox; None for nobody."""
        return await self._core.store.read(rows.of_sandbox, sandbox_id)

    async def serve(self, link: Link, sandbox_id: str | None = None) -> None:
        """Speak SSH on a connection until it ends.

        Args:
            link: the connection.
            sandbox_id: which sandbox it is for, whatever the user name; None takes it from the user name.
        """
        if self._core.settings.ssh_port is None:
            return
        link.last = None  # the server has keep-alives of its own
        await (await self._loaded()).serve(link, sandbox_id)

    async def _open(self) -> None:
        """Open the common entrance; without it, published ports still lead to the server."""
        settings = self._core.settings
        async with self._opening:
            if settings.ssh_port is None or self.address is not None or self._core.closing:
                return
            remembered = self._directory / "port"
            before = 0
            if settings.ssh_port == 0:
                with contextlib.suppress(OSError, ValueError):
                    before = int(await asyncio.to_thread(remembered.read_text))
            for port in dict.fromkeys((settings.ssh_port or before, settings.ssh_port)):
                try:
                    listener = await bound(settings.host, port, allow_remote=settings.allow_remote)
                except (OSError, OverflowError) as error:
                    log.warning("the SSH server cannot listen on %s:%s: %s", settings.host, port, error)
                    continue
                self._forwarder.listen("entrance", listener, self.serve)
                if settings.ssh_port == 0:
                    await asyncio.to_thread(self._remember, remembered, listener.getsockname()[1])
                return

    def _remember(self, path: Path, port: int) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(path, f"{port}\n".encode())

    async def _loaded(self) -> SshServer:
        async with self._opening:
            if self._server is not None:
                return self._server
            module = await asyncio.to_thread(importlib.import_module, "skerry.island.engine.ssh_server")
            server: SshServer = await asyncio.to_thread(module.SshServer, self, self._sandboxes, self._directory)
            self._server = server
            return server

    async def _removed(self, sandbox_id: str) -> None:
        if self._server is not None:
            await self._server.drop(sandbox_id)
