"""Every documented call of OctaSpace: the table (section 3), and for each call a pure function that builds it.

A builder takes the base URL and the call's own arguments, and gives a `Call` that any driver can carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from skerry._kernel.dialect import Call, Operation
from skerry._kernel.model import NOT_GIVEN, encode
from skerry._kernel.request import Headers, Response
from skerry._kernel.retry import Safety
from skerry.errors import InvalidRequestError
from skerry.money import Money
from skerry.networks.octaspace import machines, models
from skerry.networks.octaspace.answers import downloaded, listing, log_text, nothing, plain, reader, rented
from skerry.networks.octaspace.downloads import Download
from skerry.networks.octaspace.values import wei

T = TypeVar("T")

Id = int | str
"""How nodes and idle jobs are named: by number, or by its text."""

JSON: Headers = (("content-type", "application/json"),)


def _get(name: str, path: str, response: Any, summary: str, *, auth: bool = True) -> Operation:
    return Operation(name, "GET", path, "idempotent", response, auth=auth, summary=summary)


def _post(name: str, path: str, response: Any, summary: str, *, request: Any = None) -> Operation:
    return Operation(name, "POST", path, "unsafe", response, request, summary=summary)


GET_ACCOUNT = _get("accounts.get", "/accounts", models.Account, "The caller's account")
GET_BALANCE = _get("accounts.balance", "/accounts/balance", models.Balance, "What the account has to spend")
GENERATE_WALLET = _post("accounts.generate_wallet", "/accounts", models.Wallet, "Make a new deposit address")
GET_NETWORK = _get("network.get", "/network", models.NetworkStats, "The network at large", auth=False)
LIST_APPS = _get("apps.list", "/apps", list[models.App], "List templates")
LIST_NODES = _get("nodes.list", "/nodes", list[machines.Node], "List the account's nodes")
GET_NODE = _get("nodes.get", "/nodes/{node_id}", machines.NodeDetail, "One node at length")
DOWNLOAD_IDENT = _get("nodes.download_ident", "/nodes/{node_id}/ident", bytes, "A node's credential file")
DOWNLOAD_LOGS = _get("nodes.download_logs", "/nodes/{node_id}/logs", bytes, "A node's logs, as an archive")
UPDATE_PRICES = Operation(
    "nodes.update_prices",
    "PATCH",
    "/nodes/{node_id}/prices",
    "unsafe",
    None,
    dict[str, int],
    summary="Change what a node costs",
)
# Its effect is harmless to repeat: a node that is about to reboot does not reboot twice (section 3.4).
REBOOT_NODE = _get("nodes.reboot", "/nodes/{node_id}/reboot", None, "Reboot a node")
LIST_MACHINES = _get("services.mr.available", "/services/mr", list[machines.MrMachine], "List machines for rent")
START_MACHINE = _post(
    "services.mr.start", "/services/mr", models.Started, "Rent a machine", request=list[dict[str, Any]]
)
LIST_RENDERERS = _get(
    "services.render.available", "/services/render", list[machines.RenderMachine], "List machines for rendering"
)
START_RENDERER = _post(
    "services.render.start", "/services/render", models.Started, "Start a render worker", request=dict[str, Any]
)
LIST_RELAYS = _get("services.vpn.available", "/services/vpn", list[machines.VpnNode], "List VPN relays")
START_RELAY = _post("services.vpn.start", "/services/vpn", models.Started, "Start a VPN", request=dict[str, Any])
GET_SESSION = _get("services.session.info", "/services/{uuid}/info", models.ServiceInfo, "One session")
GET_SESSION_LOGS = _get("services.session.logs", "/services/{uuid}/logs", models.SessionLogs, "Logs of a session")
STOP_SESSION = _post("services.session.stop", "/services/{uuid}/stop", None, "End a session", request=dict[str, int])
LIST_SESSIONS = _get("sessions.list", "/sessions", list[models.ServiceInfo], "List sessions")
GET_IDLE_JOB = _get("idle_jobs.get", "/idle_jobs/{node_id}/{job_id}", models.IdleJob, "One idle job")
GET_IDLE_JOB_LOGS = _get(
    "idle_jobs.logs", "/idle_jobs/{node_id}/{job_id}/logs", models.IdleJobLogs, "Logs of an idle job"
)
OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        GET_ACCOUNT,
        GET_BALANCE,
        GENERATE_WALLET,
        GET_NETWORK,
        LIST_APPS,
        LIST_NODES,
        GET_NODE,
        DOWNLOAD_IDENT,
        DOWNLOAD_LOGS,
        UPDATE_PRICES,
        REBOOT_NODE,
        LIST_MACHINES,
        START_MACHINE,
        LIST_RENDERERS,
        START_RENDERER,
        LIST_RELAYS,
        START_RELAY,
        GET_SESSION,
        GET_SESSION_LOGS,
        STOP_SESSION,
        LIST_SESSIONS,
        GET_IDLE_JOB,
        GET_IDLE_JOB_LOGS,
    )
}
"""All calls of the API by name."""

PUBLIC = frozenset(name for name, operation in OPERATIONS.items() if not operation.auth)
"""The calls that carry no key."""


def segment(value: Id, name: str) -> str:
    """One path segment with every reserved character escaped, so that an id can name nothing but itself.

    Raises:
        InvalidRequestError: it is empty, or has no UTF-8 form (also a ValueError).
        TypeError: it is neither text nor a number.

    Example:
        >>> segment(42, "node_id"), segment("a/b", "node_id"), segment("..", "node_id")
        ('42', 'a%2Fb', '%2E%2E')
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{name} must be text or a whole number, not {value!r}")
    text = str(value)
    if not text:
        raise InvalidRequestError(f"{name} must not be empty", network="octaspace")
    try:
        return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{value!r} cannot be written in a URL", network="octaspace") from None


