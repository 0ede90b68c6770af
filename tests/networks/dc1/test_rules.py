"""The pure parts of DC1: errors, settings, outputs, waits, prices, signatures, requests."""

from __future__ import annotations

import base64
import copy
import json
import math
import pickle
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry import errors as common
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import Failure
from skerry.errors import ConfigurationError, InvalidRequestError, SkerryError
from skerry.money import Money
from skerry.networks.dc1 import (
    TERMINAL,
    APIError,
    AuthError,
    Claim,
    DC1CancelledError,
    DC1ConnectionError,
    DC1DecodeError,
    DC1Error,
    DC1PaymentRequiredError,
    DC1QuotaExceededError,
    DC1TimeoutError,
    EndpointResult,
    ImageResult,
    JobFailedError,
    JobTimeoutError,
    TextResult,
    build_resource_spec,
    hold_for,
    operations,
    settle,
    sign_task_spec,
    verify_callback,
    verify_task_spec,
)
from skerry.networks.dc1 import errors as dc1_errors
from skerry.networks.dc1.answers import reader
from skerry.networks.dc1.codes import (
    CODES,
    SENTENCES,
    STATUSES,
    error_of,
    failure_error,
    is_passing,
    own_account_error,
    retry_when,
    streamed_error,
)
from skerry.networks.dc1.config import BASE_URL, resolve
from skerry.networks.dc1.host import gpu_of, os_name
from skerry.networks.dc1.models import Job, PaymentHistory, Provider, Submission
from skerry.networks.dc1.outputs import marked_json, read_image, read_job, read_output
from skerry.networks.dc1.polling import backoff, interval_for
from skerry.networks.dc1.pricing import round_half_up
from skerry.networks.dc1.signing import sign_callback, task_spec_text
from skerry.networks.dc1.values import gigabytes, halala, image_bytes

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def said(status: int, body: Any = None, **headers: str) -> Response:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status, pairs, b"" if body is None else json.dumps(body).encode())


# --- errors


