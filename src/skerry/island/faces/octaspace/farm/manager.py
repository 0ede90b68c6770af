"""The queue manager (protocol section 8): `uber_api`, one object of endpoints and arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skerry.island.engine.errors import EngineError, Invalid, NotFound, Unsupported
from skerry.island.faces.octaspace.farm.operations import Unrecognised, wants_scripts
from skerry.island.faces.octaspace.farm.shelves import Shelves
from skerry.island.faces.octaspace.farm.tasks import frame_range
from skerry.island.faces.octaspace.farm.wire import VERSION
from skerry.island.workers.render import RenderWorkers
from skerry.island.workers.render.values import RenderSpec

MOST_ENDPOINTS = 100
_MOST_PASSES = 200
_MOST_NAME = 200
_BLENDER = re.compile(r"blender(\d)(\d{1,2})")


class Manager:
    """Answers for one farm.

    Args:
        workers: who render.
        shelves: where packages are put.
    """

    def __init__(self, workers: RenderWorkers, shelves: Shelves) -> None:
        self._workers = workers
        self._shelves = shelves

    async def answer(self, account: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Each endpoint's `{status, body}`; a failed one says why in its body and disturbs no other.

        Args:
            account: whose queue it is.
            asked: arguments by endpoint.
        """
        found: dict[str, Any] = {}
        body: Any
        for endpoint, argument in asked.items():
            try:
                if endpoint == "node_job":
                    body = await self._node_job(account, _object(argument, "node_job"))
                elif endpoint == "job_details":
                    body = await self._job_details(account, _object(argument, "job_details"))
                else:
                    raise NotFound(f"there is no endpoint {endpoint[:100]!r} here")
            except EngineError as error:
                found[endpoint] = {"status": "error", "body": error.message}
            else:
                found[endpoint] = {"status": "success", "body": body}
        return found

    async def _node_job(self, account: str, argument: Mapping[str, Any]) -> str:
        """Accept a job whose package was uploaded; the same again is accepted as well."""
        data = _object(argument.get("job_data"), "job_data")
        id = data.get("id")
        shelf = self._shelves.shelf(account, id if isinstance(id, str) else "")
        if data.get("version", VERSION) != VERSION:
            raise Invalid(f"job_data is of version {VERSION} here")
        try:
            scripts = wants_scripts(argument.get("operations"))
        except Unrecognised as error:
            raise Invalid(str(error)) from None
        self._check_release(data.get("blender_version"))
        spec = spec_of(data, scripts=scripts)
        size = await self._shelves.package_size(shelf)
        if size is None:
            raise NotFound("the package of this job was not uploaded")
        if data.get("archive_size") not in (None, size):
            raise Invalid(f"the package has {size} bytes, not archive_size; upload it again")
        await self._shelves.keep_details(shelf, _details(data))
        name = data.get("name")
        text = name[:_MOST_NAME] if isinstance(name, str) else ""
        await self._workers.submit(account, shelf.key, shelf.package, spec, name=text)
        return "queued"

    async def _job_details(self, account: str, argument: Mapping[str, Any]) -> dict[str, Any]:
        id = argument.get("job_id")
        shelf = self._shelves.shelf(account, id if isinstance(id, str) else "")
        await self._workers.job(shelf.key)
        details = await self._shelves.details(shelf)
        if details is None:
            raise NotFound("there is no such job")
        return details

    def _check_release(self, wanted: Any) -> None:
        """An older Blender would open a newer file, and drop what it does not know without a word."""
        if wanted is None:
            return
        found = _BLENDER.fullmatch(wanted) if isinstance(wanted, str) else None
        if found is None:
            raise Invalid("blender_version is one such as blender45")
        release = int(found[1]), int(found[2])
        if release > self._workers.blender.release:
            here = self._workers.blender.version
            raise Unsupported(f"this farm renders with Blender {here}, the job needs {release[0]}.{release[1]}")


def spec_of(data: Mapping[str, Any], *, scripts: bool) -> RenderSpec:
    """What `job_data` asks for.

    Raises:
        Invalid: a member is not what it should be.
    """
    start, end = _whole(data, "start"), _whole(data, "end")
    batch, step = _whole(data, "batch_size", 1), _whole(data, "frame_step", 1)
    if end < start or batch < 1 or step < 1:
        raise Invalid("the tasks of a job go from start to end, with batch_size and frame_step of at least 1")
    first, last, every = frame_range(start, end, batch=batch, step=step)
    match = data.get("match_scene_format", False)
    form, engine = data.get("render_format"), data.get("render_engine")
    if not isinstance(match, bool) or not isinstance(form, (str, type(None))):
        raise Invalid("match_scene_format is true or false, render_format a text")
    if not isinstance(engine, (str, type(None))):
        raise Invalid("render_engine is a text")
    spec = RenderSpec(
        first=first,
        last=last,
        step=every,
        format=None if match else form or "PNG",
        engine=engine,
        batch=batch if batch > 1 else None,
        scripts=scripts,
    )
    spec.check()
    return spec


def _details(data: Mapping[str, Any]) -> dict[str, Any]:
    passes = data.get("render_passes", {})
    if not isinstance(passes, dict) or len(passes) > _MOST_PASSES:
        raise Invalid(f"render_passes is an object of at most {_MOST_PASSES}")
    return {
        "start": data["start"],
        "end": data["end"],
        "batch_size": data.get("batch_size", 1),
        "render_passes": passes,
        "render_format": data.get("render_format"),
    }


def _whole(data: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1 << 31:
        raise Invalid(f"{name} is a whole number")
    return value


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{name} is an object")
    return value
