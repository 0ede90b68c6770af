"""The wire smoke test of Arker's protocol: raw HTTP, exact shapes, any target (protocol section 5.7).

By default the targets are both endpoints of an island made for the purpose. `ARKER_SMOKE_TARGETS` (a JSON array of
`{name?, apiKey?, baseUrl, source, runtime?}`) or `ARKER_BASE_URL` with `ARKER_SOURCE_VM`, `ARKER_RUNTIME` and
`ARKER_API_KEY` aim it elsewhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from skerry.island.island import Island

ATTEMPTS = 3
FIRST_PAUSE = 0.5
RETRY_STATUSES = {429, 502, 503, 504}
RETRY_CODES = {"routing_unavailable", "unavailable", "temporarily_unavailable"}
RETRY_HINTS = ("503", "Service Unavailable", "throttle", "SlowDown", "ThrottlingException")
FORK_REQUIRED = {"vm_id", "owner_id", "created_at", "sessions"}
FORK_OPTIONAL = {"ssh_private_key", "tunnels", "network"}
RUN_KEYS = {"stdout", "stdout_encoding", "stderr", "stderr_encoding", "exit_code", "completed"}
INLINE_KEYS = {"ok", "op", "path", "size", "content", "encoding"}
PRESIGNED_KEYS = {"ok", "op", "path", "size", "presigned_url", "expires_in", "method"}


def _wanted() -> list[dict[str, str]]:
    if text := os.environ.get("ARKER_SMOKE_TARGETS"):
        return [dict(target) for target in json.loads(text)]
    if base := os.environ.get("ARKER_BASE_URL"):
        target = {"baseUrl": base, "source": os.environ.get("ARKER_SOURCE_VM", "ubuntu")}
        if runtime := os.environ.get("ARKER_RUNTIME"):
            target["runtime"] = runtime
        return [target]
    return [
        {"name": "normal", "baseUrl": "{url}/arker", "source": "ubuntu"},
        {"name": "burst", "baseUrl": "{url}/arker/api", "source": "01KQH2ADR3DCAJF06N4R453WPJ_uswe"},
        {"name": "named runtime", "baseUrl": "{url}/arker", "source": "ubuntu", "runtime": "bash"},
    ]


TARGETS = _wanted()


@contextmanager
def _aimed(target: dict[str, str]) -> Iterator[tuple[str, str]]:
    if "{url}" not in target["baseUrl"]:
        yield target["baseUrl"].strip().rstrip("/"), target.get("apiKey") or os.environ["ARKER_API_KEY"]
        return
    with Island() as island:
        yield target["baseUrl"].format(url=island.url), island.key("arker")


def _call(base: str, key: str | None, method: str, path: str, body: Any = None) -> Any:
    """A 2xx JSON answer, with the documented retries."""
    last = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            threading.Event().wait(FIRST_PAUSE * 2 ** (attempt - 1))
        status, parsed, last = _once(base, key, method, path, body)
        code = parsed.get("code") if isinstance(parsed, dict) else None
        message = str(parsed.get("message")) if isinstance(parsed, dict) else ""
        hinted = code == "internal" and any(hint in message for hint in RETRY_HINTS)
        if status in RETRY_STATUSES or code in RETRY_CODES or hinted:
            continue
        assert 200 <= status < 300, f"{method} {path}: {status} {last[:300]}"
        assert parsed is not None, f"{method} {path}: no JSON: {last[:300]}"
        return parsed
    pytest.fail(f"{method} {path}: still failing after {ATTEMPTS} attempts: {last[:300]}")


def _once(base: str, key: str | None, method: str, path: str, body: Any) -> tuple[int, Any, str]:
    url = urlsplit(base + path)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=120)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    data = None
    if body is not None:
        data = json.dumps(body)
        headers["content-type"] = "application/json"
    try:
        connection.request(method, url.path, body=data, headers=headers)
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        try:
            return response.status, json.loads(text), text
        except ValueError:
            return response.status, None, text
    finally:
        connection.close()


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


@pytest.mark.parametrize("target", TARGETS, ids=[t.get("name") or t["source"] for t in TARGETS])
def test_fork_run_write_read(target: dict[str, str]) -> None:
    with _aimed(target) as (base, key):
        forked = _call(base, key, "POST", f"/v1/vms/{quote(target['source'], safe='')}/fork", {})
        vm_id = forked["vm_id"]
        try:
            _check_fork(forked)
            text = f"skerry smoke {secrets.token_hex(12)}\n"
            _check_run(base, key, vm_id, text, target.get("runtime"))
            path = f"/home/user/smoke-{secrets.token_hex(12)}.txt"
            _check_write(base, key, vm_id, path, text)
            _check_read(base, key, vm_id, path, text)
        finally:
            _call(base, key, "DELETE", f"/v1/vms/{vm_id}")


def _check_fork(forked: Any) -> None:
    assert set(forked) >= FORK_REQUIRED
    assert set(forked) <= FORK_REQUIRED | FORK_OPTIONAL
    assert all(_text(forked[name]) for name in ("vm_id", "owner_id", "created_at"))
    assert isinstance(forked["sessions"], list)
    for session in forked["sessions"]:
        assert set(session) == {"session_id", "state", "cwd"}
        assert all(_text(value) for value in session.values())


def _check_run(base: str, key: str, vm_id: str, text: str, runtime: str | None) -> None:
    body = {"command": f"printf '%s\\n' '{text.strip()}'"}
    if runtime is not None:
        body["runtime"] = runtime
    ran = _call(base, key, "POST", f"/v1/vms/{vm_id}/run", body)
    assert set(ran) == RUN_KEYS
    assert ran["completed"] is True
    assert ran["stdout"] == text
    assert _text(ran["stdout_encoding"])
    assert _text(ran["stderr_encoding"])
    assert isinstance(ran["stderr"], str)
    assert ran["exit_code"] == 0


def _check_write(base: str, key: str, vm_id: str, path: str, text: str) -> None:
    data = text.encode()
    chunk = {
        "path": path,
        "size": len(data),
        "upload_id": f"smoke-{secrets.token_hex(6)}",
        "content": base64.b64encode(data).decode(),
        "start": 0,
        "end": len(data),
    }
    written = _call(base, key, "POST", f"/v1/vms/{vm_id}/sync", {"op": "write", "writes": [chunk]})
    assert set(written) == {"ok", "op", "results"}
    assert (written["ok"], written["op"], len(written["results"])) == (True, "write", 1)
    result = written["results"][0]
    assert (result["path"], result["size"]) == (path, len(data))
    assert isinstance(result["received_bytes"], int)
    assert isinstance(result["ranges"], list)
    assert result["complete"] is True
    assert result["written"] is True
    assert result.get("error") is None


def _check_read(base: str, key: str, vm_id: str, path: str, text: str) -> None:
    read = _call(base, key, "POST", f"/v1/vms/{vm_id}/sync", {"op": "read", "path": path})
    if "content" in read:
        assert set(read) == INLINE_KEYS
        assert read["encoding"] in ("utf8", "utf-8", "base64")
        content = base64.b64decode(read["content"]).decode() if read["encoding"] == "base64" else read["content"]
        assert content == text
    else:
        assert set(read) == PRESIGNED_KEYS
    assert (read["ok"], read["op"], read["path"], read["size"]) == (True, "read", path, len(text.encode()))
