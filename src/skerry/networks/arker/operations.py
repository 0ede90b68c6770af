"""Every documented call of Arker: the table, and for each call a pure function that builds it.

A builder takes the base URL to use and the call's own arguments, and gives a `Call` that any driver can carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from skerry._kernel.dialect import Call, Operation
from skerry._kernel.model import NOT_GIVEN, Model, NotGiven, decode, encode, parse_json, remember, shape, view
from skerry._kernel.request import Headers, Response
from skerry._kernel.urls import query, segment
from skerry.errors import InvalidRequestError
from skerry.networks.arker import models
from skerry.networks.arker.codes import protocol_error
from skerry.networks.arker.results import RunResult, parse_run

M = TypeVar("M", bound=Model)

JSON: Headers = (("content-type", "application/json"),)
TIME_LIMIT_MARGIN = 30.0
"""Seconds that an answer may come after the command's own time limit."""

GOLDENS = Operation(
    "goldens.list", "GET", "/v1/goldens", "idempotent", models.ListGoldensResponse, summary="List public images"
)
LIST_VMS = Operation(
    "vms.list", "GET", "/v1/vms", "idempotent", models.ListVmsResponse, summary="List the caller's VMs"
)
GET_VM = Operation("vms.get", "GET", "/v1/vms/{vm_id}", "idempotent", models.VmInfo, summary="Describe a VM")
DELETE_VM = Operation(
    "vms.delete", "DELETE", "/v1/vms/{vm_id}", "idempotent", models.DeleteVmResponse, summary="Delete a VM"
)
FORK = Operation(
    "vms.fork",
    "POST",
    "/v1/vms/{vm_id}/fork",
    "unsafe",
    models.ForkVmResponse,
    models.ForkRequest,
    summary="Fork a golden or a VM",
)
RUN = Operation(
    "vms.run",
    "POST",
    "/v1/vms/{vm_id}/run",
    "unsafe",
    models.RunResponse,
    models.RunRequest,
    keyed=True,
    summary="Run a command",
)
RUN_STATUS = Operation(
    "runs.get",
    "GET",
    "/v1/vms/{vm_id}/runs/{run_id}",
    "idempotent",
    models.RunStatusResponse,
    summary="State and output of a background run",
)
CANCEL_RUN = Operation(
    "runs.cancel",
    "DELETE",
    "/v1/vms/{vm_id}/runs/{run_id}",
    "idempotent",
    models.CancelRunResponse,
    summary="Stop a background run",
)
READ_FILE = Operation(
    "sync.read",
    "POST",
    "/v1/vms/{vm_id}/sync",
    "idempotent",
    models.SyncReadResponse,
    models.SyncReadRequest,
    summary="Read a file",
)
WRITE_FILE = Operation(
    "sync.write",
    "POST",
    "/v1/vms/{vm_id}/sync",
    "idempotent",
    models.SyncWriteResponse,
    models.SyncWriteRequest,
    summary="Write a file",
)
LIST_SESSIONS = Operation(
    "sessions.list",
    "GET",
    "/v1/vms/{vm_id}/sessions",
    "idempotent",
    models.ListSessionsResponse,
    summary="List a VM's shells",
)
CREATE_SESSION = Operation(
    "sessions.create",
    "POST",
    "/v1/vms/{vm_id}/sessions",
    "unsafe",
    models.SessionInfo,
    models.CreateSessionRequest,
    summary="Open a shell",
)
DELETE_SESSION = Operation(
    "sessions.delete",
    "DELETE",
    "/v1/vms/{vm_id}/sessions/{session_id}",
    "idempotent",
    models.DeleteSessionResponse,
    summary="Close a shell",
)
RESIZE_SESSION = Operation(
    "sessions.resize",
    "POST",
    "/v1/vms/{vm_id}/sessions/{session_id}/resize",
    "idempotent",
    models.ResizePtyResponse,
    models.ResizePtyRequest,
    summary="Resize a terminal",
)
RESIZE_VM = Operation(
    "vms.resize",
    "POST",
    "/v1/vms/{vm_id}/resize",
    "idempotent",
    models.ResizeResponse,
    models.ResizeRequest,
    summary="Resize a VM",
)
# Beyond 0.3.0, adopted early (sections 3.7 and 6).
LIST_RUNS = Operation(
    "runs.list", "GET", "/v1/vms/{vm_id}/runs", "idempotent", models.ListRunsResponse, summary="List a VM's runs"
)
PTY_TICKET = Operation(
    "sessions.ticket",
    "POST",
    "/v1/vms/{vm_id}/sessions/{session_id}/pty-ticket",
    "unsafe",
    models.PtyTicket,
    summary="One-time right to attach to a terminal",
)
HEALTH = Operation(
    "health",
    "GET",
    "/v1/health",
    "idempotent",
    models.HealthResponse,
    auth=False,
    summary="Whether the service is well",
)

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        GOLDENS,
        LIST_VMS,
        GET_VM,
        DELETE_VM,
        FORK,
        RUN,
        RUN_STATUS,
        CANCEL_RUN,
        READ_FILE,
        WRITE_FILE,
        LIST_SESSIONS,
        CREATE_SESSION,
        DELETE_SESSION,
        RESIZE_SESSION,
        RESIZE_VM,
        LIST_RUNS,
        PTY_TICKET,
        HEALTH,
    )
}
"""All calls of the API by name."""

