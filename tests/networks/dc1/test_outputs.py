"""Outputs of jobs, in every shape that is published."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry._kernel.request import Response
from skerry.money import Money
from skerry.networks.dc1 import (
    DC1DecodeError,
    EndpointResult,
    ImageResult,
    TextResult,
)
from skerry.networks.dc1.answers import reader
from skerry.networks.dc1.models import Job, Submission
from skerry.networks.dc1.outputs import marked_json, read_image, read_job, read_output
from tests.networks.dc1.said import PNG, json_values, said

COMMON = {"job_id": "job-1", "job_type": "llm_inference", "submitted_at": "2026-03-22T19:30:00.000Z"}


def test_the_documented_shape() -> None:
    inner = {"type": "text", "response": "Silicon on sand", "model": "m", "tokens_generated": 5, "total_time_s": 1.2}
    body = {**COMMON, "status": "completed", "result": inner, "actual_cost_halala": 11, "cost_halala": 11}
    output = read_output(said(200, body))
    assert (output.status, output.is_done, output.ok, output.text) == ("completed", True, True, "Silicon on sand")
    assert output.result == TextResult("Silicon on sand", None, "m", 5, None, 1.2, None, None)
    assert (output.cost, output.image, output.endpoint_url) == (Money(11, "SAR"), None, None)


def test_the_flat_shape_of_the_deployed_server() -> None:
    body = {"type": "text", "response": "Hello", "tokens_generated": 2, "billing": {"actual_cost_halala": 0}}
    output = read_output(said(200, body))
    assert (output.status, output.text, output.cost) == ("completed", "Hello", Money(0, "SAR"))
    assert (output.job.status, output.job.is_done) == ("unknown", False)


def test_outputs_that_are_not_there_yet() -> None:
    output = read_output(said(202, {"status": "running", "message": "Loading model onto GPU...", "cost_halala": 45}))
    assert (output.status, output.is_done, output.result, output.cost) == ("running", False, None, None)
    assert output.message == "Loading model onto GPU..."
    assert read_output(said(202)).status == "running"
    assert read_output(said(202, {"status": "warming_provider"})).is_done is False


@pytest.mark.parametrize("body", [{"status": "failed", "error": "CUDA out of memory"}, {"error": "CUDA out of memory"}])
def test_failed_jobs_are_answers(body: dict[str, Any]) -> None:
    output = read_output(said(410, {**body, "result": "partial", "cost_halala": 0}))
    assert (output.status, output.is_done, output.ok, output.result) == ("failed", True, False, None)
    assert (output.error, output.text) == ("CUDA out of memory", "")
    assert read_output(said(410, {"status": "cancelled"})).status == "cancelled"


def test_an_empty_success_is_an_empty_text() -> None:
    for response in (Response(204), said(200, {"status": "completed", "result": {"type": "text", "output": ""}})):
        output = read_output(response)
        assert (output.status, output.text, output.result) == ("completed", "", TextResult(""))


def test_images_come_in_three_ways(tmp_path: Path) -> None:
    text = base64.b64encode(PNG).decode()
    nested = {
        "status": "completed",
        "result_type": "image",
        "result": {"type": "image", "image_base64": text, "seed": 4},
    }
    flat = {"type": "image", "format": "png", "image_base64": text, "width": 1, "height": 1, "seed": 4}
    raw = Response(200, (("content-type", "image/png"), ("x-dcp-seed", "4"), ("x-dcp-prompt", "p")), PNG)
    for response in (said(200, nested), said(200, flat), raw):
        output = read_output(response)
        assert (output.status, output.image, output.is_done) == ("completed", PNG, True)
        assert isinstance(output.result, ImageResult)
        assert (output.result.format, output.result.seed, output.result.complete) == ("png", 4, True)
        assert output.result.save(tmp_path / "x.png").read_bytes() == PNG
        assert read_image(response) == PNG
    assert read_job(raw).status == "completed"
    assert "iVBOR" not in repr(read_output(raw))


def test_an_image_cut_short_says_so() -> None:
    output = read_output(said(206, {"type": "image", "error": "truncated", "base64_length": 3}))
    assert (output.status, output.image, output.error) == ("completed", b"", "truncated")
    assert isinstance(output.result, ImageResult)
    assert output.result.complete is False


@pytest.mark.parametrize("body", [{"status": "running"}, {"status": "completed", "result": "text"}])
def test_no_image_is_an_error_where_one_is_wanted(body: dict[str, Any]) -> None:
    with pytest.raises(DC1DecodeError, match="no image"):
        read_image(said(200, body))


def test_served_models_have_an_address() -> None:
    inner = {"type": "endpoint", "endpoint_url": "http://10.1.2.3:8100/v1", "model": "m", "port": 8100}
    output = read_output(said(200, {"status": "running", "result_type": "endpoint", "result": inner}))
    assert output.result == EndpointResult("http://10.1.2.3:8100/v1", "m", 8100)
    assert (output.endpoint_url, output.is_done, output.cost) == ("http://10.1.2.3:8100/v1", False, None)
    assert isinstance(output.result, EndpointResult)
    assert output.result.openai_base_url == "http://10.1.2.3:8100/v1"


def test_programs_print_their_results() -> None:
    printed = 'loading\nDC1_RESULT_JSON:{"a": 0}\nDC1_RESULT_JSON:{"a": 1}\nbye\n'
    assert marked_json(printed) == {"a": 1}
    assert marked_json("x DC1_RESULT_JSON:{}\n") is None
    assert marked_json("DC1_RESULT_JSON:{oops") is None
    output = read_output(said(200, {"status": "completed", "result": printed}))
    assert isinstance(output.result, TextResult)
    assert (output.text, output.result.data) == (printed, {"a": 1})
    told = read_output(said(200, {"status": "completed", "result": "x", "result_json": [1]}))
    assert isinstance(told.result, TextResult)
    assert told.result.data == [1]
    other = read_output(said(200, {"status": "completed", "result": {"tflops": 80}}))
    assert isinstance(other.result, TextResult)
    assert (other.text, other.result.data) == ("", {"tflops": 80})


@settings(max_examples=60)
@given(
    st.sampled_from([200, 202, 204, 206, 410]),
    st.dictionaries(
        st.sampled_from(
            [
                "status",
                "result",
                "result_type",
                "type",
                "image_base64",
                "data",
                "endpoint_url",
                "billing",
                "response",
                "error",
                "cost_halala",
                "actual_cost_halala",
                "seed",
                "job_id",
                "id",
                "submitted_at",
            ]
        ),
        json_values,
    ),
)
def test_no_output_breaks_its_reader(status: int, body: dict[str, Any]) -> None:
    output = read_output(said(status, body))
    assert isinstance(output.is_done, bool)
    assert output.cost is None or isinstance(output.cost, Money)
    assert isinstance(output.text, str)
    assert isinstance(output.job.id, str)
    assert isinstance(read_job(said(status, body)), Job)


@pytest.mark.parametrize("response", [Response(200, (), b"oops"), said(200, [1]), said(200, "x")])
def test_what_is_no_object_is_refused(response: Response) -> None:
    for read in (read_output, read_job, reader(Submission)):
        with pytest.raises(DC1DecodeError) as caught:
            read(response)
        assert (caught.value.status, caught.value.outcome, caught.value.body) == (200, "unknown", response.body)
