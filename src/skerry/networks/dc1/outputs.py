"""What came of a job, read from `/output` whichever of its published shapes a server speaks (section 3.4).

Three shapes are about: the documented one with `status` and `result`, the flat one of the deployed server that has
neither, and the one the official SDKs read. The HTTP status is the one thing they agree on: 202 goes on, 200 is there,
204 is there and empty, 206 is an image cut short, 410 failed or was cancelled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from skerry._kernel.model import NOT_GIVEN, parse_json, remember
from skerry._kernel.request import Response
from skerry.money import Money
from skerry.networks.dc1.answers import reader, undecodable
from skerry.networks.dc1.codes import error_of
from skerry.networks.dc1.errors import APIError
from skerry.networks.dc1.models import TERMINAL, Job, Submission
from skerry.networks.dc1.values import halala_or_none, image_bytes

MARKER = "DC1_RESULT_JSON:"
"""What a program prints in front of its result, at the start of a line."""

_JOB = reader(Job)
_IMAGE = re.compile(r"image/([\w.+-]+)", re.IGNORECASE)


@dataclass(frozen=True)
class TextResult:
    """Text that a model, or any program, wrote.

    Attributes:
        text: all of it.
        prompt: what was asked.
        model: who answered.
        tokens_generated: tokens.
        tokens_per_second: how fast.
        seconds: all the time it took.
        device: `cuda` or `cpu`.
        data: what a program printed behind the marker, or a result that is no text; None where there is neither.
    """

    text: str
    prompt: str | None = None
    model: str | None = None
    tokens_generated: int | None = None
    tokens_per_second: float | None = None
    seconds: float | None = None
    device: str | None = None
    data: Any = None


@dataclass(frozen=True)
class ImageResult:
    """A picture.

    Attributes:
        content: the bytes of the file.
        format: such as `png`.
        width: pixels.
        height: pixels.
        prompt: what was asked.
        model: who drew it.
        seed: by which it can be drawn again.
        complete: False when the server says that bytes are missing.
    """

    content: bytes = field(repr=False)
    format: str = "png"
    width: int | None = None
    height: int | None = None
    prompt: str | None = None
    model: str | None = None
    seed: int | None = None
    complete: bool = True

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the file, and say where it is.

        Raises:
            OSError: it cannot be written.
        """
        place = Path(path)
        place.write_bytes(self.content)
        return place


@dataclass(frozen=True)
class EndpointResult:
    """A model that is being served, in the manner of OpenAI.

    Attributes:
        url: base URL for OpenAI's clients, with its `/v1`; it needs no key.
        model: which one.
        port: on the provider's machine, where that is told.
        job_id: the job that serves, to be cancelled or completed when it is no longer needed.
    """

    url: str
    model: str | None = None
    port: int | None = None
    job_id: str | None = None

    @property
    def openai_base_url(self) -> str:
        """The same, by the name that OpenAI's clients have for it."""
        return self.url


Result = TextResult | ImageResult | EndpointResult
"""Whatever came of a job."""