# Every code word and sentence that the protocol names, with what it means to a caller.
DOCUMENTED: list[tuple[int, dict[str, Any], type[SkerryError]]] = [
    (400, {"error": "Invalid gpu_requirements.gpu_type 'x'", "code": "INVALID_GPU_TYPE"}, common.InvalidRequestError),
    (400, {"error": "weak", "code": "WEAK_NOTEBOOK_TOKEN"}, common.InvalidRequestError),
    (400, {"error": "x", "code": "IMAGE_NOT_APPROVED"}, common.InvalidRequestError),
    (400, {"error": "BELOW_MINIMUM", "message": "m", "minimumUsd": 50}, common.InvalidRequestError),
    (401, {"error": "x", "code": "wrong_key_type"}, common.AuthenticationError),
    (402, {"error": "insufficient_balance", "required_halala": 9}, common.PaymentRequiredError),
    (503, {"error": "no_capacity", "message": "m"}, common.NoCapacityError),
    (503, {"error": "no_providers_available"}, common.NoCapacityError),
    (503, {"error": "NO_PROVIDERS_AVAILABLE"}, common.NoCapacityError),
    (503, {"error": "x", "code": "NO_PROVIDERS_AVAILABLE"}, common.NoCapacityError),
    (502, {"error": "inference_failed"}, common.ServerError),
    (504, {"error": "timeout"}, common.UnavailableError),
    (400, {"error": "API key required"}, common.AuthenticationError),
    (400, {"error": "API key required (x-renter-key header or key query)"}, common.AuthenticationError),
    (400, {"error": "api_key required"}, common.AuthenticationError),
    (401, {"error": "Renter API key required (x-renter-key header or renter_key query)"}, common.AuthenticationError),
    (401, {"error": "Invalid heartbeat signature", "detail": "d"}, common.AuthenticationError),
    (401, {"error": "Admin access denied"}, common.AuthenticationError),
    (403, {"error": "Invalid or inactive renter API key"}, common.PermissionDeniedError),
    (403, {"error": "API key has expired"}, common.PermissionDeniedError),
    (403, {"error": "Forbidden"}, common.PermissionDeniedError),
    (403, {"error": "Provider is not approved yet"}, common.PermissionDeniedError),
    (400, {"error": "Validation failed", "fields": []}, common.InvalidRequestError),
    (400, {"error": "Provider does not meet GPU requirements"}, common.InvalidRequestError),
    (400, {"error": "Provider is not online", "provider_status": "offline"}, common.NoCapacityError),
    (400, {"error": "Cannot cancel job with status: completed"}, common.ConflictError),
    (400, {"error": "Only failed jobs can be retried", "current_status": "running"}, common.ConflictError),
    (400, {"error": "Only failed jobs can be re-queued"}, common.ConflictError),
    (400, {"error": "Job is not active"}, common.ConflictError),
    (400, {"error": "Job is not paused"}, common.ConflictError),
    (400, {"error": "Job is not running"}, common.ConflictError),
    (400, {"error": "Job not completed"}, common.ConflictError),
    (400, {"error": "Checkpointing is not enabled for this job"}, common.ConflictError),
    (400, {"error": "No checkpoint found for this job"}, common.ConflictError),
    (400, {"error": "Requested amount exceeds claimable earnings"}, common.PaymentRequiredError),
    (402, {"error": "Balance is zero. Please top up your renter wallet"}, common.PaymentRequiredError),
    (402, {"error": "Insufficient balance"}, common.PaymentRequiredError),
    (404, {"error": "Job not found"}, common.NotFoundError),
    (404, {"error": "Bundle 'x' not found", "available_bundles": []}, common.NotFoundError),
    (409, {"error": "A renter with this email already exists"}, common.ConflictError),
    (409, {"error": "Job already settled", "current_status": "failed"}, common.ConflictError),
    (410, {"error": "Job failed"}, common.ConflictError),
    (413, {}, common.PayloadTooLargeError),
    (429, {"error": "Rate limit exceeded", "retryAfterSeconds": 60}, common.RateLimitedError),
    (429, {"error": "Daily job submission quota exceeded", "daily_jobs_limit": 1}, DC1QuotaExceededError),
    (429, {"error": "Monthly spend quota exceeded", "monthly_spend_limit_halala": 1}, DC1QuotaExceededError),
    (500, {"error": "Job submission failed"}, common.ServerError),
    (502, {}, common.UnavailableError),
    (503, {"error": "No GPU provider currently available for this template"}, common.NoCapacityError),
    (504, {}, common.UnavailableError),
]


@pytest.mark.parametrize(("status", "body", "meaning"), DOCUMENTED)
def test_every_documented_error_has_its_meaning(status: int, body: dict[str, Any], meaning: type[SkerryError]) -> None:
    error = error_of(said(status, body))
    assert isinstance(error, meaning)
    assert isinstance(error, APIError)
    assert (error.network, error.status, error.status_code, error.response) == ("dc1", status, status, body)
    assert error.to_dict()["status"] == status


def test_the_documented_errors_use_all_of_the_tables() -> None:
    words = {word for _, body, _ in DOCUMENTED for word in (body.get("error"), body.get("code"))}
    assert set(CODES) <= words
    for status, pattern, _ in SENTENCES:
        assert any(status == one and re.fullmatch(pattern, body.get("error", "")) for one, body, _ in DOCUMENTED)


def test_each_class_is_one_of_the_common_tree() -> None:
    for kind in {*CODES.values(), *STATUSES.values(), *(kind for _, _, kind in SENTENCES)}:
        assert issubclass(kind, APIError)
        bases = [base for base in kind.__mro__ if base.__module__ == "skerry.errors" and base is not SkerryError]
        assert bases, kind


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (Response(500), "HTTP 500"),
        (Response(302), "HTTP 302"),
        (said(418, {"x": 1}), "HTTP 418"),
        (said(400, []), "HTTP 400"),
        (Response(502, (), b"<html>bad</html>"), "<html>bad</html>"),
        (said(400, {"error": {"a": [1]}}), '{"a":[1]}'),
        (said(400, {"error": {"message": "no", "type": "t", "code": "c"}}), "no"),
        (said(400, {"error": ""}), "HTTP 400"),
        (Response(400, (), b"\xff"), "\ufffd"),
    ],
)
def test_the_message_is_what_the_answer_says(response: Response, message: str) -> None:
    error = error_of(response)
    assert error is not None
    assert (error.message, error.status) == (message, response.status)


