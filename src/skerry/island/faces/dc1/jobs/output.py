"""What came of a job, in one body that satisfies every published shape of it (section 3.4.3).

Five traps fix this shape. Nothing that a client divides is ever null. `result` is an object or a text, or it is not
there at all, as long as there is nothing. `cost_halala` is what was charged, once that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_access, job_views, results
from skerry.island.faces.dc1.jobs.claiming import SERVING
from skerry.island.faces.dc1.jobs.long_answers import LongAnswers, Pieces
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.provider.records import IMAGE_TYPE, TEXT_TYPES

FORMATS = ("png", "jpeg", "webp")
_MESSAGES = {
    "downloading_model": "Downloading model weights...",
    "installing_deps": "Installing dependencies...",
    "loading_model": "Loading model onto GPU...",
    "generating": "Generating response...",
    "formatting": "Formatting output...",
}
_USUAL_ERRORS = {"failed": "Job failed", "cancelled": "Job was cancelled"}
_LONGEST_PROMPT = 200
_LONG = 256 << 10
"""Characters of a result from which on it is made and sent in pieces."""


class Output:
    """The result of a job.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._long = LongAnswers()

    def routes(self) -> Sequence[Route]:
        """Two reads."""
        path = "/api/jobs/{job_id}/output"
        return [
            Route(method="GET", path=path, handler=self.output, access=ANYBODY),
            Route(method="GET", path=f"{path}/{{format}}", handler=self.file, access=ANYBODY),
        ]

    async def output(self, call: Call, job_id: str) -> Answer:
        """What came of it, or how far it is: 200, 202 while it goes on, 410 when nothing came of it."""
        found = await self._engine.store.read(_output, call, job_id, _LONG)
        if found is not None:
            return found
        leave = await self._long.enter()
        try:
            job, name = await self._engine.store.read(_read, call, job_id)
            accept = call.headers.get("accept", "")
            made: Answer = await self._long.make(lambda: answer(job, name, accept=accept, root=call.root))
        except BaseException:
            leave()
            raise
        if isinstance(made.value, bytes):
            leave()
            return made
        return replace(made, value=Pieces(made.value, leave))

    async def file(self, call: Call, job_id: str, format: str) -> Answer:
        """The image that a job drew, as a file."""
        await self._engine.store.read(job_access.length, call.caller, job_id)
        leave = await self._long.enter()
        try:
            job = await self._engine.store.read(job_access.readable, call.caller, job_id)
            made: Answer = await self._long.make(lambda: _file(job, format))
            return made
        finally:
            leave()


def _output(connection: Connection, call: Call, job_id: str, most: int) -> Answer | None:
    """The answer as it is sent; None where the result is longer than so many characters."""
    if job_access.length(connection, call.caller, job_id) > most:
        return None
    job, name = _read(connection, call, job_id)
    made = answer(job, name, accept=call.headers.get("accept", ""), root=call.root)
    return made if isinstance(made.value, bytes) else replace(made, value=wire.encode(made.value))


def _read(connection: Connection, call: Call, job_id: str) -> tuple[Row[Any], str | None]:
    job = job_access.readable(connection, call.caller, job_id)
    provider = None if job.provider_id is None else provider_rows.find(connection, job.provider_id)
    return job, None if provider is None else str(provider.name)


def answer(job: Row[Any], provider_name: str | None, *, accept: str, root: str) -> Answer:
    """The answer for a job in whichever state.

    Args:
        provider_name: of the provider that has it.
        accept: header of the request.
        root: address of this face as the caller reached it.
    """
    if job.status in _USUAL_ERRORS:
        return Answer(_gone(job, provider_name), 410)
    if job.status != "completed":
        if job_views.is_serving(job):
            return Answer({**_waiting(job), "provider_name": provider_name, **_endpoint(job, root)})
        return Answer(_waiting(job), 202)
    head = _finished(job, provider_name)
    stdout = job.result or ""
    told = results.marked(stdout) or results.whole(stdout)
    picture = results.picture(told) if told is not None else None
    if job.job_type == SERVING:
        return Answer({**head, **_served(job, told, root)})
    if picture is not None and (job.job_type == IMAGE_TYPE or job.job_type in TEXT_TYPES):
        return _picture(head, picture, accept.lower())
    if job.job_type in TEXT_TYPES or job.job_type == IMAGE_TYPE or not stdout:
        return Answer({**head, **_text(stdout, told)})
    return Answer({**head, **_raw(stdout, results.marked(stdout))})


def _common(job: Row[Any]) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "status": job.status,
        "job_type": job.job_type,
        "provider_id": job.provider_id,
        "duration_minutes": wire.number(job.duration_minutes),
        "cost_halala": job.quote,
        "submitted_at": wire.iso(job.submitted_at),
        "started_at": wire.maybe_iso(job.started_at),
        "progress_phase": job.progress_phase,
    }


def _waiting(job: Row[Any]) -> dict[str, Any]:
    usual = "Job running..." if job.status == "running" else f"Job status: {job.status}"
    return {
        **_common(job),
        "message": _MESSAGES.get(job.progress_phase, usual),
        "progress_updated_at": wire.maybe_iso(job.progress_updated_at),
        "timeout_at": job_views.timeout_at(job),
    }


