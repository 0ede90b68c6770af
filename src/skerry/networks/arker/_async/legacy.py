"""A client of the 0.2.0 generation, for services and programs that still speak it (section 3.8)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from skerry._io._async.client import AsyncConnected
from skerry._io._async.driver import AsyncDriver
from skerry._io.transport import AsyncTransport
from skerry._io.waiting import AsyncSleeper, async_sleep
from skerry._kernel.effects import SYSTEM, Effects
from skerry._kernel.hooks import Hooks
from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry._kernel.options import RequestOptions
from skerry._kernel.urls import base_url as trimmed_url
from skerry.networks.arker import legacy_wire, transfer
from skerry.networks.arker._async.files import AsyncFiles
from skerry.networks.arker.codes import make_error
from skerry.networks.arker.config import API_TIMEOUT, Retry, RetryOptions, resolve
from skerry.networks.arker.legacy_wire import DEFAULT_LIMIT, LegacyRunResult, LegacyVmList
from skerry.networks.arker.transfer import FileData, InlineWrite

if TYPE_CHECKING:
    import httpx2

Sort = Literal["created_at", "-created_at", "region", "-region"]


class AsyncArkerLegacy(AsyncConnected):
    """A client of the 0.2.0 wire.

    Args:
        api_key: else from `ARKER_API_KEY` or `AUTH_KEY`.
        base_url: without `/api`, which this generation adds; else from `ARKER_BASE_URL`, else the public default.
        transport: an `httpx2.AsyncClient`, or anything else that carries requests; httpx2 by default.
        retry: how transient answers are repeated; four tries by default, False for one.
        timeout: seconds each try may take, None for no limit.
        directory_url: where VMs are listed and forked by name; an island's own URL, or the public service.
        hooks: who is told about requests, answers, repeats and errors.
        effects: clock and chance, for tests.
        sleeper: waits between tries, for tests.
        environ: where settings are looked up, `os.environ` by default.

    Raises:
        ConfigurationError: the key is missing or empty.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        transport: AsyncTransport | httpx2.AsyncClient | None = None,
        retry: Retry = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
        *,
        directory_url: str = legacy_wire.DIRECTORY_URL,
        hooks: Hooks | None = None,
        effects: Effects = SYSTEM,
        sleeper: AsyncSleeper = async_sleep,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        variables = os.environ if environ is None else environ
        if not base_url and not variables.get("ARKER_BASE_URL", "").strip():
            base_url = legacy_wire.DEFAULT_BASE_URL
        # One millisecond less jitter than 0.3.0, whose range includes its upper end.
        default = RetryOptions(jitter_s=0.049)
        config = resolve(
            variables, api_key=api_key, base_url=base_url or None, retry=default if retry is None else retry
        )
        self.base_url = config.base_url
        self.directory_url = trimmed_url(directory_url, name="directory_url")
        self._connect(transport)
        self._driver = AsyncDriver(
            legacy_wire.legacy_dialect(config, API_TIMEOUT if isinstance(timeout, NotGiven) else timeout),
            self._transport,
            effects=effects,
            sleeper=sleeper,
            hooks=hooks,
        )

    def vm(self, vm_id: str) -> AsyncLegacyComputer:
        """The handle of a VM id or of a name that can be forked; asks nobody."""
        return AsyncLegacyComputer(self._driver, vm_id, self.base_url, self.directory_url)

    async def list(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        offset: int = 0,
        q: str | None = None,
        sort: Sort | None = None,
        options: RequestOptions | None = None,
    ) -> LegacyVmList:
        """One page of the caller's VMs.

        Args:
            limit: 1 to 100.
            offset: how many to leave out first.
            q: part of the name.
            sort: by which field, with a dash for the greatest first; newest first by default.
            options: for this call.

        Raises:
            ArkerError: the service refused.
            ConnectionFailedError: it could not be reached.
        """
        return await self._driver.send(legacy_wire.list_vms(limit, offset, q, sort, self.directory_url), options)


class AsyncLegacyComputer:
    """A VM, or a name to fork from.

    Attributes:
        id: VM id or name, as given.
        base_url: the endpoint of the handle.
    """

    def __init__(self, driver: AsyncDriver, vm_id: str, base_url: str, directory_url: str) -> None:
        self._driver = driver
        self.id = vm_id
        self.base_url = base_url
        self._directory_url = directory_url

    @cached_property
    def sync(self) -> AsyncLegacyFiles:
        """Files of the VM."""
        return AsyncLegacyFiles(self._driver, f"{self.base_url}/api", self.id)

    async def fork(
        self,
        *,
        name: str | None = None,
        is_public: bool = False,
        region: str | None = None,
        options: RequestOptions | None = None,
    ) -> AsyncLegacyComputer:
        """Make a copy-on-write child.

        Args:
            name: of the child.
            is_public: whether others may fork it.
            region: where it is to live.
            options: for this call.

        Raises:
            ArkerError: the service refused.
            ConnectionFailedError: it could not be reached.
        """
        pool = legacy_wire.SOURCE_ALIASES.get(self.id)
        source = self.id if pool is None else pool[int(self._driver.effects.random() * len(pool))]
        fields: dict[str, Any] = {"is_public": is_public}
        fields |= {key: value for key, value in (("name", name), ("region", region)) if value is not None}
        call = legacy_wire.fork(self.base_url, self._directory_url, source, fields)
        child = await self._driver.send(call, options)
        return AsyncLegacyComputer(self._driver, child, self.base_url, self._directory_url)

    async def run(
        self,
        command: str,
        *,
        session_id: str | int | None = None,
        timeout: int | None = None,
        options: RequestOptions | None = None,
    ) -> LegacyRunResult:
        """Run a shell command to its end.

        Args:
            command: for the shell.
            session_id: any text names a session that is made on first use; the default one otherwise, which the wire
                calls 0.
            timeout: milliseconds the command may take.
            options: for this call.

        Raises:
            ArkerError: the service refused.
            ConnectionFailedError: it could not be reached.
        """
        fields: dict[str, Any] = {"command": command, "session_id": 0 if session_id is None else session_id}
        if timeout is not None:
            fields["timeout"] = timeout
        return await self._driver.send(legacy_wire.run(self.base_url, self.id, fields), options)

    async def delete(self, *, options: RequestOptions | None = None) -> None:
        """Delete the VM.

        Raises:
            ArkerError: the service refused.
            ConnectionFailedError: it could not be reached.
        """
        await self._driver.send(legacy_wire.delete(self.base_url, self.id), options)


class AsyncLegacyFiles(AsyncFiles):
    """Files of a VM in the 0.2.0 generation, which knows no empty files."""

    async def write_file(self, path: str, data: FileData, *, options: RequestOptions | None = None) -> None:
        """Write a file, whole.

        Args:
            path: in the VM, below `/home/user`.
            data: bytes, text (sent as UTF-8), or the `Path` of a local file; not empty.
            options: for this call.

        Raises:
            ArkerError: there is nothing to write, or it was not written.
            ConnectionFailedError: the service could not be reached.
        """
        plan = transfer.plan_write(path, data, self._new_upload_id)
        if isinstance(plan, InlineWrite):
            if plan.entry.size == 0:
                raise make_error("bad_request", "write_file: empty data", 400)
            written = await self._write(plan.entry, options)
            transfer.check_written(written, "fast-path write returned without complete+written")
            return
        url, upload_id = transfer.presigned_target(await self._write(plan.request, options))
        await self._driver.send(transfer.put(url, plan.body, self._driver.dialect.retry, "S3 PUT failed"), options)
        await self._write(plan.commit(upload_id), options)
