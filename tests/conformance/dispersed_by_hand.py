"""A stranger's program: talks to Dispersed with nothing but Python's standard library and section 2 of the protocol.

It shares no code with the client. Run as `python dispersed_by_hand.py <private ssh key file>`, with
DISPERSED_PUBLIC_KEY, DISPERSED_SECRET_KEY and DISPERSED_API_BASE_URL set; prints one JSON object of what it saw.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

PUBLIC = os.environ["DISPERSED_PUBLIC_KEY"]
SECRET = os.environ["DISPERSED_SECRET_KEY"]
BASE = urllib.parse.urlsplit(os.environ["DISPERSED_API_BASE_URL"])
PATIENCE = 60.0


def call(method: str, path: str, query: dict[str, str] | None = None, body: object = None) -> tuple[int, Any]:
    """One signed request; the parsed answer with its status."""
    pairs = sorted((query or {}).items())
    text = "&".join(f"{urllib.parse.quote(k, safe='')}={urllib.parse.quote(v, safe='')}" for k, v in pairs)
    data = None
    if body is not None:
        data = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    moment, nonce = str(time.time_ns() // 1_000_000), secrets.token_hex(16)
    digest = hashlib.sha256(data or b"").hexdigest()
    message = "|".join([PUBLIC, moment, nonce, method, path, text, digest])
    headers = {
        "Accept": "application/json",
        "X-API-Key": PUBLIC,
        "X-Time": moment,
        "X-Nonce": nonce,
        "X-Signature": hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).hexdigest(),
    }
    if data is not None:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(BASE.hostname or "", BASE.port, timeout=PATIENCE)
    try:
        connection.request(method, BASE.path + path + (f"?{text}" if text else ""), body=data, headers=headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def get(path: str, query: dict[str, str] | None = None) -> Any:
    """The answer to a read that must succeed."""
    status, answer = call("GET", path, query)
    if status != 200:
        raise SystemExit(f"GET {path}: {status} {answer}")
    return answer


def until(question: Any, what: str) -> Any:
    """The first answer that is not None, asked again for a minute."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = question()
        if answer is not None:
            return answer
        time.sleep(0.05)
    raise SystemExit(f"{what} did not happen within {PATIENCE:g} s")


def run_of(job_uuid: str) -> dict[str, Any] | None:
    """The job's first run, whole, once there is one."""
    page = get("/v1/job-runs", {"filter[job_uuid]": job_uuid})
    return get(f"/v1/job-runs/{page['data'][0]['uuid']}") if page["data"] else None


def over(job_uuid: str) -> dict[str, Any] | None:
    """The job, once it has ended."""
    job: dict[str, Any] = get(f"/v1/jobs/{job_uuid}")
    return job if job["status"] in ("COMPLETED", "FAILED", "CANCELLED") else None


def reachable(job_uuid: str) -> dict[str, Any] | None:
    """The job's run, once it runs and says where."""
    run = run_of(job_uuid)
    return run if run is not None and run["status"] == "RUNNING" and run["node_urls"] else None


def container(command: str, **more: object) -> dict[str, Any]:
    """Parameters of a job that runs a command with the island's own tools."""
    return {
        "type": "docker",
        "parameters": {"image": "host", "tag": "latest", "env": {"SKERRY_COMMAND": command}, **more},
    }


