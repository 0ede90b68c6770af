"""OctaSpace's recorded cases (section 10 of its protocol), and how their calls are made with a client of this library.

Names and arguments are those of the TypeScript client; `invoke` says what they are here.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skerry._kernel.options import Deadline

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
    content = case.content
    one, times = content.get("request"), content.get("request_repeated") or content.get("attempts") or 1
    return content.get("requests") or ([one] * times if one else [])


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