def _ended(job: Row[Any], provider_name: str | None) -> dict[str, Any]:
    charged = int(job.charged or 0)
    return {
        **_common(job),
        "provider_name": provider_name,
        "completed_at": wire.maybe_iso(job.completed_at),
        "cost_halala": charged,
        "actual_cost_halala": charged,
        "quoted_cost_halala": job.quote,
    }


def _gone(job: Row[Any], provider_name: str | None) -> dict[str, Any]:
    return {
        **_ended(job, provider_name),
        "error": job.error or _USUAL_ERRORS[job.status],
        "refunded": job.refunded_at is not None,
        "refunded_halala": job_views.refunded(job),
    }


def _finished(job: Row[Any], provider_name: str | None) -> dict[str, Any]:
    charged = int(job.charged or 0)
    return {
        **_ended(job, provider_name),
        "actual_duration_minutes": job_views.work_minutes(job),
        "execution_time_sec": job_views.work_seconds(job),
        "billing": {
            "actual_cost_halala": charged,
            "actual_cost_sar": wire.sar_text(charged) if charged else None,
        },
    }


def _endpoint(job: Row[Any], root: str, told: dict[str, Any] | None = None) -> dict[str, Any]:
    said = told or {}
    url = job_views.endpoint_url(job, root) or said.get("endpoint_url")
    spec = job_views.parsed(job.task_spec) or {}
    return {
        "endpoint_url": url,
        "result_type": "endpoint",
        "result": {
            "type": "endpoint",
            "endpoint_url": url,
            "model": spec.get("model") or job.model,
            "port": job.serve_port or said.get("port"),
            "openai_compatible": True,
        },
    }


def _served(job: Row[Any], told: dict[str, Any] | None, root: str) -> dict[str, Any]:
    return {"type": "endpoint", **_endpoint(job, root, told)}


def _text(stdout: str, told: dict[str, Any] | None) -> dict[str, Any]:
    """A text: what the marker tells, or everything that was written where there is none."""
    said = {name: told[name] for name in results.TEXT_MEMBERS if name in told} if told else {}
    response = said.get("response")
    if not isinstance(response, str):
        output = told.get("output") if told else None
        response = output if isinstance(output, str) else stdout
        if stdout:
            said["response"] = response
    return {
        "result_type": "text",
        "result": {"type": "text", **said, "output": response},
        "type": "text",
        **said,
    }


def _raw(stdout: str, told: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"result_type": "text", "type": "text", "result": stdout}
    if told is None:
        return found
    flat = {name: told[name] for name in results.TEXT_MEMBERS if name in told} if told.get("type") == "text" else {}
    return {**found, **flat, "result_json": told}


def _picture(head: dict[str, Any], picture: results.Picture, accept: str) -> Answer:
    if not picture.complete:
        return Answer({**head, **_cut_short(picture)}, 206)
    content = picture.content or b""
    names_json = "application/json" in accept
    if "image/" in accept and not names_json:
        return Answer(content, media=f"image/{picture.format}", headers=_about(picture))
    members = picture.members
    size = {"image_bytes": len(content)}
    flat = {**members, **size, **({"image_base64": picture.base64} if names_json else {})}
    result = {**members, "image_base64": picture.base64, **size}
    return Answer({**head, "result_type": "image", "result": result, **flat})


def _cut_short(picture: results.Picture) -> dict[str, Any]:
    told = picture.told
    return {
        "error": "Image data is incomplete" if picture.content is not None else "Image data is not valid base64",
        "type": "image",
        "result_type": "image",
        "expected_dimensions": f"{told.get('width')}x{told.get('height')}",
        "base64_length": len(picture.base64),
        "decoded_bytes": len(picture.content or b""),
        "expected_min_bytes": picture.least_bytes,
        "valid_base64": picture.content is not None,
        "hint": "The output was cut before the image was complete; retry the job, with smaller dimensions if need be",
    }


def _about(picture: results.Picture) -> tuple[tuple[bytes, bytes], ...]:
    """What is told of an image that is sent as it is; a prompt in any script fits into a header percent-encoded."""
    told = picture.told
    prompt = str(told.get("prompt") or "")[:_LONGEST_PROMPT]
    if not (prompt.isascii() and prompt.isprintable()):
        prompt = quote(prompt, safe=" ,.!?'\"()-:;")
    values = {
        "x-dcp-prompt": prompt,
        "x-dcp-seed": _plain(told.get("seed")),
        "x-dcp-gentime": _plain(told.get("gen_time_s")),
        "x-dcp-imagebytes": str(len(picture.content or b"")),
    }
    return tuple((name.encode(), value.encode()) for name, value in values.items())


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _file(job: Row[Any], format: str) -> Answer:
    asked = "jpeg" if format.lower() == "jpg" else format.lower()
    if asked not in FORMATS:
        raise Fault(400, f"Invalid format: {format}. Supported: {', '.join(FORMATS)}")
    if job.status != "completed":
        raise Fault(400, "Job not completed")
    told = results.marked(job.result or "") or results.whole(job.result or "")
    picture = results.picture(told) if told is not None else None
    if job.job_type != IMAGE_TYPE or picture is None:
        raise Fault(400, "Job is not an image generation job")
    if picture.content is None:
        raise Fault(422, "Image data is not valid base64")
    name = f'attachment; filename="dcp-{job.job_id}.png"'.encode()
    headers = ((b"content-disposition", name),)
    return Answer(picture.content, media=f"image/{picture.format}", headers=headers)