def batch() -> dict[str, Any]:
    """A batch job from its creation to its cost."""
    status, job = call(
        "POST",
        "/v1/jobs",
        body={
            "task": "BATCH",
            "title": "by hand: größer als 6 × 7 🪨",
            "max_timeout_run_ms": 60_000,
            "parameters": container("echo out; echo err >&2; echo token=${CONTAINER_ACCESS_TOKEN:+given}; sleep 0.3"),
        },
    )
    if status != 201:
        raise SystemExit(f"create: {status} {job}")
    ended = until(lambda: over(job["uuid"]), "the end of the batch job")
    run = run_of(job["uuid"])
    assert run is not None
    cost = get(f"/v1/job-runs/{run['uuid']}/cost-summary")
    listed = get("/v1/jobs", {"filter[status]": "COMPLETED,FAILED", "filter[uuid]": job["uuid"], "limit": "5"})
    entries = get("/v1/compute/ledger/transactions", {"filter[job_run_uuid]": run["uuid"]})
    holds = get("/v1/compute/ledger/authorizations", {"limit": "50"})
    return {
        "created": job["status"],
        "ended": ended["status"],
        "reason": ended["status_reason"],
        "title": ended["title"],
        "exit_code": run["exit_code"],
        "logs": run["logs"],
        "listed_logs": "logs" in get("/v1/job-runs", {"filter[job_uuid]": job["uuid"]})["data"][0],
        "duration_ms": run["duration_ms"],
        "hourly_rate_usd": run["hourly_rate_usd"],
        "cost": cost,
        "total": listed["total"],
        "transactions": [(entry["type"], entry["amount_usd"]) for entry in entries["data"]],
        "authorizations": [
            (hold["status"], hold["approved"]) for hold in holds["data"] if hold["job_run_uuid"] == run["uuid"]
        ],
    }


def ssh(place: dict[str, Any], key_file: str, command: str) -> str:
    """What a command prints through OpenSSH's own client."""
    known = Path(key_file).with_name("known_hosts")
    options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"]
    options += ["-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes", "-i", key_file]
    where = ["-p", str(place["port"]), f"duser@{place['hostname']}"]
    done = subprocess.run(["ssh", *options, *where, command], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise SystemExit(f"ssh: {done.returncode} {done.stderr}")
    return done.stdout


def persistent(key_file: str) -> dict[str, Any]:
    """A job that serves HTTP and SSH until it is cancelled."""
    public_key = Path(key_file + ".pub").read_text().strip()
    command = "mkdir -p www && cd www && echo served > index.html && exec python3 -m http.server 8000"
    parameters = container(command, sshkey=public_key, ports=[22, 8000], allowed_ips=["127.0.0.0/8"])
    status, job = call(
        "POST",
        "/v1/jobs",
        body={"task": "PERSISTENT", "title": "by hand", "max_timeout_run_ms": None, "parameters": parameters},
    )
    if status != 201:
        raise SystemExit(f"create: {status} {job}")
    run = until(lambda: reachable(job["uuid"]), "an address of the persistent job")
    places = {place["description"]: place for place in run["node_urls"]}
    web = places["8000"]

    def page() -> str | None:
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{web['hostname']}:{web['port']}/", timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    text = until(page, "the page of the persistent job")
    inside = ssh(places["ssh"], key_file, 'cat www/index.html; [ "$SSH_PUBKEY" ] && echo key')
    status, cancelled = call("PUT", f"/v1/jobs/{job['uuid']}/cancel", body={"reason": "seen enough"})
    if status != 200:
        raise SystemExit(f"cancel: {status} {cancelled}")
    ended = until(lambda: over(job["uuid"]), "the end of the persistent job")
    gone = until(lambda: True if page() is None else None, "the end of its port")
    last = run_of(job["uuid"])
    assert last is not None
    return {
        "page": text,
        "ssh": inside,
        "cancelling": cancelled["status"],
        "ended": ended["status"],
        "reason": ended["status_reason"],
        "run": last["status"],
        "port_gone": gone,
        "cost": get(f"/v1/job-runs/{last['uuid']}/cost-summary"),
        "again": call("PUT", f"/v1/jobs/{job['uuid']}/cancel")[0],
    }


def main() -> None:
    """Do all of it."""
    me = get("/v1/accounts/me")
    before = get(f"/v1/accounts/{me['uuid']}/balance")
    seen = {"batch": batch(), "persistent": persistent(sys.argv[1])}
    after = get(f"/v1/accounts/{me['uuid']}/balance")
    print(json.dumps({"before": before, "after": after, **seen}))


if __name__ == "__main__":
    main()
