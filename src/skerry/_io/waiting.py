"""The places where the two worlds truly differ: sleeping, bounding a wait, and reading a file without blocking.

Every function comes as a pair, `async_x` for coroutines and `x` for threads; generated code picks its half by name.
`asyncio` is loaded by the asynchronous halves only, for it takes longer to load than everything else here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import ParamSpec, TypeVar

from skerry._kernel.options import Deadline
from skerry._kernel.request import BodySource, TransportFailure
from skerry.errors import ConfigurationError

A = TypeVar("A")
R = TypeVar("R")
P = ParamSpec("P")

AsyncSleeper = Callable[[float, Deadline | None], Awaitable[None]]
"""Waits so many seconds, or until the deadline is cancelled."""

Sleeper = Callable[[float, Deadline | None], None]
"""Waits so many seconds, or until the deadline is cancelled."""


async def async_sleep(seconds: float, deadline: Deadline | None = None) -> None:
    """Wait; cancelling the task or the deadline ends the wait at once."""
    import asyncio

    if deadline is None:
        await asyncio.sleep(seconds)
        return
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    forget = deadline.subscribe(lambda: loop.call_soon_threadsafe(woken.set))
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return
    finally:
        forget()


def sleep(seconds: float, deadline: Deadline | None = None) -> None:
    """Wait; cancelling the deadline from another thread ends the wait at once."""
    if deadline is None:
        time.sleep(seconds)
        return
    woken = threading.Event()
    forget = deadline.subscribe(woken.set)
    try:
        woken.wait(seconds)
    finally:
        forget()


async def async_bounded(
    function: Callable[[A], Awaitable[R]], argument: A, timeout: float | None, deadline: Deadline | None
) -> R:
    """Await a function of one argument, for `timeout` seconds at most and no longer than the deadline is uncancelled.

    Raises:
        TransportFailure: of kind `timeout`, when the time is up or the deadline was cancelled.
    """
    if timeout is None and deadline is None:
        return await function(argument)
    import asyncio

    loop, scope = asyncio.get_running_loop(), asyncio.timeout(timeout)
    try:
        async with scope:
            if deadline is None:
                return await function(argument)

            def give_up() -> None:
                # The answer may have won the race, in which case there is nothing left to give up.
                if not finished:
                    scope.reschedule(loop.time())

            finished = False
            forget = deadline.subscribe(lambda: loop.call_soon_threadsafe(give_up))
            try:
                return await function(argument)
            finally:
                finished = True
                forget()
    except TimeoutError as error:
        # Only our own limit counts as one; a time-out from inside the function is that function's affair.
        if not scope.expired():
            raise
        raise TransportFailure(
            "no complete answer in time" if timeout is None else f"no complete answer within {timeout:g} s", "timeout"
        ) from error


def bounded(function: Callable[[A], R], argument: A, timeout: float | None, deadline: Deadline | None) -> R:
    """Call a function of one argument that keeps to the time limit by itself: a thread cannot be interrupted."""
    return function(argument)


async def async_settled(value: object) -> None:
    """Await what a hook returned, if that is to be awaited."""
    if isinstance(value, Awaitable):
        await value


def settled(value: object) -> None:
    """Take what a hook returned.

    Raises:
        ConfigurationError: it would have to be awaited, which a synchronous client cannot do.
    """
    if isinstance(value, Awaitable):
        if isinstance(value, Coroutine):
            value.close()
        raise ConfigurationError("a hook of a synchronous client must be a plain function, not a coroutine")


def async_scope() -> object:
    """What connections belong to: the running event loop, outside of which they are dead."""
    import asyncio

    return asyncio.get_running_loop()


def scope() -> object:
    """What connections belong to: the process, for a forked child must not talk over its parent's."""
    return os.getpid()


async def async_chunks(source: BodySource) -> AsyncIterator[bytes]:
    """The chunks of a body, read in worker threads so that a slow disk does not stop the loop."""
    import asyncio

    chunks = source.open()
    while chunk := await asyncio.to_thread(next, chunks, b""):
        yield chunk


def chunks(source: BodySource) -> Iterator[bytes]:
    """The chunks of a body."""
    return source.open()


async def async_worked(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that may block, in a worker thread so that a slow disk does not stop the loop."""
    import asyncio

    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # A thread cannot be interrupted, and what it works on must not be taken away under it.
        await asyncio.wait([work])
        raise


def worked(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that may block."""
    return function(*args, **kwargs)


async def async_once(chunk: bytes) -> AsyncIterator[bytes]:
    """A body in one piece."""
    yield chunk


def once(chunk: bytes) -> Iterator[bytes]:
    """A body in one piece."""
    yield chunk
