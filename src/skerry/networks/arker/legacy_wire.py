"""The 0.2.0 generation of the wire (section 3.8): what differs from 0.3.0, as pure functions and values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from skerry._kernel.dialect import Call, Dialect, Operation
from skerry._kernel.model import Model, decode, encode, parse_json, remember
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import Failure, RetryPolicy, Safety, doubling
from skerry.errors import ConnectionFailedError, SkerryError
from skerry.networks.arker.codes import (
    RETRIED_STATUSES,
    entry_fields,
    hints_at_trouble,
    make_error,
    protocol_error,
    unparsed_error,
)
from skerry.networks.arker.config import Config, RetryOptions
from skerry.networks.arker.dialect import bearer_dialect
from skerry.networks.arker.encoding import decode_text, listed
from skerry.networks.arker.errors import ArkerError
from skerry.networks.arker.operations import DELETE_VM, FORK, JSON, RUN, url_of

DEFAULT_BASE_URL = "https://aws-burst-us-west-2.arker.ai"
DIRECTORY_URL = "https://arker.ai"
"""Where VMs are listed and named sources are forked, whatever the base URL."""

DEFAULT_LIMIT = 25
SOURCE_ALIASES: Mapping[str, tuple[str, ...]] = {"arkuntu": ("01KQH2ADR3DCAJF06N4R453WPJ_uswe",)}
"""Public copies behind a name, of which each fork takes one by chance; the first member of upstream's pool."""

_BY_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}(?:_[A-Z0-9]+)?", re.IGNORECASE | re.ASCII)


class LegacyVmSummary(Model, frozen=True, kw_only=True):
    """A VM in a list."""

    vm_id: str
    base_image: str
    region: str
    created_at: str
    name: str | None = None


class LegacyVmList(Model, frozen=True, kw_only=True):
    """One page of VMs; `total` counts all that match."""

    items: list[LegacyVmSummary] = msgspec.field(default_factory=list)
    total: int = 0

    def __iter__(self) -> Iterator[LegacyVmSummary]:
        return iter(listed(self.items))

    def __len__(self) -> int:
        return len(listed(self.items))


class LegacyRunResult(Model, frozen=True, kw_only=True):
    """A finished command."""

    stdout: bytes
    stderr: bytes
    exit_code: int
    duration_ms: float
    session_id: str
    cwd: str


LIST = Operation("legacy.list", "GET", "/v1/vms/list", "idempotent", LegacyVmList, summary="List VMs, 0.2.0")
FORK_NAMED = Operation("legacy.fork", "POST", "/v1/vms/fork", "unsafe", str, dict, summary="Fork by name, 0.2.0")


def is_vm_id(reference: str) -> bool:
    """Whether a reference is an id; anything else is a name."""
    return _BY_ID.fullmatch(reference) is not None


def list_vms(limit: int, offset: int, q: str | None, sort: str | None, directory: str) -> Call[LegacyVmList]:
    """One page of the caller's VMs; what equals the service's default is not sent."""
    parameters = {
        "limit": None if limit == DEFAULT_LIMIT else limit,
        "offset": offset or None,
        "q": q,
        "sort": sort,
    }
    url = url_of(LIST, f"{directory}/api", parameters)
    return Call(LIST, url, lambda response: decode(response.body, LegacyVmList))


def fork(base: str, directory: str, source: str, fields: Mapping[str, Any]) -> Call[str]:
    """Fork by id at the base URL, or by name at the directory."""
    if is_vm_id(source):
        return Call(FORK, url_of(FORK, f"{base}/api", vm_id=source), _new_id, JSON, encode(fields))
    body = encode({**fields, "from": source})
    return Call(FORK_NAMED, url_of(FORK_NAMED, f"{directory}/api"), _new_id, JSON, body)


def _new_id(response: Response) -> str:
    payload = parse_json(response.body)
    vm_id = payload.get("vm_id") if isinstance(payload, dict) else None
    if not isinstance(vm_id, str) or not vm_id:
        raise protocol_error("fork response missing vm_id")
    return vm_id


def run(base: str, vm_id: str, fields: Mapping[str, Any]) -> Call[LegacyRunResult]:
    """Run a command."""
    return Call(RUN, url_of(RUN, f"{base}/api", vm_id=vm_id), _run_result, JSON, encode(fields))


def _run_result(response: Response) -> LegacyRunResult:
    payload = parse_json(response.body)
    data = payload if isinstance(payload, dict) else {}
    took = data.get("duration_ms")
    result = LegacyRunResult(
        stdout=decode_text(data.get("stdout"), data.get("stdout_encoding")),
        stderr=decode_text(data.get("stderr"), data.get("stderr_encoding")),
        exit_code=data.get("exit_code") or 0,
        duration_ms=float(took) if isinstance(took, (int, float)) else 0.0,
        session_id="" if data.get("session_id") is None else str(data["session_id"]),
        cwd=data.get("cwd") or "",
    )
    return remember(result, response.body)


def delete(base: str, vm_id: str) -> Call[None]:
    """Delete a VM; the answer says nothing."""
    return Call(DELETE_VM, url_of(DELETE_VM, f"{base}/api", vm_id=vm_id), lambda _: None)


def legacy_error(response: Response) -> ArkerError | None:
    """The error an answer stands for; only the nested form with `ok` false is understood."""
    payload = parse_json(response.body)
    if isinstance(payload, dict) and payload.get("ok") is False and isinstance(payload.get("error"), dict):
        return make_error(*entry_fields(payload["error"]), response.status, response.body)
    return None if response.ok else unparsed_error(response)


def legacy_failure(failure: TransportFailure) -> SkerryError:
    """A transport failure is no Arker error in this generation."""
    return ConnectionFailedError(
        failure.message, network="arker", status=0, outcome="not_sent" if failure.kind == "never_sent" else "unknown"
    )


def _retry_when(failure: Failure, safety: Safety) -> bool:
    error = failure.error
    if failure.kind != "answer" or not isinstance(error, ArkerError):
        return False
    return failure.status in RETRIED_STATUSES or (error.stated and hints_at_trouble(error.code, error.detail))


def legacy_dialect(config: Config, timeout: float | None) -> Dialect:
    """Arker 0.2.0 for one set of settings: JSON is announced on every call, transport failures are not repeated."""
    options: RetryOptions = config.retry
    policy = RetryPolicy(
        attempts=options.attempts,
        backoff=doubling(options.base_delay_s, options.max_delay_s, options.jitter_s),
        when=_retry_when,
        obey_retry_after=False,
    )
    return replace(
        bearer_dialect(config, timeout), error=legacy_error, failure=legacy_failure, retry=policy, headers=JSON
    )
