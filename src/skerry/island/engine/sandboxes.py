"""Sandboxes of accounts: made, forked, listed, changed, removed; their files, ports and terminals."""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import BinaryIO

from sqlalchemy import Connection

from skerry.ids import new_id
from skerry.island.engine.activity import Activity
from skerry.island.engine.core import Core
from skerry.island.engine.dispatch import Dispatcher
from skerry.island.engine.errors import EngineError, Invalid, NotFound, PaymentRequired, Unavailable, Unsupported
from skerry.island.engine.leases import cost, size
from skerry.island.engine.nodes import Nodes
from skerry.island.engine.records import SandboxRecord, SandboxState, SessionRecord
from skerry.island.engine.refusals import translated
from skerry.island.engine.shell import HOME, ShellState
from skerry.island.engine.states import SessionStates
from skerry.island.engine.terminals import Terminals
from skerry.island.sandbox import gpu_devices
from skerry.island.sandbox.driver import Piped, SandboxError, Terminal
from skerry.island.sandbox.spec import GpuDevice, Limits, NetworkPolicy, SandboxSpec, Volume
from skerry.island.store import ledger
from skerry.island.store import sandboxes as rows
from skerry.island.store import sessions as session_rows

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Sandboxes:
    """Every call takes the account that asks; what belongs to another is `NotFound`.

    Attributes:
        remains: deleted ones of which files or processes are left, because something stood in the way.
    """

    def __init__(
        self,
        core: Core,
        nodes: Nodes,
        states: SessionStates,
        activity: Activity,
        dispatcher: Dispatcher,
        terminals: Terminals,
    ) -> None:
        self._core = core
        self._nodes = nodes
        self._states = states
        self._activity = activity
        self._dispatcher = dispatcher
        self._terminals = terminals
        self._records: dict[str, SandboxRecord] = {}
        self._removals = 0
        self.remains: set[str] = set()
        self._on_removed: list[Callable[[str], Awaitable[None]]] = []

    def on_removed(self, callback: Callable[[str], Awaitable[None]]) -> None:
        """Call back with the id of each sandbox that is being deleted, before its processes are ended."""
        self._on_removed.append(callback)

    async def create(
        self,
        account_id: str,
        *,
        id: str,
        network: str,
        image: str,
        name: str | None = None,
        limits: Limits | None = None,
        policy: NetworkPolicy | None = None,
        durable: bool = False,
        labels: Mapping[str, str] | None = None,
        metered: bool = True,
        volumes: Sequence[Volume] = (),
        gpus: Sequence[int] = (),
    ) -> SandboxRecord:
        """A sandbox on an image, with its default session; starts no process.

        Args:
            account_id: owner.
            id: chosen by the face, unique, `[A-Za-z0-9_-]{1,64}`.
            network: the face's network.
            image: name or id of a local image.
            name: the owner's word for it.
            limits: None fields and None itself take the settings' defaults.
            policy: egress; the settings' default when None.
            durable: its runs are started again when the machine loses them.
            labels: kept and returned, never read.
            metered: False when the caller bills by a rule of its own: an empty balance does not refuse it.
            volumes: other images' files (by name or id), read-only; forks have them too.
            gpus: `index`es of this machine's GPUs whose device nodes it gets; forks have none. Who may have which is
                the caller's business, see `capacity`.

        Raises:
            NotFound: unknown image. Invalid: impossible limits, a bad id or path, an unknown GPU. Conflict: the id is
            taken. PaymentRequired: nothing left to spend. Unsupported: this machine has no volumes or GPUs to give.
        """
        found = self._core.images.resolve(image)
        if found is None:
            raise NotFound(f"there is no image {image!r} here; `skerry image pull {image}` fetches one")
        wanted = merged(limits, self._nodes.fitting(self._core.settings.limits))
        record = self._draft(account_id, id, network, name, found, None, wanted, durable, labels)
        record = replace(
            record,
            policy=policy or self._core.settings.network,
            volumes=tuple(self._volume(volume) for volume in volumes),
            gpus=tuple(gpus),
        )
        await self._check(record, metered=metered)
        spec = self._spec(record)
        with translated():
            await self._core.driver.create(spec)
        env = gpu_devices.environment(spec.gpus, self._states.base_env(found))
        return await self._enter(record, ShellState(HOME, env))

    async def fork(
        self,
        account_id: str,
        parent_id: str,
        *,
        id: str,
        name: str | None = None,
        limits: Limits | None = None,
        policy: NetworkPolicy | None = None,
        durable: bool = False,
        image: str | None = None,
        network: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> SandboxRecord:
        """A copy-on-write child of a sandbox as of now; None limits (and None fields) and policy inherit.

        The child's default session starts as a copy of the parent's. Another `image` than the parent's is
        `Unsupported`: a chain has one root. Raises as `create`, and NotFound for the parent.
        """
        parent = await self.get(account_id, parent_id)
        if image is not None and self._core.images.resolve(image) != parent.image:
            raise Unsupported("a fork stands on its parent's image; create a sandbox on the other image instead")
        record = self._draft(
            account_id,
            id,
            network or parent.network,
            name,
            parent.image,
            parent_id,
            merged(limits, parent.limits),
            durable,
            labels,
        )
        record = replace(record, policy=policy or parent.policy, volumes=parent.volumes)
        await self._check(record)
        state = await self._states.load(parent_id, await self._states.default_id(parent_id))
        with translated():
            await self._core.driver.fork(parent_id, self._spec(record))
        return await self._enter(record, state)

    async def get(self, account_id: str, id: str) -> SandboxRecord:
        """One sandbox.

        Raises:
            NotFound: no such sandbox of this account.
        """
        return self._now(await self.stored(account_id, id))

    async def stored(self, account_id: str, id: str) -> SandboxRecord:
        """As `get`, but its state and when it was last used are not of now."""
        record = self._records.get(id)
        if record is None:
            removals = self._removals
            record = await self._core.store.read(rows.get, id)
            # What was read before a removal and arrives after it must not bring the sandbox back.
            if record is not None and removals == self._removals:
                self._records[id] = record
        if record is None or record.account_id != account_id:
            raise NotFound(f"there is no sandbox {id}")
        return record

    async def list(
        self,
        account_id: str,
        *,
        network: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        query: str | None = None,
        sort: str | None = None,
    ) -> tuple[list[SandboxRecord], int]:
        """A page of the account's sandboxes, and how many match in all.

        Args:
            account_id: owner.
            network: only this network's.
            limit: at most so many.
            offset: skip so many.
            query: part of the id or name, in any case.
            sort: `created_at` (default), `last_active_at`, `name` or `id`, descending with a leading `-`.

        Raises:
            Invalid: negative numbers, or an unknown order.
        """
        order = sort or "created_at"
        if order.removeprefix("-") not in rows.SORTS:
            raise Invalid(f"cannot sort by {order!r}; use one of {', '.join(rows.SORTS)}")
        if offset < 0 or (limit is not None and limit < 0):
            raise Invalid("limit and offset cannot be negative")
        found, total = await self._core.store.read(
            rows.page, account_id, network=network, limit=limit, offset=offset, query=query, sort=order
        )
        return [self._now(record) for record in found], total

    async def delete(self, account_id: str, id: str) -> bool:
        """Cancel its runs, end its processes, drop its layer. Children live on. Raises NotFound."""
        await self.get(account_id, id)
        # From here on it is gone for everyone; a crash leaves the rest of the work to the next start.
        removed = await self._core.store.run(rows.mark_removed, id, self._core.now())
        self._removals += 1
        self._records.pop(id, None)
        for callback in self._on_removed:
            await callback(id)
        await self._dispatcher.stop_all(self._dispatcher.of_sandbox(id), grace=0.0, cause="cancelled")
        await self._terminals.hang_up(id)
        self._states.forget_sandbox(id)
        self._activity.forget(id)
        try:
            await self._core.driver.remove(id)
        except SandboxError as error:
            if error.reason != "unknown_sandbox":
                self.remains.add(id)
                raise Unavailable(f"sandbox {id} is gone, but not all of it: {error}") from error
        return removed

    async def update(
        self,
        account_id: str,
        id: str,
        *,
        limits: Limits | None = None,
        policy: NetworkPolicy | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> SandboxRecord:
        """Change bounds (None fields stay), policy, name or labels, for living processes at once.

        Raises:
            NotFound: no such sandbox. Invalid: impossible limits.
        """
        present = await self.get(account_id, id)
        changed = replace(
            present,
            limits=merged(limits, present.limits),
            policy=policy or present.policy,
            name=present.name if name is None else name,
            labels=present.labels if labels is None else dict(labels),
        )
        self._nodes.check(changed.limits)
        _check_name(changed.name)
        if (changed.limits, changed.policy) != (present.limits, present.policy):
            with translated():
                await self._core.driver.reconfigure(id, limits=changed.limits, network=changed.policy)
        if not await self._core.store.run(rows.change, changed):
            raise NotFound(f"there is no sandbox {id}")
        self._records[id] = changed
        for job in self._dispatcher.of_sandbox(id):
            job.sandbox = changed
        return self._now(changed)

    async def read_file(self, account_id: str, id: str, path: str, *, beneath: str) -> tuple[BinaryIO, int]:
        """A regular file opened for reading (close it), and its size; never resolves outside `beneath`.

        Raises:
            NotFound: no such file. Invalid: outside the rules, or a directory.
        """
        await self._wake(account_id, id)
        with translated():
            sandbox = await self._core.driver.open(id)
            return await sandbox.open_read(path, beneath=beneath)

    async def write_file(
        self, account_id: str, id: str, path: str, source: BinaryIO, size: int, *, beneath: str, mode: int = 0o644
    ) -> None:
        """Copy `size` bytes of `source` to `path`, atomically, making parents; never outside `beneath`.

        Raises:
            Invalid: outside the rules, or a directory. TooLarge: beyond the sandbox's disk.
            Unavailable: the disk is full.
        """
        await self._wake(account_id, id)
        self._activity.begin(id)
        try:
            with translated():
                sandbox = await self._core.driver.open(id)
                await sandbox.write_file(path, source, size, beneath=beneath, mode=mode)
        finally:
            self._activity.end(id)

    async def dial(self, account_id: str, id: str, port: int, *, udp: bool = False) -> socket.socket:
        """A connected, non-blocking socket to a TCP (or UDP) port inside; wakes a suspended sandbox.

        Raises:
            Unavailable: nothing listens there.
        """
        await self._wake(account_id, id)
        with translated():
            sandbox = await self._core.driver.open(id)
            return await sandbox.dial(port, udp=udp)

    async def open_terminal(
        self,
        account_id: str,
        id: str,
        *,
        command: str | Sequence[str] | None = None,
        session_id: str | None = None,
        env: Mapping[str, str] | None = None,
        columns: int = 80,
        rows: int = 24,
        cwd: str | None = None,
        metered: bool = True,
    ) -> Terminal:
        """A command (a login shell by default) on a pseudo-terminal, metered until it ends.

        It starts in the session's directory and environment (the default session's when None); what it changes is
        not written back.

        Args:
            account_id, id: whose, and which.
            command: text for a shell, or program and arguments.
            session_id: where it begins.
            env: variables beside the session's.
            columns, rows: size of the window.
            cwd: another directory than the session's; `~` for the home directory.
            metered: charge it by the second; False where the face charges for the sandbox as a whole.

        Raises:
            NotFound: sandbox or session. PaymentRequired: not enough to begin. Invalid: impossible size or command.
        """
        record, state = await self._holding(account_id, id, session_id, cwd)
        return await self._terminals.open(record, state, command, dict(env or {}), columns, rows, metered)

    async def open_pipes(
        self,
        account_id: str,
        id: str,
        *,
        command: str | Sequence[str] | None = None,
        session_id: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        metered: bool = True,
    ) -> Piped:
        """As `open_terminal`, but with a pipe for each standard stream, which the caller pumps and closes."""
        record, state = await self._holding(account_id, id, session_id, cwd)
        return await self._terminals.pipe(record, state, command, dict(env or {}), metered)

    async def _holding(
        self, account_id: str, id: str, session_id: str | None, cwd: str | None
    ) -> tuple[SandboxRecord, ShellState]:
        record = await self.get(account_id, id)
        await self._wake(account_id, id)
        state = await self._states.load(id, session_id or await self._states.default_id(id))
        if cwd is not None:
            state = replace(state, cwd=state.env.get("HOME", HOME) if cwd == "~" else cwd)
        return record, state

    def touch(self, id: str) -> None:
        """Note that a sandbox is in use, which keeps it awake; nothing happens to one that is gone."""
        if id in self._records:
            self._activity.touch(id)

    def _draft(
        self,
        account_id: str,
        id: str,
        network: str,
        name: str | None,
        image: str,
        parent_id: str | None,
        limits: Limits,
        durable: bool,
        labels: Mapping[str, str] | None,
    ) -> SandboxRecord:
        now = self._core.clock.now()
        return SandboxRecord(
            id=id,
            account_id=account_id,
            network=network,
            name=name,
            image=image,
            parent_id=parent_id,
            node_id=self._core.node.id,
            state="idle",
            durable=durable,
            limits=limits,
            policy=self._core.settings.network,
            created_at=now,
            last_active_at=now,
            labels=dict(labels or {}),
        )

    def _volume(self, volume: Volume) -> Volume:
        found = self._core.images.resolve(volume.image_id)
        if found is None:
            raise NotFound(f"there is no image {volume.image_id!r} here for the volume at {volume.path}")
        return replace(volume, image_id=found)

    def _spec(self, record: SandboxRecord) -> SandboxSpec:
        here = {gpu.index: gpu for gpu in self._core.node.gpus}
        if len(set(record.gpus)) != len(record.gpus) or not set(record.gpus) <= set(here):
            raise Invalid(f"the GPUs {list(record.gpus)} are not all on this machine, which has {sorted(here)}")
        return SandboxSpec(
            id=record.id,
            image=record.image,
            limits=record.limits,
            network=record.policy,
            home=HOME,
            volumes=record.volumes,
            gpus=tuple(GpuDevice(index, here[index].uuid) for index in record.gpus),
        )

    async def _check(self, record: SandboxRecord, *, metered: bool = True) -> None:
        if self._core.closing:
            raise Unavailable("the island is stopping")
        if not _ID.fullmatch(record.id):
            raise Invalid(f"{record.id!r} is no sandbox id; use 1 to 64 of A-Z a-z 0-9 _ -")
        _check_name(record.name)
        self._nodes.check(record.limits)
        hourly = cost(self._core.node, *size(self._core.node, record.limits), len(record.gpus), 3600 * 10**9)
        if metered and hourly.amount > 0:
            account = ledger.owner(record.account_id)
            if await self._core.store.read(ledger.balance, account, hourly.currency) <= 0:
                raise PaymentRequired("the balance is empty; add credit")

    async def _enter(self, record: SandboxRecord, state: ShellState) -> SandboxRecord:
        """Record a sandbox that the driver has made; taken back when that fails."""
        session = SessionRecord(
            id=new_id("ses"),
            sandbox_id=record.id,
            default=True,
            state="idle",
            cwd=state.cwd,
            env=state.env,
            created_at=record.created_at,
        )
        try:
            await self._core.store.run(_add, record, session, state.script)
        except EngineError:
            await self._core.driver.remove(record.id)
            raise
        self._records[record.id] = record
        return record

    async def _wake(self, account_id: str, id: str) -> None:
        await self.stored(account_id, id)
        await self._activity.passage(id)
        asleep = self._activity.asleep(id)
        self._activity.touch(id)
        if asleep:
            await self._core.store.run(rows.touch, id, self._core.now())

    def _now(self, record: SandboxRecord) -> SandboxRecord:
        state: SandboxState = "idle"
        if self._activity.busy(record.id):
            state = "running"
        elif self._activity.asleep(record.id):
            state = "suspended"
        used = self._activity.last_used(record.id) or record.last_active_at
        if (record.state, record.last_active_at) == (state, used):
            return record
        return replace(record, state=state, last_active_at=used)


def merged(wanted: Limits | None, present: Limits) -> Limits:
    """Limits in which every field that is None, or left at its usual value, is taken from the present ones."""
    if wanted is None:
        return present
    usual = Limits()
    return Limits(
        **{
            field.name: getattr(present, field.name)
            if getattr(wanted, field.name) in (None, getattr(usual, field.name))
            else getattr(wanted, field.name)
            for field in fields(Limits)
        }
    )


def _add(connection: Connection, record: SandboxRecord, session: SessionRecord, script: bytes) -> None:
    rows.add(connection, record)
    session_rows.add(connection, session, script)


def _check_name(name: str | None) -> None:
    if name is not None and not (0 < len(name) <= 200 and name.isprintable()):
        raise Invalid("a sandbox's name has 1 to 200 printable characters")
