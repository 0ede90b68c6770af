"""How Arker's recorded names, options and results (section 5.8) look in Python."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from skerry._kernel.model import NOT_GIVEN, Model
from skerry.errors import ConfigurationError, SkerryError
from skerry.networks.arker import Arker, ArkerError, AsyncArker, AsyncComputer, Computer
from skerry.networks.arker.config import RetryOptions
from skerry.networks.arker.legacy import ArkerLegacy, AsyncArkerLegacy, LegacyRunResult, LegacyVmList
from skerry.networks.arker.results import BackgroundRunResult, CompletedRunResult, PtyRunResult
from tests.vectors.cases import Case, Step, argument, check_bytes, check_json, is_undefined, stub_body

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_RETRY = {"baseDelayMs": "base_delay_s", "maxDelayMs": "max_delay_s", "jitterMs": "jitter_s"}
# Results made from the answer; all others are the answer itself, with a typed view.
_TRANSLATED = (CompletedRunResult, BackgroundRunResult, PtyRunResult, LegacyRunResult, LegacyVmList)
# Keywords that no upstream has; what is called so in a recording is a field of the body.
_OURS = ("extra", "options", "timeout_ms")
_CLIENT_OPTIONS = {"api_key", "region", "base_url", "burst_base_url", "retry", "timeout"}


def snake(name: str) -> str:
    """`runStatus` as `run_status`; dots stay."""
    return _CAMEL.sub("_", name).lower()


def skip_reason(case: Case) -> str | None:
    """Why a case is not replayed, None when it is."""
    if case.tag == "newer":
        return "section 5.8: cases tagged `newer` record a later wire and are not needed for the 0.3.0 target"
    return None


def client_class(case: Case, *, asynchronous: bool) -> Any:
    """The client a case is replayed with."""
    if case.tag == "legacy":
        return AsyncArkerLegacy if asynchronous else ArkerLegacy
    return AsyncArker if asynchronous else Arker


def client_options(case: Case) -> dict[str, Any]:
    """The constructor's arguments."""
    options: dict[str, Any] = {"environ": case.env}
    for name, value in case.options.items():
        if is_undefined(value) or snake(name) not in _CLIENT_OPTIONS:
            continue
        options[snake(name)] = _retry(value) if name == "retry" else value
    return options


def _retry(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        _RETRY.get(name, snake(name)): item / 1000 if name in _RETRY else item
        for name, item in value.items()
        if not is_undefined(item) and item is not None
    }


def resolve(target: Any, step: Step) -> tuple[Any, list[Any], dict[str, Any]]:
    """The bound method of a step, and its arguments."""
    method = target
    for name in step.method.split("."):
        method = getattr(method, snake(name))
    args = [argument(value, NOT_GIVEN) for value in step.args]
    named = {name: argument(value, NOT_GIVEN) for name, value in step.kwargs.items()}
    if not callable(method):
        return (lambda: method), [], {}
    # Upstream takes options as a last object where Python has keywords.
    if snake(step.method) in ("fork", "run", "list", "goldens") and args and isinstance(args[-1], dict):
        named = {**args.pop(), **named}
    takes_options = snake(step.method) in ("fork", "run")
    while args and (args[-1] is NOT_GIVEN or (takes_options and args[-1] is None)):
        args.pop()
    return method, args, _keywords(method, args, named)


def _keywords(method: Any, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
    parameters = list(inspect.signature(method).parameters)
    free = set(parameters[len(args) :])
    keywords: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in named.items():
        if snake(name) in free and name not in _OURS:
            keywords[snake(name)] = value
        else:
            extra[name] = value
    if keywords.get("idempotency_key") is NOT_GIVEN:
        del keywords["idempotency_key"]
    if extra:
        keywords["extra"] = extra
    return keywords


def check_error(case: Case, error: BaseException, expected: dict[str, Any]) -> None:
    """Compare what was raised with what was recorded."""
    message = expected["message"]
    if expected["type"] == "ArkerError":
        assert isinstance(error, ArkerError)
        assert error.code == expected["code"]
        assert error.status == expected["status"]
        if not _is_python_text(case, expected.get("detail")):
            assert error.detail == expected.get("detail", error.detail)
            assert str(error) == message
        return
    if isinstance(error, ConfigurationError):
        assert expected["type"] in ("Error", "ValueError")
        assert isinstance(error, ValueError)
        for name in ("burstBaseUrl", "baseUrl", "apiKey"):
            message = message.replace(name, snake(name))
        # The clients of 0.2.0 did not say what else there is to do.
        assert str(error) == message or (case.tag == "legacy" and str(error).startswith(message))
        return
    # Upstream lets the platform's own exception through in places; ours has a place in the tree, and the same words
    # without what the platform puts around them.
    assert isinstance(error, SkerryError)
    assert message in str(error) or str(error) in message


def _is_python_text(case: Case, detail: str | None) -> bool:
    # The Python client of 0.2.0 shows an answer in no known form as Python shows data; ours shows the answer.
    if case.tag != "legacy" or not case.stubs or detail is None:
        return False
    body = stub_body(case.stubs[-1]["body"]) if "body" in case.stubs[-1] else b""
    try:
        payload = json.loads(body) if body else {}
    except ValueError:
        payload = None
    return detail == str(payload)[:200]


def check_result(result: Any, expected: Any) -> None:
    """Compare what was returned with what was recorded."""
    if isinstance(expected, dict) and "$client" in expected:
        _check_client(result, expected["$client"])
    elif isinstance(expected, dict) and "$computer" in expected:
        assert isinstance(result, (Computer, AsyncComputer)) or hasattr(result, "fork")
        assert {"id": result.id, "baseUrl": result.base_url} == expected["$computer"]
    elif expected is None or is_undefined(expected):
        assert result is None or (isinstance(result, Model) and result.raw is None)
    elif isinstance(result, bytes):
        check_bytes(result, expected)
    elif isinstance(result, _TRANSLATED):
        assert {snake(name) for name in expected} == set(result.__struct_fields__)
        _check_value(result, expected, result.raw)
    else:
        raw = result.raw if isinstance(result, Model) else None
        if isinstance(result, Model):
            check_json(raw, expected)
        _check_value(result, expected, raw)


def _check_client(client: Any, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if name == "retry":
            assert client.retry == RetryOptions(**_retry(value))
        else:
            assert getattr(client, snake(name)) == (None if is_undefined(value) else value)


def _check_value(actual: Any, expected: Any, raw: Any) -> None:
    """Check the typed view of each known field, and the data as received for everything else."""
    if isinstance(actual, Model):
        fields = {snake(name): name for name in actual.__struct_fields__}
        assert isinstance(expected, dict) or raw == expected
        for name, item in expected.items() if isinstance(expected, dict) else ():
            inner = raw.get(snake(name)) if isinstance(raw, dict) else None
            if snake(name) in fields:
                _check_value(getattr(actual, snake(name)), item, inner)
            else:
                check_json(inner, item)
    elif isinstance(actual, (list, tuple)):
        assert isinstance(expected, list)
        assert len(actual) == len(expected)
        for position, (one, other) in enumerate(zip(actual, expected, strict=True)):
            _check_value(one, other, raw[position] if isinstance(raw, list) else None)
    elif isinstance(actual, bytes):
        check_bytes(actual, expected)
    elif isinstance(actual, dict):
        assert isinstance(expected, dict)
        assert sorted(actual) == sorted(expected)
        for name, value in actual.items():
            _check_value(value, expected[name], raw.get(name) if isinstance(raw, dict) else None)
    else:
        check_json(actual, expected)
