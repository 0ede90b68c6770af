"""Files of a VM: the `sync` object of a handle."""

from __future__ import annotations

from functools import cached_property
from itertools import count
from typing import Any

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.model import Model
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.ids import ulid_from
from skerry.networks.arker import transfer
from skerry.networks.arker.transfer import FileData, InlineWrite, RemoteContent


class AsyncFiles:
    """Reads and writes files of one VM; paths are absolute, below `/home/user`, and checked by the server."""

    def __init__(self, driver: AsyncDriver, base_url: str, vm_id: str) -> None:
        self._driver = driver
        self._base_url = base_url
        self._vm_id = vm_id

    async def read_file(self, path: str, *, options: RequestOptions | None = None) -> bytes:
        """Read a file (protocol section 3.5).

        Args:
            path: in the VM.
            options: for this call.

        Returns:
            The whole content.

        Raises:
            ArkerNotFoundError: there is no such file.
            ArkerError: anything else went wrong.
        """
        content = await self._driver.send(transfer.read_file(self._base_url, self._vm_id, path), options)
        if isinstance(content, RemoteContent):
            return await self._driver.send(transfer.get(content.url), options)
        return content

    async def write_file(self, path: str, data: FileData, *, options: RequestOptions | None = None) -> None:
        """Write a file, whole; readers see the old or the new one (protocol section 3.5).

        Up to 4 MiB travel inside the request, more by way of a presigned URL. Repeats within this call write the same
        upload and never a second one.

        Args:
            path: in the VM.
            data: bytes, text (sent as UTF-8), or the `Path` of a local file.
            options: for this call.

        Raises:
            ArkerError: the file was not written, or nobody can tell.
            OSError: the local file cannot be read.
        """
        plan = transfer.plan_write(path, data, self._new_upload_id)
        if isinstance(plan, InlineWrite):
            transfer.check_written(await self._write(plan.entry, options), "inline write did not complete")
            return
        url, upload_id = transfer.presigned_target(await self._write(plan.request, options))
        await self._driver.send(transfer.put(url, plan.body, self._driver.dialect.retry), options)
        commit = await self._write(plan.commit(upload_id), options)
        transfer.check_written(commit, "presigned write commit did not complete")

    async def _write(self, entry: Model, options: RequestOptions | None) -> dict[str, Any]:
        call = transfer.write_entry(self._base_url, self._vm_id, entry)
        for attempt in count(1):
            result = await self._driver.send(call, options)
            error = transfer.entry_error(result)
            if error is None:
                return result
            await self._driver.retry_inside(error, call, attempt, options)
        raise AssertionError("the loop above only ends by returning or raising")

    def _new_upload_id(self) -> str:
        effects = self._driver.effects
        return ulid_from(effects.unix_ms(), effects.entropy(10))

    @cached_property
    def with_raw_response(self) -> AsyncRawFiles:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawFiles(self)


class AsyncRawFiles:
    """The methods of `AsyncFiles`, returning `RawResponse` objects."""

    def __init__(self, files: AsyncFiles) -> None:
        self.read_file = async_raw(files.read_file)
        self.write_file = async_raw(files.write_file)
