"""The operator's machines: the `nodes` object of the client."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Unpack

from skerry._io.waiting import async_worked
from skerry._kernel.dialect import Call
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.money import Money
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace.downloads import Download, FileSink, SavedFile
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.machines import Node, NodeDetail
from skerry.networks.octaspace.operations import Id


class AsyncNodes(AsyncResource):
    """Machines of the account that others may rent."""

    async def list(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> builtins.list[Node]:
        """The account's nodes, with their prices (section 3.4).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaError: they could not be had.
        """
        return await self._send(operations.list_nodes(self._base_url), options, call)

    async def get(
        self, node_id: Id, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> NodeDetail:
        """One node at length, without its prices (section 3.4).

        Args:
            node_id: which one.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is none such, or it is another account's.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.get_node(self._base_url, node_id), options, call)

    async def update_prices(
        self,
        node_id: Id,
        *,
        base: int | Money | None = None,
        storage: int | Money | None = None,
        traffic: int | Money | None = None,
        extra: Mapping[str, Any] | None = None,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """Change what a node costs (section 3.4); a price that is left out stays.

        Args:
            node_id: which one.
            base: per hour; Wei as an integer, or money in OCTA.
            storage: per GB and hour, likewise.
            traffic: per GB, likewise.
            extra: members of the wire that this version does not know.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            InvalidRequestError: a price is no whole number of Wei, or there is none at all; nothing was sent.
            OctaNotFoundError: there is no such node, or it is another account's.
            OctaError: anything else went wrong.
        """
        built = operations.update_prices(
            self._base_url, node_id, base=base, storage=storage, traffic=traffic, extra=extra
        )
        await self._send(built, options, call)

    async def reboot(self, node_id: Id, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> None:
        """Reboot a node (section 3.4). It is a GET, and so it is tried again like any read.

        Args:
            node_id: which one.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is none such, or it is another account's.
            OctaError: anything else went wrong.
        """
        await self._send(operations.reboot_node(self._base_url, node_id), options, call)

    async def download_ident(
        self, node_id: Id, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> Download:
        """A node's ident file, which is a credential (sections 3.4 and 7.3).

        Args:
            node_id: which one.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is no such node, or it is another account's.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.download_ident(self._base_url, node_id), options, call)

    async def download_logs(
        self, node_id: Id, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> Download:
        """A node's logs, an archive as the node has packed it (section 3.4).

        Args:
            node_id: which one.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is no such node, or it is another account's.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.download_logs(self._base_url, node_id), options, call)

    async def save_ident(
        self,
        node_id: Id,
        path: str | os.PathLike[str],
        *,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> SavedFile:
        """Write a node's ident file to disk, readable by its owner alone (sections 3.4 and 7.3).

        Args:
            node_id: which one.
            path: of the file; it appears there once it is whole, in place of what was there.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is no such node, or it is another account's.
            OctaError: anything else went wrong with the call.
            OSError: the file cannot be written.
        """
        return await self._save(operations.download_ident(self._base_url, node_id), path, options, call)

    async def save_logs(
        self,
        node_id: Id,
        path: str | os.PathLike[str],
        *,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> SavedFile:
        """Write a node's logs to disk while they arrive, whatever their size (section 3.4).

        Args:
            node_id: which one.
            path: of the file; it appears there once it is whole, in place of what was there.
            options: for this call; keywords of `CallOptions` win over it. The time limit holds for the whole file.

        Raises:
            OctaNotFoundError: there is no such node, or it is another account's.
            OctaError: anything else went wrong with the call.
            OSError: the file cannot be written.
        """
        return await self._save(operations.download_logs(self._base_url, node_id), path, options, call)

    async def _save(
        self,
        built: Call[Download],
        path: str | os.PathLike[str],
        options: RequestOptions | None,
        call: CallOptions,
    ) -> SavedFile:
        with FileSink(path) as sink:
            answer = await self._send(built, options, call, sink)
            await async_worked(sink.commit)
        return SavedFile(sink.path, sink.size, answer.content_type)

    @cached_property
    def with_raw_response(self) -> AsyncRawNodes:
        """The same methods, returning `RawResponse` objects; what is written to disk is not in them."""
        return AsyncRawNodes(self)


class AsyncRawNodes:
    """The methods of `AsyncNodes`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncNodes) -> None:
        self.list = async_raw(resource.list)
        self.get = async_raw(resource.get)
        self.update_prices = async_raw(resource.update_prices)
        self.reboot = async_raw(resource.reboot)
        self.download_ident = async_raw(resource.download_ident)
        self.download_logs = async_raw(resource.download_logs)
        self.save_ident = async_raw(resource.save_ident)
        self.save_logs = async_raw(resource.save_logs)
