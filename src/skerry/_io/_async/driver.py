"""The driver: carries out one call, with retries, hooks, deadlines and raw capture, for any network."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from itertools import count
from typing import TypeVar

from skerry._io.transport import AsyncStreamedResponse, AsyncTransport
from skerry._io.waiting import AsyncSleeper, async_bounded, async_settled, async_sleep, async_worked
from skerry._kernel.dialect import Call, Dialect
from skerry._kernel.effects import SYSTEM, Effects
from skerry._kernel.hooks import ErrorSeen, Hooks, RetrySeen, request_seen, response_seen, tell
from skerry._kernel.interception import RequestInfo, ResponseInfo
from skerry._kernel.model import NotGiven
from skerry._kernel.options import NO_OPTIONS, Deadline, RequestOptions
from skerry._kernel.raw import RawResponse, capture
from skerry._kernel.redaction import redact_url
from skerry._kernel.request import BodySink, Headers, Request, Response, TransportFailure, merge_headers
from skerry._kernel.retry import Failure
from skerry.errors import DeadlineExceededError, InvalidRequestError, SkerryError

T = TypeVar("T")

_log = logging.getLogger("skerry")


class AsyncDriver:
    """Sends calls of one network over one transport.

    Args:
        dialect: how the network is spoken, credentials included.
        transport: what carries the requests.
        effects: clock and chance.
        sleeper: waits between tries.
        hooks: who is told what happens.
        options: defaults for every call.
    """

    def __init__(
        self,
        dialect: Dialect,
        transport: AsyncTransport,
        *,
        effects: Effects = SYSTEM,
        sleeper: AsyncSleeper = async_sleep,
        hooks: Hooks | None = None,
        options: RequestOptions = NO_OPTIONS,
    ) -> None:
        self.dialect = dialect
        self.transport = transport
        self.effects = effects
        self.sleeper = sleeper
        self.hooks = hooks or Hooks()
        self.options = options

    def but(
        self, *, dialect: Dialect | None = None, hooks: Hooks | None = None, options: RequestOptions | None = None
    ) -> AsyncDriver:
        """A copy over the same transport, with some parts changed; parts left None stay."""
        return AsyncDriver(
            dialect or self.dialect,
            self.transport,
            effects=self.effects,
            sleeper=self.sleeper,
            hooks=self.hooks if hooks is None else hooks,
            options=self.options if options is None else options,
        )

    async def send(self, call: Call[T], options: RequestOptions | None = None, into: BodySink | None = None) -> T:
        """Carry out a call: send, retry as the policy says, and read the answer.

        Args:
            call: what to do.
            options: for this call; gaps are filled from the driver's defaults.
            into: takes the body of a success while it arrives; the parser then sees an empty one.

        Returns:
            What the call's parser makes of the answer.

        Raises:
            SkerryError: the network refused, the answer made no sense, the transport failed, or the deadline passed.
            Exception: whatever an interceptor or the sink raised; it stops the call.
        """
        chosen = self.options if options is None else options.over(self.options)
        template = self._request(call, chosen)
        policy = (call.retry or self.dialect.retry).tightened(chosen.retries)
        started = self.effects.monotonic()
        for attempt in count(1):
            request, shown = await self._ready(self._next(template, attempt, chosen.deadline), call)
            outcome = await self._exchange(request, call, chosen.deadline, shown, into)
            if isinstance(outcome, Response):
                return self._read(outcome, call, request, self.effects.monotonic() - started)
            delay = policy.wait(outcome, call.safety, attempt, self.effects.random)
            if delay is None:
                raise self._final(outcome.error, request)
            if self.hooks.on_retry:
                tell(self.hooks.on_retry, RetrySeen(request_seen(self.dialect.network, request), outcome.error, delay))
            await self.pause(delay, chosen.deadline, outcome.error)
        raise AssertionError("the loop above only ends by returning or raising")

    async def stream(self, call: Call[object], options: RequestOptions | None = None) -> AsyncGenerator[bytes]:
        """Carry out a call whose answer is read while it arrives; it is tried once.

        The time limit holds for the wait for each piece, not for the whole; a deadline ends it wherever it is.

        Args:
            call: what to do; its parser is not used.
            options: for this call; gaps are filled from the driver's defaults.

        Yields:
            The body of a successful answer, piece by piece.

        Raises:
            SkerryError: the network refused, the transport failed, or the deadline passed.
            Exception: whatever an interceptor raised; it stops the call.
        """
        chosen = self.options if options is None else options.over(self.options)
        deadline, hooks = chosen.deadline, self.hooks
        request, shown = await self._ready(self._next(self._request(call, chosen), 1, deadline), call)
        seen = request_seen(self.dialect.network, request) if hooks else None
        if seen is not None:
            tell(hooks.on_request, seen)
        began = self.effects.monotonic()
        try:
            async with self.transport.stream(request) as streamed:
                self._log(request, streamed.status, began)
                if 200 <= streamed.status < 300:
                    response = Response(streamed.status, streamed.headers)
                else:
                    response = await async_bounded(AsyncStreamedResponse.aread, streamed, request.timeout, deadline)
                elapsed = self.effects.monotonic() - began
                if seen is not None and hooks.on_response:
                    tell(hooks.on_response, response_seen(seen, response, elapsed))
                if shown is not None:
                    for after in self.dialect.interceptors.after:
                        await async_settled(after(ResponseInfo(response, elapsed), shown))
                problem = (call.error or self.dialect.error)(response)
                if problem is not None:
                    raise self._final(self._placed(problem, response), request)
                while True:
                    left = None if deadline is None else deadline.remaining()
                    if deadline is not None and left == 0.0:
                        raise self._final(self._out_of_time(deadline, None), request)
                    limits = [limit for limit in (request.timeout, left) if limit is not None]
                    try:
                        piece = await async_bounded(anext, streamed.chunks, min(limits, default=None), deadline)
                    except StopAsyncIteration:
                        return
                    yield piece
        except TransportFailure as failure:
            self._log(request, failure.message, began)
            error = self.dialect.failure(failure)
            error.__cause__ = failure.__cause__ or failure
            if deadline is not None and deadline.expired:
                raise self._final(self._out_of_time(deadline, error), request) from error
            raise self._final(error, request) from error.__cause__

    async def retry_inside(
        self, error: SkerryError, call: Call[object], attempt: int, options: RequestOptions | None = None
    ) -> None:
        """Back off after a failure that a successful answer reported inside, or raise it when it is final.

        Args:
            error: what was reported.
            call: the call whose answer it was in.
            attempt: how often the call was carried out by now.
            options: as given to `send`.

        Raises:
            SkerryError: the error, if the policy allows no further try; or the deadline passed.
        """
        chosen = self.options if options is None else options.over(self.options)
        policy = self.dialect.retry.tightened(chosen.retries)
        delay = policy.wait(Failure(error, "answer", error.status or 0), call.safety, attempt, self.effects.random)
        request = self._request(call, chosen).but(attempt=attempt)
        if delay is None:
            raise self._final(error, request)
        if self.hooks.on_retry:
            tell(self.hooks.on_retry, RetrySeen(request_seen(self.dialect.network, request), error, delay))
        await self.pause(delay, chosen.deadline, error)

    async def pause(self, delay: float, deadline: Deadline | None = None, cause: SkerryError | None = None) -> None:
        """Wait for so many seconds.

        Args:
            delay: seconds.
            deadline: the caller's; cancelling it ends the wait at once.
            cause: the failure that makes it necessary, if it is one.

        Raises:
            DeadlineExceededError: the deadline comes first, so that there is no point in waiting.
        """
        if deadline is None:
            await self.sleeper(delay, None)
            return
        left = deadline.remaining()
        if left is None or delay < left:
            await self.sleeper(delay, deadline)
            if not deadline.expired:
                return
        raise self._out_of_time(deadline, cause)

    def _request(self, call: Call[T], options: RequestOptions) -> Request:
        operation = call.operation
        if options.idempotency_key is not None and not operation.keyed:
            raise InvalidRequestError(
                f"{operation.name} takes no idempotency key", network=self.dialect.network, operation=operation.name
            )
        timeout = options.timeout
        if isinstance(timeout, NotGiven):
            timeout = call.timeout
        ours: Headers = ()
        # A URL handed out by the server leads elsewhere: nothing meant for the network may go there.
        if operation.base == "network":
            ours = (*self.dialect.defaults, *(options.headers or {}).items(), *self.dialect.headers)
        return Request(
            method=operation.method,
            url=call.url,
            headers=merge_headers(ours, call.headers),
            body=call.body,
            operation=operation.name,
            timeout=self.dialect.timeout if isinstance(timeout, NotGiven) else timeout,
            secret=operation.base == "absolute",
        )

    def _next(self, template: Request, attempt: int, deadline: Deadline | None) -> Request:
        timeout = template.timeout
        if deadline is not None:
            deadline.check(self.dialect.network, template.operation, kind=self.dialect.out_of_time)
            left = deadline.remaining()
            if left is not None:
                timeout = left if timeout is None else min(timeout, left)
        if attempt > 1 or timeout != template.timeout:
            return template.but(attempt=attempt, timeout=timeout)
        return template

    async def _ready(self, request: Request, call: Call[T]) -> tuple[Request, RequestInfo | None]:
        """The request as it is sent, and what interceptors are shown of it."""
        shown: RequestInfo | None = None
        if self.dialect.interceptors and call.operation.base == "network":
            shown = self.dialect.interceptors.view(request)
            for before in self.dialect.interceptors.before:
                await async_settled(before(shown))
            fixed = (*self.dialect.headers, *call.headers)
            request = request.but(headers=merge_headers(shown.headers.items(), fixed))
        return (self.dialect.sign(request) if call.operation.auth else request), shown

    async def _exchange(
        self,
        request: Request,
        call: Call[T],
        deadline: Deadline | None,
        shown: RequestInfo | None,
        into: BodySink | None,
    ) -> Response | Failure:
        hooks, network = self.hooks, self.dialect.network
        seen = request_seen(network, request) if hooks else None
        if seen is not None:
            tell(hooks.on_request, seen)
        began = self.effects.monotonic()
        carry = self.transport.send if into is None else partial(self._save, into)
        try:
            response = await async_bounded(carry, request, request.timeout, deadline)
        except TransportFailure as failure:
            failure.limit = request.timeout
            self._log(request, failure.message, began)
            error = self.dialect.failure(failure)
            error.__cause__ = failure.__cause__ or failure
            if deadline is not None and deadline.expired:
                raise self._final(self._out_of_time(deadline, error), request) from error
            return Failure(error, failure.kind)
        elapsed = self.effects.monotonic() - began
        self._log(request, response.status, began)
        if seen is not None and hooks.on_response:
            tell(hooks.on_response, response_seen(seen, response, elapsed))
        if shown is not None:
            for after in self.dialect.interceptors.after:
                await async_settled(after(ResponseInfo(response, elapsed), shown))
        problem = (call.error or self.dialect.error)(response)
        if problem is None:
            return response
        self._placed(problem, response)
        return Failure(problem, "answer", response.status, problem.retry_after)

    def _placed(self, problem: SkerryError, response: Response) -> SkerryError:
        asked = self.dialect.retry_after(response)
        problem.retry_after = asked if problem.retry_after is None else problem.retry_after
        problem.request_id = problem.request_id or response.request_id
        return problem

    async def _save(self, into: BodySink, request: Request) -> Response:
        began = time.monotonic()
        end = None if request.timeout is None else began + request.timeout
        refusal: list[bytes] = []
        async with self.transport.stream(request) as answer:
            headers_after = time.monotonic() - began
            take: Callable[[bytes], object] = into.write
            if 200 <= answer.status < 300:
                await async_worked(into.begin)
            else:
                take = refusal.append
            async for chunk in answer.chunks:
                await async_worked(take, chunk)
                if end is not None and time.monotonic() > end:
                    raise TransportFailure(f"no complete answer within {request.timeout:g} s", "timeout")
        return Response(answer.status, answer.headers, b"".join(refusal), headers_after)

    def _read(self, response: Response, call: Call[T], request: Request, elapsed: float) -> T:
        try:
            parsed = call.parse(response)
        except SkerryError as error:
            raise self._final(error, request) from error.__cause__
        capture(RawResponse(response.status, response.headers, response.body, request.attempt, elapsed, parsed))
        return parsed

    def _final(self, error: SkerryError, request: Request) -> SkerryError:
        error.network = error.network or self.dialect.network
        error.operation = error.operation or request.operation
        if request.attempt > 1:
            error.add_note(f"after {request.attempt} tries")
        if self.hooks.on_error:
            tell(self.hooks.on_error, ErrorSeen(request_seen(self.dialect.network, request), error))
        return error

    def _out_of_time(self, deadline: Deadline, cause: SkerryError | None) -> DeadlineExceededError:
        error = self.dialect.out_of_time(
            deadline.reason,
            network=self.dialect.network,
            operation=cause.operation if cause else None,
            status=cause.status if cause else None,
            outcome=cause.outcome if cause else "unknown",
        )
        error.__cause__ = cause
        return error

    def _log(self, request: Request, result: object, began: float) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            elapsed = self.effects.monotonic() - began
            url = redact_url(request.url, secret=request.secret)
            _log.debug(
                "%s %s %s -> %s in %.3f s, try %d",
                request.operation,
                request.method,
                url,
                result,
                elapsed,
                request.attempt,
            )
