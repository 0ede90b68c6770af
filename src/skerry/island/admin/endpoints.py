"""The owner's API on the wire."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from skerry.island.admin import models, views
from skerry.island.admin.auth import admits, owner_key
from skerry.island.admin.logs import run_events
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, Invalid, Unauthorized
from skerry.island.engine.records import Image, RunRecord
from skerry.island.images.pull import Progress
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.space import NO_SPACE
from skerry.island.sandbox.spec import Barriers

Endpoint = Callable[[Request], Awaitable[Response]]
T = TypeVar("T", bound=msgspec.Struct)

_STATUS = {
    "unauthorized": 401,
    "payment_required": 402,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "busy": 409,
    "too_large": 413,
    "unsupported": 422,
    "invalid": 400,
    "rate_limited": 429,
    "no_capacity": 503,
    "unavailable": 503,
}
_NDJSON = "application/x-ndjson"


def build(engine: Engine) -> list[BaseRoute]:
    """The routes under `/_island/v1`, each behind the owner's key."""
    admin = Admin(engine)
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/island", admin.island),
        ("GET", "/images", admin.images),
        ("POST", "/images/pull", admin.pull),
        ("POST", "/images/build", admin.build_image),
        ("POST", "/images/import", admin.import_image),
        ("POST", "/images/define", admin.define_image),
        ("GET", "/images/{name:path}", admin.image),
        ("DELETE", "/images/{name:path}", admin.remove_image),
        ("GET", "/runs", admin.runs),
        ("GET", "/runs/{run_id}", admin.run),
        ("GET", "/runs/{run_id}/events", admin.events),
    ]
    routes = [Route(path, admin.guarded(endpoint), methods=[method]) for method, path, endpoint in table]
    return [Mount("/_island/v1", routes=routes)]


