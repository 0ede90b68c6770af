"""One session: what starts of services return, and what `services.session(uuid)` names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import count
from typing import Unpack

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.options import RequestOptions, within
from skerry._kernel.raw import async_raw
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace.config import Config
from skerry.networks.octaspace.errors import OctaNotFoundError, OctaSessionEndedError
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.models import ServiceInfo, SessionLogs, Started

POLL = 2.0
"""Seconds between two questions, as the network's own clients wait."""


class AsyncSession(AsyncResource):
    """One run of a service on a node.

    Attributes:
        uuid: its id; empty if the service named none when it started it.
        answer: what the service said when it started it; None for a session named by its id.
    """

    def __init__(self, driver: AsyncDriver, config: Config, uuid: str, answer: Started | None = None) -> None:
        super().__init__(driver, config)
        self.uuid = uuid
        self.answer = answer

    def __repr__(self) -> str:
        return f"{type(self).__name__}(uuid={self.uuid!r})"

    async def info(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> ServiceInfo:
        """How it stands: progress, addresses, VPN configuration, cost (section 3.10).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is none such, or it has ended.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.get_session(self._base_url, self.uuid), options, call)

    async def logs(
        self,
        *,
        recent: bool | None = None,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> SessionLogs:
        """Events of the platform, and what the container wrote (section 3.11).

        Args:
            recent: true for a session that has ended.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is none such, or it has ended and `recent` is not true.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.get_session_logs(self._base_url, self.uuid, recent), options, call)

    async def stop(
        self,
        score: int | None = None,
        *,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """End it (section 3.12).

        Args:
            score: how good it was, from 1 to 5.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is none such, or it has ended already.
            OctaValidationError: the score is out of range.
            OctaError: anything else went wrong.
        """
        await self._send(operations.stop_session(self._base_url, self.uuid, score), options, call)

    async def wait_ready(
        self,
        *,
        timeout: float | None = None,
        poll: float = POLL,
        on_change: Callable[[ServiceInfo], object] | None = None,
        options: RequestOptions | None = None,
    ) -> ServiceInfo:
        """Ask until it can be used (section 1.1). It goes on, and costs, also when the time is up.

        Args:
            timeout: seconds to wait at most, None for ever.
            poll: seconds between two questions.
            on_change: called with each answer whose progress differs from the one before.
            options: for each request; its deadline ends the waiting too.

        Returns:
            How it stands once it is ready.

        Raises:
            OctaSessionEndedError: it ended before; `session` says why.
            OctaAbortedError: it goes on, but the time is up (also a DeadlineExceededError).
            OctaNotFoundError: there is none such.
            OctaError: asking failed.
        """
        with within(timeout, options.deadline if options else None, clock=self._driver.effects.monotonic) as deadline:
            chosen = RequestOptions(deadline=deadline).over(options)
            last: str | None = None
            for asked in count():
                try:
                    found = await self.info(options=chosen)
                except OctaNotFoundError as error:
                    ended = await self._ended(chosen)
                    if ended is None:
                        raise
                    raise self._too_early(ended) from error
                if on_change is not None and (not asked or found.progress != last):
                    on_change(found)
                last = found.progress
                if found.finished:
                    raise self._too_early(found)
                if found.ready:
                    return found
                await self._driver.pause(poll, deadline)
        raise AssertionError("the loop above only ends by returning or raising")

    async def wait_finished(
        self, *, timeout: float | None = None, poll: float = POLL, options: RequestOptions | None = None
    ) -> ServiceInfo:
        """Ask until it has ended, by whatever cause (section 1.1); this does not end it.

        Args:
            timeout: seconds to wait at most, None for ever.
            poll: seconds between two questions.
            options: for each request; its deadline ends the waiting too.

        Returns:
            How it was last, with `termination_reason` and the final charge.

        Raises:
            OctaAbortedError: it goes on, but the time is up (also a DeadlineExceededError).
            OctaNotFoundError: there is none such, or it ended so long ago that the service no longer lists it.
            OctaError: asking failed.
        """
        with within(timeout, options.deadline if options else None, clock=self._driver.effects.monotonic) as deadline:
            chosen = RequestOptions(deadline=deadline).over(options)
            while True:
                try:
                    found = await self.info(options=chosen)
                except OctaNotFoundError:
                    ended = await self._ended(chosen)
                    if ended is None:
                        raise
                    return ended
                if found.finished:
                    return found
                await self._driver.pause(poll, deadline)

    async def _ended(self, options: RequestOptions) -> ServiceInfo | None:
        recent = await self._send(operations.list_sessions(self._base_url, recent=True), options, {})
        return next((found for found in recent or () if found.uuid == self.uuid and found.finished), None)

    def _too_early(self, ended: ServiceInfo) -> OctaSessionEndedError:
        return OctaSessionEndedError(
            f"session {self.uuid} ended before it was ready: {ended.termination or 'no reason given'}",
            session=ended,
            network="octaspace",
            operation=operations.GET_SESSION.name,
            details=ended.to_dict(),
        )

    @cached_property
    def with_raw_response(self) -> AsyncRawSession:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawSession(self)


class AsyncRawSession:
    """The methods of `AsyncSession`, returning `RawResponse` objects."""

    def __init__(self, session: AsyncSession) -> None:
        self.info = async_raw(session.info)
        self.logs = async_raw(session.logs)
        self.stop = async_raw(session.stop)
        self.wait_ready = async_raw(session.wait_ready)
        self.wait_finished = async_raw(session.wait_finished)