@given(st.integers(100, 599), st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_answer_breaks_the_error_parser(status: int, body: bytes) -> None:
    error = error_of(Response(status, (), body))
    assert (error is None) == (200 <= status < 300)
    if error is not None:
        assert isinstance(error, DC1Error)
        assert str(error)
        assert isinstance(error.to_dict(), dict)
        assert error.hint is None or isinstance(error.hint, str)


def test_money_in_errors_is_money() -> None:
    body = {"error": "Insufficient balance", "balance_halala": 0, "required_halala": 30, "shortfall_halala": 30}
    error = error_of(said(402, {**body, "message": "Top up at least 1 SAR"}))
    assert isinstance(error, DC1PaymentRequiredError)
    assert (error.balance, error.required, error.shortfall) == (Money(0, "SAR"), Money(30, "SAR"), Money(30, "SAR"))
    assert error.hint == "Top up at least 1 SAR"
    other = error_of(said(402, {"error": "insufficient_balance", "available_halala": 7}))
    assert isinstance(other, DC1PaymentRequiredError)
    assert (other.balance, other.shortfall) == (Money(7, "SAR"), None)


def test_fields_of_a_failed_validation() -> None:
    fields = [{"field": "email", "message": "Invalid email address"}]
    error = error_of(said(400, {"error": "Validation failed", "fields": fields}))
    assert error is not None
    assert (error.fields, error.details) == (fields, fields)


def test_unknown_keys_are_no_missing_things() -> None:
    assert isinstance(own_account_error(said(404, {"error": "Renter not found"})), AuthError)
    assert isinstance(own_account_error(said(404, {"error": "Provider not found"})), AuthError)
    assert isinstance(own_account_error(said(404, {"error": "Not found"})), common.NotFoundError)
    assert isinstance(error_of(said(404, {"error": "Provider not found"})), common.NotFoundError)
    assert own_account_error(said(200, {})) is None


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"retryAfterSeconds": 60, "retryAfterMs": 60000}, 60.0),
        ({"retryAfterSeconds": 2}, 2.0),
        ({"retryAfterMs": 250}, 0.25),
        ({"retryAfterSeconds": "soon"}, None),
        ({"retryAfterSeconds": -1}, None),
        ({"retryAfterSeconds": True}, None),
        ([], None),
    ],
)
def test_bodies_say_how_long_to_wait(body: Any, asked: float | None) -> None:
    error = error_of(said(429, body))
    assert error is not None
    assert error.retry_after == asked


def test_what_may_be_tried_again() -> None:
    limited, quota = error_of(said(429)), error_of(said(429, {"daily_jobs_limit": 100}))
    assert limited is not None
    assert quota is not None
    assert retry_when(Failure(limited, "answer", 429), "idempotent")
    assert not retry_when(Failure(limited, "answer", 429), "unsafe")
    assert not retry_when(Failure(quota, "answer", 429), "idempotent")
    assert (limited.retryable, quota.retryable) == (True, False)
    assert is_passing(limited)
    assert not is_passing(quota)
    for status, passing in (
        (408, True),
        (425, True),
        (500, True),
        (520, True),
        (400, False),
        (403, False),
        (404, False),
    ):
        error = error_of(said(status))
        assert error is not None
        assert is_passing(error) is passing
    assert is_passing(failure_error(TransportFailure("cut")))
    assert not is_passing(ValueError())


