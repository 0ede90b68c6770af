"""Arker's rules as pure functions: codes, settings, routing, repeats, encodings."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry import errors as common
from skerry._kernel.dialect import Call
from skerry._kernel.model import encode
from skerry._kernel.request import Request, Response, TransportFailure
from skerry._kernel.retry import Failure
from skerry.errors import ConfigurationError, InvalidRequestError, ProtocolError
from skerry.networks.arker import codes, errors, legacy_wire, models, operations
from skerry.networks.arker.config import NO_RETRIES, RetryOptions, resolve, retry_options
from skerry.networks.arker.dialect import bearer_dialect
from skerry.networks.arker.encoding import decode_text, encode_content
from skerry.networks.arker.legacy_wire import is_vm_id
from skerry.networks.arker.operations import OPERATIONS, terminal_url, url_of
from skerry.networks.arker.results import BackgroundRunResult, CompletedRunResult, parse_run
from skerry.networks.arker.routing import is_burst, regional_burst_base_url
from skerry.networks.arker.transfer import CHUNK_SIZE, InlineWrite, plan_write, read_file

DOCUMENTED = {
    "bad_request": (400, common.InvalidRequestError),
    "unauthorized": (401, common.AuthenticationError),
    "payment_required": (402, common.PaymentRequiredError),
    "forbidden": (403, common.PermissionDeniedError),
    "not_found": (404, common.NotFoundError),
    "method_not_allowed": (405, common.UnsupportedError),
    "conflict": (409, common.ConflictError),
    "vm_busy": (409, common.BusyError),
    "payload_too_large": (413, common.PayloadTooLargeError),
    "unsupported_operation": (422, common.UnsupportedError),
    "unsupported_durable": (422, common.UnsupportedError),
    "command_not_found": (422, common.UnsupportedError),
    "rate_limited": (429, common.RateLimitedError),
    "internal": (500, common.ServerError),
    "not_implemented": (501, common.UnsupportedError),
    "bad_gateway": (502, common.UnavailableError),
    "routing_unavailable": (503, common.UnavailableError),
    "unavailable": (503, common.UnavailableError),
    "temporarily_unavailable": (503, common.UnavailableError),
    "network_error": (0, common.ConnectionFailedError),
}


@pytest.mark.parametrize("code", DOCUMENTED)
def test_each_documented_code_is_mapped(code: str) -> None:
    status, meaning = DOCUMENTED[code]
    error = codes.make_error(code, "x", status)
    assert isinstance(error, meaning)
    assert isinstance(error, errors.ArkerError)
    assert str(error) == f"{code}: x"
    assert code.startswith("unsupported_") or code in codes.CODES


def test_every_arker_error_has_its_place_in_the_common_tree() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ArkerError)]
    for kind in kinds:
        if kind is not errors.ArkerError:
            assert issubclass(kind, getattr(common, kind.__name__.removeprefix("Arker")))
    assert set(codes.CODES.values()) <= set(kinds)


@given(st.text(), st.integers(200, 599))
def test_unknown_codes_are_classed_by_status(code: str, status: int) -> None:
    error = codes.make_error(code, "x", status)
    if status == 404 and code not in codes.CODES and not code.startswith("unsupported_"):
        assert isinstance(error, common.NotFoundError)
    assert isinstance(error, errors.ArkerError)


@given(st.binary(max_size=400), st.sampled_from([200, 204, 301, 400, 404, 500, 503]))
def test_any_answer_is_success_or_error(body: bytes, status: int) -> None:
    error = codes.error_of(Response(status, body=body))
    assert (error is None) <= (200 <= status < 300)
    if error is not None:
        assert error.status == status


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), st.integers(400, 599))
def test_unparsed_answers_show_their_beginning(text: str, status: int) -> None:
    body = ("<" + text).encode()
    error = codes.error_of(Response(status, body=body))
    assert error is not None
    assert error.code == "internal"
    assert error.status == status
    if "***" not in error.detail:
        assert error.detail == ("<" + text)[:300]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"code": "a", "message": "b"}', ("a", "b")),
        (b'{"code": "a", "message": "b", "error": {"code": "c"}}', ("a", "b")),
        (b'{"code": "a", "message": 1, "error": {"code": "c", "message": "d"}}', ("c", "d")),
        (b'{"error": {"code": 1, "message": null}}', ("internal", "")),
        (b'{"error": {}, "ok": true}', ("internal", "")),
        (b'\xef\xbb\xbf{"code": "a", "message": "b"}', ("a", "b")),
        (b'{"error": "text", "code": "x"}', None),
        (b'{"error": ["x"]}', None),
        (b"[]", None),
        (b"", None),
        (b"null", None),
    ],
)
def test_error_forms(body: bytes, expected: tuple[str, str] | None) -> None:
    for status in (200, 400):
        error = codes.error_of(Response(status, body=body))
        if expected is not None:
            assert error is not None
            assert (error.code, error.detail) == expected
        elif status == 200:
            assert error is None
        else:
            assert error is not None
            assert (error.code, error.detail) == ("internal", body.decode() or "HTTP 400")


@given(
    st.sampled_from(sorted(codes.CODES)), st.sampled_from(["x", "503 x", "SlowDown", "slowdown"]), st.integers(200, 599)
)
def test_what_is_worth_another_try(code: str, detail: str, status: int) -> None:
    expected = (
        status in (429, 502, 503, 504)
        or code in ("routing_unavailable", "unavailable", "temporarily_unavailable")
        or (code == "internal" and detail in ("503 x", "SlowDown"))
    )
    failure = Failure(codes.make_error(code, detail, status), "answer", status)
    assert codes.retry_when(failure, "unsafe") == expected
    assert codes.retry_when(failure, "idempotent") == expected


def test_words_count_only_where_the_service_says_them() -> None:
    for body, tried in ((b"503 Service Unavailable", False), (b'{"code":"internal","message":"503"}', True)):
        error = codes.error_of(Response(500, body=body))
        assert error is not None
        assert (error.stated, error.retryable) == (tried, tried)
        assert codes.retry_when(Failure(error, "answer", 500), "idempotent") == tried
        assert codes.retry_when(Failure(error, "answer", 503), "idempotent")


def test_beginnings_are_counted_in_utf_16() -> None:
    for text, kept in (("é" * 301, "é" * 300), ("😀" * 151, "😀" * 150), ("x" + "😀" * 150, "x" + "😀" * 149)):
        error = codes.error_of(Response(400, body=text.encode()))
        assert error is not None
        assert error.detail == kept


def test_transport_failures() -> None:
    for kind in ("never_sent", "broken", "timeout"):
        error = codes.failure_error(TransportFailure("x", kind))  # type: ignore[arg-type]
        assert error.outcome == ("not_sent" if kind == "never_sent" else "unknown")
        failure = Failure(error, kind)  # type: ignore[arg-type]
        assert codes.retry_when(failure, "unsafe") == (kind != "timeout")
        assert codes.retry_when(failure, "idempotent")


@pytest.mark.parametrize(
    ("reference", "burst"),
    [
        ("arkuntu", True),
        ("ArkUntu", True),
        (" arkuntu ", True),
        ("01KR4AN62T47VXQ0A3AVSSWFTZ_uswe", True),
        ("01KQBYKEV5WJ7YB010603T1DCT_d8c0", True),
        ("ubuntu", False),
        ("vmh-0b6f", False),
        ("01KR4AN62T47VXQ0A3AVSSWFTZ", False),
        ("01KR4AN62T47VXQ0A3AVSSWFTZ_us-we", False),
        ("01KR4AN62T47VXQ0A3AVSSWFTZ_", False),
        ("01kr4an62t47vxq0a3avsswftz_uswe", False),
        ("01IR4AN62T47VXQ0A3AVSSWFTZ_uswe", False),
        ("01KR4AN62T47VXQ0A3AVSSWFTU_uswe", False),
        ("01KR4AN62T47VXQ0A3AVSSWFTZ_uswe\nx", False),
        ("01KR4AN62T47VXQ0A3AVSSWFTZ_\u00e9", False),
    ],
)
def test_burst_references(reference: str, burst: bool) -> None:
    assert is_burst(reference) is burst


def test_regions() -> None:
    assert regional_burst_base_url("gcp-x") == "https://gcp-x-burst.arker.ai/api"
    assert is_vm_id("01kr4an62t47vxq0a3avsswftz_uswe")
    assert not is_vm_id("ubuntu")


names = st.sampled_from([None, "", " ", "x", " y/ "])


@given(
    names,
    names,
    names,
    st.fixed_dictionaries({}, optional={"ARKER_API_KEY": names.filter(bool), "AUTH_KEY": names.filter(bool)}),
)
def test_settings_have_one_order(
    api_key: str | None, base: str | None, region: str | None, env: dict[str, str]
) -> None:
    variables = {**env, "ARKER_REGION": "env-region"}
    try:
        config = resolve(variables, api_key=api_key, base_url=base, region=region)
    except ConfigurationError as error:
        text = str(error)
        missing_key = api_key == "" or (api_key is None and not any(value.strip() for value in env.values()))
        assert missing_key == text.startswith("api_key is required")
        if text.startswith("base_url"):
            assert base is not None
            assert not base.strip().rstrip("/")
        if text.startswith("region must"):
            assert region is not None
            assert not region.strip()
        return
    if api_key is not None:
        assert config.api_key == api_key
    else:
        keys = [env[name].strip() for name in ("ARKER_API_KEY", "AUTH_KEY") if env.get(name, "").strip()]
        assert config.api_key == keys[0]
    if base is not None:
        assert config.base_url == base.strip().rstrip("/")
    wanted = region.strip().lower() if region is not None else ("env-region" if base is None else None)
    assert config.region == wanted


@given(st.floats(-3, 20), st.floats(-1, 10), st.floats(-1, 10), st.floats(-1, 1), st.floats(0, 1, exclude_max=True))
def test_retry_options_are_normalised(attempts: float, base: float, cap: float, jitter: float, chance: float) -> None:
    options = RetryOptions(attempts, base, cap, jitter)  # type: ignore[arg-type]
    assert options.attempts == max(1, int(attempts // 1))
    assert min(options.base_delay_s, options.max_delay_s, options.jitter_s) >= 0
    policy = options.policy
    failure = Failure(codes.make_error("unavailable", "x", 503), "answer", 503, retry_after=9)
    waits = [policy.wait(failure, "unsafe", attempt, lambda: chance) for attempt in range(1, options.attempts + 1)]
    assert waits[-1] is None
    for number, wait in enumerate(waits[:-1]):
        assert wait is not None
        steady = min(options.max_delay_s, options.base_delay_s * 2**number)
        # Whole milliseconds up to and including the jitter, as section 2.4 has it.
        assert steady - 1e-9 <= wait <= steady + (options.jitter_s * 1000 + 1) // 1 / 1000 + 1e-9


def test_retry_forms() -> None:
    assert retry_options(False) == NO_RETRIES
    assert retry_options(None) == RetryOptions()
    assert retry_options({"attempts": 2, "jitter_s": None}) == RetryOptions(attempts=2)
    with pytest.raises(ConfigurationError, match="baseDelayMs"):
        retry_options({"baseDelayMs": 2})


@given(st.binary(max_size=64))
def test_bytes_as_text(data: bytes) -> None:
    assert decode_text(encode_content(data), "base64") == data
    assert decode_text(base64.b64encode(data).decode().rstrip("="), "base64") == data
    assert decode_text(base64.urlsafe_b64encode(data).decode(), "base64") == data
    assert decode_text(base64.encodebytes(data).decode(), "base64") == data


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["utf-8", "utf8", "latin-1", "", None]))
def test_text_is_its_own_utf8(text: str, encoding: str | None) -> None:
    assert decode_text(text, encoding) == text.encode()
    assert decode_text(None, encoding) == b""


def test_halves_of_pairs_are_replaced() -> None:
    assert decode_text("a\ud800b", "utf-8") == "a\ufffdb".encode()


@pytest.mark.parametrize(
    ("said", "completed"),
    [("true", True), ("[]", True), ("{}", True), ('"0"', True), ("0", False), ('""', False), ("null", False)],
)
def test_what_counts_as_completed(said: str, completed: bool) -> None:
    body = f'{{"run_id": "r", "completed": {said}, "tunnels": [{{"port": 1, "new": 2}}]}}'
    result = parse_run(Response(200, body=body.encode()))
    assert isinstance(result, BackgroundRunResult)
    assert result.completed is completed
    assert result.tunnels[0].extra == {"new": 2}


def test_exit_codes_are_numbers() -> None:
    rest = '"stdout": "", "stdout_encoding": "u", "stderr": "", "stderr_encoding": "u", "completed": true'
    for said, code in (("7", 7), ("1e2", 100), ("-1", -1), ("1.5", 1.5)):
        result = parse_run(Response(200, body=f'{{"exit_code": {said}, {rest}}}'.encode()))
        assert isinstance(result, CompletedRunResult)
        assert result.exit_code == code


NONSENSE = [
    b"",
    b"null",
    b"5",
    b'"\\ud800"',
    b"[null, {}, [1], 1.5]",
    b'{"a":' * 20_000,
    b'{"vms": 1, "goldens": "x", "runs": {}, "items": 2, "vm_id": 3, "run_id": "\\ud800", "tunnels": [null, "x"]}',
    b'{"stdout": "\\ud800", "stdout_encoding": "base64", "stderr": "", "stderr_encoding": "u", "completed": true}',
    b'{"content": {"a": 1}, "encoding": 5, "results": [{"error": 1e999}], "network": {"inbound": [1]}, "pty": []}',
    b'{"duration_ms": "x", "session_id": [], "exit_code": {}, "cwd": 5, "total": "x"}',
]


@pytest.mark.parametrize("body", NONSENSE)
def test_no_answer_is_too_strange_to_be_read(body: bytes) -> None:
    base, fields = "https://h.test", {"x": 1}
    calls: list[Call[Any]] = [
        *(make(base) for make in (operations.goldens, operations.list_vms, operations.health)),
        *(make(base, "v") for make in (operations.get_vm, operations.delete_vm, operations.list_runs)),
        *(make(base, "v", fields) for make in (operations.fork, operations.create_session, operations.resize_vm)),
        *(make(base, "v", "r") for make in (operations.run_status, operations.cancel_run, operations.pty_ticket)),
        operations.run(base, "v", "x", {}),
        operations.list_sessions(base, "v"),
        read_file(base, "v", "/p"),
        legacy_wire.list_vms(25, 0, None, None, base),
        legacy_wire.run(base, "v", {}),
    ]
    for call in calls:
        response = Response(200, body=body)
        try:
            assert codes.error_of(response) is None
            result = call.parse(response)
        except ProtocolError:
            continue
        assert repr(result)
        assert not hasattr(result, "__len__") or len(result) == len(list(result))


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.binary())
def test_small_files_are_one_whole_chunk(data: str | bytes) -> None:
    content = data.encode() if isinstance(data, str) else data
    plan = plan_write("/home/user/x", data, lambda: "ID")
    assert isinstance(plan, InlineWrite)
    entry = plan.entry
    assert (entry.start, entry.end, entry.size, entry.upload_id) == (0, len(content), len(content), "ID")
    assert base64.b64decode(entry.content) == content
    assert set(_json(entry)) == {"path", "size", "upload_id", "content", "start", "end"}


def _json(model: Any) -> dict[str, Any]:
    import json

    value: dict[str, Any] = json.loads(encode(model))
    return value


def test_operations_are_a_complete_table() -> None:
    wire = {(operation.method, operation.path) for operation in OPERATIONS.values()}
    assert {
        ("GET", "/v1/goldens"),
        ("GET", "/v1/vms"),
        ("GET", "/v1/vms/{vm_id}"),
        ("DELETE", "/v1/vms/{vm_id}"),
        ("POST", "/v1/vms/{vm_id}/fork"),
        ("POST", "/v1/vms/{vm_id}/run"),
        ("GET", "/v1/vms/{vm_id}/runs/{run_id}"),
        ("DELETE", "/v1/vms/{vm_id}/runs/{run_id}"),
        ("POST", "/v1/vms/{vm_id}/sync"),
        ("GET", "/v1/vms/{vm_id}/sessions"),
        ("POST", "/v1/vms/{vm_id}/sessions"),
        ("DELETE", "/v1/vms/{vm_id}/sessions/{session_id}"),
        ("POST", "/v1/vms/{vm_id}/sessions/{session_id}/resize"),
        ("POST", "/v1/vms/{vm_id}/resize"),
    } <= wire
    for operation in OPERATIONS.values():
        assert operation.summary
        assert (operation.request is not None) <= (operation.method == "POST")
        holes = dict.fromkeys(re.findall(r"{(\w+)}", operation.path), "a/b")
        url = url_of(operation, "https://h.test", **holes)
        assert url.count("a%2Fb") == len(holes)
    assert [name for name, operation in OPERATIONS.items() if operation.keyed] == ["vms.run"]
    assert [name for name, operation in OPERATIONS.items() if not operation.auth] == ["health"]


DOCUMENTED_TYPES = """
NetworkPolicy NetworkPolicyInput ForkRequest ForkOptions SessionInfo GoldenInfo ListGoldensResponse
VmInfo VmSummary ListVmsResponse VmList ListSessionsResponse ForkVmResponse DeleteVmResponse DeleteSessionResponse
MountRequest RunRequest RunOptions RunInboundPortRequest RunNetworkRequest RunTunnelStatus RunNetworkStatus RunResponse
CompletedRunResponse BackgroundRunResponse PtyRunResponse RunStatusResponse CancelRunResponse CreateSessionRequest
ResizePtyRequest ResizePtyResponse ResizeRequest ResizeResponse SyncRequest SyncResponse ErrorResponse"""


def test_every_documented_type_exists() -> None:
    assert [name for name in DOCUMENTED_TYPES.split() if not hasattr(models, name)] == []


def test_request_types_know_absent_and_null() -> None:
    assert _json(models.ForkRequest(name=None, durable=True)) == {"name": None, "durable": True}
    assert _json(models.RunRequest(command="x")) == {"command": "x"}
    assert _json(models.ResizePtyRequest(cols=1, rows=2)) == {"cols": 1, "rows": 2}


def test_terminal_urls() -> None:
    assert terminal_url("http://h:1/arker", "v", "s") == "ws://h:1/arker/v1/vms/v/sessions/s/pty"
    with pytest.raises(InvalidRequestError):
        terminal_url("ftp://h", "v", "s")


def test_a_key_from_a_file_is_sent_without_its_line_end() -> None:
    dialect = bearer_dialect(resolve({}, api_key="a b\n", base_url="https://h.test"), None)
    assert dialect.sign(Request("GET", "https://h.test")).header("authorization") == "Bearer a b"


def test_signing_replaces_and_hides() -> None:
    config = resolve({}, api_key="ark_live_0123456789abcdef", base_url="https://h.test")
    dialect = bearer_dialect(config, None)
    signed = dialect.sign(dialect.sign(Request("GET", "https://h.test", (("x-a", "1"),))))
    assert signed.headers == (("authorization", "Bearer ark_live_0123456789abcdef"), ("x-a", "1"))


def test_chunk_size() -> None:
    assert CHUNK_SIZE == 4194304
