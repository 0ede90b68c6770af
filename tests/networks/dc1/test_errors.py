"""What is refused: every documented error, what it means to a caller, whether it may be tried again."""

from __future__ import annotations

import copy
import json
import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry import errors as common
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import Failure
from skerry.errors import SkerryError
from skerry.money import Money
from skerry.networks.dc1 import (
    APIError,
    AuthError,
    DC1CancelledError,
    DC1ConnectionError,
    DC1Error,
    DC1PaymentRequiredError,
    DC1QuotaExceededError,
    DC1TimeoutError,
    JobFailedError,
    JobTimeoutError,
)
from skerry.networks.dc1 import errors as dc1_errors
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
from tests.networks.dc1.said import json_values, said

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
