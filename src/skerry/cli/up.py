"""`skerry up`, `down` and `reset`: the island's life."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from skerry.cli import exits, island_link, output
from skerry.cli.options import Duration, data_dir_option
from skerry.errors import ConfigurationError, ConflictError, DeadlineExceededError
from skerry.island import libraries

STOP_DEADLINE = 60.0


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Start in the background and return once it answers.")
@click.option(
    "--port", type=click.IntRange(0, 65535), envvar="SKERRY_PORT", help="TCP port, 0 for any; 4242 by default."
)
@click.option("--host", envvar="SKERRY_HOST", help="Address to bind; loopback by default.")
@click.option(
    "--allow-remote", is_flag=True, help="Accept an address that other machines reach; keys are then the wall."
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this web origin alone call the island, such as https://app.example; may be repeated. All by "
    "default, or those in SKERRY_ORIGINS.",
)
@click.option("--idle-exit", type=Duration(), help="Stop after this much quiet.")
@data_dir_option
@output.output_option
def up(
    *,
    detach: bool,
    port: int | None,
    host: str | None,
    allow_remote: bool,
    origins: tuple[str, ...],
    idle_exit: float | None,
    directory: Path,
    form: str,
) -> int:
    """Start the island on this machine, and print its addresses.

    \b
    skerry up                        in the foreground, until Ctrl-C
    skerry up --detach && eval "$(skerry env)"
    """
    running = island_link.find(directory)
    if running is not None:
        if not detach:
            raise ConflictError(f"an island already runs on {directory}: {running.url}, process {running.pid}")
        if port and urlsplit(running.url).port != port:
            raise ConflictError(
                f"an island already runs on {directory} at {running.url}, not on port {port}; `skerry down` stops it"
            )
        if (origins or os.environ.get("SKERRY_ORIGINS")) and running.origins != _origins(origins):
            # Whoever names some wants the others kept out: an answer that sounds as if they were is worse than none.
            raise ConflictError(
                f"an island already runs on {directory} at {running.url}, for pages of {_named(running.origins)}; "
                "`skerry down` stops it"
            )
        announce(running, form)
        return exits.OK
    wanted = island_link.DEFAULT_PORT if port is None else port
    if detach:
        link = island_link.start(
            directory, port=wanted, host=host, allow_remote=allow_remote, origins=origins, idle_exit=idle_exit
        )
        announce(link, form)
        return exits.OK

    libraries.require()
    from skerry.island.server import Server, serve
    from skerry.island.settings import Settings

    def ready(_: Server) -> None:
        announce(island_link.read(directory), form)

    settings = Settings.from_env(
        data_dir=directory,
        port=wanted,
        host=host,
        allow_remote=allow_remote,
        origins=origins or None,
        idle_exit=idle_exit,
    )
    serve(settings, on_ready=ready)
    return exits.OK


def _origins(given: tuple[str, ...]) -> frozenset[str]:
    """Whose pages an island that starts now would let in."""
    libraries.require()
    from skerry.island.settings import Settings

    return frozenset(Settings.from_env(origins=given or None).origins)


def _named(origins: frozenset[str] | None) -> str:
    if origins is None or "*" in origins:
        return "any origin"
    return ", ".join(sorted(origins)) or "no origin"


def announce(link: island_link.Link, form: str) -> None:
    """Print where the island answers and how to point clients at it."""
    if form == "json":
        output.print_json("island", facts(link))
        return
    click.echo(f"The island answers at {link.url} (process {link.pid}, data in {link.data_dir})")
    width = max(map(len, link.networks()), default=0)
    for network in link.networks():
        click.echo(f"  {network.ljust(width)}  {link.base_url(network)}")
    click.echo("\nPoint clients at it (the same lines: skerry env):")
    for name, value in link.environment().items():
        click.echo(f"  export {name}={value}")
    if link.idle_exit is not None:
        click.echo(
            f"\nIt stops by itself after {link.idle_exit:.0f} seconds without work; `skerry down`, then `skerry up "
            "--detach`, starts one that stays."
        )


def facts(link: island_link.Link) -> dict[str, Any]:
    """A running island as JSON data; keys are left to `skerry env`."""
    return {
        "running": True,
        "url": link.url,
        "pid": link.pid,
        "version": link.version,
        "started_at": link.started_at,
        "idle_exit": link.idle_exit,
        "data_dir": link.data_dir,
        "base_urls": {network: link.base_url(network) for network in link.networks()},
    }


@click.command()
@click.option("--force", is_flag=True, help="Kill it if it does not stop in time.")
@data_dir_option
@output.output_option
def down(*, force: bool, directory: Path, form: str) -> int:
    """Stop the island: what runs gets a moment, then is ended; durable runs start again with the next island.

    Sandboxes, files and records stay.
    """
    pid = island_link.holder(directory)
    stopped = pid is not None and stop(pid, force=force)
    if form == "json":
        output.print_json("down", {"stopped": stopped, "data_dir": directory})
    else:
        click.echo(f"Stopped the island on {directory}" if stopped else f"No island runs on {directory}")
    return exits.OK


def stop(pid: int, *, force: bool = False) -> bool:
    """End the server and wait until it is gone.

    Raises:
        DeadlineExceededError: it is still there and `force` was not asked for.
    """
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise ConfigurationError(f"process {pid} belongs to another user") from None
    if _gone(pid, STOP_DEADLINE):
        return True
    if not force:
        raise DeadlineExceededError(f"process {pid} did not stop within {STOP_DEADLINE:.0f} s; try --force")
    os.kill(pid, signal.SIGKILL)
    return _gone(pid, 5.0)


def _gone(pid: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not island_link.alive(pid):
            return True
        time.sleep(0.05)
    return False


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@data_dir_option
@output.output_option
def reset(*, yes: bool, directory: Path, form: str) -> int:
    """Stop the island and delete everything it holds: sandboxes, images, records, keys, a provider's too."""
    known = {"credentials.json", "island.db", "server.json", "owner.key", "lock"}
    try:
        present = {entry.name for entry in directory.iterdir()}
        # Where only `skerry provider` was used, programs of jobs may go on as well.
        provides = (directory / "provider" / "account.json").exists()
    except FileNotFoundError:
        return _report_reset(directory, False, form)
    except PermissionError as error:
        raise island_link.foreign(error) from None
    if not known & present and not provides:
        raise ConfigurationError(f"{directory} does not look like an island's data directory; nothing was deleted")
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this deletes everything; say --yes where nobody can be asked")
        click.confirm(f"Delete every sandbox, image, record and key in {directory}?", abort=True, err=True)
    pid = island_link.holder(directory)
    if pid is not None:
        stop(pid, force=True)

    libraries.require()
    from skerry.island.erase import erase

    erase(directory)
    return _report_reset(directory, True, form)


def _report_reset(directory: Path, deleted: bool, form: str) -> int:
    if form == "json":
        output.print_json("reset", {"deleted": deleted, "data_dir": directory})
    else:
        click.echo(f"Deleted {directory}" if deleted else f"Nothing to delete: {directory} does not exist")
    return exits.OK
