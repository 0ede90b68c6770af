"""Sandboxes of accounts: made, forked, listed, changed, removed; their files, ports and terminals."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from skerry.island.engine.records import SandboxRecord
from skerry.island.sandbox.driver import Terminal
from skerry.island.sandbox.spec import Limits, NetworkPolicy


class Sandboxes:
    """Every call takes the account that asks; what belongs to another is `NotFound`."""

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

        Raises:
            NotFound: unknown image. Invalid: impossible limits or a bad id. Conflict: the id is taken.
            PaymentRequired: nothing left to spend.
        """
        ...

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
        """A copy-on-write child of a sandbox as of now; None limits (and None fields), policy and labels inherit.

        The child's default session starts as a copy of the parent's. Another `image` than the parent's is
        `Unsupported`: a chain has one root. Raises as `create`, and NotFound for the parent.
        """
        ...

    async def get(self, account_id: str, id: str) -> SandboxRecord:
        """One sandbox.

        Raises:
            NotFound: no such sandbox of this account.
        """
        ...

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
        """
        ...

    async def delete(self, account_id: str, id: str) -> bool:
        """Cancel its runs, end its processes, drop its layer. Children live on. Raises NotFound."""
        ...

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
        """Change bounds (None fields stay), policy, name or labels, for living processes at once."""
        ...

    async def read_file(self, account_id: str, id: str, path: str, *, beneath: str) -> tuple[BinaryIO, int]:
        """A regular file opened for reading (close it), and its size; never resolves outside `beneath`.

        Raises:
            NotFound: no such file. Invalid: outside the rules, or a directory.
        """
        ...

    async def write_file(
        self, account_id: str, id: str, path: str, source: BinaryIO, size: int, *, beneath: str, mode: int = 0o644
    ) -> None:
        """Copy `size` bytes of `source` to `path`, atomically, making parents; never outside `beneath`.

        Raises:
            Invalid: outside the rules, or a directory. Unavailable: the disk is full.
        """
        ...

    async def dial(self, account_id: str, id: str, port: int) -> socket.socket:
        """A connected, non-blocking socket to a TCP port inside; wakes a suspended sandbox.

        Raises:
            Unavailable: nothing listens there.
        """
        ...

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
    ) -> Terminal:
        """A command (a login shell by default) on a pseudo-terminal, metered until it ends.

        It starts in the session's directory and environment (the default session's when None); what it changes is
        not written back.
        """
        ...
