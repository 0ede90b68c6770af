"""The official SDKs' calls, made with our clients, and our results in the shapes that the SDKs return (section 4).

Every `step` takes a client of either kind and returns what its method returns, which may have to be awaited; a `shape`
turns a settled result into the recorded form.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from skerry.errors import AuthenticationError, SkerryError
from skerry.networks.dc1 import APIError, JobTimeoutError
from skerry.times import parse_moment

RENTER_KEY = f"dc1-renter-{'0' * 32}"
PROVIDER_KEY = f"dc1-provider-{'0' * 32}"
NODE_AGENT = "dc1-renter-sdk/0.1.0"
_OWN_KEY = "the client's own"


def number(value: Any) -> Any:
    """Exact decimals as JSON numbers."""
    return None if value is None else float(value)


def told(found: Any, name: str) -> Any:
    """What the answer has under a name, which the SDKs hand on as it is; ours has to be the same thing, typed."""
    said, ours = found.raw.get(name), getattr(found, _OURS.get(name, name))
    if isinstance(ours, datetime):
        assert ours == parse_moment(said)
    elif isinstance(ours, Decimal):
        assert ours == Decimal(str(said))
    else:
        assert ours == said
    return said


_OURS = {"cost_sar": "cost_sar_told"}


def _job(job: Any) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "job_type": job.job_type or "",
        "provider_id": job.provider_id or 0,
        "duration_minutes": job.duration_minutes or 0,
        "cost_halala": job.cost.amount,
        "submitted_at": told(job, "submitted_at") or "",
        # Python's package takes an empty object, or an empty text, for none.
        "result": (job.result or None) if job.result_data else None,
        "result_type": job.result_type,
        "error": job.error,
        "execution_time_sec": job.execution_time_sec,
        "started_at": told(job, "started_at"),
        "completed_at": told(job, "completed_at"),
        "provider_name": job.provider_name,
        "@cost_sar": number(job.cost_sar),
        "@is_done": job.is_done,
    }


def _as_it_came(shape: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """The form of a Python package, which has a default for what is missing and none for what is `null`."""

    def shaped(found: Any) -> dict[str, Any]:
        empty = {name for name, value in found.raw.items() if value is None and name != "id"}
        return {name: None if name in empty else value for name, value in shape(found).items()}

    return shaped


def _node_job(job: Any) -> dict[str, Any]:
    # To the Node package, lists and empty objects are objects.
    kept = job.result_data if isinstance(job.result_data, list) else job.result
    return _camel({**_job(job), "result": kept})


def _camel(fields: dict[str, Any]) -> dict[str, Any]:
    def name(text: str) -> str:
        first, *rest = text.lstrip("@").split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {name(key): value for key, value in fields.items()}


def _provider(provider: Any) -> dict[str, Any]:
    return {
        "id": provider.id,
        "name": provider.name or "",
        "gpu_model": provider.gpu_model or "",
        "vram_mib": provider.vram_mib or 0,
        "status": provider.status or "offline",
        "reliability_score": provider.reliability_score or 0,
        "@vram_gb": provider.vram_gb,
    }


def _balance(balance: Any) -> dict[str, Any]:
    def in_riyals(said: Any, amount: Any) -> Any:
        return number(amount.decimal if said is None else said)

    return {
        "balance_halala": balance.balance.amount,
        "balance_sar": in_riyals(balance.balance_sar, balance.balance),
        "held_halala": balance.held.amount,
        "held_sar": in_riyals(balance.held_sar, balance.held),
        "available_halala": balance.available.amount,
        "total_spent_halala": balance.total_spent.amount,
        "total_spent_sar": in_riyals(balance.total_spent_sar, balance.total_spent),
        "total_jobs": balance.total_jobs,
    }


def _node_balance(balance: Any) -> dict[str, Any]:
    # The Node package works out the balance alone.
    unsaid = {name: 0 for name in ("held_sar", "total_spent_sar") if getattr(balance, name) is None}
    return _camel({**_balance(balance), **unsaid})


def _log(line: Any) -> dict[str, Any]:
    return {
        "line_no": line.line_no,
        "level": line.level,
        "message": line.message,
        "logged_at": told(line, "logged_at") or "",
    }


def _wallet(renter: Any) -> dict[str, Any]:
    return {
        "balance_halala": renter.balance.amount,
        "balance_sar": number(renter.balance_sar),
        "name": renter.name,
        "email": renter.email,
        "api_key": _OWN_KEY,
    }


def with_key(result: Any, key: str) -> Any:
    """A result with the client's key where the SDK puts it."""
    return {**result, "apiKey": key} if isinstance(result, dict) and result.get("apiKey") == _OWN_KEY else result


