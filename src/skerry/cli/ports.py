"""`skerry sandbox ports`: what listens in a sandbox, and where it is reached from outside."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from skerry.cli import exits, files, island_link, output
from skerry.cli.options import data_dir_option

_LISTEN = "0A"
SCRIPT = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; echo proxy $http_proxy"


@click.command()
@click.argument("sandbox_id", metavar="SANDBOX")
@data_dir_option
@output.output_option
def ports(sandbox_id: str, *, directory: Path, form: str) -> int:
    """List the TCP ports that listen in a sandbox, with the URL of each.

    Every port is reachable from this machine as `http://PORT-SANDBOX.localhost:4242`, HTTP and WebSocket alike.
    """
    link = island_link.need(directory)
    with link.arker() as arker:
        table, _, proxy = files.shell(arker.vm(sandbox_id), SCRIPT).rpartition("proxy ")
    # The way out of the sandbox listens in it, too, but is no service of the user's.
    own = urlsplit(proxy.strip()).port
    found = [{"port": port, "url": url_of(link.url, sandbox_id, port)} for port in listening(table) if port != own]
    if form == "json":
        output.print_json("ports", {"sandbox_id": sandbox_id, "ports": found})
        return exits.OK
    output.print_table(["port", "url"], [tuple(row.values()) for row in found], empty="nothing listens there")
    return exits.OK


def listening(table: str) -> list[int]:
    """Ports in state LISTEN, from the text of /proc/net/tcp and tcp6."""
    fields = (line.split() for line in table.splitlines())
    return sorted({int(row[1].rpartition(":")[2], 16) for row in fields if len(row) > 3 and row[3] == _LISTEN})


def url_of(island: str, sandbox_id: str, port: int) -> str:
    """The address of a sandbox's port: the id, lower-cased and with dashes, is part of the host name."""
    parts = urlsplit(island)
    return f"http://{port}-{sandbox_id.lower().replace('_', '-')}.localhost:{parts.port}"