def test_failures_of_the_transport() -> None:
    refused = failure_error(TransportFailure("nobody there", "never_sent"))
    assert (type(refused), refused.message) == (DC1ConnectionError, "Connection error: nobody there")
    assert (refused.status_code, refused.response, refused.outcome) == (0, {}, "not_sent")
    late = failure_error(TransportFailure("no answer within 30 s", "timeout"))
    assert isinstance(late, DC1TimeoutError)
    assert isinstance(late, TimeoutError)
    assert (late.message, late.outcome) == ("Request timed out: no answer within 30 s", "unknown")


def test_errors_in_streams() -> None:
    error = streamed_error(said(200, {"error": {"message": "no GPU", "code": "no_capacity"}}))
    assert isinstance(error, common.NoCapacityError)
    assert (error.message, error.outcome) == ("no GPU", "unknown")
    limited = streamed_error(said(200, {"error": "x", "status": 429}))
    assert isinstance(limited, common.RateLimitedError)
    for piece in ({"choices": []}, [], {"error": None}):
        assert streamed_error(said(200, piece)) is None


def test_errors_survive_copying_and_show_no_keys() -> None:
    key = f"dc1-renter-{'a1' * 16}"
    error = error_of(said(403, {"error": f"{key} may not"}))
    assert error is not None
    error.job_id = "job-1"
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), twin.status, twin.job_id) == (type(error), str(error), 403, "job-1")
    assert key not in str(error) + repr(error) + str(error.to_dict())
    late = pickle.loads(pickle.dumps(JobTimeoutError("j", 5)))
    assert (str(late), late.job_id, late.timeout) == ("Job j did not complete within 5s", "j", 5)
    assert isinstance(late, TimeoutError)
    failed = pickle.loads(pickle.dumps(JobFailedError("j", "failed", "why", 410, {"a": 1})))
    assert (str(failed), failed.job_id, failed.response) == ("Job j failed: why", "j", {"a": 1})
    assert not issubclass(DC1CancelledError, APIError)
    assert {name for name in vars(dc1_errors) if name.endswith("Error")} >= {"AuthError", "APIError", "DC1Error"}


# --- settings