def _registration(made: Any) -> dict[str, Any]:
    return {"renter_id": made.renter_id, "api_key": made.api_key, "message": made.message}


def _cancellation(done: Any) -> dict[str, Any]:
    return {"success": done.success, "job_id": done.job_id}


def _payment_history(history: Any) -> dict[str, Any]:
    def text(found: Any, name: str) -> Any:
        said = told(found, name)
        return "0.00" if said is None else said

    return {
        "balance_halala": history.balance.amount,
        "balance_sar": text(history, "balance_sar"),
        "total_jobs": len(history.jobs) if history.total_jobs is None else history.total_jobs,
        "jobs": [
            _camel(
                {
                    "job_id": item.job_id or "",
                    "job_type": item.job_type or "",
                    "status": "" if item.raw.get("status") is None else item.status,
                    "submitted_at": told(item, "submitted_at") or "",
                    "completed_at": told(item, "completed_at"),
                    "cost_halala": item.charged.amount,
                    "cost_sar": text(item, "cost_sar"),
                    "provider_name": item.provider_name,
                    "provider_gpu": item.provider_gpu,
                    "refunded": bool(item.refunded),
                }
            )
            for item in history.jobs
        ],
    }


def _account(account: Any) -> dict[str, Any]:
    names = "id name email gpu_model os status api_key total_jobs total_earnings_halala today_earnings_halala"
    return {
        **{name: getattr(account, name) for name in names.split()},
        "reputation_score": account.reputation_score,
        "uptime_pct": account.uptime_pct,
        "last_heartbeat": told(account, "last_heartbeat"),
        "@is_online": account.is_online,
        "@today_earnings_sar": number(account.today_earnings.decimal),
        "@total_earnings_sar": number(account.total_earnings.decimal),
    }


def _provider_job(job: Any) -> dict[str, Any]:
    return {
        "id": job.id,
        "job_type": job.job_type,
        "status": job.status,
        "renter_id": job.renter_id,
        "duration_minutes": float(job.duration_minutes),
        "cost_halala": job.cost.amount,
        "provider_earnings_halala": job.earnings.amount,
        "payload": job.payload,
        "submitted_at": told(job, "submitted_at") or "",
        "started_at": told(job, "started_at"),
        "completed_at": told(job, "completed_at"),
        "hmac_signature": job.hmac_signature,
        "@cost_sar": number(job.cost.decimal),
        "@earnings_sar": number(job.earnings.decimal),
        "@is_terminal": job.is_terminal,
    }


def _earnings(earnings: Any) -> dict[str, Any]:
    return {
        "available_halala": earnings.available.amount,
        "total_earned_halala": earnings.total_earned.amount,
        "total_jobs": earnings.total_jobs,
        "pending_halala": earnings.pending.amount,
        "@available_sar": number(earnings.available.decimal),
        "@total_earned_sar": number(earnings.total_earned.decimal),
    }


def _raw(answer: Any) -> Any:
    return answer.raw


