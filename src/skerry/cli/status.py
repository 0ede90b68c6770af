"""`skerry status` and `skerry env`: the running island, told to people and to shells."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path

import click

from skerry.cli import exits, island_link, output
from skerry.cli.options import data_dir_option
from skerry.cli.up import facts
from skerry.units import format_size


@click.command()
@data_dir_option
@output.output_option
def status(*, directory: Path, form: str) -> int:
    """Show whether the island runs, and what it holds; status 8 when it does not run."""
    link = island_link.find(directory)
    if link is None:
        if form == "json":
            output.print_json("status", {"running": False, "data_dir": directory})
        else:
            click.echo(f"No island runs on {directory}")
            output.note("  next: skerry up, or just: skerry run -- python3 -c 'print(6 * 7)'")
        return exits.UNREACHABLE
    with link.admin() as admin:
        island = admin.island()
    if form == "json":
        import msgspec

        output.print_json("status", {**facts(link), **msgspec.to_builtins(island)})
        return exits.OK
    output.print_fields(
        [
            ("url", link.url),
            (
                "process",
                f"{link.pid}, version {link.version}, since {output.minute(datetime.fromisoformat(link.started_at))}",
            ),
            ("data", link.data_dir),
            ("driver", island.driver),
            ("balance", f"{island.balance.amount} {island.balance.currency}"),
            ("sandboxes", island.sandboxes),
            ("images", island.images),
            *(
                (
                    f"node {node.name}",
                    f"{node.state}: {node.cpu_millis / 1000:g} cpus at {node.cpu_hour.amount} {node.cpu_hour.currency}"
                    f" an hour, {format_size(node.memory_bytes)} at {node.memory_gib_hour.amount} per GiB and hour, "
                    + (", ".join(node.gpus) or "no gpu"),
                )
                for node in island.nodes
            ),
        ]
    )
    return exits.OK


@click.command()
@click.argument("network", required=False)
@click.option("--shell", type=click.Choice(["sh", "fish"]), default="sh", help="Whose syntax to use.")
@data_dir_option
@output.output_option
def env(*, network: str | None, shell: str, directory: Path, form: str) -> int:
    """Print the environment that points clients at the island, keys included; only NETWORK's if one is named.

    \b
    eval "$(skerry env)"
    skerry env --shell fish | source
    """
    variables = island_link.need(directory).environment(network)
    if form == "json":
        output.print_json("env", {"variables": variables})
        return exits.OK
    for name, value in variables.items():
        click.echo(f"set -gx {name} {shlex.quote(value)}" if shell == "fish" else f"export {name}={shlex.quote(value)}")
    return exits.OK
