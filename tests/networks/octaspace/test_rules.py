"""OctaSpace's rules as pure functions: codes, settings, repeats, values, models, logs, files."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry import errors as common
from skerry._kernel.model import decode
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import Failure
from skerry.errors import ConfigurationError, InvalidRequestError
from skerry.money import Money
from skerry.networks.octaspace import VERSION, OctaSpace, answers, codes, errors, idle_logs, machines, models, values
from skerry.networks.octaspace.config import BASE_URL, normal_base_url, resolve
from skerry.networks.octaspace.downloads import Download, FileSink
from skerry.networks.octaspace.operations import OPERATIONS, PUBLIC, segment
from tests.io.script import answer

# Section 3.14, with the class of the seed's tree (section 4.3) and the meaning in the common one.
DOCUMENTED = {
    "BAD_REQUEST": (400, errors.OctaApiError, common.InvalidRequestError),
    "UNAUTHORIZED": (401, errors.OctaAuthenticationError, common.AuthenticationError),
    "INSUFFICIENT_BALANCE": (402, errors.OctaApiError, common.PaymentRequiredError),
    "FORBIDDEN": (403, errors.OctaPermissionError, common.PermissionDeniedError),
    "NOT_FOUND": (404, errors.OctaNotFoundError, common.NotFoundError),
    "METHOD_NOT_ALLOWED": (405, errors.OctaApiError, common.UnsupportedError),
    "NODE_BUSY": (409, errors.OctaApiError, common.BusyError),
    "VALIDATION_ERROR": (422, errors.OctaValidationError, common.InvalidRequestError),
    "RATE_LIMITED": (429, errors.OctaRateLimitError, common.RateLimitedError),
    "INTERNAL_ERROR": (500, errors.OctaServerError, common.ServerError),
    "NODE_UNAVAILABLE": (503, errors.OctaServerError, common.UnavailableError),
}
# Section 3.7.
REASONS = {
    "Node not found": common.NotFoundError,
    "Node is busy": common.BusyError,
    "Image is required": common.InvalidRequestError,
    "App not found": common.NotFoundError,
    "Disk size is too large": common.NoCapacityError,
    "Not enough ports": common.NoCapacityError,
    "Insufficient balance": common.PaymentRequiredError,
    "INTERNAL_ERROR": common.ServerError,
}
SEED = (
    errors.OctaAuthenticationError,
    errors.OctaPermissionError,
    errors.OctaNotFoundError,
    errors.OctaValidationError,
    errors.OctaRateLimitError,
    errors.OctaServerError,
)


def _error(status: int, body: Any = None, secret: str = "", **headers: str) -> errors.OctaApiError:
    error = codes.error_of(answer(status, body, **headers), secret)
    assert error is not None
    return error


@pytest.mark.parametrize("code", DOCUMENTED)
def test_each_documented_code_is_mapped(code: str) -> None:
    status, place, meaning = DOCUMENTED[code]
    error = _error(status, {"code": code, "message": "why"}, x_request_id="r")
    assert isinstance(error, place)
    assert isinstance(error, meaning)
    assert type(error) is codes.CODES[code]
    assert [kind for kind in SEED if isinstance(error, kind)] == ([] if place is errors.OctaApiError else [place])
    assert (error.status, error.code, str(error), error.request_id) == (status, code, "why", "r")
    assert error.details == {"code": code, "message": "why"}
    assert json.loads(error.body or b"") == error.details
    assert error.retryable == (status == 429 or status >= 500 or code == "NODE_BUSY")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.to_dict(), copy.body) == (type(error), error.to_dict(), error.body)


def test_the_codes_are_the_documented_ones() -> None:
    assert set(codes.CODES) == set(DOCUMENTED)
    assert set(codes.REASONS) == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_each_documented_reason_is_mapped(reason: str) -> None:
    items = [{"id": 0, "reason": reason, "status": 1}]
    error = codes.rejection(items, answer(200, items))
    assert isinstance(error, REASONS[reason])
    assert str(error) == f"Provision request rejected: {reason}"
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.rejections) == (type(error), items)


def test_the_tree_is_the_seeds() -> None:
    for kind in SEED:
        assert kind.__mro__[1] is errors.OctaApiError
    assert errors.OctaApiError.__mro__[1] is errors.OctaError
    assert errors.OctaTimeoutError.__mro__[1:3] == (errors.OctaNetworkError, errors.OctaError)
    assert issubclass(errors.OctaTimeoutError, TimeoutError)
    assert issubclass(errors.OctaNetworkError, ConnectionError)
    assert not issubclass(errors.OctaApiError, errors.OctaNetworkError)


def test_every_error_has_its_place_in_the_common_tree() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    general = (errors.OctaError, errors.OctaApiError, errors.OctaProvisionRejectedError)
    for kind in kinds:
        assert issubclass(kind, errors.OctaError)
        meanings = {base for base in kind.__mro__ if base.__module__ == common.__name__} - {common.SkerryError}
        assert bool(meanings) == (kind not in general), kind
        assert errors.__doc__ is not None
        assert kind.__name__ in errors.__doc__ or issubclass(kind, errors.OctaProvisionRejectedError)


@given(st.integers(300, 599), st.one_of(st.none(), st.text(), st.integers(), st.lists(st.text())))
def test_classes_follow_the_status(status: int, code: Any) -> None:
    error = _error(status, {"code": code})
    by_status = dict(zip((401, 403, 404, 422, 429), SEED, strict=False))
    wanted = errors.OctaServerError if status >= 500 else by_status.get(status, errors.OctaApiError)
    assert isinstance(error, wanted)
    assert [kind for kind in SEED if isinstance(error, kind)] == [kind for kind in SEED if kind is wanted]
    assert error.code == code
    assert str(error) == f"Request failed with status {status}"


@given(st.binary(max_size=300), st.sampled_from([200, 204, 304, 400, 404, 500, 503]))
def test_any_answer_is_success_or_error(body: bytes, status: int) -> None:
    error = codes.error_of(Response(status, body=body))
    assert (error is None) == (200 <= status < 300)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "m", "error": "e"}, "m"),
        ({"message": "", "error": "e"}, ""),
        ({"message": None, "error": "e"}, "e"),
        ({"message": None, "error": None}, "Request failed with status 400"),
        ({"reason": "r", "detail": "d"}, "Request failed with status 400"),
        ({"message": 5}, "5"),
        ({"message": False}, "false"),
        ({"error": {"a": "é"}}, '{"a": "é"}'),
        ([{"message": "m"}], "Request failed with status 400"),
        ("text", "Request failed with status 400"),
        (None, "Request failed with status 400"),
    ],
)
def test_messages(body: Any, message: str) -> None:
    error = _error(400, body)
    assert (str(error), error.details) == (message, body)


def test_errors_that_are_not_json() -> None:
    error = codes.error_of(Response(502, (), b"<html>"))
    assert error is not None
    assert (str(error), error.details, error.body, error.outcome) == (
        "Request failed with status 502",
        None,
        b"<html>",
        "unknown",
    )


def test_keys_are_masked_but_short_words_are_not() -> None:
    key = "0123456789abcdef" * 4
    error = _error(401, {"message": f"no {key}", "deep": [{key: key}]}, key)
    assert key not in str(error) + json.dumps(error.to_dict())
    assert str(_error(401, {"message": "a test"}, "test")) == "a test"


def test_failures_of_the_transport() -> None:
    late, cut, never = (
        codes.failure_error(TransportFailure("x", kind))  # type: ignore[arg-type]
        for kind in ("timeout", "broken", "never_sent")
    )
    assert [type(error) for error in (late, cut, never)] == [
        errors.OctaTimeoutError,
        errors.OctaNetworkError,
        errors.OctaNetworkError,
    ]
    assert [error.outcome for error in (late, cut, never)] == ["unknown", "unknown", "not_sent"]
    connecting = TransportFailure("no connection in time", "never_sent")
    connecting.timed_out, connecting.limit = True, 30.0
    error = codes.failure_error(connecting)
    assert isinstance(error, errors.OctaTimeoutError)
    assert (str(error), error.outcome) == ("no connection in time", "not_sent")


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5000"), (0.15, "150"), (1.001, "1001"), (0.0015, "1.5"), (86400 * 365, "31536000000")]
)
def test_how_late_is_told_in_milliseconds(seconds: float, text: str) -> None:
    failure = TransportFailure("x", "timeout")
    failure.limit = seconds
    assert str(codes.failure_error(failure)) == f"Request timed out after {text}ms"


@given(st.integers(300, 599), st.sampled_from(["idempotent", "keyed", "unsafe"]))
def test_what_is_tried_again(status: int, safety: Any) -> None:
    failure = Failure(common.SkerryError("x"), "answer", status)
    assert codes.retry_when(failure, safety) == (safety == "idempotent" and (status == 429 or status >= 500))
    for kind in ("never_sent", "broken", "timeout"):
        assert codes.retry_when(Failure(failure.error, kind), safety) == (safety == "idempotent")  # type: ignore[arg-type]


def test_known_waits() -> None:
    policy = resolve(retries=7).policy
    failure = Failure(common.SkerryError("x"), "answer", 500)
    chances = iter([0.5, 0.25, 0.75, 0.1, 0.9, 0.5, 0.5])
    waits = [policy.wait(failure, "idempotent", attempt, lambda: next(chances)) for attempt in range(1, 8)]
    assert [None if wait is None else round(wait * 1000, 6) for wait in waits] == [
        250,
        250,
        1500,
        400,
        7200,
        5000,
        5000,
    ]
    assert policy.wait(failure, "idempotent", 8, lambda: 0.0) is None


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_waits_are_never_longer_than_ten_seconds(failed: int, chance: float) -> None:
    assert 0 <= resolve().policy.backoff(failed, lambda: chance) <= min(10.0, 0.5 * 2 ** min(failed - 1, 9))


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        (429, "30", 30.0),
        (429, " 1.5 ", 1.5),
        (429, "0", 0.0),
        (429, ".5", 0.5),
        (429, None, None),
        (429, "", None),
        (429, "-1", None),
        (429, "nan", None),
        (429, "inf", None),
        (429, "1e3", 1000.0),
        (429, "+2", 2.0),
        (429, "1e999", None),
        (429, "5 s", None),
        (429, "9" * 400, None),
        (429, "²", None),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (503, "30", None),
    ],
)
def test_retry_after(status: int, text: str | None, seconds: float | None) -> None:
    headers = {} if text is None else {"retry_after": text}
    assert codes.retry_after(answer(status, {}, **headers)) == seconds


def test_settings() -> None:
    config = resolve(api_key=" k ", base_url="http://127.0.0.1:4242/octaspace/")
    assert (config.api_key, config.base_url, config.retries) == ("k", "http://127.0.0.1:4242/octaspace", 2)
    assert resolve().base_url == BASE_URL
    secret = "0123456789abcdef" * 4
    assert secret not in repr(resolve(api_key=secret))


@pytest.mark.parametrize(
    "url",
    [
        *("", "/api/octa", "ftp://h.test", "api.test", "https://", "https://h.test/?a", "https://h.test/#a"),
        *("https://h.test/a/../b", "https://u:p@h.test", "https://h.test:99999", "https://h.test:x"),
    ],
)
def test_base_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigurationError):
        normal_base_url(url)


def test_exactly_one_trailing_slash_goes() -> None:
    assert normal_base_url(" https://h.test:8443/a%2Fb/é f/ ") == "https://h.test:8443/a%2Fb/%C3%A9%20f"
    assert normal_base_url("https://h.test//") == "https://h.test/"
    assert normal_base_url("HTTPS://h.test") == "https://h.test"


def test_base_urls_are_written_as_they_are_sent() -> None:
    assert normal_base_url("HTTPS://API.Example.Test:443/Base/") == "https://api.example.test/Base"
    assert normal_base_url("http://H.test:80") == "http://h.test"
    assert normal_base_url("http://h.test:443") == "http://h.test:443"
    assert normal_base_url("https://h.test:8443/é") == "https://h.test:8443/%C3%A9"


def test_the_version_is_the_packages() -> None:
    assert version("skerry") == VERSION


def test_the_table() -> None:
    assert len(OPERATIONS) == 23
    for name, operation in OPERATIONS.items():
        assert operation.name == name
        assert (operation.safety == "idempotent") == (operation.method == "GET")
        assert operation.auth == (name not in PUBLIC)
        assert operation.summary
    assert set(PUBLIC) == {"network.get"}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_segments_hold_nothing_special(value: str) -> None:
    assert not set(segment(value, "uuid")) & set("/?#%+ !*'()[]") - {"%"}
    assert segment(value, "uuid") not in (".", "..")


def test_ids_are_checked_before_anything_is_sent() -> None:
    assert segment(42, "node_id") == "42"
    for text in ("", "\ud800"):
        with pytest.raises(InvalidRequestError):
            segment(text, "node_id")
    for wrong in (None, True, 1.0, b"x"):
        with pytest.raises(TypeError, match="node_id must be text or a whole number"):
            segment(wrong, "node_id")  # type: ignore[arg-type]


@given(st.integers(-(10**40), 10**40))
def test_wei_is_exact_however_it_comes(amount: int) -> None:
    for form in (amount, str(amount), f" {amount} "):
        assert values.whole(form) == amount
        assert values.octa(form) == Money(amount, "OCTA")
    body = json.dumps({"charge_amount": amount, "balance": str(amount)}).encode()
    assert decode(body, models.ServiceInfo).charge_amount_wei == amount
    assert decode(body, models.Balance).funds == Money(amount, "OCTA")
    # The lenient way, which an unexpected type anywhere leads to.
    assert decode(body[:-1] + b', "node_id": "x"}', models.ServiceInfo).charge == Money(amount, "OCTA")


@pytest.mark.parametrize("value", [None, True, "x", "", "1.5", "--1", "1_0", "²", [], {}, 1.5, float("inf"), "9" * 101])
def test_what_is_no_whole_number(value: Any) -> None:
    assert values.whole(value) is None
    assert values.octa(value) is None
    assert values.usd_of_parts(value) is None
    assert values.moment_of(value) is None


@pytest.mark.parametrize("amount", [None, True, "x", [], Decimal("NaN"), Decimal("Infinity"), 10**200])
def test_what_is_no_money(amount: Any) -> None:
    assert values.usd(amount) is None
    assert values.octa_of_coins(amount) is None


def test_moments_out_of_range_are_none() -> None:
    assert values.moment_of(10**30) is None
    moment = values.moment_of("1776161866303")
    assert moment is not None
    assert moment.isoformat() == "2026-04-14T10:17:46.303000+00:00"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, []),
        ([22], [22]),
        ("[5000,6000]", [5000, 6000]),
        ("[]", []),
        ("", []),
        (" ", []),
        ("{}", []),
        ("[1", []),
        ("[" * 100_000, []),
        (22, [22]),
    ],
)
def test_port_lists_in_every_form(value: Any, wanted: list[int]) -> None:
    app = models.App(ports=value, http_ports=value)
    assert (app.port_list, app.http_port_list) == (wanted, wanted)


def test_apps() -> None:
    app = decode(b'{"envs":{"A":1,"B":false,"C":null,"D":"d","E":1.5},"extra":{"guide":"g"},"x":1}', models.App)
    assert app.environment == {"A": "1", "B": "false", "C": "", "D": "d", "E": "1.5"}
    assert (app.extra_info, app.extra) == ({"guide": "g"}, {"x": 1})
    assert models.App().environment == {}


def test_bandwidth_is_told_in_mbits() -> None:
    machine = machines.MrMachine(net_down_mbits=872229553, net_up_mbits=100_000)
    assert (machine.down_mbits, machine.up_mbits) == (872229553 / 125_000, 100_000.0)
    relay = machines.VpnNode(net_down_mbits=62118848)
    assert round(relay.down_mbits or 0, 1) == 497.0
    assert relay.up_mbits is None


def test_lists_take_text_that_has_no_utf_8() -> None:
    # Half of a surrogate pair, as a log that was cut has it.
    body = b'[{"uuid": "\\ud83d", "charge_amount": 31428028938060847852, "new": "\\ud83d"}, 5, null]'
    sessions = answers.listing(models.ServiceInfo)(Response(200, body=body))
    assert [session.raw for session in sessions] == json.loads(body)
    assert sessions[0].charge_amount_wei == 31428028938060847852
    assert answers.rented(Response(200, body=body)).extra.keys() == {"charge_amount", "new"}


def test_what_is_nested_too_deep_is_no_json() -> None:
    for parse in (answers.listing(models.App), answers.reader(models.Account), answers.rented):
        with pytest.raises(errors.OctaDecodeError):
            parse(Response(200, body=b"[" * 100_000))  # type: ignore[operator]
    error = codes.error_of(Response(418, body=b'{"message":' * 50_000))
    assert str(error) == "Request failed with status 418"


def test_drifting_shapes_are_kept() -> None:
    machine = decode(b'{"node_id":7,"reliability":99.7,"gpu":"RTX","total_price_wei":"12"}', machines.RenderMachine)
    assert (machine.reliability, machine.gpu, machine.total_price) == (99.7, "RTX", Money(12, "OCTA"))
    info = decode(b'{"container_id":["a"],"config":{"ip":"203.0.113.7","port":1}}', models.ServiceInfo)
    assert (info.container_id, info.config) == (["a"], {"ip": "203.0.113.7", "port": 1})
    stats = decode(b'{"blockchain":{"era":"Vega"},"mmROI":0.83,"market_price":0.104}', models.NetworkStats)
    assert stats.blockchain is not None
    assert (stats.blockchain.era, stats.mm_roi, stats.octa_price) == ("Vega", 0.83, Money(104_000, "USD"))
    assert (stats.extra, decode(b"{}", models.NetworkStats).mm_roi) == ({}, None)


def test_sessions() -> None:
    info = decode(
        b'{"ports_matrix":{"22":10022},"tx":"7","rx":8,"duration":"28","termination_reason":"1","prices":{"base_usd":3400}}',
        models.ServiceInfo,
    )
    assert (info.host_port(22), info.host_port(80), models.ServiceInfo().host_port(22)) == (10022, None, None)
    assert (info.bytes_sent, info.bytes_received, info.seconds) == (7, 8, 28)
    assert (info.termination, info.finished, models.ServiceInfo().termination) == ("idle limit reached", True, None)
    assert decode(b'{"termination_reason":"odd"}', models.ServiceInfo).termination == "termination reason odd"
    assert info.prices is not None
    assert str(info.prices.base_price_in_usd) == "0.340000 USD"
    entry = models.SystemLogEntry(ts=1776161866508)
    assert entry.time is not None
    assert machines.NodePrices(base=1, storage=2, traffic=3).traffic_price == Money(3, "OCTA")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 4))
def test_logs_read_back(text: str, members: int) -> None:
    step = len(text) // members + 1
    packed = b"".join(gzip.compress(text[at : at + step].encode()) for at in range(0, max(1, len(text)), step))
    data = base64.b64encode(packed).decode()
    spaced = "\n".join(data[at : at + 7] for at in range(0, len(data), 7))
    for form in (data, data.rstrip("="), spaced, f" {data}\r\n", base64.b64encode(packed + b"\0\0\0").decode()):
        assert idle_logs.unpacked(form) == text.removeprefix("\ufeff")


def test_known_logs() -> None:
    assert idle_logs.unpacked("H4sIAAAAAAACA8tIzcnJVyjPL8pJAQCFEUoNCwAAAA==") == "hello world"
    odd = base64.b64encode(gzip.compress(b"\xef\xbb\xbf\xef\xbb\xbfa\xff")).decode()
    assert idle_logs.unpacked(odd) == "\ufeffa\ufffd"
    large = "x" * 100_000
    assert idle_logs.unpacked(base64.b64encode(gzip.compress(large.encode())).decode()) == large


@given(st.text(max_size=40))
def test_anything_else_is_no_log(data: str) -> None:
    with pytest.raises(ValueError):
        idle_logs.unpacked(data)


@pytest.mark.parametrize("data", ["", "A", "AAAA=", "AA=A", "AA===", "____", "aGVsbG8="])
def test_what_is_no_base64_of_gzip(data: str) -> None:
    with pytest.raises(ValueError, match=r"base64|header|breaks off"):
        idle_logs.unpacked(data)


def test_a_bomb_is_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_logs, "LONGEST", 1 << 16)
    whole = gzip.compress(bytes(1 << 16))
    assert len(idle_logs.unpacked(base64.b64encode(whole).decode())) == 1 << 16
    for packed in (gzip.compress(bytes(8 << 20)), whole + gzip.compress(b"x"), gzip.compress(b"x") * 70_000):
        with pytest.raises(ValueError, match="more than 65536 bytes"):
            idle_logs.unpacked(base64.b64encode(packed).decode())
    cut = base64.b64encode(gzip.compress(b"hello")[:-4]).decode()
    with pytest.raises(ValueError, match="breaks off"):
        idle_logs.unpacked(cut)


def test_downloads_are_bytes() -> None:
    download = Download(b"ab", "text/plain")
    copy = pickle.loads(pickle.dumps(download))
    assert (download, copy, copy.content_type) == (b"ab", b"ab", "text/plain")


def test_a_file_starts_afresh_and_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "f"
    with FileSink(target) as sink:
        sink.begin()
        sink.write(b"half of it")
        sink.begin()
        sink.write(b"all")
        assert not target.exists()
        sink.commit()
    assert (target.read_bytes(), sink.size) == (b"all", 3)
    with FileSink(target) as sink:
        sink.write(b"never committed")
    assert target.read_bytes() == b"all"
    assert list(tmp_path.iterdir()) == [target]


def test_the_types_of_every_method_are_known_at_run_time() -> None:
    client = OctaSpace()
    for name in OPERATIONS:
        target: Any = client
        for part in name.split("."):
            target = getattr(target, part)
            target = target("u") if part == "session" else target
        assert "return" in get_type_hints(target), name
    client.close()
