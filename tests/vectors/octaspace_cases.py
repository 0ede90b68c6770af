"""What is wanted of OctaSpace's recorded cases, and whether a replay was that.

Cases that are not normative record what the TypeScript client does and nobody should; `expected` says, by the section
that decides it, what happens instead.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from skerry._kernel.request import Request
from skerry.networks.octaspace import (
    Download,
    OctaDecodeError,
    OctaError,
    OctaProvisionRejectedError,
    OctaTimeoutError,
)
from tests.vectors.cases import query_of
from tests.vectors.octaspace_records import OctaCase, requests_of, stubs_of
from tests.vectors.octaspace_stage import CHANCE, OctaStage

# The classes of the seed; ours below them have further names, which its hierarchy does not mention.
SEED = {
    *("OctaError", "OctaNetworkError", "OctaTimeoutError", "OctaApiError", "OctaAuthenticationError"),
    *("OctaPermissionError", "OctaNotFoundError", "OctaValidationError", "OctaRateLimitError", "OctaServerError"),
}
HEADERS = ("authorization", "accept", "content-type")
# Bodies of keywords, which have no order; the members of others are sent in the recorded one.
_UNORDERED = ("services.render.start", "services.vpn.start", "nodes.updatePrices")


@dataclass(frozen=True)
class Expected:
    """What is wanted of a case: requests in order, and how to judge the error where there is one."""

    requests: list[dict[str, Any]]
    error: Callable[[BaseException], None] | None
    sleeps: list[float]


def expected(case: OctaCase) -> Expected | str:
    """What is wanted of a case, or why nothing can be said."""
    content = case.content
    requests, stubs = requests_of(case), stubs_of(case)
    sleeps = content.get("sleeps_ms") or []
    record = content.get("error")
    error = None if record is None else _judge(case, record)
    if content.get("signal") is not None:
        # Section 4.3: cancelled at once, and nothing is tried again.
        return Expected([] if content["signal"] == "pre-aborted" else requests[:1], error, [])
    if not requests and record is not None and not str(record.get("class", "")).startswith("Octa"):
        # Section 10: for what cannot be sent, any local error will do.
        return Expected([], lambda error: _is(error, ValueError), [])
    if any(_is_no_number(stub) for stub in stubs):
        # Section 2.6: a date in Retry-After, or whatever else is no number, is as if it were absent.
        chances = [*(content.get("random_sequence") or []), *[CHANCE] * len(requests)]
        waits = [chances[at] * min(10_000, 500 * 2**at) for at in range(len(requests) - 1)]
        return Expected(requests, error, waits)
    if case.normative:
        return Expected(requests, error, sleeps)
    segments = [str(value) for value in case.args if isinstance(value, int | str)]
    if any(quote(text, safe="") != text for text in segments):
        # Section 4.2: each path segment is percent-encoded.
        return Expected([{**request, **_encoded(case, segments)} for request in requests], error, sleeps)
    if any(retries < 0 for retries in _retries(case)):
        # Section 2.6: refused before anything is sent.
        return Expected([], lambda error: _is(error, ValueError), [])
    if any("timeout_error" in stub for stub in stubs):
        # Section 4.3: the documented class, whatever the platform calls it.
        return Expected(requests, lambda error: _is(error, OctaTimeoutError), sleeps)
    return f"section 10: not normative, and of no kind that is known here: {content.get('note')}"


def _is_no_number(stub: dict[str, Any]) -> bool:
    asked = {name.lower(): value for name, value in (stub.get("headers") or {}).items()}.get("retry-after")
    try:
        return stub.get("status") == 429 and asked is not None and not 0 <= float(asked) < math.inf
    except ValueError:
        return True


def _retries(case: OctaCase) -> list[int]:
    given = [case.options, *(value for value in case.args if isinstance(value, dict))]
    return [value for options in given if isinstance(value := options.get("retries"), int)]


def _is(error: BaseException, kind: type[BaseException]) -> None:
    assert isinstance(error, kind), repr(error)


def _encoded(case: OctaCase, segments: list[str]) -> dict[str, Any]:
    # Paths are those of the table (section 3) with the segments where they belong.
    section = case.method.rpartition(".")[0]
    heads = {"nodes": "/nodes", "services.session": "/services", "idleJobs": "/idle_jobs"}
    tails = {"get": "", "downloadIdent": "/ident", "downloadLogs": "/logs", "updatePrices": "/prices"}
    verb = case.method.rpartition(".")[2]
    middle = "/".join(quote(text, safe="") for text in segments)
    below = urlsplit(case.options.get("base_url") or "").path.removesuffix("/")
    return {"path": f"{below}{heads[section]}/{middle}{tails.get(verb, f'/{verb}')}", "query": {}}


def _judge(case: OctaCase, record: dict[str, Any]) -> Callable[[BaseException], None]:
    def judge(error: BaseException) -> None:
        assert isinstance(error, OctaError), repr(error)
        names = [kind.__name__ for kind in type(error).__mro__]
        if str(record.get("class", "")).startswith("Octa"):
            assert [name for name in names if name in SEED] == [name for name in record["mro"] if name in SEED]
        elif isinstance(error, OctaProvisionRejectedError):
            # Section 4.2: the reason is kept, where upstream loses it.
            assert case.method == "services.mr.start"
            reasons = [text for item in error.rejections if isinstance(text := item.get("reason"), str) and text]
            said = f"Provision request rejected: {reasons[0]}" if reasons else None
            assert str(error) == (said or "Deploy response contained no session UUID")
            return
        else:
            # Section 10: decode and parse problems are an own class.
            assert isinstance(error, OctaDecodeError)
            return
        # What an object looks like as text is the platform's as well.
        if record.get("message_normative", True) and not record["message"].startswith("[object "):
            assert str(error) == record["message"]
        if "status" in record:
            assert error.status == record["status"]
        assert error.code == record.get("code")
        if "requestId" in record:
            assert error.request_id == record["requestId"]
        unusable = any(_is_no_number(stub) for stub in stubs_of(case)[-1:])
        assert error.retry_after == (None if unusable else record.get("retryAfter"))
        assert error.details == record.get("body")

    return judge


def check(case: OctaCase, wanted: Expected, stage: OctaStage, result: Any, error: BaseException | None) -> None:
    """Compare a replay with what is wanted."""
    if error is not None and wanted.error is None:
        raise error
    assert len(stage.sent) == len(wanted.requests)
    for request, record in zip(stage.sent, wanted.requests, strict=True):
        check_request(request, record, ordered=case.method not in _UNORDERED)
    assert [round(seconds * 1000, 6) for seconds in stage.slept] == wanted.sleeps
    assert stage.told == (case.content.get("hooks") or [])
    if wanted.error is not None:
        assert error is not None, f"{result!r} was returned instead of an error"
        wanted.error(error)
    else:
        check_result(case, result)


def check_request(request: Request, record: dict[str, Any], *, ordered: bool = True) -> None:
    """Compare what was sent with what was recorded, byte for byte; but for the order of members where there is none."""
    assert request.method == record["method"]
    parts = urlsplit(request.url)
    if "origin" in record:
        assert f"{parts.scheme}://{parts.netloc}" == record["origin"]
    assert parts.path == record["path"]
    assert query_of(parts.query) == (record.get("query") or {})
    headers = record.get("headers") or {}
    for name in {*HEADERS, *headers} - ({"user-agent"} if _is_upstreams_own(headers) else set()):
        assert request.header(name) == headers.get(name), name
    if record.get("body_raw") is not None:
        assert isinstance(request.body, bytes)
        sent, wanted = request.body, record["body_raw"].encode()
        assert sent == wanted or (not ordered and sorted(sent) == sorted(wanted) and json.loads(sent) == record["body"])
    elif record.get("body") is None:
        assert request.body is None
    else:
        assert isinstance(request.body, bytes)
        assert json.loads(request.body) == record["body"]


def _is_upstreams_own(headers: dict[str, str]) -> bool:
    # Section 4.1: who calls names itself; ours is another name.
    return str(headers.get("user-agent")).startswith("@octaspace/sdk/")


def check_result(case: OctaCase, result: Any) -> None:
    """Compare what was returned with what was recorded; models as the JSON they were read from."""
    wanted = case.content.get("result")
    if isinstance(wanted, dict) and wanted.get("$type") == "undefined":
        assert plain(case, result) is None
    elif isinstance(wanted, dict) and wanted.get("$type") == "bytes":
        assert isinstance(result, Download)
        assert bytes(result) == base64.b64decode(wanted["base64"])
        assert len(result) == wanted["size"]
        # Where the stub names no type, the recorded one is the platform's own guess.
        stub = stubs_of(case)[-1]
        assert result.content_type == (stub.get("headers") or {}).get("content-type")
    else:
        assert plain(case, result) == wanted


def plain(case: OctaCase, result: Any) -> Any:
    """A result as JSON data."""
    if case.method == "services.mr.start":
        # Section 3.7: the id alone is what the start of a machine returns.
        return {"uuid": result.uuid}
    if case.method.endswith(".start"):
        result = result.answer
    if isinstance(result, list):
        return [item.raw for item in result]
    return result.raw if hasattr(result, "raw") else result


@contextmanager
def caught(kind: type[BaseException] = Exception) -> Iterator[list[BaseException]]:
    """Collect the error that the block raises, if it raises one."""
    found: list[BaseException] = []
    try:
        yield found
    except kind as error:
        found.append(error)
