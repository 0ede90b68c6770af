"""Whether an answer has the shape that the OpenAPI document says."""

from __future__ import annotations

import re
from typing import Any

from skerry.island.faces.octaspace.schemas import SCHEMAS

ANSWERS = {
    ("GET", "/accounts"): "Account",
    ("GET", "/accounts/balance"): "Balance",
    ("POST", "/accounts"): "Wallet",
    ("GET", "/network"): "NetworkStats",
    ("GET", "/apps"): ["App"],
    ("GET", "/nodes"): ["Node"],
    ("GET", "/nodes/*"): "NodeDetail",
    ("GET", "/services/mr"): ["MrMachine"],
    ("POST", "/services/mr"): "StartedMr",
    ("GET", "/services/render"): ["RenderMachine"],
    ("POST", "/services/render"): "Started",
    ("GET", "/services/vpn"): ["VpnNode"],
    ("POST", "/services/vpn"): "Started",
    ("GET", "/services/*/info"): "ServiceInfo",
    ("GET", "/services/*/logs"): "SessionLogs",
    ("GET", "/sessions"): ["ServiceInfo"],
}
"""Written down once more, by hand, so that the table of routes is measured too."""

_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def check(method: str, target: str, value: Any) -> None:
    """Compare an answer with what is known of its call; calls that are not known pass."""
    path = re.sub(r"^/v1(?=/)", "", target.partition("?")[0])
    for (verb, pattern), name in ANSWERS.items():
        if verb == method and re.fullmatch(pattern.replace("*", "[^/]+"), path):
            if path in ("/services/mr", "/services/render", "/services/vpn") and "*" in pattern:
                continue
            names = name if isinstance(name, list) else [name]
            shape: dict[str, Any] = {"$ref": f"#/components/schemas/{names[0]}"}
            matches(value, {"type": "array", "items": shape} if isinstance(name, list) else shape, path)


def matches(value: Any, schema: dict[str, Any], where: str) -> None:
    """Assert that a value has a shape."""
    if "$ref" in schema:
        matches(value, SCHEMAS[schema["$ref"].rpartition("/")[2]], where)
        return
    if "oneOf" in schema:
        for choice in schema["oneOf"]:
            try:
                matches(value, choice, where)
            except AssertionError:
                continue
            return
        raise AssertionError(f"{where}: {value!r} has none of the shapes")
    kinds = schema.get("type")
    if kinds is not None:
        allowed = kinds if isinstance(kinds, list) else [kinds]
        fits = any(
            isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in allowed
        )
        assert fits, f"{where}: {value!r} is not {kinds}"
    if "enum" in schema:
        assert value in schema["enum"], f"{where}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema:
        assert re.search(schema["pattern"], value), f"{where}: {value!r}"
    if "minimum" in schema and isinstance(value, int):
        assert value >= schema["minimum"], f"{where}: {value!r}"
    if isinstance(value, list):
        for position, item in enumerate(value):
            matches(item, schema.get("items", {}), f"{where}[{position}]")
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            assert name in value, f"{where}: no {name}"
        known = schema.get("properties", {})
        for name, item in value.items():
            if name in known:
                matches(item, known[name], f"{where}.{name}")
            elif isinstance(schema.get("additionalProperties"), dict):
                matches(item, schema["additionalProperties"], f"{where}.{name}")
            elif known and "oneOf" not in schema:
                assert name in _UNSAID.get(where.rpartition("/")[2], _UNSAID["*"]), f"{where}: {name} is not documented"


_UNSAID = {"*": {"gpu", "ip"}}
