"""Machine rental: a session is a sandbox that runs its image's program, with ports and logins (section 5.1)."""

from __future__ import annotations

import asyncio
import json
import logging
import os.path
from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import NotFound
from skerry.island.engine.ports import SSH_ONLY
from skerry.island.engine.records import Image, Program, RunRecord
from skerry.island.engine.traffic import Moved
from skerry.island.faces.octaspace import profiles
from skerry.island.faces.octaspace.authentication import NETWORK
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.nodes.shares import share
from skerry.island.faces.octaspace.sessions import session_rows, states
from skerry.island.faces.octaspace.sessions.mr_request import SSH_PORT
from skerry.island.faces.octaspace.sessions.programs import configured
from skerry.island.faces.octaspace.sessions.works import Ending, StartFailed, Tell
from skerry.island.ground.runs import agents_end, begin, goes_on, tail
from skerry.island.images.program import program
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import Limits
from skerry.island.store.values import micros
from skerry.island.workers.apps import installed, recipes
from skerry.units import GIB, MIB

ANYWHERE = ("0.0.0.0/0", "::/0")
"""Ports of sessions are public: who may come is decided by what the island listens on."""

PREFIX = "octa-"
_OUTPUT_BYTES = 64 * MIB
_SHELLS = frozenset({"bash", "sh", "dash", "ash", "zsh", "fish", "ksh"})
# An image whose program is a shell for people has nobody to talk to; then this keeps the machine alive.
_RESIDENT = ("/bin/sh", "-c", "exec tail -f /dev/null")
_GRACE = 5.0

log = logging.getLogger("skerry.island.octaspace")


