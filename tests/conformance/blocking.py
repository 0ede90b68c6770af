"""An asynchronous client that is called like its synchronous twin, so that one scenario serves both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

KINDS = ("sync", "async")


class Blocking:
    """An asynchronous client whose calls are run to their end; its streams become iterators."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        module = getattr(type(found), "__module__", "")
        return Blocking(found, self._runner) if callable(found) or "_async" in module else found

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        result = self._target(*arguments, **options)
        if inspect.isasyncgen(result):
            return self._items(result)
        return self._runner.run(_await(result)) if inspect.isawaitable(result) else result

    def _items(self, stream: AsyncGenerator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._runner.run(_await(anext(stream)))
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(_await(stream.aclose()))

    def close(self) -> None:
        """Close the client and its loop."""
        self._runner.run(self._target.aclose())
        self._runner.close()


async def _await(result: Any) -> Any:
    return await result


@contextmanager
def blocking(client: Any) -> Iterator[Any]:
    """An asynchronous client in the guise of the other, closed at the end."""
    guise = Blocking(client, asyncio.Runner())
    try:
        yield guise
    finally:
        guise.close()
