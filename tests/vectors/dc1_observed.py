"""Pairs of requests and answers seen at the real service, replayed through the client's own methods.

Each recorded request is looked up in the table of operations, and the method of that operation is called with what the
path, the query and the body hold. The client must then send the recorded request, and make of the recorded answer what
it says. Where the key goes is the client's own affair: the network takes it in several places, so it is compared
wherever it is. `emulate` is for servers; a client has to cope with what was seen as well as with what ought to be.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from skerry._kernel.model import Model
from skerry._kernel.request import Request
from skerry.money import Money
from skerry.networks.dc1 import APIError, JobOutput, RequestOptions, TextResult, sign_heartbeat, sign_provider_event
from skerry.networks.dc1.codes import STATUSES
from skerry.networks.dc1.operations import ROUTES, Route, json_body
from tests.vectors.dc1_sdk import PROVIDER_KEY, RENTER_KEY
from tests.vectors.dc1_stage import body_bytes, json_of, path_of, query_of

ADMIN_TOKEN = "admin-token-for-tests"
HMAC_SECRET = "hmac-secret-for-tests"
ISO, SQLITE = "2026-03-22T19:30:00.000Z", "2026-03-22 20:00:00.000"
_PLACEHOLDER = re.compile(r"\{\{([^{}]*(?:\([^()]*\))?)\}\}")
_NUMBERS = {"ms": 1_742_671_800_000, "unix": 1_742_671_800}
_VIEWS = ("benchmarks", "cards", "catalog", "compare", "portfolio-readiness")


def _word(name: str) -> str:
    known = {"iso": ISO, "sqlite_ts": SQLITE, "renter_key": RENTER_KEY, "provider_key": PROVIDER_KEY}
    if name in known or name in _NUMBERS:
        return str(known.get(name, _NUMBERS.get(name)))
    if "renter_key" in name:
        return f"dc1-renter-{name.encode().hex()[:32]:0<32}"
    return f"job-1742671800000-{len(name):06}" if name.startswith("job") else name


def filled(value: Any) -> Any:
    """A recorded value with its placeholders replaced."""
    if isinstance(value, dict):
        return {name: filled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    if whole and whole.group(1) in _NUMBERS:
        return _NUMBERS[whole.group(1)]
    return _PLACEHOLDER.sub(lambda match: _word(match.group(1)), value)


@dataclass
class Observed:
    """One pair, made concrete, with its credentials taken out.

    Attributes:
        role: as whom it was sent; None without a key.
        key: the key it was sent with.
        method, path, query, body: the request without the key; the body is bytes when it was no JSON object.
        headers: those that matter to the call itself.
        response: the answer as recorded.
        route: the operation of that method and path, None where the table has none.
        names: what the path holds.
    """

    role: Any
    key: str | None
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]
    response: dict[str, Any]
    route: Route[Any] | None
    names: dict[str, str]


def read(content: dict[str, Any]) -> Observed:
    """A recorded pair."""
    request = filled(content["request"])
    headers = {name.lower(): value for name, value in (request.get("headers") or {}).items()}
    query, body = dict(request.get("query") or {}), request.get("body")
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            body = body.encode()
    places = [
        *((role, headers.pop(name, None)) for role, name in _HEADERS),
        (None, headers.pop("authorization", "").removeprefix("Bearer ") or None),
        *((None, query.pop(name, None)) for name in ("key", "renter_key")),
    ]
    if isinstance(body, dict):
        places += [("provider", body.pop(name, None)) for name in ("api_key", "key") if isinstance(body.get(name), str)]
    path = request["path"]
    routes = _find(request["method"], path)
    names = routes[0][1] if routes else {}
    if "key" in names:
        places.append(("provider", names["key"]))
    role, key = next(((role, key) for role, key in places if key), (None, None))
    if key is not None and role is None:
        role = "admin" if key == ADMIN_TOKEN else "provider" if key.startswith("dc1-provider-") else "renter"
        if routes and key not in (ADMIN_TOKEN, PROVIDER_KEY, RENTER_KEY):
            role = routes[0][0].role
    # Some routes are for several roles, each of which has a method of its own.
    routes.sort(key=lambda found: found[0].role != role)
    route, names = routes[0] if routes else (None, {})
    return Observed(role, key, request["method"], path, query, body, headers, filled(content["response"]), route, names)


def forged(pair: Observed) -> bool:
    """Whether a signature was recorded that is not the right one, which the client cannot be made to send itself."""
    return any(_SIGNED not in value for name, value in pair.headers.items() if name.endswith("-signature"))


_SIGNED = "hmac_sha256"
_HEADERS = (("renter", "x-renter-key"), ("provider", "x-provider-key"), ("admin", "x-admin-token"))


def _find(method: str, path: str) -> list[tuple[Route[Any], dict[str, str]]]:
    found: list[tuple[Route[Any], dict[str, str]]] = []
    # Routes with fewer names in them are looked at first, as servers do.
    for route in sorted(ROUTES.values(), key=lambda route: route.operation.path.count("{")):
        if route.operation.method != method:
            continue
        pattern = re.sub(r"\{(\w+)\}", _group, route.operation.path)
        match = re.fullmatch(pattern, path)
        if match is not None and match.groupdict().get("view", _VIEWS[0]) in _VIEWS:
            found.append((route, match.groupdict()))
    best = found[0][0].operation.path if found else ""
    return [(route, names) for route, names in found if route.operation.path == best]


def _group(match: re.Match[str]) -> str:
    name = match.group(1)
    return f"(?P<{name}>.+)" if name == "model_id" else f"(?P<{name}>[^/]+)"


def client_settings(pair: Observed) -> dict[str, Any]:
    """What the client is made with to send a pair."""
    names = {"renter": "api_key", "provider": "provider_key", "admin": "admin_token"}
    secret = {"hmac_secret": HMAC_SECRET} if "x-dc1-signature" in pair.headers and not forged(pair) else {}
    return {names[pair.role]: pair.key, **secret} if pair.role else secret


def own_call(client: Any, pair: Observed) -> Callable[[], Any] | None:
    """The call by a method of its own, None where no method takes what is recorded."""
    route = pair.route
    able = route is not None and (pair.role == route.role or (pair.role is None and route.open)) and not forged(pair)
    if route is None or not able or not isinstance(pair.body, dict | None):
        return None
    method, args, keywords = _method(client, route, pair)
    try:
        inspect.signature(method).bind(*args, **keywords, options=_options(pair))
    except TypeError:
        return None
    return partial(method, *args, **keywords, options=_options(pair))


def general_call(client: Any, pair: Observed) -> Callable[[], Any]:
    """The call by the general `request`.

    The general `request` stands in for what no method can be brought to say: a call without a key or as somebody else,
    without what the method demands, of a route that does not exist, with a body that is no JSON.
    """
    body = {} if pair.body is None else {"body": pair.body}
    general = partial(client.request, pair.method, pair.path, query=pair.query, role=pair.role)
    return partial(general, options=_options(pair, _signed(pair)), **body)


def _options(pair: Observed, more: Mapping[str, str] | None = None) -> RequestOptions:
    kept = {name: value for name, value in pair.headers.items() if name == "accept" or forged(pair)}
    headers = {**kept, **(more or {})}
    return RequestOptions(headers=headers or None, idempotency_key=pair.headers.get("x-idempotency-key"))


def _signed(pair: Observed) -> dict[str, str]:
    """The signature of a provider's message that no method can be brought to say, for the bytes that will be sent."""
    if forged(pair) or "x-dcp-signature" not in pair.headers:
        return {}
    body = pair.body if isinstance(pair.body, bytes) else json_body(pair.body)
    moment = pair.headers.get("x-dcp-timestamp", "")
    return {
        "x-dcp-signature": sign_provider_event(pair.key or "", body),
        "x-dcp-timestamp": moment if moment.isdecimal() else str(_NUMBERS["unix"]),
    }


