"""`skerry sandbox ports`: what listens in a sandbox, and a way in from outside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from skerry.cli import exits, files, island_link, output
from skerry.cli.options import data_dir_option
from skerry.cli.sandbox_ids import complete_sandbox
from skerry.errors import ProtocolError

if TYPE_CHECKING:
    from skerry.networks.arker import Computer
    from skerry.networks.arker.models import RunTunnelStatus

_LISTEN = "0A"
_LINK = re.compile(r"https?://\S+\?skerry_pass=\S+")
_MOST_AT_ONCE = 32
SCRIPT = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; echo proxy $http_proxy"


@click.command()
@click.argument("sandbox_id", metavar="SANDBOX", shell_complete=complete_sandbox)
@click.option("--public", is_flag=True, help="Let anybody in who reaches the island; else a pass or a key is needed.")
@data_dir_option
@output.output_option
def ports(sandbox_id: str, *, public: bool, directory: Path, form: str) -> int:
    """List the TCP ports that listen in a sandbox, open each to HTTP and WebSocket, and print the links.

    A link carries a pass for a day. Programs use the same URL without it, and send the key of `skerry env` as a
    bearer token.
    """
    with island_link.need(directory).arker() as arker:
        vm = arker.vm(sandbox_id)
        table, _, proxy = files.shell(vm, SCRIPT).rpartition("proxy ")
        # The way out of the sandbox listens in it, too, but is no service of the user's.
        own = urlsplit(proxy.strip()).port
        tunnels = opened(vm, [port for port in listening(table) if port != own], public=public)
    if form == "json":
        found = [{"port": t.port, "url": t.url, "visibility": t.visibility, "link": link_of(t)} for t in tunnels]
        output.print_json("ports", {"sandbox_id": sandbox_id, "ports": found})
        return exits.OK
    rows = [(tunnel.port, link_of(tunnel)) for tunnel in tunnels]
    output.print_table(["port", "link"], rows, empty="nothing listens there")
    return exits.OK


def opened(vm: Computer, numbers: list[int], *, public: bool = False) -> list[RunTunnelStatus]:
    """Open ports of a sandbox, or change how those already open are guarded.

    Args:
        vm: the sandbox.
        numbers: ports in it.
        public: whether anybody may come in.

    Raises:
        ProtocolError: the island answered with something else than tunnels.
    """
    tunnels: list[RunTunnelStatus] = []
    # Arker opens ports as a side effect of a run; this one does nothing else.
    session = vm.sessions.create()
    try:
        for start in range(0, len(numbers), _MOST_AT_ONCE):
            wanted = {
                str(port): {"visibility": "public" if public else "private"}
                for port in numbers[start : start + _MOST_AT_ONCE]
            }
            started = vm.run(
                ":", background=True, session_id=session.session_id, network={"inbound": {"ports": wanted}}
            )
            if started.type != "background":
                raise ProtocolError("the island answered a background run with something else", network="arker")
            tunnels += started.tunnels
    finally:
        vm.sessions.delete(session.session_id)
    return tunnels


def link_of(tunnel: RunTunnelStatus) -> str | None:
    """What to open in a browser: the link with its pass where one is needed, else the URL."""
    found = _LINK.search(tunnel.message or "")
    return found.group() if found else tunnel.url


def listening(table: str) -> list[int]:
    """Ports in state LISTEN, from the text of /proc/net/tcp and tcp6."""
    fields = (line.split() for line in table.splitlines())
    return sorted({int(row[1].rpartition(":")[2], 16) for row in fields if len(row) > 3 and row[3] == _LISTEN})