@dataclass(frozen=True)
class JobOutput:
    """What `/output` said.

    Attributes:
        job: the job as far as it is told.
        status: the job's state, worked out from the HTTP status where the body has none.
        http_status: 200, 202, 204, 206 or 410.
        result: what came of it; None while there is nothing, and for jobs that failed or were cancelled.
        data: the JSON as received, `{}` where there was none.
    """

    job: Job
    status: str
    http_status: int
    result: Result | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_done(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.status in TERMINAL

    @property
    def ok(self) -> bool:
        """Whether it completed."""
        return self.status == "completed"

    @property
    def error(self) -> str | None:
        """Why it failed, or that it was cancelled."""
        return self.job.error

    @property
    def message(self) -> str | None:
        """What it is doing, while it goes on."""
        return self.job.message

    @cached_property
    def cost(self) -> Money | None:
        """What was charged, wherever the body says it; None while it goes on."""
        if self.http_status == 202:
            return None
        billing = self.data.get("billing")
        told = billing.get("actual_cost_halala") if isinstance(billing, Mapping) else None
        for amount in (self.job.actual_cost_halala, told, self.job.cost_halala if self.is_done else None):
            if (money := halala_or_none(amount)) is not None:
                return money
        return None

    @property
    def text(self) -> str:
        """The text of a text result; nothing for other results."""
        return self.result.text if isinstance(self.result, TextResult) else ""

    @property
    def image(self) -> bytes | None:
        """The bytes of an image result; None for other results."""
        return self.result.content if isinstance(self.result, ImageResult) else None

    @property
    def endpoint_url(self) -> str | None:
        """The base URL of a served model; None for other results."""
        return self.result.url if isinstance(self.result, EndpointResult) else None


def output_error(response: Response) -> APIError | None:
    """Failed and cancelled jobs are answers here, not errors (section 3.4.2)."""
    return None if response.status == 410 else error_of(response)


def read_job(response: Response) -> Job:
    """The job that an output tells about, as both official SDKs make it (section 4.1).

    Raises:
        DC1DecodeError: it is neither a JSON object nor an image.
    """
    if (found := _raw_image(response)) is not None:
        shown = {"type": "image", "format": found.format}
        return remember(Job(status="completed", result_type="image", result_data=shown), b"{}")
    return _JOB(response)


def read_output(response: Response) -> JobOutput:
    """What `/output` said, in whichever shape.

    Raises:
        DC1DecodeError: it is neither a JSON object nor an image.
    """
    job, image = read_job(response), _raw_image(response)
    if image is not None:
        return JobOutput(job, "completed", response.status, image)
    value = parse_json(response.body)
    data: Mapping[str, Any] = value if isinstance(value, dict) else {}
    told = data.get("status")
    status = told if isinstance(told, str) and told else _status_of(response.status)
    there = response.status != 202 and status not in ("failed", "cancelled")
    return JobOutput(job, status, response.status, _result(data, response.status) if there else None, data)


def _status_of(http_status: int) -> str:
    return {202: "running", 410: "failed"}.get(http_status, "completed")


def _raw_image(response: Response) -> ImageResult | None:
    """The image of an answer that is one."""
    kind = _IMAGE.match(response.header("content-type") or "")
    if kind is None or not response.ok:
        return None
    seed = response.header("x-dcp-seed") or ""
    return ImageResult(
        response.body,
        format=kind.group(1).lower(),
        prompt=response.header("x-dcp-prompt"),
        seed=int(seed) if re.fullmatch(r"-?[0-9]{1,20}", seed) else None,
    )


def read_image(response: Response) -> bytes:
    """The bytes of an image, whether they came as they are or in base64.

    Raises:
        DC1DecodeError: there is no image in the answer.
    """
    found = read_output(response).image
    if found is None:
        raise undecodable(response, "no image")
    return found


def _result(data: Mapping[str, Any], http_status: int) -> Result:
    inner = data.get("result")
    told: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}

    def said(*names: str) -> Any:
        return next((place[name] for name in names for place in (told, data) if place.get(name) is not None), None)

    url = said("endpoint_url")
    if isinstance(url, str) and url:
        return EndpointResult(url, said("model"), said("port"), data.get("job_id"))
    content = image_bytes(said("image_base64", "data"))
    drawn = said("type") == "image" or data.get("result_type") == "image"
    if drawn and (content is not None or http_status == 206):
        return ImageResult(
            content or b"",
            said("format") or "png",
            said("width"),
            said("height"),
            said("prompt"),
            said("model"),
            said("seed"),
            complete=http_status != 206,
        )
    text = inner if isinstance(inner, str) else said("response", "output")
    printed = data.get("result_json")
    if printed is None:
        printed = marked_json(text) if isinstance(text, str) else inner
    return TextResult(
        text if isinstance(text, str) else "",
        said("prompt"),
        said("model"),
        said("tokens_generated"),
        said("tokens_per_second"),
        said("total_time_s"),
        said("device"),
        printed,
    )


def named(submission: Submission) -> str:
    """What names the job that a submission made.

    Raises:
        APIError: the answer does not say.
    """
    if not submission.name:
        text = "Job submission succeeded but no job_id was returned"
        raise APIError(text, 500, submission.raw, outcome="unknown")
    return submission.name


def marked_json(text: str) -> Any:
    """The JSON behind the last marker that starts a line of a program's output; None when there is none.

    Example:
        >>> marked_json('loading\\nDC1_RESULT_JSON:{"device": "cuda:0"}\\n')
        {'device': 'cuda:0'}
    """
    for line in reversed(text.split("\n")):
        if line.startswith(MARKER):
            value = parse_json(line.removeprefix(MARKER).strip().encode())
            return None if value is NOT_GIVEN else value
    return None