def _method(client: Any, route: Route[Any], pair: Observed) -> tuple[Any, list[Any], dict[str, Any]]:
    name = route.operation.name
    # Methods take numbers as numbers.
    whole = re.compile(r"0|[1-9]\d*")
    query = {word: int(value) if whole.fullmatch(str(value)) else value for word, value in pair.query.items()}
    names, keywords = dict(pair.names), {**query, **(pair.body or {})}
    names.pop("key", None)
    if name == "v1.chat" and keywords.get("stream") is True:
        name = "v1.stream_chat"
        keywords.pop("stream")
    if name == "provider.heartbeat" and keywords != {"daemon_version": "sdk/0.1.0"}:
        name = "provider.daemon_heartbeat"
    elif name == "provider.heartbeat":
        keywords = {}
    if name == "renters.delete" and keywords.get("confirm") == "DELETE_MY_ACCOUNT":
        keywords.pop("confirm")
    in_money = name in ("admin.credit_renter", "admin.adjust_balance", "provider.withdraw")
    if in_money and isinstance(keywords.get("amount_halala"), int):
        keywords["amount"] = Money(keywords.pop("amount_halala"), "SAR")
    if name in ("jobs.get", "jobs.image"):
        name = "jobs.output"
    target: Any = client
    for part in name.split("."):
        target = getattr(target, part)
    return target, list(names.values()), keywords


