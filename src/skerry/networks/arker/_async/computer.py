"""The handle of a VM: cheap, stateless, and pinned to the endpoint that made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import count
from typing import Any

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry._kernel.options import RequestOptions, within
from skerry._kernel.raw import async_raw
from skerry.errors import InvalidRequestError
from skerry.networks.arker import operations
from skerry.networks.arker._async.files import AsyncFiles
from skerry.networks.arker._async.sessions import AsyncSessions
from skerry.networks.arker.models import (
    CancelRunResponse,
    DeleteVmResponse,
    ForkVmResponse,
    ListRunsResponse,
    MountRequest,
    NetworkPolicyInput,
    ResizeResponse,
    RunNetworkRequest,
    RunStatusResponse,
    VmInfo,
)
from skerry.networks.arker.results import RunResult

FIRST_POLL = 0.05
LONGEST_POLL = 2.0


class AsyncComputer:
    """A VM, or a golden to fork from.

    Attributes:
        id: VM id or golden name, as given.
        base_url: the endpoint every call of this handle goes to.
        forked: what the service said when the VM was forked through this library, else None.
    """

    def __init__(self, driver: AsyncDriver, vm_id: str, base_url: str, forked: ForkVmResponse | None = None) -> None:
        self._driver = driver
        self.id = vm_id
        self.base_url = base_url
        self.forked = forked

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, base_url={self.base_url!r})"

    @cached_property
    def sync(self) -> AsyncFiles:
        """Files of the VM."""
        return AsyncFiles(self._driver, self.base_url, self.id)

    @cached_property
    def sessions(self) -> AsyncSessions:
        """Shells of the VM."""
        return AsyncSessions(self._driver, self.base_url, self.id)

    async def fork(
        self,
        *,
        name: str | NotGiven | None = NOT_GIVEN,
        image: str | NotGiven | None = NOT_GIVEN,
        network: NetworkPolicyInput | Mapping[str, Any] | NotGiven | None = NOT_GIVEN,
        disk: bool | NotGiven | None = NOT_GIVEN,
        vcpu_count: int | NotGiven | None = NOT_GIVEN,
        memory_mib: int | NotGiven | None = NOT_GIVEN,
        max_memory_mib: int | NotGiven | None = NOT_GIVEN,
        disk_mib: int | NotGiven | None = NOT_GIVEN,
        durable: bool | NotGiven | None = NOT_GIVEN,
        extra: Mapping[str, Any] | None = None,
        options: RequestOptions | None = None,
    ) -> AsyncComputer:
        """Make a copy-on-write child, in constant time (protocol section 3.3).

        What is not given is the backend's default; an explicit None is sent as null.

        Args:
            name: of the child.
            image: another image to start from.
            network: outbound policy: True (open), False (blocked), a policy's or host's name, or a policy object.
            disk: whether the child has a disk that lasts.
            vcpu_count: processors.
            memory_mib: memory in MiB.
            max_memory_mib: most memory it can be resized to, in MiB.
            disk_mib: disk in MiB.
            durable: whether its runs survive the loss of the host; never inherited.
            extra: further fields, for servers newer than this library; named arguments win.
            options: for this call.

        Returns:
            The child's handle, on this handle's endpoint.

        Raises:
            ArkerUnsupportedError: the backend lacks something that was asked for.
            ArkerError: anything else went wrong.
        """
        fields = {
            "name": name,
            "image": image,
            "network": network,
            "disk": disk,
            "vcpu_count": vcpu_count,
            "memory_mib": memory_mib,
            "max_memory_mib": max_memory_mib,
            "disk_mib": disk_mib,
            "durable": durable,
        }
        call = operations.fork(self.base_url, self.id, _with_extra(fields, extra))
        child = await self._driver.send(call, options)
        return AsyncComputer(self._driver, child.vm_id, self.base_url, child)

    async def run(
        self,
        command: str,
        *,
        session_id: str | NotGiven | None = NOT_GIVEN,
        background: bool | NotGiven | None = NOT_GIVEN,
        timeout: int | NotGiven | None = NOT_GIVEN,
        timeout_ms: int | NotGiven | None = NOT_GIVEN,
        end_symbol: str | NotGiven | None = NOT_GIVEN,
        mounts: Sequence[MountRequest] | NotGiven | None = NOT_GIVEN,
        vcpu_count: int | NotGiven | None = NOT_GIVEN,
        memory_mib: int | NotGiven | None = NOT_GIVEN,
        disk_mib: int | NotGiven | None = NOT_GIVEN,
        network: RunNetworkRequest | Mapping[str, Any] | NotGiven | None = NOT_GIVEN,
        release: str | NotGiven | None = NOT_GIVEN,
        signal: str | NotGiven | None = NOT_GIVEN,
        runtime: str | NotGiven | None = NOT_GIVEN,
        runtime_override: str | NotGiven | None = NOT_GIVEN,
        idempotency_key: str | None = None,
        extra: Mapping[str, Any] | None = None,
        options: RequestOptions | None = None,
    ) -> RunResult:
        """Run a shell command (protocol section 3.4).

        What is not given is the backend's default; an explicit None is sent as null. Without an idempotency key the
        service cannot recognise a repeat, and this client repeats after transient failures; give a key where running
        twice would hurt.

        Args:
            command: for the shell.
            session_id: the shell to run it in; the VM's default one otherwise.
            background: answer at once and go on running.
            timeout: **milliseconds** the command may take. A foreground call waits at least that long for the answer.
            timeout_ms: another name for `timeout`.
            end_symbol: output marker for interactive interpreters.
            mounts: what to mount for this run.
            vcpu_count: processors, for this run.
            memory_mib: memory in MiB, for this run.
            disk_mib: disk in MiB, for this run.
            network: ports to open while it runs.
            release: release selection or lease.
            signal: to send to the session.
            runtime: which executor, `pty` for a terminal.
            runtime_override: which executor, whatever else is said.
            idempotency_key: 1 to 64 printable characters; the same key with the same request runs once.
            extra: further fields, for servers newer than this library; named arguments win.
            options: for this call.

        Returns:
            A completed, background or terminal result; look at `type`.

        Raises:
            ArkerConflictError: the key was used for another request.
            ArkerError: anything else went wrong; a command's own failure is no error.
        """
        if timeout is not NOT_GIVEN and timeout_ms is not NOT_GIVEN:
            raise InvalidRequestError("timeout and timeout_ms are the same thing; give one of them")
        fields = {
            "session_id": session_id,
            "background": background,
            "timeout": timeout_ms if timeout is NOT_GIVEN else timeout,
            "end_symbol": end_symbol,
            "mounts": mounts,
            "vcpu_count": vcpu_count,
            "memory_mib": memory_mib,
            "disk_mib": disk_mib,
            "network": network,
            "release": release,
            "signal": signal,
            "runtime": runtime,
            "runtime_override": runtime_override,
        }
        call = operations.run(
            self.base_url,
            self.id,
            command,
            _with_extra(fields, extra),
            idempotency_key=idempotency_key or (options.idempotency_key if options else None),
            api_timeout=self._driver.dialect.timeout,
        )
        return await self._driver.send(call, options)

    async def run_status(self, run_id: str, *, options: RequestOptions | None = None) -> RunStatusResponse:
        """State and output so far of a background run (protocol section 3.4).

        Raises:
            ArkerNotFoundError: there is no such run.
            ArkerError: anything else went wrong.
        """
        return await self._driver.send(operations.run_status(self.base_url, self.id, run_id), options)

    async def cancel_run(self, run_id: str, *, options: RequestOptions | None = None) -> CancelRunResponse:
        """Stop a background run; `cancelled` is False when it had ended by itself (protocol section 3.4).

        Raises:
            ArkerNotFoundError: there is no such run.
            ArkerError: anything else went wrong.
        """
        return await self._driver.send(operations.cancel_run(self.base_url, self.id, run_id), options)

    async def wait(
        self,
        run_id: str,
        *,
        timeout: float | None = None,
        on_change: Callable[[RunStatusResponse], object] | None = None,
        options: RequestOptions | None = None,
    ) -> RunStatusResponse:
        """Ask for a background run until it has ended.

        Args:
            run_id: which run.
            timeout: seconds to wait at most, None for ever.
            on_change: called with each status that differs from the one before.
            options: for each request; its deadline ends the waiting too.

        Returns:
            The final status.

        Raises:
            DeadlineExceededError: the run goes on, but the time is up.
            ArkerError: asking failed.
        """
        seen: object = None
        with within(timeout, options.deadline if options else None, clock=self._driver.effects.monotonic) as deadline:
            chosen = RequestOptions(deadline=deadline).over(options)
            for asked in count():
                status = await self.run_status(run_id, options=chosen)
                if on_change is not None and status.raw != seen:
                    seen = status.raw
                    on_change(status)
                if status.completed:
                    return status
                await self._driver.pause(min(LONGEST_POLL, FIRST_POLL * 1.5 ** min(asked, 32)), deadline)
        raise AssertionError("the loop above only ends by returning or raising")

    async def list_runs(
        self, *, limit: int | None = None, cursor: str | None = None, options: RequestOptions | None = None
    ) -> ListRunsResponse:
        """Runs of this VM, newest first; an island's addition, adopted from later generations (section 6).

        Args:
            limit: how many at most.
            cursor: where an earlier list said it goes on.
            options: for this call.

        Raises:
            ArkerError: the service refused, lacks the feature or could not be reached.
        """
        return await self._driver.send(
            operations.list_runs(self.base_url, self.id, limit=limit, cursor=cursor), options
        )

    async def info(self, *, options: RequestOptions | None = None) -> VmInfo:
        """What the service says about this VM, asked at this handle's endpoint (protocol section 3.2).

        Raises:
            ArkerNotFoundError: there is no such VM here.
            ArkerError: anything else went wrong.
        """
        return await self._driver.send(operations.get_vm(self.base_url, self.id), options)

    async def resize(
        self,
        *,
        vcpu_count: int | NotGiven | None = NOT_GIVEN,
        memory_mib: int | NotGiven | None = NOT_GIVEN,
        disk_mib: int | NotGiven | None = NOT_GIVEN,
        options: RequestOptions | None = None,
    ) -> ResizeResponse:
        """Change the VM's size (protocol section 3.6).

        Args:
            vcpu_count: processors.
            memory_mib: memory in MiB.
            disk_mib: disk in MiB.
            options: for this call.

        Raises:
            ArkerUnsupportedError: the backend cannot.
            ArkerError: anything else went wrong.
        """
        fields = {"vcpu_count": vcpu_count, "memory_mib": memory_mib, "disk_mib": disk_mib}
        return await self._driver.send(operations.resize_vm(self.base_url, self.id, fields), options)

    async def delete(self, *, options: RequestOptions | None = None) -> DeleteVmResponse:
        """Delete the VM; its children live on (protocol section 3.1).

        Raises:
            ArkerNotFoundError: there is no such VM here.
            ArkerError: anything else went wrong.
        """
        return await self._driver.send(operations.delete_vm(self.base_url, self.id), options)

    @cached_property
    def with_raw_response(self) -> AsyncRawComputer:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawComputer(self)


class AsyncRawComputer:
    """The methods of `AsyncComputer`, returning `RawResponse` objects."""

    def __init__(self, computer: AsyncComputer) -> None:
        self.sync = computer.sync.with_raw_response
        self.sessions = computer.sessions.with_raw_response
        self.fork = async_raw(computer.fork)
        self.run = async_raw(computer.run)
        self.run_status = async_raw(computer.run_status)
        self.cancel_run = async_raw(computer.cancel_run)
        self.wait = async_raw(computer.wait)
        self.list_runs = async_raw(computer.list_runs)
        self.info = async_raw(computer.info)
        self.resize = async_raw(computer.resize)
        self.delete = async_raw(computer.delete)


def _with_extra(fields: dict[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    named = {name: value for name, value in fields.items() if value is not NOT_GIVEN}
    return {**(extra or {}), **named}
