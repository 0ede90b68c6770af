"""The flows of the network's guide, as a user would type them: plain `requests` and the `openai` package, nothing else.

Every function is one flow with the guide's own numbers; it reads the very fields that the guide reads, and returns what
it saw. Run it as a program against any server of the protocol:

    DC1_BASE=http://127.0.0.1:4242/dc1 RENTER_KEY=dc1-renter-... python dc1_guide.py
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from typing import Any

import openai
import requests

BASE = os.environ.get("DC1_BASE", "https://api.dcp.sa")
KEY = os.environ.get("RENTER_KEY", "")
PACE = float(os.environ.get("PACE", "1"))
"""Multiplies the guide's pauses."""

HEADERS = {"x-renter-key": KEY, "Content-Type": "application/json"}
OVER = ("completed", "failed", "cancelled")
MISTRAL = "mistralai/Mistral-7B-Instruct-v0.2"
TINY = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
MATMUL = """
import json
import random
random.seed(1)
n = 60
a = [[random.random() for _ in range(n)] for _ in range(n)]
b = [[sum(x * y for x, y in zip(row, column)) for column in zip(*a)] for row in a]
print("CUDA available: False")
print("DC1_RESULT_JSON:" + json.dumps({"matmul_shape": [len(b), len(b[0])], "device": "cpu"}))
"""


def pause(seconds: float) -> None:
    time.sleep(seconds * PACE)


def providers() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = requests.get(f"{BASE}/api/renters/available-providers", timeout=30).json()[
        "providers"
    ]
    return listed


def submit(**body: Any) -> dict[str, Any]:
    answer = requests.post(f"{BASE}/api/jobs/submit", headers=HEADERS, json=body, timeout=30)
    job: dict[str, Any] = answer.json()["job"]
    return job


def follow(job_id: str, every: float) -> list[str]:
    seen: list[str] = []
    while True:
        status = requests.get(f"{BASE}/api/jobs/{job_id}", headers=HEADERS, timeout=30).json()["job"]["status"]
        if not seen or seen[-1] != status:
            seen.append(status)
        if status in OVER:
            return seen
        pause(every)


