"""Recorded cases: where they come from, and what their markers mean (protocols' last sections describe the format)."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

DATA = Path(__file__).parent / "data"
_NETWORK_BY_KIND = {"sign": "dispersed", "verify": "dispersed", "sdk": "octaspace", "compat": "octaspace"}


@dataclass(frozen=True)
class Step:
    """One link of a chain of calls: a dotted method name and what it is given, as recorded."""

    method: str
    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One recorded case.

    Attributes:
        name: unique in its file.
        tag: group.
        options: what the client is made with, as recorded.
        env: the only variables that are set.
        steps: the calls, each applied to the result of the one before.
        stubs: answers to serve, in order.
        requests: what must be sent, in order.
        content: the whole record, for outcome and extras.
    """

    name: str
    tag: str
    options: dict[str, Any]
    env: dict[str, str]
    steps: list[Step]
    stubs: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    content: dict[str, Any] = field(repr=False)


def load(path: Path) -> list[Case]:
    """All cases of a file."""
    return [_case(content) for content in json.loads(path.read_text(encoding="utf-8"))]


def find(network: str, place: str | None) -> list[Path]:
    """The files that hold cases of a network.

    Args:
        network: such as `arker`.
        place: a directory, a file, or None for the cases that came with the tests. A file whose name mentions no
            network is judged by its first case.
    """
    if place is None:
        return [DATA / f"{network}.json"]
    path = Path(place)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    return [file for file in files if network in _networks_of(file)]


def _networks_of(path: Path) -> list[str]:
    named = [name for name in ("arker", "dc1", "dispersed", "octaspace", "run402") if name in path.stem.lower()]
    return named or [_judged(path)]


def _judged(path: Path) -> str:
    cases = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(cases, list) or not cases:
        return ""
    # Only DC1's cases say which official package, or which server, they were recorded with.
    if "sdk" in cases[0] or "source" in cases[0]:
        return "dc1"
    kind = cases[0].get("kind")
    # Cases that are signed or verified, with no client in them, are Dispersed's (section 2.9 of its protocol); those
    # that name one of several official clients are OctaSpace's (section 10).
    return _NETWORK_BY_KIND.get(kind, "arker")


def _case(content: dict[str, Any]) -> Case:
    client = content.get("client") or {}
    call = content["call"]
    return Case(
        name=content["case"],
        tag=content.get("tag", ""),
        options=client.get("options") or {},
        env=client.get("env") or {},
        steps=[
            Step(step["method"], step.get("args") or [], step.get("kwargs") or {}) for step in call.get("chain", [call])
        ],
        stubs=_as_list(content.get("response_stub")),
        requests=_as_list(content.get("request")),
        content=content,
    )


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def is_undefined(value: Any) -> bool:
    """Whether a recorded value stands for "not given"."""
    return isinstance(value, dict) and value.get("$undefined") is True


def argument(value: Any, not_given: object) -> Any:
    """A recorded argument as Python data; `$undefined` becomes the given sentinel, JSON null stays None."""
    if is_undefined(value):
        return not_given
    if isinstance(value, dict):
        if "$bytes_b64" in value:
            return base64.b64decode(value["$bytes_b64"])
        if "$fill" in value:
            return bytes([value["$fill"]["byte"]]) * value["$fill"]["length"]
        return {name: argument(item, not_given) for name, item in value.items()}
    if isinstance(value, list):
        return [argument(item, not_given) for item in value]
    return value


def stub_body(body: Any) -> bytes:
    """The bytes of a recorded answer."""
    if isinstance(body, dict) and "$text" in body:
        return str(body["$text"]).encode()
    if isinstance(body, dict) and "$bytes_b64" in body:
        return base64.b64decode(body["$bytes_b64"])
    if isinstance(body, dict) and "$fill" in body:
        return bytes(argument(body, None))
    return json.dumps(body).encode()


def query_of(text: str) -> dict[str, str | list[str]]:
    """A query as it is recorded: text by name, and a list for what is named more than once."""
    found = parse_qs(text, keep_blank_values=True)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def check_bytes(actual: bytes, expected: dict[str, Any]) -> None:
    """Compare bytes with a `$bytes_b64`, `$bytes`, `$fill` or `$text` marker."""
    if "$bytes_b64" in expected:
        assert actual == base64.b64decode(expected["$bytes_b64"])
    elif "$bytes" in expected:
        assert len(actual) == expected["$bytes"]["length"]
        assert hashlib.sha256(actual).hexdigest() == expected["$bytes"]["sha256"]
    else:
        assert actual == stub_body(expected)


def check_json(actual: Any, expected: Any) -> None:
    """Compare JSON data with a recorded value that may hold markers at any depth."""
    if isinstance(expected, dict) and "$b64_of" in expected:
        assert isinstance(actual, str)
        check_bytes(base64.b64decode(actual, validate=True), {"$bytes": expected["$b64_of"]})
    elif isinstance(expected, dict):
        assert isinstance(actual, dict)
        assert sorted(actual) == sorted(name for name, item in expected.items() if not is_undefined(item))
        for name, item in actual.items():
            check_json(item, expected[name])
    elif isinstance(expected, list):
        assert isinstance(actual, list)
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            check_json(one, other)
    else:
        assert actual == expected
        assert isinstance(actual, bool) == isinstance(expected, bool)