def test_arguments_win_over_the_environment() -> None:
    environ = {
        "DCP_RENTER_KEY": " k1 ",
        "API_BASE": "http://127.0.0.1:4242/dc1/",
        "SKERRY_DC1_PROVIDER_KEY": "p1",
        "DC1_ADMIN_TOKEN": "a1",
        "DC1_HMAC_SECRET": "h1",
    }
    config = resolve(environ)
    assert (config.api_key, config.base_url, config.provider_key) == ("k1", "http://127.0.0.1:4242/dc1", "p1")
    assert (config.admin_token, config.hmac_secret, config.retries) == ("a1", "h1", 0)
    given = resolve(environ, api_key="k2", base_url="https://x.test//", retries=2)
    assert (given.api_key, given.base_url, given.policy.attempts) == ("k2", "https://x.test", 3)
    bare = resolve({"DCP_RENTER_KEY": "  "})
    assert (bare.api_key, bare.base_url, bare.provider_key) == (None, BASE_URL, None)
    assert not any(secret in repr(config) for secret in ("k1", "p1", "a1", "h1"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"api_key": ""}, "api_key is required"),
        ({"api_key": "  "}, "api_key is required"),
        ({"provider_key": ""}, "provider_key is required"),
        ({"base_url": ""}, "base_url is required"),
        ({"base_url": "api.dcp.sa"}, "must start with http"),
        ({"base_url": "ftp://x.test"}, "must start with http"),
        ({"base_url": "https://"}, "must start with http"),
        ({"base_url": "http://[::1"}, "must start with http"),
        ({"base_url": "https://x.test?a=1"}, "takes no query"),
        ({"base_url": "https://x.test#a"}, "takes no query"),
        ({"retries": -1}, "count of further tries"),
        ({"retries": True}, "count of further tries"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        resolve({}, **settings)
    assert isinstance(caught.value, ValueError)
    assert caught.value.network == "dc1"


# --- outputs

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


# --- models


def test_jobs_have_one_name() -> None:
    assert (Job(job_id="job-1", number=7).id, Job(number=7).id, Job().id) == ("job-1", "7", "")
    nested = reader(Submission)(said(201, {"success": True, "job": {"id": 9, "new": {"x": 1}}}))
    assert (nested.name, nested.job.raw, nested.job.extra) == ("9", {"id": 9, "new": {"x": 1}}, {"new": {"x": 1}})
    assert [Submission(job_id="a").name, Submission(id=3).name, Submission().name] == ["a", "3", ""]
    assert Job(status="permanently_new").is_done is False
    assert all(Job(status=status).is_done for status in TERMINAL)


def test_inner_objects_keep_what_is_not_known() -> None:
    history = reader(PaymentHistory)(said(200, {"balance_sar": "10.46", "jobs": [{"job_id": "a", "surprise": [1.5]}]}))
    assert history.jobs[0].extra == {"surprise": [1.5]}
    assert (history.balance_sar, history.balance) == (Decimal("10.46"), Money(0, "SAR"))


@pytest.mark.parametrize(
    ("mebibytes", "expected"), [(24564, 24.0), (8188, 8.0), (256, 0.3), (0, 0.0), (None, 0.0), (True, 0.0)]
)
def test_gigabytes_have_one_place(mebibytes: Any, expected: float) -> None:
    assert gigabytes(mebibytes) == expected
    assert Provider(vram_mib=24564, vram_gb_reported=1).vram_gb == 24.0


@given(st.integers(0, 1 << 24))
def test_gigabytes_are_rounded_half_up(mebibytes: int) -> None:
    assert gigabytes(mebibytes) == math.floor(Fraction(mebibytes * 10, 1024) + Fraction(1, 2)) / 10


def test_money_is_never_guessed() -> None:
    assert [halala(value) for value in (75, 75.0, None, "75", 7.5, True)] == [
        Money(amount, "SAR") for amount in (75, 75, 0, 0, 0, 0)
    ]
    assert (image_bytes("!"), image_bytes(None), image_bytes("aGk=")) == (None, None, b"hi")


def test_what_is_signed_of_a_claim() -> None:
    spec = {"serve_mode": True, "model": "m"}
    text = '{"serve_mode":true,"model":"m"}'
    assert Claim(task_spec=spec).signed_text == text
    assert Claim(task_spec="print(1)\n").signed_text == "print(1)\n"
    assert Claim(task_spec=spec, task_spec_raw="as it was").signed_text == "as it was"
    assert Claim().signed_text is None
    assert task_spec_text(spec) == text
    assert verify_task_spec("s", text, sign_task_spec("s", text))
    assert not verify_task_spec("s", text, sign_task_spec("other", text))


def test_callbacks_are_taken_with_and_without_prefix() -> None:
    digest = sign_callback("k", b"body")
    for signature in (digest, f"sha256={digest}", f" {digest.upper()}\n"):
        assert verify_callback("k", b"body", signature)
    for signature in ("", "sha256=", digest[:-1], f"md5={digest}", "\u0660" * 64):
        assert not verify_callback("k", b"body", signature)


# --- waits, prices


def test_waits() -> None:
    assert [interval_for(kind) for kind in ("llm_inference", "image_generation", "training", "vllm_serve", None)] == [
        5.0,
        5.0,
        15.0,
        15.0,
        5.0,
    ]
    assert [backoff(failed, 5.0, None, lambda: 0.0) for failed in (1, 2, 3, 4, 99)] == [10.0, 20.0, 40.0, 60.0, 60.0]
    assert backoff(1, 5.0, 60.0, lambda: 0.0) == 60.0
    assert backoff(1, 5.0, None, lambda: 0.999) < 11.0


@given(st.integers(1, 10**6), st.integers(1, 40), st.integers(1, 1000))
def test_whole_prices_are_exact(minutes: int, rate: int, hold: int) -> None:
    assert round_half_up(rate * minutes / 2) == (rate * minutes + 1) // 2
    assert hold_for("llm_inference", minutes) == Money(15 * minutes, "SAR")
    settled = settle(Money(hold, "SAR"), minutes, 0.25)
    assert settled.charged + settled.refund == Money(hold, "SAR")
    assert settled.provider + settled.fee == settled.charged
    assert settled.charged <= settled.actual
    failed = settle(Money(hold, "SAR"), minutes, 0.25, success=False)
    assert (failed.charged.amount, failed.refund.amount) == (0, hold)


@pytest.mark.parametrize("minutes", [0, -1, math.inf, math.nan])
def test_there_is_no_price_for_no_time(minutes: float) -> None:
    with pytest.raises(InvalidRequestError, match="positive"):
        hold_for("training", minutes)


# --- requests


@given(st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1))
def test_an_id_names_nothing_but_itself(job_id: str) -> None:
    url = operations.build(operations.OUTPUT, "https://h.test/p", job_id).url
    inner = url.removeprefix("https://h.test/p/api/jobs/").removesuffix("/output")
    assert "/" not in inner
    assert "?" not in inner
    assert inner not in (".", "..")