class MrWork:
    """Sessions of machine rental.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin(self, session: Row[Any], tell: Tell) -> None:
        """Image, sandbox, program, ports, logins; what is there already stays."""
        await tell(states.PREPARING, f"Preparing node {session.node_id}\n")
        await tell(states.PULLING, f"Pulling image {session.image}\n")
        try:
            image = await self._image(session.image)
        except SandboxError as error:
            raise StartFailed(str(error)) from None
        await tell(states.CREATING, f"Image {session.image} is here\n")
        await self._create(session, image)
        await tell(states.STARTING, "Container created\n")
        cause = await self._start(session, image)
        if cause == "not_found":
            written = (await self.log(session)).decode(errors="replace").strip()
            raise StartFailed(written or "its program is not in the image")
        if cause in ("lost", "stopped"):
            raise StartFailed("the sandbox was lost")
        await tell(states.CONFIGURING, "Container started\n")
        await self._publish(session)
        await self.authorize(session)

    async def alive(self, session: Row[Any]) -> bool:
        """Whether the program runs, as far as its sandbox knows."""
        return await goes_on(self._engine.driver, session.sandbox_id, session.run_id)

    async def follow(self, session: Row[Any], *, adopted: bool) -> Ending:
        """Until the program ends, or the sandbox is lost."""
        await self._publish(session)
        try:
            ended = await self._engine.runs.wait(session.run_id)
        except NotFound:
            return Ending(reason=states.NODE_LOST, message="The node was lost", at=session.seen_at)
        at = await self._end_of(session, ended, adopted=adopted)
        if ended.cause in ("lost", "stopped"):
            return Ending(reason=states.NODE_LOST, message="The node was lost", at=at)
        if ended.cause in ("exited", "signaled", "cancelled") and ended.exit_code == 0:
            return Ending(reason=states.NORMAL, message="Container exited with code 0", at=at)
        how = f"code {ended.exit_code}" if ended.cause == "exited" else str(ended.cause).replace("_", " ")
        return Ending(reason=states.PROGRAM_FAILED, message=f"Container exited with {how}", at=at)

    async def moved(self, session: Row[Any]) -> Moved:
        """Through its ports and URLs, and outwards."""
        return self._engine.traffic.moved(session.sandbox_id)

    async def quiet_since(self, session: Row[Any]) -> float | None:
        """Since when nothing came or went."""
        return self._engine.traffic.quiet_since(session.sandbox_id)

    async def log(self, session: Row[Any]) -> bytes:
        """The end of its standard output and error."""
        return await tail(self._engine.driver, session.sandbox_id, session.run_id, session_rows.MOST_LOG_BYTES)

    async def halt(self, session: Row[Any]) -> None:
        """Close its ports and end its program."""
        await self._engine.ports.withdraw(session.sandbox_id)
        try:
            await self._engine.runs.cancel(session.account_id, session.sandbox_id, session.run_id, grace=_GRACE)
        except NotFound:
            pass

    async def end(self, session: Row[Any]) -> None:
        """Remove its sandbox."""
        await self._engine.removals.discard(session.account_id, session.sandbox_id)
        self._engine.traffic.forget(session.sandbox_id)

    async def recover(self, wanted: Collection[str]) -> None:
        """Remove sandboxes and allocations of sessions that have ended."""
        for account in await self._engine.accounts.list():
            found, _ = await self._engine.sandboxes.list(account.id, network=NETWORK)
            for sandbox in found:
                if sandbox.id.startswith(PREFIX) and sandbox.id.removeprefix(PREFIX) not in wanted:
                    log.info("removing sandbox %s, whose session has ended", sandbox.id)
                    await self._engine.removals.discard(account.id, sandbox.id)

    async def authorize(self, session: Row[Any]) -> None:
        """Let the holders of the account's SSH keys, as they are now, log in."""
        keys = await self._engine.store.read(profiles.ssh_keys, session.account_id)
        env = self.envs(session)
        shown = {name: value for name, value in env.items() if name.isidentifier()}
        await self._engine.ssh.authorize(session.account_id, session.sandbox_id, keys, metered=False, env=shown)

    def envs(self, session: Row[Any]) -> dict[str, str]:
        """The session's environment, opened."""
        found: dict[str, str] = json.loads(self._engine.vault.open(session.envs, envs_context(session.uuid)))
        return found

    async def _image(self, name: str) -> Image:
        """The image of that name: an app's own, or one that is here or at a registry."""
        recipe = recipes.of_image(name)
        if recipe is None:
            image: Image = await self._engine.images.fetch(name)
            return image
        app = installed.find(installed.place(self._engine.settings.data_dir), recipe)
        if app is None:
            raise StartFailed(f"{recipe.title} is not installed on this machine; {recipe.how}")
        return await app.image(self._engine.images)

    async def _create(self, session: Row[Any], image: Image) -> None:
        engine = self._engine
        try:
            await engine.sandboxes.get(session.account_id, session.sandbox_id)
            return
        except NotFound:
            pass
        node = await engine.store.read(node_rows.find, engine, session.node_id)
        if node is None:
            raise StartFailed("the node does not take part any more")
        await engine.sandboxes.create(
            session.account_id,
            id=session.sandbox_id,
            network=NETWORK,
            image=image.id,
            limits=Limits(
                cpu_millis=share(engine.nodes.local.cpu_millis, node_rows.slots(engine)),
                memory_bytes=share(engine.nodes.local.memory_bytes, node_rows.slots(engine)),
                disk_bytes=min(session.disk_gb * GIB, engine.nodes.local.disk_bytes),
                output_bytes=_OUTPUT_BYTES,
            ),
            labels={"session": session.uuid},
            metered=False,
            gpus=node_rows.share_of_gpus(engine, node.slot),
        )

    async def _start(self, session: Row[Any], image: Image) -> str | None:
        """Start the program, unless that has been done; why it has ended, if it has."""
        engine = self._engine
        envs = self.envs(session)
        what = await asyncio.to_thread(self._program, session, image, envs)
        await begin(engine, session.account_id, session.sandbox_id, session.run_id, what, envs)
        return await engine.runs.begun(session.run_id)

    def _program(self, session: Row[Any], image: Image, envs: dict[str, str]) -> Program:
        """What it runs: an image whose program is a shell for people is kept alive by another."""
        asked = json.loads(session.request)
        config = configured(self._engine, image, asked["entrypoint"], asked["start_command"], envs)
        argv = (*config.entrypoint, *config.command)
        if not argv or (len(argv) == 1 and os.path.basename(argv[0]) in _SHELLS):
            config = msgspec.structs.replace(config, entrypoint=_RESIDENT, command=(), user="")
        return program(image.name, config, self._engine.images.rootfs(image.id))

    async def _publish(self, session: Row[Any]) -> None:
        """Open the ports it asked for, and the one that always leads to its SSH server."""
        asked = json.loads(session.request)
        publish = self._engine.ports.publish
        for port in asked["ports"]:
            ssh = port == SSH_PORT and self._engine.settings.ssh_port is not None
            await publish(session.account_id, session.sandbox_id, port, allowed=ANYWHERE, ssh=ssh, udp=True)
        if self._engine.settings.ssh_port is not None:
            await publish(session.account_id, session.sandbox_id, SSH_ONLY, allowed=ANYWHERE, ssh=True)

    async def _end_of(self, session: Row[Any], ended: RunRecord, *, adopted: bool) -> int | None:
        """When a program ended: also if nobody watched then, by its agent's clock or the server's last word."""
        if ended.ended_at is None:
            return None
        noticed: int = micros(ended.ended_at)
        if not adopted:
            return noticed
        seen: int = session.seen_at
        if ended.cause == "lost":
            return min(noticed, seen)
        known = await agents_end(self._engine.driver, session.sandbox_id, session.run_id, ended)
        return noticed if known is None else min(noticed, max(seen, known))


def envs_context(uuid: str) -> str:
    """Under what a session's environment is sealed."""
    return f"octaspace session:{uuid}:envs"


def secret_context(uuid: str) -> str:
    """Under what a session's password for the web terminal is sealed."""
    return f"octaspace session:{uuid}:secret"
