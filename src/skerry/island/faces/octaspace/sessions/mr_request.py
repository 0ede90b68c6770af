"""What is asked for when a machine is rented (protocol section 3.7), checked before anything is made of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skerry.island.engine.errors import Invalid
from skerry.island.faces.octaspace.errors import invalid
from skerry.island.faces.octaspace.validation import Form
from skerry.island.images.reference import parse_reference

USUAL_DISK_GB = 10
SSH_PORT = 22
MOST_ITEMS = 64
MOST_HTTP_PORTS = 64
"""They take no port of the machine, but each is a URL in every answer about the session."""

_MOST_DISK_GB = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class MrRequest:
    """One machine.

    Args:
        id: the caller's own number, echoed.
        node_id: which node.
        disk_gb: GB of disk; None where nothing is said.
        image: Docker-style name, empty for the app's.
        app: UUID of a template, empty for none.
        envs: environment.
        ports: published for TCP and UDP.
        http_ports: with public URLs.
        start_command: split like a shell's line; empty for the image's own.
        entrypoint: the same.
    """

    id: int
    node_id: int
    disk_gb: int | None
    image: str
    app: str
    envs: Mapping[str, str]
    ports: tuple[int, ...]
    http_ports: tuple[int, ...]
    start_command: str
    entrypoint: str

    def kept(self) -> str:
        """The part that a session's row keeps as JSON."""
        return json.dumps(
            {
                "ports": list(self.ports),
                "http_ports": list(self.http_ports),
                "start_command": self.start_command,
                "entrypoint": self.entrypoint,
            }
        )


def read_many(body: Any) -> list[MrRequest]:
    """An array of machines.

    Raises:
        Fault: 422 for the first mistake; nothing may be started then.
    """
    if not isinstance(body, list) or not 1 <= len(body) <= MOST_ITEMS:
        raise invalid(f"The body must be an array of 1 to {MOST_ITEMS} objects")
    return [read(item, f"[{position}]") for position, item in enumerate(body)]


def read(value: Any, name: str = "The body") -> MrRequest:
    """One machine.

    Raises:
        Fault: 422 for a member of the wrong kind, or one that can never work.
    """
    form = Form(value, name)
    request = MrRequest(
        id=form.whole("id", 0, least=-(2**53)),
        node_id=form.whole("node_id"),
        disk_gb=form.whole("disk_size", least=1, most=_MOST_DISK_GB) if form.has("disk_size") else None,
        image=form.text("image", "", most=512).strip(),
        app=form.text("app", "", most=64).strip().lower(),
        envs=form.variables("envs"),
        ports=tuple(form.ports("ports")),
        http_ports=tuple(form.ports("http_ports", most=MOST_HTTP_PORTS)),
        start_command=form.text("start_command", ""),
        entrypoint=form.text("entrypoint", ""),
    )
    check(request)
    return request


def check(request: MrRequest) -> None:
    """What no node could do.

    Raises:
        Fault: 422.
    """
    check_ports(request.ports, request.http_ports)
    for name, line in (("start_command", request.start_command), ("entrypoint", request.entrypoint)):
        words(line, name)
    if request.image:
        try:
            parse_reference(request.image)
        except Invalid as error:
            raise invalid(f"image: {error.message}") from None


def check_ports(ports: Iterable[int], http_ports: Sequence[int]) -> None:
    """That no port is published in two ways.

    Raises:
        Fault: 422.
    """
    for port in ports:
        if port in http_ports:
            raise invalid(f"Port {port} is among ports and http_ports; it can be published one way only")


def words(line: str, name: str) -> tuple[str, ...]:
    """A command line split like a shell's.

    Raises:
        Fault: 422 for a quotation that does not end.
    """
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        raise invalid(f"{name} cannot be split into words: {error}") from None


def completed(request: MrRequest, app: Mapping[str, Any]) -> MrRequest:
    """A request with a template's values for what arrived empty (protocol section 5.1); environments are overlaid.

    Args:
        app: as in the list of apps.
    """
    ports = request.ports or tuple(port for port in app["ports"] if port not in request.http_ports)
    return replace(
        request,
        image=request.image or app["image"],
        envs={**app["envs"], **request.envs},
        ports=ports,
        http_ports=request.http_ports or tuple(port for port in app["http_ports"] if port not in ports),
        start_command=request.start_command or app["start_command"],
        disk_gb=request.disk_gb or max(1, int(app["extra"].get("min_disk_size", USUAL_DISK_GB))),
    )
