"""The farm as one ASGI application: `POST /qm/uber_api` is the queue manager, every other path the storage."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from skerry.island.asgi import BodyTooLarge, ClientGone, Receive, Scope, Send, header, raw_path, read_body
from skerry.island.engine.errors import EngineError
from skerry.island.faces.octaspace.farm.manager import MOST_ENDPOINTS, Manager
from skerry.island.faces.octaspace.farm.shelves import MOST_ACCOUNT_BYTES, Shelves
from skerry.island.faces.octaspace.farm.storage import Storage
from skerry.island.faces.octaspace.farm.wire import VERSION, Refusal, answer, decode, query
from skerry.island.ground.faults import sentence
from skerry.island.workers.render import RenderWorkers

log = logging.getLogger("skerry.octaspace.farm")

_MOST_BODY = 1 << 20
_MOST_TOKEN = 512
_STATUS = {"not_found": 404, "invalid": 400, "too_large": 413, "conflict": 409, "busy": 409, "unsupported": 422}


class Farm:
    """Answers the add-on of the network's render farm.

    Args:
        workers: who render; a job goes into the queue that is named after its account.
        directory: where packages are kept.
        authenticate: the account of a token; None when nobody has it.
        most_bytes: what one account may keep in packages.
    """

    def __init__(
        self,
        workers: RenderWorkers,
        directory: Path,
        authenticate: Callable[[str], Awaitable[str | None]],
        *,
        most_bytes: int = MOST_ACCOUNT_BYTES,
    ) -> None:
        self.shelves = Shelves(directory, most_bytes=most_bytes)
        self._authenticate = authenticate
        self._workers = workers
        self._manager = Manager(workers, self.shelves)
        self._storage = Storage(workers, self.shelves)

    async def tidy(self, now: datetime, keep: timedelta) -> None:
        """Drop jobs that have been over for so long, with their frames and packages, and abandoned uploads."""
        for id in await self._workers.expire(now - keep):
            await self.shelves.remove(id)
        await self.shelves.sweep(now.timestamp())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = False

        async def watched(message: dict[str, object]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._answer(scope, receive, watched)  # type: ignore[arg-type]
        except ClientGone:
            return
        except (Refusal, EngineError, BodyTooLarge) as error:
            if started:
                raise
            await answer(send, *_refused(error))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            path = [unquote(part, errors="strict") for part in raw_path(scope).decode("ascii").strip("/").split("/")]
        except UnicodeDecodeError:
            raise Refusal(400, "The path is no text") from None
        if path == ["qm", "uber_api"]:
            if scope["method"] != "POST":
                raise Refusal(405, "The queue manager takes POST")
            account = await self._account(header(scope["headers"], b"auth-token"))
            if header(scope["headers"], b"sarfis-version") not in (None, VERSION):
                raise Refusal(412, f"This farm speaks version {VERSION}")
            asked = decode(await read_body(scope, receive, _MOST_BODY))
            if not isinstance(asked, dict) or len(asked) > MOST_ENDPOINTS:
                raise Refusal(400, "The body is an object of endpoints")
            await answer(send, 200, await self._manager.answer(account, asked))
            return
        parameters = query(scope)
        token = header(scope["headers"], b"authentication")
        if token is None and scope["method"] in ("GET", "HEAD"):
            token = parameters.get("octa_api_token")
        account = await self._account(token)
        await self._storage.answer(account, path, parameters, scope, receive, send)

    async def _account(self, token: str | None) -> str:
        found = await self._authenticate(token) if token and len(token) <= _MOST_TOKEN else None
        if found is None:
            raise Refusal(401, "Invalid token")
        return found


def _refused(error: Refusal | EngineError | BodyTooLarge) -> tuple[int, dict[str, str]]:
    if isinstance(error, Refusal):
        return error.status, {"message": error.message}
    if isinstance(error, BodyTooLarge):
        return 413, {"message": "The body is too large"}
    return _STATUS.get(error.code, 503), {"message": sentence(error.message)}