def query(parameters: Mapping[str, Any] | None) -> str:
    """A query with its question mark, nothing for none; booleans are words, lists repeat a name, None is left out."""
    pairs = [
        f"{quote(name, safe='')}={quote(_text(value), safe='')}"
        for name, given in (parameters or {}).items()
        for value in (given if isinstance(given, (list, tuple)) else (given,))
        if value is not None
    ]
    return "?" + "&".join(pairs) if pairs else ""


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _call(
    operation: Operation,
    base: str,
    parse: Callable[[Response], T],
    body: Any = NOT_GIVEN,
    *,
    parameters: Mapping[str, Any] | None = None,
    **names: Id,
) -> Call[T]:
    path = operation.path.format(**{name: segment(value, name) for name, value in names.items()})
    return _with_body(operation, f"{base}{path}{query(parameters)}", parse, body)


def _with_body(operation: Operation, url: str, parse: Callable[[Response], T], body: Any) -> Call[T]:
    if body is NOT_GIVEN:
        return Call(operation, url, parse)
    try:
        return Call(operation, url, parse, JSON, encode(body))
    except UnicodeEncodeError:
        raise InvalidRequestError("the body holds text that has no UTF-8 form", network="octaspace") from None


def _stated(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def other(
    method: str, base: str, path: str, parameters: Mapping[str, Any] | None = None, body: Any = NOT_GIVEN
) -> Call[Any]:
    """A call that is not in the table, read as plain JSON.

    Args:
        method: in any case.
        base: base URL.
        path: below the base URL, already encoded, such as `/services/r`.
        parameters: of the query.
        body: JSON data, None for `null`; not given for no body.

    Raises:
        InvalidRequestError: the path is none, or holds a query.
    """
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or {"?", "#", " "} & set(path):
        raise InvalidRequestError("path must be encoded, start with / and hold no query", network="octaspace")
    if {".", ".."} & set(path.split("/")):
        raise InvalidRequestError("path must not hold dot segments", network="octaspace")
    method = method.upper()
    safety: Safety = "idempotent" if method == "GET" else "unsafe"
    operation = Operation(f"{method} {path}", method, path, safety, None)
    return _with_body(operation, f"{base}{path}{query(parameters)}", plain, body)


def get_account(base: str) -> Call[models.Account]:
    """The caller's account."""
    return _call(GET_ACCOUNT, base, reader(models.Account))


def get_balance(base: str) -> Call[models.Balance]:
    """What the account has to spend."""
    return _call(GET_BALANCE, base, reader(models.Balance))


def generate_wallet(base: str) -> Call[models.Wallet]:
    """Make a new deposit address."""
    return _call(GENERATE_WALLET, base, reader(models.Wallet))


def get_network(base: str) -> Call[models.NetworkStats]:
    """The network at large."""
    return _call(GET_NETWORK, base, reader(models.NetworkStats))


def list_apps(base: str) -> Call[list[models.App]]:
    """List templates."""
    return _call(LIST_APPS, base, listing(models.App))


def list_nodes(base: str) -> Call[list[machines.Node]]:
    """List the account's nodes."""
    return _call(LIST_NODES, base, listing(machines.Node))


def get_node(base: str, node_id: Id) -> Call[machines.NodeDetail]:
    """One node at length."""
    return _call(GET_NODE, base, reader(machines.NodeDetail), node_id=node_id)


def download_ident(base: str, node_id: Id) -> Call[Download]:
    """A node's credential file."""
    return _call(DOWNLOAD_IDENT, base, downloaded, node_id=node_id)


def download_logs(base: str, node_id: Id) -> Call[Download]:
    """A node's logs, as an archive."""
    return _call(DOWNLOAD_LOGS, base, downloaded, node_id=node_id)


def update_prices(
    base_url: str,
    node_id: Id,
    *,
    base: int | Money | None = None,
    storage: int | Money | None = None,
    traffic: int | Money | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Call[None]:
    """Change what a node costs; what is None stays.

    Raises:
        InvalidRequestError: a price is no whole number of Wei, or there is none at all.
    """
    prices = _stated(base=base, storage=storage, traffic=traffic)
    if not prices and not extra:
        raise InvalidRequestError("name at least one of base, storage and traffic", network="octaspace")
    body = {name: wei(amount, name) for name, amount in prices.items()}
    return _call(UPDATE_PRICES, base_url, nothing, {**body, **(extra or {})}, node_id=node_id)


def reboot_node(base: str, node_id: Id) -> Call[None]:
    """Reboot a node."""
    return _call(REBOOT_NODE, base, nothing, node_id=node_id)


def list_machines(base: str) -> Call[list[machines.MrMachine]]:
    """List machines for rent."""
    return _call(LIST_MACHINES, base, listing(machines.MrMachine))


def start_machine(
    base: str,
    node_id: Id,
    *,
    disk_size: int,
    image: str | None = None,
    app: str | None = None,
    envs: Mapping[str, Any] | None = None,
    ports: Sequence[int] | None = None,
    http_ports: Sequence[int] | None = None,
    start_command: str | None = None,
    entrypoint: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Call[models.Started]:
    """Rent a machine: an array of one item, always with all ten members, in this order (section 3.7).

    The image alone may be left out, for the app's own.
    """
    item = {
        "id": 0,
        "node_id": node_id,
        "disk_size": disk_size,
        **_stated(image=image),
        "app": app or "",
        "envs": dict(envs or {}),
        "ports": list(ports or ()),
        "http_ports": list(http_ports or ()),
        "start_command": start_command or "",
        "entrypoint": entrypoint or "",
    }
    return _call(START_MACHINE, base, rented, [{**item, **(extra or {})}])


def list_renderers(base: str) -> Call[list[machines.RenderMachine]]:
    """List machines for rendering."""
    return _call(LIST_RENDERERS, base, listing(machines.RenderMachine))


def start_renderer(
    base: str,
    node_id: Id,
    *,
    disk_size: int,
    envs: Mapping[str, Any] | None = None,
    multi_gpu_worker: bool | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Call[models.Started]:
    """Start a render worker; what is None is left out (section 3.8)."""
    body = _stated(node_id=node_id, disk_size=disk_size)
    body |= _stated(**{"multi-gpu-worker": multi_gpu_worker, "envs": None if envs is None else dict(envs)})
    return _call(START_RENDERER, base, reader(models.Started), {**body, **(extra or {})})


def list_relays(base: str) -> Call[list[machines.VpnNode]]:
    """List VPN relays."""
    return _call(LIST_RELAYS, base, listing(machines.VpnNode))


def start_relay(
    base: str,
    node_id: Id,
    *,
    subkind: str | None = None,
    protocol: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Call[models.Started]:
    """Start a VPN; what is None is left out (section 3.9)."""
    body = _stated(node_id=node_id, subkind=subkind, protocol=protocol)
    return _call(START_RELAY, base, reader(models.Started), {**body, **(extra or {})})


def get_session(base: str, uuid: str) -> Call[models.ServiceInfo]:
    """One session."""
    return _call(GET_SESSION, base, reader(models.ServiceInfo), uuid=uuid)


def get_session_logs(base: str, uuid: str, recent: bool | None = None) -> Call[models.SessionLogs]:
    """Logs of a session."""
    return _call(GET_SESSION_LOGS, base, reader(models.SessionLogs), parameters={"recent": recent}, uuid=uuid)


def stop_session(base: str, uuid: str, score: int | None = None) -> Call[None]:
    """End a session; without a score there is no body at all (section 3.12)."""
    return _call(STOP_SESSION, base, nothing, NOT_GIVEN if score is None else {"score": score}, uuid=uuid)


def list_sessions(base: str, recent: bool | None = None) -> Call[list[models.ServiceInfo]]:
    """List sessions."""
    return _call(LIST_SESSIONS, base, listing(models.ServiceInfo), parameters={"recent": recent})


def get_idle_job(base: str, node_id: Id, job_id: Id) -> Call[models.IdleJob]:
    """One idle job."""
    return _call(GET_IDLE_JOB, base, reader(models.IdleJob), node_id=node_id, job_id=job_id)


def get_idle_job_logs(base: str, node_id: Id, job_id: Id) -> Call[str]:
    """Logs of an idle job, unpacked."""
    return _call(GET_IDLE_JOB_LOGS, base, log_text, node_id=node_id, job_id=job_id)
