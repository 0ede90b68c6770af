"""The farm's storage (protocol section 8): packages in, frames out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from skerry.island.asgi import ClientGone, Receive, Scope, Send, read_body
from skerry.island.engine.errors import Invalid, NotFound
from skerry.island.faces.octaspace.farm.shelves import MOST_PARTS, Shelf, Shelves
from skerry.island.faces.octaspace.farm.wire import Refusal, answer, decode
from skerry.island.ground.texts import digits
from skerry.island.workers.render import RenderWorkers
from skerry.island.workers.render.formats import frame_name
from skerry.island.workers.render.values import FrameFile

_CHUNK = 1 << 18
_MOST_LIST_BYTES = 4 << 20
_FRAME = re.compile(r"(\d{4,7})\.([a-z0-9]{2,4})")


class Storage:
    """Answers for one farm.

    Args:
        workers: whose frames come out.
        shelves: where packages go in.
    """

    def __init__(self, workers: RenderWorkers, shelves: Shelves) -> None:
        self._workers = workers
        self._shelves = shelves

    async def answer(
        self, account: str, path: list[str], query: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request for `/{job_id}/input/package.zip` or `/{job_id}/output/[pass/]NNNN.ext`.

        Args:
            account: who asks.
            path: its segments, decoded.

        Raises:
            Refusal, EngineError: refused.
        """
        method, action = scope["method"], query.get("action", "get")
        job_id, *rest = path
        shelf = self._shelves.shelf(account, job_id)
        if rest == ["input", "package.zip"]:
            await self._package(account, shelf, f"{method} {action}", query, scope, receive, send)
        elif rest[:1] == ["output"] and len(rest) in (2, 3):
            await self._output(shelf, rest[1:], f"{method} {action}", send)
        else:
            raise NotFound("there is nothing here")

    async def _package(
        self,
        account: str,
        shelf: Shelf,
        call: str,
        query: Mapping[str, str],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        shelves, upload = self._shelves, query.get("uploadId", "")
        if call == "POST mpu-create":
            await answer(send, 200, {"uploadId": await shelves.create_upload(shelf)})
        elif call == "PUT mpu-uploadpart":
            number = _number(query.get("partNumber", ""))
            tag = await shelves.put_part(account, shelf, upload, number, _body(receive))
            await answer(send, 200, {"partNumber": number, "etag": tag})
        elif call == "POST mpu-complete":
            parts = _parts(decode(await read_body(scope, receive, _MOST_LIST_BYTES)))
            await shelves.complete_upload(shelf, upload, parts)
            await answer(send, 200, {})
        elif call == "DELETE mpu-abort":
            await shelves.abort_upload(shelf, upload)
            await answer(send, 200, {})
        elif call == "PUT single-upload":
            await shelves.put_package(account, shelf, _body(receive))
            await answer(send, 200, {})
        elif call in ("GET get", "HEAD get"):
            await _send_file(send, shelf.package, head=call.startswith("HEAD"))
        elif call == "DELETE delete":
            if not await shelves.remove_package(shelf):
                raise NotFound("there is no package")
            await answer(send, 200, {})
        else:
            raise Refusal(405, "The storage does not do that")

    async def _output(self, shelf: Shelf, name: list[str], call: str, send: Send) -> None:
        if call not in ("GET get", "HEAD get", "DELETE delete"):
            raise Refusal(405, "Frames are put here by the farm itself")
        found = await self._frame(shelf, name)
        if found is None:
            raise NotFound("there is no such frame")
        number, file = found
        if call == "DELETE delete":
            await self._workers.discard(shelf.key, number)
            await answer(send, 200, {})
        else:
            await _send_file(send, file.path, head=call.startswith("HEAD"))

    async def _frame(self, shelf: Shelf, name: list[str]) -> tuple[int, FrameFile] | None:
        match = _FRAME.fullmatch(name[-1])
        if len(name) != 1 or match is None:
            return None
        number = int(match[1])
        job = await self._workers.job(shelf.key)
        if job.extension is None or name[0] != frame_name(number, job.extension):
            return None
        file = await self._workers.frame(shelf.key, number)
        return None if file is None else (number, file)


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _send_file(send: Send, path: Path, *, head: bool) -> None:
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError:
        raise NotFound("there is no such file") from None
    with file:
        size = await asyncio.to_thread(lambda: file.seek(0, 2))
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", str(size).encode()),
            # What somebody's scene has painted is nothing to be shown as a page of ours.
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        file.seek(0)
        left = 0 if head else size
        while left:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, left))
            if not chunk:
                raise OSError(f"{path} has shrunk while it was sent")
            left -= len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _number(text: str) -> int:
    found = digits(text, 5)
    if found is None:
        raise Invalid("partNumber is a whole number")
    return found


def _parts(value: Any) -> list[tuple[int, str]]:
    listed = value.get("parts") if isinstance(value, dict) else None
    if not isinstance(listed, list) or len(listed) > MOST_PARTS:
        raise Invalid(f"parts is a list of at most {MOST_PARTS}")
    found = []
    for part in listed:
        number, tag = (part.get("partNumber"), part.get("etag")) if isinstance(part, dict) else (None, None)
        if isinstance(number, bool) or not isinstance(number, int) or not isinstance(tag, str):
            raise Invalid("a part has a partNumber and an etag")
        if not 1 <= number <= MOST_PARTS:
            raise Invalid(f"parts are numbered from 1 to {MOST_PARTS}")
        found.append((number, tag))
    return found