class Admin:
    """The endpoints, bound to one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.data_dir = engine.settings.data_dir
        self._key = owner_key(self.data_dir)

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint behind the owner's key, its refusals as `{code, message}`."""

        async def handle(request: Request) -> Response:
            try:
                if not admits(self._key, request.headers.get("authorization")):
                    raise Unauthorized(f"this needs the key in {self.data_dir / 'owner.key'}")
                return await endpoint(request)
            except EngineError as error:
                return _reply(models.Failure(error.code, error.message), _STATUS.get(error.code, 500))
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                return _reply(models.Failure("unavailable", f"no space is left for {self.data_dir}; free some"), 503)

        return handle

    async def island(self, _: Request) -> Response:
        """GET /island: version, capacity, balance and counts."""
        account = self.engine.account_id
        total = (await self.engine.sandboxes.list(account, limit=1))[1]
        nodes = await self.engine.nodes.list()
        return _reply(
            models.IslandView(
                version=version("skerry"),
                pid=os.getpid(),
                data_dir=str(self.data_dir),
                driver=self.engine.driver.name,
                account=account,
                balance=views.amount(await self.engine.ledger.balance(account)),
                sandboxes=total,
                images=len(await asyncio.to_thread(self.engine.images.list)),
                nodes=[views.node(node) for node in nodes],
            )
        )

    async def images(self, _: Request) -> Response:
        """GET /images."""
        records = await asyncio.to_thread(self.engine.images.list)
        return _reply(models.ImageList([self._image(record) for record in records]))

    async def image(self, request: Request) -> Response:
        """GET /images/{name}."""
        return _reply(self._image(await asyncio.to_thread(self.engine.images.get, request.path_params["name"])))

    async def pull(self, request: Request) -> Response:
        """POST /images/pull: progress lines, then the image."""
        wanted = await _body(request, models.PullImage)
        return _stream(
            self._image_events(lambda tell: self.engine.images.pull(wanted.reference, progress=tell)),
        )

    async def build_image(self, request: Request) -> Response:
        """POST /images/build: progress lines, then the image."""
        wanted = await _body(request, models.BuildImage)
        program = views.overrides(wanted.program)
        return _stream(
            self._image_events(
                lambda _: self.engine.images.build(wanted.suite, wanted.packages, name=wanted.name, overrides=program)
            ),
        )

    async def import_image(self, request: Request) -> Response:
        """POST /images/import: a tar on this machine becomes an image."""
        wanted = await _body(request, models.ImportImage)
        program = views.overrides(wanted.program)
        return _stream(
            self._image_events(
                lambda _: self.engine.images.import_tar(Path(wanted.path), wanted.name, overrides=program)
            )
        )

    async def define_image(self, request: Request) -> Response:
        """POST /images/define: another image's files with another program become an image."""
        wanted = await _body(request, models.DefineImage)
        program = views.overrides(wanted.program)
        files = [(Path(source), inside) for source, inside in wanted.files]
        return _stream(
            self._image_events(
                lambda _: self.engine.images.define(wanted.name, wanted.source, overrides=program, files=files)
            )
        )

    async def remove_image(self, request: Request) -> Response:
        """DELETE /images/{name}."""
        name = request.path_params["name"]
        await asyncio.to_thread(self.engine.images.remove, name)
        return Response(status_code=204)

    async def runs(self, request: Request) -> Response:
        """GET /runs, optionally of one `sandbox`, at most `limit` of them."""
        limit = _number(request, "limit", 100)
        records = await self.engine.runs.list(self.engine.account_id, request.query_params.get("sandbox"), limit=limit)
        return _reply(models.RunList([views.run(record) for record in records]))

    async def run(self, request: Request) -> Response:
        """GET /runs/{id}, with the barriers of its sandbox while that lives."""
        record = await self._find(request)
        return _reply(views.run(record, await self._barriers(record)))

    async def events(self, request: Request) -> Response:
        """GET /runs/{id}/events: output as it appears, then the run; `follow=0` ends with what there is.

        `stdout` and `stderr` are the byte offsets to start from.
        """
        record = await self._find(request)
        offsets = {"stdout": _number(request, "stdout", 0), "stderr": _number(request, "stderr", 0)}
        follow = request.query_params.get("follow", "1") != "0"

        async def lines() -> AsyncIterator[bytes]:
            # A run that ends quickly takes its agent along; the barriers are asked for while it lives.
            barriers = await self._barriers(record)
            async for stream, data in run_events(self.engine.runs, record, offsets, follow=follow):
                yield _line(models.RunEvent(stream=stream, data=data))
            latest = await self._get(record.id)
            yield _line(models.RunEvent(run=views.run(latest, barriers or await self._barriers(latest))))

        return StreamingResponse(lines(), media_type=_NDJSON)

    def _image(self, record: Image) -> models.ImageView:
        return views.image(record, self.engine.images.config(record.id))

    async def _image_events(
        self, work: Callable[[Callable[[Progress], None]], Awaitable[Image]]
    ) -> AsyncIterator[bytes]:
        """Lines of progress while an image is made, then the image or the reason why there is none."""
        # Only the newest counts, five times a second: a slow reader must not pile up lines.
        latest: list[Progress] = []

        def tell(progress: Progress) -> None:
            latest[:] = [progress]

        async def make() -> Image:
            return await work(tell)

        task = asyncio.create_task(make())
        try:
            while not task.done():
                await asyncio.wait([task], timeout=0.2)
                if latest:
                    yield _line(models.ImageEvent(progress=views.progress(latest.pop())))
            yield _line(models.ImageEvent(image=self._image(task.result())))
        except EngineError as error:
            yield _line(models.ImageEvent(error=models.Failure(error.code, error.message)))
        except SandboxError as error:
            yield _line(models.ImageEvent(error=models.Failure(error.reason, str(error))))
        finally:
            task.cancel()

    async def _find(self, request: Request) -> RunRecord:
        return await self._get(request.path_params["run_id"])

    async def _get(self, run_id: str) -> RunRecord:
        return await self.engine.runs.get(self.engine.account_id, None, run_id)

    async def _barriers(self, record: RunRecord) -> Barriers | None:
        live = await self.engine.driver.find(record.sandbox_id)
        return live.barriers if live else None


def _reply(value: msgspec.Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _line(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _stream(lines: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(lines, media_type=_NDJSON)


async def _body(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise Invalid(f"the body is not what this call takes: {error}") from None


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit():
        raise Invalid(f"{name} must be a whole number, not {text!r}")
    return int(text)
