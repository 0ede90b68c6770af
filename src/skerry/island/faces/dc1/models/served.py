"""What a serving job of this machine serves, at `/serve/<job_id>/v1`: requests go to its server and answers come back.

The server itself asks for a key, so that nobody else on this machine can use it; here none is asked for, as the
network's guide has it (`api_key="not-needed"`): who knows the job's name may use what it serves. It ends with the job.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from msgspec.json import encode

from skerry.island.asgi import BodyTooLarge, ClientGone, Receive, Scope, read_body
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.call import Answer
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.ground.faults import sentence
from skerry.island.ground.waiting import client_gone, first_of
from skerry.island.provider.records import SERVING_TYPE, ProviderJob
from skerry.island.provider.rooms import token
from skerry.island.workers.llm.client import Forwarded
from skerry.island.workers.llm.workers import LlmWorkers

_PATH = re.compile(rb"/serve/([A-Za-z0-9\-]{1,64})/v1/([A-Za-z0-9_\-./]{1,200})")
_BETWEEN = b"\n\n"
_STATUSES = {"not_found": 404, "unavailable": 503, "invalid": 400}


class Served:
    """Passes requests on.

    Args:
        engine: open.
        llm: has the servers.
    """

    def __init__(self, engine: Engine, llm: LlmWorkers) -> None:
        self._engine = engine
        self._llm = llm

    async def answer(self, scope: Scope, receive: Receive, path: bytes) -> Answer | None:
        """What the server says; None for paths that lead to none.

        Raises:
            Fault: 404 where no job of that name serves, 503 where its server does not answer.
        """
        if not path.startswith(b"/serve/"):
            return None
        match = _PATH.fullmatch(path)
        name = "" if match is None else match[1].decode()
        job = await self._engine.store.read(job_rows.find, name)
        # Elsewhere a job's number will do; here its name is all that keeps strangers out, and numbers can be guessed.
        known = job is not None and job.job_id == name and job.job_type == SERVING_TYPE and job.status == "running"
        if match is None or job is None or not known:
            raise Fault(404, "No such serving job is running")
        try:
            body = await read_body(scope, receive, wire.MOST_BODY_BYTES)
        except BodyTooLarge:
            raise Fault(413, f"A body has at most {wire.MOST_BODY_BYTES >> 20} MB") from None
        carried = ProviderJob(id=job.id, job_id=job.job_id, job_type=job.job_type, attempt=job.attempt)
        asking = self._ask(token(carried), scope["method"], match[2].decode(), body)
        # A model that nobody listens to any more must not go on thinking.
        async with first_of(asking, client_gone(receive)) as (asked, _):
            if not asked.done():
                raise ClientGone
            answer: Answer = asked.result()
            return answer

    async def _ask(self, key: str, method: str, path: str, body: bytes) -> Answer:
        stack = AsyncExitStack()
        try:
            found = await stack.enter_async_context(self._llm.forward(key, method, path, body))
            if found.content_type.startswith("text/event-stream"):
                return Answer.stream(_pieces(found, stack.pop_all()), found.content_type)
            return Answer(b"".join([piece async for piece in found.pieces]), found.status, found.content_type)
        except EngineError as error:
            raise Fault(_STATUSES.get(error.code, 502), sentence(error.message)) from None
        finally:
            await stack.aclose()


async def _pieces(found: Forwarded, stack: AsyncExitStack) -> AsyncGenerator[bytes]:
    async with stack:
        last = _BETWEEN
        try:
            async for piece in found.pieces:
                last = (last + piece)[-len(_BETWEEN) :]
                yield piece
        except EngineError as error:
            # The answer has begun with status 200: without a word, half of it would pass for the whole.
            problem = {"message": error.message, "type": "server_error", "code": error.code}
            yield (b"" if last == _BETWEEN else _BETWEEN) + b"data: " + encode({"error": problem}) + _BETWEEN
