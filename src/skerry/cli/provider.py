"""`skerry provider`: this machine's GPUs for a DC1 platform elsewhere, over its public provider API."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import exits, output
from skerry.cli.main import LazyGroup
from skerry.cli.options import Duration, data_dir_option
from skerry.errors import ConfigurationError, SkerryError

if TYPE_CHECKING:
    from skerry.island.provider.account import Account
    from skerry.networks.dc1 import DC1

_SECRET = "DC1_HMAC_SECRET"  # noqa: S105 - the variable's name
_PORTS = "8100-8199"


@click.group(cls=LazyGroup)
def provider() -> None:
    """Work for a DC1 platform: take its jobs, and be paid for them.

    \b
    skerry provider register --base-url https://dc1.example --name rig --email me@example.org
    skerry provider run                     take jobs until Ctrl-C
    skerry provider earnings                what they came to
    """


@provider.command()
@click.option(
    "--base-url", required=True, envvar="API_BASE", help="The platform (API_BASE), such as https://dc1.example."
)
@click.option("--name", required=True, help="What renters see, 2 to 100 characters.")
@click.option("--email", required=True, help="Where you can be reached; one account each.")
@click.option("--gpu-model", help="The GPU's name; found out unless given.")
@click.option("--location", help="Where the machine is.")
@click.option("--replace", "replacing", is_flag=True, help="Forget the account that this machine has now.")
@data_dir_option
@output.output_option
def register(
    *,
    base_url: str,
    name: str,
    email: str,
    gpu_model: str | None,
    location: str | None,
    replacing: bool,
    directory: Path,
    form: str,
) -> int:
    """Make a provider's account, and keep its key in the data directory."""
    from skerry.island.provider import account, machine
    from skerry.networks.dc1 import DC1

    if not replacing and (directory / account.DIRECTORY / "account.json").exists():
        kept = account.load(directory)
        raise ConfigurationError(
            f"this machine is provider {kept.provider_id} of {kept.base_url} already; --replace forgets that account"
        )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = asyncio.run(machine.measure(directory))
    more: dict[str, Any] = {} if location is None else {"location": location}
    with _platform(base_url), DC1(base_url=base_url, environ={}) as client:
        made = client.provider.register(name, email, gpu_model or status.name, **more)
        found = account.Account(base_url=client.base_url, provider_id=made.provider_id, api_key=made.api_key, name=name)
    path = account.keep(directory, found)
    if form == "json":
        output.print_json("provider", {"provider_id": found.provider_id, "base_url": found.base_url, "file": str(path)})
    else:
        output.note(f"This machine is provider {found.provider_id} of {found.base_url}; its key is in {path}.")
        if made.message:
            output.note(made.message)
        output.note("  next: `skerry provider run` takes jobs")
    return exits.OK


@provider.command()
@click.option("--base-url", help="The platform, when it is not where this machine was registered.")
@click.option("--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Jobs at once.")
@click.option("--provider-ip", metavar="ADDRESS", help="By which renters reach models that are served here.")
@click.option("--port-range", default=_PORTS, show_default=True, metavar="FIRST-LAST", help="For those.")
@click.option(
    "--models",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A further directory of language models.",
)
@click.option("--default-model", metavar="NAME", help="Stands in for language models that are not here.")
@click.option("--poll", type=Duration(), default="5", show_default=True, help="Between two looks for work.")
@click.option("--drain", type=Duration(), default="30", show_default=True, help="How long jobs may go on after Ctrl-C.")
@click.option("-v", "--verbose", is_flag=True, help="Say more of what goes on.")
@data_dir_option
def run(
    *,
    base_url: str | None,
    slots: int,
    provider_ip: str | None,
    port_range: str,
    models: tuple[Path, ...],
    default_model: str | None,
    poll: float,
    drain: float,
    verbose: bool,
    directory: Path,
) -> int:
    """Take jobs and carry them out, until Ctrl-C or SIGTERM.

    Programs run in sandboxes without a network. With DC1_HMAC_SECRET set, heartbeats are signed and task specs checked.
    """
    from skerry.island.engine.errors import EngineError
    from skerry.island.provider import daemon
    from skerry.island.provider.loop import LoopOptions
    from skerry.island.provider.platform import PlatformError
    from skerry.island.sandbox.driver import SandboxError

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if verbose:
        logging.getLogger("skerry").setLevel(logging.INFO)
    options = daemon.DaemonOptions(
        data_dir=directory,
        account=_account(directory, base_url),
        hmac_secret=os.environ.get(_SECRET, "").strip() or None,
        provider_ip=provider_ip,
        ports=_ports(port_range),
        models=models,
        default_model=default_model,
        drain=drain,
        # Platforms count requests: the more jobs at once, the more seldom each is asked about and told of.
        loop=LoopOptions(slots=slots, poll=poll, look=max(3.0, 0.75 * slots), gather=max(2.0, 0.75 * slots)),
    )
    try:
        return asyncio.run(daemon.run(options, output.note))
    except PlatformError as error:
        raise SkerryError(f"the platform refuses this provider: {error}") from None
    except (EngineError, SandboxError) as error:
        raise ConfigurationError(f"this machine cannot carry out jobs: {error}") from None


@provider.command()
@data_dir_option
@output.output_option
def status(*, directory: Path, form: str) -> int:
    """Show this machine's account as the platform has it."""
    with _asking(directory) as client:
        me = client.provider.me()
    rows = {
        "provider": me.id,
        "name": me.name,
        "status": me.status,
        "approval": me.approval_status,
        "gpu": me.gpu_model,
        "memory_mib": me.gpu_vram_mib,
        "jobs": me.total_jobs,
        "last_heartbeat": me.last_heartbeat,
    }
    return _show("provider", rows, form)


@provider.command()
@data_dir_option
@output.output_option
def earnings(*, directory: Path, form: str) -> int:
    """Show what this machine has earned."""
    with _asking(directory) as client:
        found = client.provider.get_earnings()
    rows = {
        "provider": found.provider_id,
        "jobs": found.total_jobs,
        "earned": found.total_earned,
        "available": found.available,
        "pending": found.pending,
    }
    return _show("earnings", rows, form)


def _account(directory: Path, base_url: str | None) -> Account:
    from skerry.island.provider import account
    from skerry.networks.dc1.config import normal_base_url

    found = account.load(directory)
    if base_url is None:
        return found
    return account.Account(
        base_url=normal_base_url(base_url), provider_id=found.provider_id, api_key=found.api_key, name=found.name
    )


@contextmanager
def _asking(directory: Path) -> Iterator[DC1]:
    """A client with this machine's account."""
    from skerry.networks.dc1 import DC1

    found = _account(directory, None)
    with _platform(found.base_url), DC1(base_url=found.base_url, provider_key=found.api_key, environ={}) as client:
        yield client


@contextmanager
def _platform(base_url: str) -> Iterator[None]:
    """Let errors say which platform was asked: the island of this machine has nothing to do with it."""
    try:
        yield
    except SkerryError as error:
        exits.suggest(error, f"{base_url} was asked; is it the platform's address, and does it know this machine?")
        raise


def _show(kind: str, rows: dict[str, Any], form: str) -> int:
    if form == "json":
        output.print_json(kind, {kind: rows})
    else:
        output.print_fields((name.replace("_", " "), _text(value)) for name, value in rows.items())
    return exits.OK


def _text(value: object) -> object:
    return output.minute(value) if isinstance(value, datetime) else value


def _ports(text: str) -> range:
    first, dash, last = text.partition("-")
    try:
        return range(int(first), int(last if dash else first) + 1)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no range of ports such as {_PORTS}") from None