METHODS = {
    "goldens.list": "goldens",
    "vms.list": "list",
    "vms.get": "get",
    "vms.delete": "vm.delete",
    "vms.fork": "vm.fork",
    "vms.run": "vm.run",
    "vms.resize": "vm.resize",
    "runs.get": "vm.run_status",
    "runs.cancel": "vm.cancel_run",
    "runs.list": "vm.list_runs",
    "sync.read": "vm.sync.read_file",
    "sync.write": "vm.sync.write_file",
    "sessions.list": "vm.sessions.list",
    "sessions.create": "vm.sessions.create",
    "sessions.delete": "vm.sessions.delete",
    "sessions.resize": "vm.sessions.resize",
    "sessions.ticket": "vm.sessions.ticket",
    "health": "health",
}
"""The client's method for each call, by the attributes that lead to it; `vm` takes the first id of the path."""


def _segment(value: str, name: str) -> str:
    if value == "":
        # The path that is left would name all of them.
        raise InvalidRequestError(f"{name} must not be empty", network="arker")
    return segment(value)


def url_of(operation: Operation, base: str, parameters: Mapping[str, Any] | None = None, **names: str) -> str:
    """The encoded URL of a call: base URL, path with each name escaped, and the query of what was given."""
    path = operation.path.format(**{name: _segment(value, name) for name, value in names.items()})
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    return f"{base}{path}{query(given)}"


def reader(model: type[M]) -> Callable[[Response], M]:
    """A parser for answers of one type."""
    return lambda response: decode(response.body, model)


def goldens(base: str) -> Call[models.ListGoldensResponse]:
    """All goldens of the endpoint."""
    return Call(GOLDENS, url_of(GOLDENS, base), reader(models.ListGoldensResponse))


def list_vms(base: str, **filters: Any) -> Call[models.ListVmsResponse]:
    """The caller's VMs; filters that are None are not sent."""
    return Call(LIST_VMS, url_of(LIST_VMS, base, filters), reader(models.ListVmsResponse))


def get_vm(base: str, vm_id: str) -> Call[models.VmInfo]:
    """One VM."""
    return Call(GET_VM, url_of(GET_VM, base, vm_id=vm_id), reader(models.VmInfo))


def delete_vm(base: str, vm_id: str) -> Call[models.DeleteVmResponse]:
    """Delete a VM."""
    return Call(DELETE_VM, url_of(DELETE_VM, base, vm_id=vm_id), reader(models.DeleteVmResponse))


def fork(base: str, source: str, fields: Mapping[str, Any]) -> Call[models.ForkVmResponse]:
    """Fork a golden or a VM; fields that are `NOT_GIVEN` are left out, None is sent as null."""
    return Call(FORK, url_of(FORK, base, vm_id=source), parse_fork, JSON, encode(fields))


def parse_fork(response: Response) -> models.ForkVmResponse:
    """Read the answer to a fork, in which older servers call the id `id` (section 3.3).

    Raises:
        ArkerProtocolError: there is no id.
    """
    payload = parse_json(response.body)
    data = payload if isinstance(payload, dict) else {}
    vm_id = data.get("vm_id")
    vm_id = data.get("id") if vm_id is None else vm_id
    if not isinstance(vm_id, str) or not vm_id:
        raise protocol_error("fork response.vm_id must be a non-empty string")
    answer = shape({**data, "vm_id": vm_id}, models.ForkVmResponse)
    return remember(answer, response.body)


def run(
    base: str,
    vm_id: str,
    command: str,
    fields: Mapping[str, Any],
    *,
    idempotency_key: str | None = None,
    api_timeout: float | None = None,
) -> Call[RunResult]:
    """Run a command.

    Args:
        base: base URL.
        vm_id: where to run it.
        command: as the shell gets it; no field can replace it.
        fields: further fields of the body; those that are `NOT_GIVEN` are left out, None is sent as null.
        idempotency_key: sent as a header when not empty.
        api_timeout: seconds an ordinary request may take; a run with a time limit of its own may take longer.
    """
    key: Headers = (("idempotency-key", idempotency_key),) if idempotency_key else ()
    return Call(
        RUN,
        url_of(RUN, base, vm_id=vm_id),
        parse_run,
        (*key, *JSON),
        encode({**fields, "command": command}),
        timeout=_time_limit(fields, api_timeout),
        keyed=bool(idempotency_key),
    )