def as_recorded(pair: Observed, sent: list[Request]) -> bool:
    """Whether the recorded request was sent."""
    try:
        check_sent(pair, sent)
    except AssertionError:
        return False
    return True


def check_sent(pair: Observed, sent: list[Request]) -> None:
    """Compare what was sent with what was recorded, the key wherever it is."""
    assert len(sent) == 1
    request = sent[0]
    assert (request.method, path_of(request)) == (pair.method, pair.path)
    query, body = query_of(request), json_of(request) if not isinstance(pair.body, bytes) else request.body
    keys = {request.header(name) for _, name in _HEADERS} | {query.pop(name, None) for name in ("key", "renter_key")}
    if isinstance(body, dict):
        keys |= {body.pop(name, None) for name in ("api_key", "key")}
    keys |= {pair.names.get("key")}
    assert {key for key in keys if key} == ({pair.key} if pair.key else set())
    assert query == {name: str(value) for name, value in pair.query.items()}
    assert (body or None) == (pair.body or None)
    for name in ("accept", "x-idempotency-key", *(pair.headers if forged(pair) else ())):
        if name in pair.headers and name != "content-type":
            assert request.header(name) == pair.headers[name]
    if forged(pair):
        return
    if "x-dc1-signature" in pair.headers:
        assert request.header("x-dc1-signature") == sign_heartbeat(HMAC_SECRET, request.body or b"")
    if "x-dcp-signature" in pair.headers:
        assert request.header("x-dcp-signature") == sign_provider_event(pair.key or "", request.body or b"")
        assert (request.header("x-dcp-timestamp") or "").isdecimal()


def check_error(pair: Observed, error: APIError) -> None:
    """An answer that refuses is an error that says all that the answer said."""
    status, body = pair.response["status"], pair.response.get("body")
    expected = {"error": body} if isinstance(body, str) else body or {}
    assert (error.status, error.response) == (status, expected)
    said = expected.get("error") if isinstance(expected, dict) else None
    if isinstance(said, dict):
        # In the manner of OpenAI: an object with message, type and code.
        assert (error.message, error.code) == (said["message"], said.get("code", error.code))
    elif status != 401 or said:
        assert error.message == (said if isinstance(said, str) and said else f"HTTP {status}")
    assert type(error) is not APIError or status not in STATUSES
    if isinstance(expected, dict):
        assert error.code == expected.get("code", error.code)
        assert error.fields == expected.get("fields", [])
        if "retryAfterSeconds" in expected:
            assert error.retry_after == expected["retryAfterSeconds"]


def check_result(pair: Observed, result: Any) -> None:
    """A result holds all that the answer said, whatever it is made into."""
    body = pair.response.get("body")
    if isinstance(result, JobOutput):
        kind = (pair.response.get("headers") or {}).get("content-type", "")
        assert result.http_status == pair.response["status"]
        if kind.startswith("image/"):
            assert (result.status, result.image) == ("completed", body_bytes(body))
            return
        body = body or {}
        assert result.data == body
        assert result.status == body.get("status", "completed")
        assert result.is_done == (result.http_status != 202)
        assert (result.result is None) == (result.http_status in (202, 410))
        billing = body.get("billing") or {}
        if billing.get("actual_cost_halala") is not None:
            assert result.cost is not None
            assert result.cost.amount == billing["actual_cost_halala"]
        if result.http_status == 200 and isinstance(result.result, TextResult):
            said = body.get("result")
            assert result.text == (said if isinstance(said, str) else body.get("response", ""))
        return
    body = {} if body is None else body
    if isinstance(result, Model):
        inner = [value for value in body.values() if isinstance(value, dict)] if isinstance(body, dict) else []
        assert result.raw in [body, *inner]
    elif isinstance(result, list) and result and isinstance(result[0], Model):
        listed = body if isinstance(body, list) else next(item for item in body.values() if isinstance(item, list))
        assert [item.raw for item in result] == listed
    elif result is None:
        assert body["job"] is None
    elif isinstance(result, list) and isinstance(body, dict):
        assert result in body.values()
    elif isinstance(result, bytes):
        assert result == body_bytes(body)
    else:
        assert result == body


def pieces(pair: Observed) -> list[Any]:
    """What the events of a recorded stream hold, without the mark that ends those of models."""
    text = pair.response.get("body")
    if not isinstance(text, str) or "text/event-stream" not in str(pair.response.get("headers")):
        return []
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def check_events(pair: Observed, result: list[Any]) -> None:
    """A stream's events are those of the recorded text, without the one that ends a job's."""
    recorded = pieces(pair)
    if "[DONE]" not in pair.response["body"]:
        assert recorded.pop().get("type", "end") == "end"
    assert [event.raw for event in result] == recorded
