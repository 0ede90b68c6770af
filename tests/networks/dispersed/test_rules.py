"""Dispersed's rules as pure functions: codes, settings, repeats, list parameters, answers."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry import errors as common
from skerry._kernel.model import decode
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import Failure
from skerry.errors import ConfigurationError, InvalidRequestError
from skerry.money import Money
from skerry.networks.dispersed import VERSION, codes, errors, inputs, models
from skerry.networks.dispersed.answers import listing, nothing, plain, reader
from skerry.networks.dispersed.config import backoff, normal_base_url, resolve
from skerry.networks.dispersed.operations import OPERATIONS, other, segment, url_of
from skerry.networks.dispersed.queries import call_options, list_parameters, on_page
from skerry.networks.dispersed.values import moment_of, usd
from tests.io.script import answer

DOCUMENTED = {
    "VALIDATION_ERROR": (400, common.InvalidRequestError),
    "BAD_REQUEST": (400, common.InvalidRequestError),
    "MISSING_AUTH_HEADERS": (401, common.AuthenticationError),
    "INVALID_TIMESTAMP": (401, common.AuthenticationError),
    "TIMESTAMP_OUT_OF_RANGE": (401, common.AuthenticationError),
    "INVALID_NONCE": (401, common.AuthenticationError),
    "INVALID_API_KEY": (401, common.AuthenticationError),
    "INVALID_SIGNATURE": (401, common.AuthenticationError),
    "API_KEY_REVOKED": (401, common.AuthenticationError),
    "API_KEY_EXPIRED": (401, common.AuthenticationError),
    "NONCE_REUSED": (401, common.AuthenticationError),
    "INSUFFICIENT_BALANCE": (402, common.PaymentRequiredError),
    "FORBIDDEN": (403, common.PermissionDeniedError),
    "INSUFFICIENT_PERMISSIONS": (403, common.PermissionDeniedError),
    "IP_NOT_ALLOWED": (403, common.PermissionDeniedError),
    "NOT_FOUND": (404, common.NotFoundError),
    "METHOD_NOT_ALLOWED": (405, common.UnsupportedError),
    "CONFLICT": (409, common.ConflictError),
    "JOB_NOT_CANCELLABLE": (409, common.ConflictError),
    "DUPLICATE_SSH_PUBLIC_KEY": (409, common.ConflictError),
    "IDEMPOTENCY_KEY_REUSED": (409, common.ConflictError),
    "IDEMPOTENCY_IN_PROGRESS": (409, common.BusyError),
    "PAYLOAD_TOO_LARGE": (413, common.PayloadTooLargeError),
    "UNSUPPORTED_MEDIA_TYPE": (415, common.InvalidRequestError),
    "RATE_LIMITED": (429, common.RateLimitedError),
    "INTERNAL_ERROR": (500, common.ServerError),
    "SERVICE_UNAVAILABLE": (503, common.UnavailableError),
}


def _error(status: int, body: Any = None, **headers: str) -> errors.ApiError:
    error = codes.error_of(answer(status, body, **headers))
    assert error is not None
    return error


@pytest.mark.parametrize("code", DOCUMENTED)
def test_each_documented_code_is_mapped(code: str) -> None:
    status, meaning = DOCUMENTED[code]
    error = _error(status, {"code": code, "detail": "why", "details": [{"path": ["a"]}]})
    assert isinstance(error, meaning)
    assert type(error) is codes.CODES[code]
    assert (error.status, error.code, error.detail, str(error)) == (status, code, "why", f"{code}: why")
    assert error.details == [{"path": ["a"]}]
    assert error.is_auth == (status in (401, 403))
    assert error.is_not_found == (status == 404)
    assert error.is_retryable == error.retryable == (status == 429 or status >= 500)
    assert pickle.loads(pickle.dumps(error)).to_dict() == error.to_dict()


def test_the_codes_are_the_documented_ones() -> None:
    assert set(codes.CODES) == set(DOCUMENTED)


def test_every_error_has_its_place_in_the_common_tree() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    for kind in kinds:
        assert issubclass(kind, errors.DispersedError)
        if kind not in (errors.DispersedError, errors.ApiError):
            assert any(base.__module__ == common.__name__ for base in kind.__mro__[2:])
            assert len([base for base in kind.__bases__ if issubclass(base, common.SkerryError)]) <= 2
    assert issubclass(errors.DispersedTimeoutError, TimeoutError)


@given(st.text(), st.integers(300, 599))
def test_unknown_codes_are_classed_by_status(code: str, status: int) -> None:
    error = _error(status, {"code": code, "detail": "x"})
    assert isinstance(error, errors.ApiError)
    assert isinstance(error, common.NotFoundError) == (status == 404 or (code == "NOT_FOUND" and status < 500))
    assert error.code == (code or f"HTTP_{status}")


@given(st.binary(max_size=700), st.sampled_from([200, 204, 301, 400, 404, 500, 503]))
def test_any_answer_is_success_or_error(body: bytes, status: int) -> None:
    error = codes.error_of(Response(status, body=body))
    assert (error is None) == (200 <= status < 300)
    assert error is None or len(error.detail) <= max(500, len(body))


@pytest.mark.parametrize(
    ("body", "code", "detail", "details"),
    [
        ({"code": "A", "detail": "b", "error": {"code": "C", "detail": "d"}}, "A", "b", []),
        ({"error": {"code": "C", "detail": "d", "details": [1]}}, "C", "d", [1]),
        ({"error": {"code": "C", "message": "d"}}, "C", "d", []),
        ({"code": "A", "message": "m"}, "A", "m", []),
        ({"error": "text"}, "HTTP_400", "text", []),
        ({"message": "m", "error": "text"}, "HTTP_400", "m", []),
        ({"code": 7, "detail": None, "details": "x"}, "HTTP_400", "Bad Request", []),
        ([], "HTTP_400", "[]", []),
        (None, "HTTP_400", "Bad Request", []),
    ],
)
def test_error_forms(body: Any, code: str, detail: str, details: list[Any]) -> None:
    error = _error(400, body)
    assert (error.code, error.detail, error.details, error.timestamp) == (code, detail, details, None)


def test_errors_that_are_not_json() -> None:
    error = codes.error_of(Response(502, (("x-request-id", "r1"),), b"<html>" + b"x" * 900))
    assert error is not None
    assert (error.code, error.request_id, len(error.detail)) == ("HTTP_502", "r1", 500)
    assert error.outcome == "unknown"
    gone = codes.error_of(Response(599))
    assert gone is not None
    assert gone.detail == "HTTP 599"


def test_when_and_by_whom_an_error_was_told() -> None:
    error = _error(404, {"code": "NOT_FOUND", "timestamp": "2026-04-21T10:00:00.000Z"}, x_request_id="r1")
    assert error.timestamp == datetime(2026, 4, 21, 10, tzinfo=UTC)
    assert error.request_id == "r1"
    assert _error(404, {"timestamp": "then"}).timestamp is None
    assert _error(404, {"timestamp": 5}).timestamp is None


def test_errors_show_neither_secrets_nor_signatures() -> None:
    mark = "0f" * 32
    detail = f"signature {mark} of sk_test_c0ffee00112233445566778899 is wrong"
    error = _error(401, {"code": "INVALID_SIGNATURE", "detail": detail})
    for shown in (str(error), repr(error), error.detail, json.dumps(error.to_dict())):
        assert mark not in shown
        assert "c0ffee" not in shown


def test_failures_of_the_transport() -> None:
    late, cut, never = (
        codes.failure_error(TransportFailure("x", kind))  # type: ignore[arg-type]
        for kind in ("timeout", "broken", "never_sent")
    )
    assert isinstance(late, errors.DispersedTimeoutError)
    assert type(cut) is errors.DispersedConnectionError
    assert [error.outcome for error in (late, cut, never)] == ["unknown", "unknown", "not_sent"]


@given(st.integers(300, 599), st.sampled_from(["idempotent", "keyed", "unsafe"]))
def test_what_is_tried_again(status: int, safety: Any) -> None:
    failure = Failure(common.SkerryError("x"), "answer", status)
    assert (
        codes.retry_when(failure, safety)
        == codes.retry_when_broken(failure, safety)
        == (status == 429 or status >= 500)
    )


@pytest.mark.parametrize("kind", ["timeout", "broken", "never_sent"])
def test_the_transports_failures_are_final_unless_asked_otherwise(kind: Any) -> None:
    failure = Failure(common.SkerryError("x"), kind)
    assert not codes.retry_when(failure, "idempotent")
    assert codes.retry_when_broken(failure, "idempotent")
    assert codes.retry_when_broken(failure, "keyed")
    assert codes.retry_when_broken(failure, "unsafe") == (kind == "never_sent")


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_waits_double_up_to_eight_seconds(failed: int, chance: float) -> None:
    steady = min(8.0, 0.5 * 2 ** min(failed - 1, 9))
    assert steady <= backoff(failed, lambda: chance) <= steady * 1.1


def test_the_policy() -> None:
    policy = resolve({}, public_key="p", secret_key="s").policy
    failure = Failure(common.SkerryError("x"), "answer", 429, retry_after=90.0)
    assert policy.wait(failure, "unsafe", 1, lambda: 0.0) == 30.0
    assert policy.wait(Failure(common.SkerryError("x"), "answer", 429, 7.0), "unsafe", 2, lambda: 0.0) == 7.0
    assert policy.wait(failure, "unsafe", 3, lambda: 0.0) is None
    assert [policy.tightened(retries).attempts for retries in (0, 1, 5, None)] == [1, 2, 6, 3]


def test_settings() -> None:
    old = {"ZER_PUBLIC_KEY": "p0", "ZER_SECRET_KEY": "s0", "ZER_API_BASE_URL": "https://old.test/"}
    new = {"DISPERSED_PUBLIC_KEY": " p1 ", "DISPERSED_SECRET_KEY": "s1", "DISPERSED_API_BASE_URL": ""}
    config = resolve(old)
    assert (config.public_key, config.secret_key, config.base_url) == ("p0", "s0", "https://old.test")
    config = resolve({**old, **new})
    assert (config.public_key, config.secret_key, config.base_url) == ("p1", "s1", "https://old.test")
    config = resolve(new, public_key="p2", secret_key="s2", base_url="http://127.0.0.1:4242/dispersed//")
    assert (config.public_key, config.secret_key, config.base_url) == ("p2", "s2", "http://127.0.0.1:4242/dispersed")
    assert resolve(new).base_url == "https://api.dispersed.com"
    assert "s1" not in repr(resolve(new))


@pytest.mark.parametrize("name", ["public_key", "secret_key"])
@pytest.mark.parametrize("value", [None, "", " "])
def test_both_keys_are_needed(name: str, value: str | None) -> None:
    keys = {"public_key": "p", "secret_key": "s", name: value}
    with pytest.raises(ValueError, match=f"{name} is required; pass {name} or set DISPERSED_{name.upper()}"):
        resolve({}, **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("retry", [-1, True, 1.5, None])
def test_retry_is_a_count(retry: Any) -> None:
    with pytest.raises(ConfigurationError, match="count"):
        resolve({}, public_key="p", secret_key="s", retry=retry)


@pytest.mark.parametrize(
    "url",
    ["", "ftp://h.test", "api.test", "https://", "https://h.test/?a", "https://h.test/#a", "https://h.test/a/../b"],
)
def test_base_urls_that_cannot_be_signed(url: str) -> None:
    with pytest.raises(ConfigurationError):
        normal_base_url(url)


def test_base_urls() -> None:
    assert normal_base_url(" https://h.test:8443/a%2Fb/é f/ ") == "https://h.test:8443/a%2Fb/%C3%A9%20f"


def test_the_version_is_the_packages() -> None:
    assert version("skerry") == VERSION


def test_the_table() -> None:
    beyond_the_sdk = {"api_keys.list", "api_keys.create"}
    assert len(set(OPERATIONS) - beyond_the_sdk) == 29
    assert beyond_the_sdk < set(OPERATIONS)
    for name, operation in OPERATIONS.items():
        assert operation.name == name
        assert operation.path.startswith("/v1/")
        assert operation.keyed == (operation.method != "GET")
        assert (operation.safety == "unsafe") == (operation.method == "POST")
        assert operation.auth
        assert operation.summary


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_segments_hold_nothing_special(value: str) -> None:
    assert not set(segment(value)) & set("/?#%+ !*'()[]") - {"%"}
    assert segment(value) not in (".", "..")


def test_ids_are_checked_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="uuid must not be empty"):
        segment("")
    with pytest.raises(TypeError, match="uuid must be text"):
        segment(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["v1/x", "/v1/x?a=1", "/v1/x#a", "/v1/a b", "/v1/é", "/v1/../x", "", "/v1/x\n"])
def test_other_paths_must_be_encoded(path: str) -> None:
    with pytest.raises(InvalidRequestError):
        other("GET", "https://h.test", path)


def test_list_parameters() -> None:
    kind = inputs.JobFilters
    pairs = list_parameters(
        kind,
        {"limit": 10, "filter[status]": "RUNNING", "filter": {"task": "BATCH"}, "x": 1},
        {
            "limit": 5,
            "status": ["PENDING", "RUNNING"],
            "filter": {"new": True},
            "created_at": (None, "2026"),
            "retry": 0,
        },
    )
    assert pairs == (
        ("filter[task]", "BATCH"),
        ("x", 1),
        ("limit", 5),
        ("filter[status]", ["PENDING", "RUNNING"]),
        ("filter[new]", True),
        ("filter[created_at]", (None, "2026")),
    )
    assert url_of("b", "/p", pairs) == (
        "b/p?filter%5Bcreated_at%5D=%2C2026&filter%5Bnew%5D=true&filter%5Bstatus%5D=PENDING%2CRUNNING"
        "&filter%5Btask%5D=BATCH&limit=5&x=1"
    )
    assert on_page((("page", 1), ("limit", 2)), 2) == (("limit", 2), ("page", 2))
    assert list_parameters(kind, [("a", 1), ("a", 2)], {}) == (("a", 1), ("a", 2))
    with pytest.raises(TypeError, match=r"unknown parameter 'statos'; there are .*status"):
        list_parameters(kind, None, {"statos": "x"})  # type: ignore[typeddict-unknown-key]


def test_call_options() -> None:
    deadline = Deadline()
    options = call_options(
        RequestOptions(timeout=1.0, headers={"a": "1"}, retries=3),
        {"retry": 0, "headers": {"B": "2"}, "cancel": deadline, "idempotency_key": "k", "status": "x"},
    )
    assert options == RequestOptions(1.0, {"a": "1", "B": "2"}, 0, "k", deadline)
    assert call_options(None, {"timeout": None}).timeout is None
    for key in ("", "a b", "é", "k" * 256):
        with pytest.raises(InvalidRequestError, match="idempotency key"):
            call_options(RequestOptions(idempotency_key=key), {})


def test_objects() -> None:
    read = reader(models.Job)
    assert read(answer(200, {"object": "job", "uuid": "u", "new": 1})).extra == {"new": 1}
    wrapped = read(answer(200, {"data": {"object": "job", "uuid": "u", "new": 1}}))
    assert (wrapped.uuid, wrapped.extra) == ("u", {"new": 1})
    assert read(answer(204)) is None
    assert read(answer(200, {"status": "PENDING"})).status == "PENDING"
    for body in (b"<html>", b"[]", b"null", b'"x"'):
        with pytest.raises(errors.DispersedDecodeError, match="not"):
            read(Response(200, body=body))
    assert nothing(Response(200, body=b"<html>")) is None
    assert plain(Response(200)) is None
    assert plain(Response(200, body=b"null")) is None
    with pytest.raises(errors.DispersedDecodeError, match="not JSON"):
        plain(Response(200, body=b"{"))


def test_pages() -> None:
    read = listing(models.Job)
    page = read(answer(200, {"data": [{"uuid": "a", "new": 1}, {}], "page": 2, "limit": 2, "total": 5, "more": 1}))
    assert (page.page, page.limit, page.total, page.has_next) == (2, 2, 5, True)
    assert [item.uuid for item in page.data] == ["a", None]
    assert page.data[0].extra == {"new": 1}
    assert page.raw["more"] == 1
    last = read(answer(200, {"data": [{}], "page": 3, "limit": 2, "total": 5}))
    beyond = read(answer(200, {"data": [], "page": 9, "limit": 20, "total": 500}))
    assert not last.has_next
    assert not beyond.has_next
    partial = read(answer(200, {"data": [{"uuid": "a"}, None, 5], "limit": 3.0, "total": None}))
    assert (partial.page, partial.limit, partial.total, len(partial.data)) == (1, 3, 3, 3)
    for body in ({}, {"data": {}}, [], None, {"data": None}):
        with pytest.raises(errors.DispersedDecodeError):
            read(answer(200, body))


def test_models_at_the_surface() -> None:
    run = decode(
        b'{"uuid":"r","status":"SOMETHING_NEW","created_at":"2026-04-21","updated_at":"2026-04-21T10:00:00",'
        b'"hourly_rate_usd":0.69,"duration_ms":389000,"started_at_ms":1706918400000,"gpu_count":1.0,'
        b'"container_access_tokens":["t"],"job_snapshot":{"title":"x"},'
        b'"node_urls":[{"description":"ssh","hostname":"h","port":1,"protocol":"tcp"},5,'
        b'{"description":"8000","hostname":"h","port":2,"protocol":"tcp","tls":true}]}',
        models.JobRun,
    )
    assert run.created_at == datetime(2026, 4, 21, tzinfo=UTC)
    assert run.updated_at == datetime(2026, 4, 21, 10, tzinfo=UTC)
    assert run.started_at == datetime(2024, 2, 3, tzinfo=UTC)
    assert run.completed_at is None
    assert run.hourly_rate == Money.of("0.69", "USD")
    assert run.hourly_rate_usd == Decimal("0.69")
    assert (run.duration, run.access_token, run.is_terminal) == (389.0, "t", False)
    ssh, web, none = run.endpoint(), run.endpoint(8000), run.endpoint(9)
    assert ssh is not None
    assert web is not None
    assert (ssh.url, web.url, none) == ("ssh://h:1", "https://h:2", None)
    assert run.job_snapshot is not None
    assert run.job_snapshot.title == "x"
    job = decode(b'{"status":"FAILED","min_ram_gb":16,"created_at":"then","container_access_tokens":[{}]}', models.Job)
    assert (job.is_terminal, job.min_ram_gb, job.access_token, job.timeout_assign_at) == (True, 16, None, None)
    assert job.created_at == "then"  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        (Decimal("0.0745575"), 74558),
        (Decimal("0.07455749999"), 74557),
        (-1, -1_000_000),
        (0.1, 100_000),
        ("2", 2_000_000),
    ],
)
def test_dollars(amount: Any, micros: int) -> None:
    assert usd(amount) == Money(micros, "USD")


@pytest.mark.parametrize("amount", [None, True, "x", [], Decimal("NaN"), Decimal("Infinity")])
def test_no_dollars(amount: Any) -> None:
    assert usd(amount) is None
    assert moment_of(amount) is None


def test_moments_out_of_range() -> None:
    assert moment_of(1e300) is None


_odd = st.none() | st.integers() | st.text() | st.just([]) | st.just({})


@given(st.dictionaries(st.sampled_from(list(models.JobRun.__struct_fields__)), _odd))
def test_any_object_is_read(value: dict[str, Any]) -> None:
    run = decode(json.dumps(value).encode(), models.JobRun)
    assert run.raw == value
    for name in ("hourly_rate", "duration", "started_at", "access_token", "is_terminal"):
        getattr(run, name)
    assert run.endpoint() is None
