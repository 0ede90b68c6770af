"""An answer that takes long: clients of this generation have no time-out of their own, but their HTTP libraries have.

Node's gives up after 300 s without a header, and after 300 s between two parts of a body; the client then sends the
command again. So the answer of a long run begins before its end, with blanks, which JSON allows before a value. What
goes wrong after that is an error inside a 200, which clients read as one (protocol section 2.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

from skerry.island.asgi import Send

BEAT_SECONDS = 60.0


class Patience:
    """Within it one request is answered, through its `send`; a quick answer costs nothing but a timer.

    Args:
        send: the ASGI send function.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._timer: asyncio.TimerHandle
        self._beating: asyncio.Task[None] | None = None
        self._begun = False

    async def __aenter__(self) -> Patience:
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """The answer; of one that has begun, its head is dropped, whatever it says."""
        if message["type"] == "http.response.start":
            await self._end()
            if self._begun:
                return
        await self._send(message)

    def _begin(self) -> None:
        self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        # Here: a task that is cancelled before its first step has sent nothing.
        self._begun = True
        headers = [(b"content-type", b"application/json")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await self._send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(BEAT_SECONDS)

    async def _end(self) -> None:
        self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