def _each(shape: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda found: [shape(item) for item in found]


def _node(shape: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda found: _camel(shape(found))


def _wait_node(client: Any, args: list[Any], progress: list[str]) -> Any:
    asked = args[1] if len(args) > 1 else {}
    # The new names win over those of older generations.
    every = asked.get("pollInterval", asked.get("pollIntervalMs", 3000))
    limit = asked.get("timeout", asked.get("timeoutMs", 300_000))
    told = progress.append if "onProgress" in asked else None
    return client.wait_for_job(args[0], every / 1000, limit / 1000, told)


def _wait_node_legacy(client: Any, args: list[Any]) -> Any:
    asked = args[1] if len(args) > 1 else {}
    every, limit = asked.get("pollIntervalMs", 5000), asked.get("timeoutMs", 300_000)
    return client.jobs.wait_for(args[0], every / 1000, limit / 1000)


def _submit_node(client: Any, args: list[Any]) -> Any:
    # In one object; older generations had type and parameters in front of it.
    job = args[0] if isinstance(args[0], dict) else {"jobType": args[0], "params": args[1], **args[2]}
    more = {"priority": job["priority"]} if "priority" in job else {}
    return client.submit_job(job["providerId"], job["jobType"], job["params"], job["durationMinutes"], **more)


def _filters(args: list[Any]) -> dict[str, Any]:
    asked = (args and args[0]) or {}
    return {"min_vram_gb": asked.get("minVramGb"), "gpu_model": asked.get("gpuModel")}


def _register_host(client: Any, args: list[Any], keywords: dict[str, Any]) -> Any:
    # The SDK takes by position what is keyword-only here.
    names = ("name", "email", "gpu_model", "os", "phone", "resource_spec")
    return client.provider.register(**dict(zip(names, args, strict=False)), **keywords)


Step = Callable[[Any, list[Any], dict[str, Any], list[str]], Any]

CALLS: dict[str, tuple[Step, Callable[[Any], Any]]] = {
    # The Node package.
    "DC1RenterClient.me": (lambda c, a, k, p: c.me(), _node(_wallet)),
    "DC1RenterClient.register": (lambda c, a, k, p: c.register(*a), _node(_registration)),
    "DC1RenterClient.listProviders": (lambda c, a, k, p: c.list_providers(**_filters(a)), _each(_node(_provider))),
    "DC1RenterClient.submitJob": (lambda c, a, k, p: _submit_node(c, a), _node_job),
    "DC1RenterClient.getJob": (lambda c, a, k, p: c.get_job(*a), _node_job),
    "DC1RenterClient.waitForJob": (lambda c, a, k, p: _wait_node(c, a, p), _node_job),
    "DC1RenterClient.getJobLogs": (lambda c, a, k, p: c.get_job_logs(*a), _each(_node(_log))),
    "DC1RenterClient.cancelJob": (lambda c, a, k, p: c.cancel_job(*a), _node(_cancellation)),
    "DC1RenterClient.getBalance": (lambda c, a, k, p: c.get_balance(), _node_balance),
    "DC1RenterClient.getPaymentHistory": (lambda c, a, k, p: c.get_payment_history(*a), _node(_payment_history)),
    "DC1Client.jobs.submit": (lambda c, a, k, p: _submit_node(c, a), _node_job),
    "DC1Client.jobs.get": (lambda c, a, k, p: c.jobs.get(*a), _node_job),
    "DC1Client.jobs.wait": (lambda c, a, k, p: _wait_node_legacy(c, a), _node_job),
    "DC1Client.jobs.list": (lambda c, a, k, p: c.jobs.list(*a), _each(_node_job)),
    "DC1Client.jobs.cancel": (lambda c, a, k, p: c.jobs.cancel(*a), _node(_cancellation)),
    "DC1Client.jobs.getLogs": (
        lambda c, a, k, p: c.jobs.logs(a[0], **(a[1] if len(a) > 1 else {})),
        lambda page: [_camel(_log(line)) for line in page.logs],
    ),
    "DC1Client.providers.list": (lambda c, a, k, p: c.providers.list(**_filters(a)), _each(_node(_provider))),
    "DC1Client.providers.get": (lambda c, a, k, p: c.providers.get(*a), _node(_provider)),
    "DC1Client.wallet.balance": (lambda c, a, k, p: c.get_balance(), _node_balance),
    "DC1Client.wallet.me": (lambda c, a, k, p: c.wallet.me(), _node(_wallet)),
    # The Python package for renters.
    "dc1.DC1Client.jobs.submit": (lambda c, a, k, p: c.jobs.submit(*a, **k), _as_it_came(_job)),
    "dc1.DC1Client.jobs.get": (lambda c, a, k, p: c.jobs.get(*a), _as_it_came(_job)),
    "dc1.DC1Client.jobs.wait": (lambda c, a, k, p: c.jobs.wait_for(*a, **{"poll_interval": 5, **k}), _as_it_came(_job)),
    "dc1.DC1Client.jobs.list": (lambda c, a, k, p: c.jobs.list(*a, **k), _each(_as_it_came(_job))),
    "dc1.DC1Client.jobs.cancel": (lambda c, a, k, p: c.jobs.cancel(*a), _cancellation),
    "dc1.DC1Client.jobs.get_logs": (lambda c, a, k, p: c.jobs.get_logs(*a, **k), _each(_as_it_came(_log))),
    "dc1.DC1Client.providers.list": (lambda c, a, k, p: c.providers.list(), _each(_as_it_came(_provider))),
    "dc1.DC1Client.providers.get": (lambda c, a, k, p: c.providers.get(*a), _as_it_came(_provider)),
    "dc1.DC1Client.wallet.balance": (lambda c, a, k, p: c.wallet.balance(), _balance),
    # The Python package for providers.
    "dc1_provider.DC1ProviderClient.register": (lambda c, a, k, p: _register_host(c, a, k), _raw),
    "dc1_provider.DC1ProviderClient.me": (lambda c, a, k, p: c.provider.me(), _as_it_came(_account)),
    "dc1_provider.DC1ProviderClient.heartbeat": (lambda c, a, k, p: c.provider.heartbeat(*a, **k), _raw),
    "dc1_provider.DC1ProviderClient.announce": (lambda c, a, k, p: c.provider.announce(*a, **k), _raw),
    "dc1_provider.DC1ProviderClient.get_jobs": (
        lambda c, a, k, p: c.provider.get_jobs(*a, **k),
        _each(_as_it_came(_provider_job)),
    ),
    "dc1_provider.DC1ProviderClient.get_earnings": (
        lambda c, a, k, p: c.provider.get_earnings(),
        _as_it_came(_earnings),
    ),
}
"""Each recorded method: the call of ours, and the recorded form of what it returns."""


ERRORS = ("APIError", "AuthError", "DC1APIError", "JobTimeoutError")
"""The errors of the packages by their names."""


def error_shape(error: SkerryError, sdk: str) -> dict[str, Any]:
    """Our error as an SDK's: its class by the SDK's own rule, and the attributes the SDK gives it."""
    node, provider = "Node" in sdk, "dc1_provider" in sdk
    if isinstance(error, JobTimeoutError):
        milliseconds = round(error.timeout * 1000)
        if node:
            text = f"Job {error.job_id} did not complete within {milliseconds}ms"
            return {"name": "JobTimeoutError", "message": text, "jobId": error.job_id, "timeoutMs": milliseconds}
        return {"name": "JobTimeoutError", "message": error.message, "job_id": error.job_id}
    assert isinstance(error, APIError)
    assert isinstance(error, AuthenticationError) or error.status != 401
    response = {"status_code": error.status_code, "response": error.response}
    if error.status == 401 or (provider and error.status == 403):
        return {"name": "AuthError", "message": error.message, **(response if provider else {})}
    if node:
        response = {"statusCode": error.status_code, "response": error.response}
    return {"name": "DC1APIError" if provider else "APIError", "message": error.message, **response}


def comparable(recorded: dict[str, Any], ours: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recorded error and ours, without what is told differently on purpose (sections 4.1 and 4.2)."""
    recorded, ours = dict(recorded), dict(ours)
    answer, words = recorded.get("response"), str(recorded.get("message"))
    said = answer.get("error") if isinstance(answer, dict) else None
    if recorded["name"] == "AuthError" and words.startswith(("HTTP ", "Unauthorized")):
        # For an answer that says nothing, the packages have their own words, or those of a library.
        assert ours.pop("message") == "Unauthorized: check your API key"
        recorded.pop("message")
        if isinstance(said, str) and said.startswith("HTTP Error "):
            recorded["response"] = {}
    elif words in ("", "None", "null"):
        # What the packages hand on is empty; ours says what the status is.
        assert ours.pop("message") == f"HTTP {recorded.get('status_code', recorded.get('statusCode'))}"
        recorded.pop("message")
    elif words.startswith("HTTP Error "):
        for side in (recorded, ours):
            side.pop("response", None)
        recorded["message"] = f"HTTP {recorded.get('status_code')}"
    elif words.startswith("Connection error: "):
        # What comes after that are the words of a library, one of which takes lateness for it too.
        assert ours.pop("message").startswith(("Connection error: ", "Request timed out after "))
        recorded.pop("message")
    elif "not found" in words and isinstance(answer, dict) and answer.keys() <= {"provider_id", "providerId"}:
        # No server said this: a package looked through the list by itself.
        assert f"{ours['response']['provider_id']}" in words
        for side in (recorded, ours):
            side.pop("response")
            side.pop("message")
    elif said is not None and not isinstance(said, str):
        # `[object Object]` and the like; ours says what is in it.
        recorded.pop("message"), ours.pop("message")
    if recorded["name"] == "JobTimeoutError":
        recorded = {name: value for name, value in recorded.items() if name in ours}
    return recorded, ours


def no_json(stubs: Any) -> bool:
    """Whether the last answer is a success that is no JSON: of that, ours makes an error or, of a picture, a job."""
    last = stubs[-1] if isinstance(stubs, list) else stubs
    body = last.get("body")
    odd = isinstance(body, str) or (isinstance(body, dict) and "$bytes" in str(body))
    return 200 <= last.get("status", 0) < 300 and odd