def test_models_keep_their_slash() -> None:
    call = operations.build(operations.MODEL_ESTIMATE, "https://h.test", "org/m 1", query={"duration_minutes": None})
    assert call.url == "https://h.test/api/models/org/m%201/deploy/estimate"
    hostile = operations.build(operations.MODEL_ESTIMATE, "https://h.test", "../../x?y", query={"duration_minutes": 30})
    assert hostile.url == "https://h.test/api/models/%2E%2E/%2E%2E/x%3Fy/deploy/estimate?duration_minutes=30"


def test_names_that_cannot_be_sent() -> None:
    with pytest.raises(InvalidRequestError, match="job_id must not be empty"):
        operations.build(operations.OUTPUT, "https://h.test", "")
    for name in (True, None, 1.5):
        with pytest.raises(TypeError, match="text or a number"):
            operations.build(operations.OUTPUT, "https://h.test", name)  # type: ignore[arg-type]
    for path in ("api/x", "/a?b", "/a#b", "/a b", "/\u00e9", "/a/../b"):
        with pytest.raises(InvalidRequestError, match="path must"):
            operations.other("GET", "https://h.test", path)


def test_bodies_are_compact_and_exact() -> None:
    body = {"script": "if a < b and c > d:\n", "prompt": "مرحبا", "amount_sar": Decimal("12.34"), "none": None}
    assert operations.json_body(body) == (
        '{"script":"if a < b and c > d:\\n","prompt":"مرحبا","amount_sar":12.34,"none":null}'.encode()
    )


def test_the_table_knows_what_a_repeat_may_do() -> None:
    rows = operations.ROUTES
    assert rows["provider.claim"].operation.safety == "unsafe"
    assert rows["jobs.create"].operation.safety == "unsafe"
    assert rows["provider.job_result"].operation.safety == "idempotent"
    assert {name for name, row in rows.items() if row.operation.keyed} == {"jobs.create", "jobs.dispatch"}
    assert all(row.operation.method != "POST" or row.operation.safety != "keyed" for row in rows.values())
    assert set(operations.OPERATIONS) == set(rows)


# --- this machine


def test_this_machine_as_a_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA Test, 8188, [N/A], 7'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    spec = build_resource_spec()
    assert (spec["gpu_model"], spec["vram_mib"], spec["gpu_util_pct"]) == ("NVIDIA Test", 8188, 7)
    assert "gpu_temp_c" not in spec
    assert spec["cpu_cores"] >= 1
    assert spec["os"] == os_name()
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert "gpu_model" not in build_resource_spec()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "gpu_model" not in build_resource_spec()


@pytest.mark.parametrize("text", ["", "one", "a, b, c", ", 1, 2, 3", "No devices were found\n"])
def test_a_driver_that_knows_no_gpu(text: str) -> None:
    assert gpu_of(text) == {}
