"""How OctaSpace's recorded cases (section 10 of its protocol) are put to a client.

Names and arguments are those of the TypeScript client; `invoke` says what they are here. Cases that are not normative
record what that client does and nobody should; `expected` says, by the section that decides it, what happens instead.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from skerry._kernel.effects import Effects
from skerry._kernel.options import Deadline
from skerry._kernel.request import Request, Response, TransportFailure
from skerry.networks.octaspace import (
    Download,
    OctaDecodeError,
    OctaError,
    OctaProvisionRejectedError,
    OctaTimeoutError,
    RequestContext,
    ResponseContext,
)
from tests.vectors.cases import query_of

# The classes of the seed; ours below them have further names, which its hierarchy does not mention.
SEED = {
    *("OctaError", "OctaNetworkError", "OctaTimeoutError", "OctaApiError", "OctaAuthenticationError"),
    *("OctaPermissionError", "OctaNotFoundError", "OctaValidationError", "OctaRateLimitError", "OctaServerError"),
}
_OPTIONS = {"apiKey": "api_key", "baseUrl": "base_url", "timeoutMs": "timeout_ms", "retries": "retries"} | {
    "userAgent": "user_agent"
}
_MACHINE = ("node_id", "disk_size", "image", "app", "envs", "ports", "http_ports", "start_command", "entrypoint")
_READS = {
    "accounts.get": "accounts.get",
    "accounts.balance": "accounts.balance",
    "accounts.generateWallet": "accounts.generate_wallet",
    "network.get": "network.get",
    "apps.list": "apps.list",
    "nodes.list": "nodes.list",
    "nodes.get": "nodes.get",
    "nodes.reboot": "nodes.reboot",
    "nodes.downloadIdent": "nodes.download_ident",
    "nodes.downloadLogs": "nodes.download_logs",
    "services.mr.available": "services.mr.available",
    "services.render.available": "services.render.available",
    "services.vpn.available": "services.vpn.available",
    "idleJobs.get": "idle_jobs.get",
    "idleJobs.logs": "idle_jobs.logs",
}
# Calls that take no options upstream, and so ignore what is given as such (section 4.2).
_WITHOUT_OPTIONS = ("accounts.generateWallet", "nodes.reboot")
HEADERS = ("authorization", "accept", "content-type")
CHANCE = 0.5
# Bodies of keywords, which have no order; the members of others are sent in the recorded one.
_UNORDERED = ("services.render.start", "services.vpn.start", "nodes.updatePrices")


@dataclass(frozen=True)
class OctaCase:
    """One recorded case.

    Attributes:
        name: unique in its file.
        normative: whether the record is what is wanted.
        method: the TypeScript client's name of the call, or for `compat` cases another client's.
        args: its arguments.
        options: what the client is made with, in this library's words.
        content: the whole record.
    """

    name: str
    normative: bool
    method: str
    args: list[Any]
    options: dict[str, Any]
    content: dict[str, Any] = field(repr=False)


def load(path: Path, kind: str) -> list[OctaCase]:
    """The cases of a file that are of one kind, `sdk` or `compat`."""
    return [
        OctaCase(
            record["case"],
            record.get("normative", True),
            record["call"]["method"],
            record["call"].get("args") or [],
            {_OPTIONS[name]: value for name, value in (record.get("client") or {}).items() if name in _OPTIONS},
            record,
        )
        for record in json.loads(path.read_text(encoding="utf-8"))
        if record["kind"] == kind
    ]


def stubs_of(case: OctaCase) -> list[dict[str, Any]]:
    """The recorded answers, one for each try; none where nothing was to be sent."""
    one = case.content.get("response_stub")
    return list(case.content.get("response_stubs") or ([one] if one else []))


def requests_of(case: OctaCase) -> list[dict[str, Any]]:
    """The recorded requests, one for each try."""
    one = case.content.get("request")
    return case.content.get("requests") or ([one] * case.content.get("request_repeated", 1) if one else [])


class OctaStage:
    """What happened in one replay: answers are served in order, the last one for ever."""

    def __init__(self, case: OctaCase) -> None:
        content = case.content
        self._stubs = stubs_of(case)
        self._chances = iter(content.get("random_sequence") or [])
        self._signal = content.get("signal")
        self._why = (content.get("error") or {}).get("message")
        self.sent: list[Request] = []
        self.slept: list[float] = []
        self.told: list[dict[str, Any]] = []
        self._contexts: list[RequestContext] = []
        self.deadline = None if self._signal is None else Deadline()
        if self._signal == "pre-aborted":
            self._give_up()
        self.effects = Effects(
            monotonic=lambda: 0.0,
            unix_ms=lambda: 0,
            random=lambda: float(next(self._chances, CHANCE)),
            entropy=lambda count: bytes(count),
        )

    def answer(self, request: Request) -> Response:
        """Note the request and give the next recorded answer."""
        self.sent.append(request)
        if self._signal is not None:
            self._give_up()
            raise TransportFailure("given up", "timeout")
        stub = self._stubs.pop(0) if len(self._stubs) > 1 else self._stubs[0]
        if "network_error" in stub:
            raise TransportFailure(stub["network_error"])
        if "abort_error" in stub or "timeout_error" in stub:
            raise TransportFailure("no complete answer in time", "timeout")
        headers = tuple((name.lower(), str(value)) for name, value in (stub.get("headers") or {}).items())
        return Response(stub["status"], headers, body_of(stub))

    def _give_up(self) -> None:
        assert self.deadline is not None
        # A reason of the caller's own is what its error says (section 4.3).
        self.deadline.cancel(*([] if self._why in (None, "Request was aborted") else [self._why]))

    async def async_sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Note the wait instead of waiting."""
        self.slept.append(seconds)

    def sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Note the wait instead of waiting."""
        self.slept.append(seconds)

    def on_request(self, context: RequestContext) -> None:
        """Note what the hook is told."""
        self._contexts.append(context)
        self.told.append(
            {
                "hook": "onRequest",
                "method": context.method,
                "url": context.url,
                "attempt": context.attempt,
                "body": context.body,
                "header_names": sorted(name.lower() for name in context.headers),
            }
        )

    def on_response(self, context: ResponseContext) -> None:
        """Note what the hook is told."""
        self.told.append(
            {
                "hook": "onResponse",
                "status": context.status,
                "request_attempt": context.request.attempt,
                "same_ctx_object": context.request is self._contexts[-1],
                "durationMs_is_int": type(context.duration_ms) is int,
            }
        )

    def hooks(self, case: OctaCase) -> dict[str, Any]:
        """The hooks as arguments of the client, where the case has any."""
        if "hooks" not in case.content:
            return {}
        return {"on_request": self.on_request, "on_response": self.on_response}


def body_of(stub: dict[str, Any]) -> bytes:
    """The bytes of a recorded answer."""
    if "body_json" in stub:
        return json.dumps(stub["body_json"]).encode()
    if "body_base64" in stub:
        return base64.b64decode(stub["body_base64"])
    return str(stub.get("body_json_raw") or stub.get("body_text") or "").encode()


def invoke(client: Any, case: OctaCase, deadline: Deadline | None) -> Any:
    """Make the recorded call; may return something to be awaited."""
    method, args = case.method, [_argument(value) for value in case.args]
    options: dict[str, Any] = {} if deadline is None else {"cancel": deadline}
    if method == "services.mr.start":
        # Members that the TypeScript client does not know are dropped by it (section 3.7).
        return client.services.mr.start(**{name: args[0][name] for name in _MACHINE if name in args[0]})
    if method == "services.render.start":
        # Whatever there is, is forwarded (section 3.8).
        named = _with_extra(args[0], ("node_id", "disk_size", "envs", "multi-gpu-worker"))
        return client.services.render.start(**{name.replace("-", "_"): value for name, value in named.items()})
    if method == "services.vpn.start":
        return client.services.vpn.start(**_with_extra(args[0], ("node_id", "subkind", "protocol")))
    if method == "nodes.updatePrices":
        return client.nodes.update_prices(args[0], **_with_extra(args[1], ("base", "storage", "traffic")))
    if method == "sessions.list":
        merged = {name: value for given in args for name, value in (given or {}).items()}
        return client.sessions.list(**_only(merged, "recent", "retries"), **options)
    if method.startswith("services.session."):
        verb, given = method.rpartition(".")[2], (args[1] if len(args) > 1 else None) or {}
        known = ("score",) if verb == "stop" else ("recent", "retries")
        return getattr(client.services.session(args[0]), verb)(**_only(given, *known), **options)
    target = client
    for name in _READS[method].split("."):
        target = getattr(target, name)
    while args and (args[-1] is None or isinstance(args[-1], dict)):
        given = args.pop() or {}
        options |= {} if method in _WITHOUT_OPTIONS else _only(given, "retries")
    return target(*args, **options)


def _only(given: dict[str, Any], *known: str) -> dict[str, Any]:
    """What the TypeScript client looks at; it takes no notice of anything else."""
    return {name: value for name, value in given.items() if name in known}


def _argument(value: Any) -> Any:
    """A recorded argument; undefined members are as if they were absent (section 2.4), whole numbers are integers."""
    if isinstance(value, dict):
        if value.get("$type") == "undefined":
            return None
        kept = {name: _argument(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if value[name] != {"$type": "undefined"}}
    if isinstance(value, list):
        return [_argument(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _with_extra(given: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    # An explicit null is sent, where None among the keywords stands for nothing.
    named = {name: value for name, value in given.items() if name in known and value is not None}
    extra = {name: value for name, value in given.items() if name not in named}
    return named | ({"extra": extra} if extra else {})


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
        if record.get("message_normative", True):
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