def _time_limit(fields: Mapping[str, Any], api_timeout: float | None) -> float | NotGiven | None:
    own = fields.get("timeout")
    if fields.get("background") is True or isinstance(own, bool) or not isinstance(own, (int, float)) or own <= 0:
        return NOT_GIVEN
    return None if api_timeout is None else max(api_timeout, own / 1000 + TIME_LIMIT_MARGIN)


def run_status(base: str, vm_id: str, run_id: str) -> Call[models.RunStatusResponse]:
    """State and output of a background run."""
    url = url_of(RUN_STATUS, base, vm_id=vm_id, run_id=run_id)
    return Call(RUN_STATUS, url, reader(models.RunStatusResponse))


def cancel_run(base: str, vm_id: str, run_id: str) -> Call[models.CancelRunResponse]:
    """Stop a background run."""
    url = url_of(CANCEL_RUN, base, vm_id=vm_id, run_id=run_id)
    return Call(CANCEL_RUN, url, reader(models.CancelRunResponse))


def list_runs(base: str, vm_id: str, **filters: Any) -> Call[models.ListRunsResponse]:
    """A VM's runs; filters that are None are not sent."""
    return Call(LIST_RUNS, url_of(LIST_RUNS, base, filters, vm_id=vm_id), reader(models.ListRunsResponse))


def list_sessions(base: str, vm_id: str) -> Call[models.ListSessionsResponse]:
    """A VM's shells; the answer is a bare array."""
    return Call(LIST_SESSIONS, url_of(LIST_SESSIONS, base, vm_id=vm_id), _parse_sessions)


def _parse_sessions(response: Response) -> models.ListSessionsResponse:
    payload = parse_json(response.body)
    if not isinstance(payload, list):
        raise protocol_error("sessions response must be an array")
    return [view(session, models.SessionInfo) for session in payload]


def create_session(base: str, vm_id: str, fields: Mapping[str, Any]) -> Call[models.SessionInfo]:
    """Open a shell."""
    url = url_of(CREATE_SESSION, base, vm_id=vm_id)
    return Call(CREATE_SESSION, url, reader(models.SessionInfo), JSON, encode(fields))


def delete_session(base: str, vm_id: str, session_id: str) -> Call[models.DeleteSessionResponse]:
    """Close a shell."""
    url = url_of(DELETE_SESSION, base, vm_id=vm_id, session_id=session_id)
    return Call(DELETE_SESSION, url, reader(models.DeleteSessionResponse))


def resize_session(base: str, vm_id: str, session_id: str, cols: int, rows: int) -> Call[models.ResizePtyResponse]:
    """Tell a terminal its size in characters."""
    url = url_of(RESIZE_SESSION, base, vm_id=vm_id, session_id=session_id)
    body = encode(models.ResizePtyRequest(cols=cols, rows=rows))
    return Call(RESIZE_SESSION, url, reader(models.ResizePtyResponse), JSON, body)


def resize_vm(base: str, vm_id: str, fields: Mapping[str, Any]) -> Call[models.ResizeResponse]:
    """Change a VM's size."""
    return Call(RESIZE_VM, url_of(RESIZE_VM, base, vm_id=vm_id), reader(models.ResizeResponse), JSON, encode(fields))


def pty_ticket(base: str, vm_id: str, session_id: str) -> Call[models.PtyTicket]:
    """A one-time right to attach to a terminal."""
    url = url_of(PTY_TICKET, base, vm_id=vm_id, session_id=session_id)
    return Call(PTY_TICKET, url, reader(models.PtyTicket), JSON, encode({}))


def health(base: str) -> Call[models.HealthResponse]:
    """Whether the service is well; needs no key."""
    return Call(HEALTH, url_of(HEALTH, base), reader(models.HealthResponse))


def terminal_url(
    base: str,
    vm_id: str,
    session_id: str,
    *,
    ticket: str | None = None,
    cols: int | None = None,
    rows: int | None = None,
    command: str | None = None,
    persist: bool | None = None,
) -> str:
    """The WebSocket URL of a terminal (section 6): binary frames are its bytes, text frames JSON messages.

    Raises:
        InvalidRequestError: the base URL is neither http nor https.
    """
    for plain, socket in (("https://", "wss://"), ("http://", "ws://")):
        if base.startswith(plain):
            parameters = {"ticket": ticket, "cols": cols, "rows": rows, "command": command, "persist": persist}
            given = query({name: value for name, value in parameters.items() if value is not None})
            path = f"/v1/vms/{_segment(vm_id, 'vm_id')}/sessions/{_segment(session_id, 'session_id')}/pty"
            return f"{socket}{base.removeprefix(plain)}{path}{given}"
    raise InvalidRequestError(f"a terminal needs an http or https base URL, not {base!r}")
