"""An answer that takes long: clients of this generation have no time-out of their own, but their HTTP libraries have.

Node's gives up after 300 s without a header, and after 300 s between two parts of a body; the client then sends the
command again. So the answer of a long run begins before its end, with blanks, which JSON allows before a value. What
goes wrong after that is an error inside a 200, which clients read as one (protocol section 2.6).
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from skerry.island.asgi import Send

BEAT_SECONDS = 60.0


class Patience:
    """Within it an answer is awaited; it costs a quick one nothing but a timer.

    Args:
        send: the ASGI send function.

    Attributes:
        begun: whether the answer's head is out, and only the rest of its body may follow.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._timer: asyncio.TimerHandle
        self._beating: asyncio.Task[None] | None = None
        self.begun = False

    async def __aenter__(self) -> Patience:
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    def _start(self) -> None:
        self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        self.begun = True
        headers = [(b"content-type", b"application/json")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await self._send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(BEAT_SECONDS)

    async def finish(self, body: bytes) -> None:
        """The rest of an answer that has begun."""
        await self._send({"type": "http.response.body", "body": body})