def output(job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{BASE}/api/jobs/{job_id}/output", headers=HEADERS, timeout=60).json()
    return found


def quickstart() -> dict[str, Any]:
    balance = requests.get(f"{BASE}/api/renters/balance", headers=HEADERS, timeout=30).json()["balance_sar"]
    live = [p for p in providers() if p["is_live"]]
    job = submit(
        provider_id=live[0]["id"],
        job_type="llm_inference",
        duration_minutes=5,
        params={
            "model": MISTRAL,
            "prompt": "Write a haiku about desert computing",
            "max_tokens": 64,
            "temperature": 0.8,
        },
    )
    statuses = follow(job["job_id"], 5)
    out = output(job["job_id"])
    return {
        "balance": balance,
        "using": f"{live[0]['name']} ({live[0]['gpu_model']})",
        "held": job["cost_halala"],
        "statuses": statuses,
        "response": out["result"]["response"] if statuses[-1] == "completed" else out["error"],
        "cost": out["actual_cost_halala"],
    }


def picture() -> dict[str, Any]:
    provider = next(p["id"] for p in providers() if p["is_live"] and p["vram_gb"] >= 16)
    job = submit(
        provider_id=provider,
        job_type="image_generation",
        duration_minutes=10,
        params={
            "prompt": "A futuristic mosque with neon lights, cyberpunk style",
            "model": "stabilityai/stable-diffusion-xl-base-1.0",
            "steps": 30,
            "width": 1024,
            "height": 1024,
        },
    )
    statuses = follow(job["job_id"], 8)
    out = output(job["job_id"])
    if statuses[-1] != "completed":
        return {"statuses": statuses, "error": out["error"], "refunded": out["refunded"]}
    return {"statuses": statuses, "png": len(base64.b64decode(out["result"]["image_base64"]))}


def endpoint() -> dict[str, Any]:
    provider = next(p["id"] for p in providers() if p["is_live"] and p["vram_gb"] >= 16)
    job = submit(
        provider_id=provider,
        job_type="vllm_serve",
        duration_minutes=60,
        params={"model": MISTRAL, "max_model_len": 4096, "dtype": "float16"},
    )
    url = None
    end = time.monotonic() + 60 * 5
    while time.monotonic() < end:
        out = output(job["job_id"])
        if out.get("result", {}).get("endpoint_url"):
            url = out["result"]["endpoint_url"]
            break
        pause(5)
    assert url, out
    client = openai.OpenAI(base_url=url, api_key="not-needed")
    asked: list[Any] = [{"role": "user", "content": "Tell me about Vision 2030"}]
    answer = client.chat.completions.create(model=MISTRAL, messages=asked, max_tokens=24)
    pieces = list(client.chat.completions.create(model=MISTRAL, messages=asked, max_tokens=24, stream=True))
    status = requests.get(f"{BASE}/api/jobs/{job['job_id']}", headers=HEADERS, timeout=30).json()["job"]["status"]
    done = requests.post(f"{BASE}/api/jobs/{job['job_id']}/complete", headers=HEADERS, timeout=30)
    return {
        "url": url,
        "status": status,
        "content": answer.choices[0].message.content,
        "pieces": sum(1 for piece in pieces if piece.choices and piece.choices[0].delta.content),
        "completed": done.json()["job"]["status"],
        "gone": requests.get(f"{url}/models", timeout=30).status_code,
    }


def batch() -> list[dict[str, Any]]:
    prompts = [
        "Summarize the Saudi Vision 2030 in one paragraph",
        "What is the difference between Llama 3 and Mistral 7B?",
        "Write Python code to parse JSON from a REST API",
    ]
    provider = next(p["id"] for p in providers() if p["is_live"])
    results = []
    for prompt in prompts:
        params = {"model": TINY, "prompt": prompt, "max_tokens": 256}
        job = submit(provider_id=provider, job_type="llm_inference", duration_minutes=3, params=params)
        if follow(job["job_id"], 4)[-1] == "completed":
            out = output(job["job_id"])["result"]
            results.append({"prompt": prompt, "tokens": out["tokens_generated"], "response": out["response"]})
    return results


def container() -> dict[str, Any]:
    provider = next(p["id"] for p in providers() if p["is_live"])
    job = submit(
        provider_id=provider,
        job_type="custom_container",
        duration_minutes=10,
        params={"image_override": "dc1/general-worker:latest", "script": MATMUL},
    )
    follow(job["job_id"], 5)
    return output(job["job_id"])


def poll_job(job_id: str, timeout_s: float = 600, interval_s: float = 5) -> dict[str, Any]:
    deadline = time.time() + timeout_s
    while time.time() < deadline:
        resp = requests.get(f"{BASE}/api/jobs/{job_id}", headers=HEADERS, timeout=30)
        if resp.status_code == 429:
            pause(interval_s * 2)
            continue
        job: dict[str, Any] = resp.json().get("job", {})
        if job.get("status") in OVER:
            return job
        pause(interval_s)
    raise TimeoutError(f"Job {job_id} did not complete within {timeout_s}s")


def polled() -> dict[str, Any]:
    provider = next(p["id"] for p in providers() if p["is_live"])
    params = {"image_override": "dc1/general-worker:latest", "script": "print('hello')"}
    job = submit(provider_id=provider, job_type="custom_container", duration_minutes=1, params=params)
    found = poll_job(job["job_id"])
    return {"status": found["status"], "cost": found["cost_halala"], "actual": found["actual_cost_halala"]}


FLOWS = {flow.__name__: flow for flow in (quickstart, picture, endpoint, batch, container, polled)}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(FLOWS)
    sys.stdout.write(json.dumps({name: FLOWS[name]() for name in wanted}) + "\n")
