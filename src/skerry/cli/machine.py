"""`skerry machine`: rent machines on OctaSpace, which is the island's unless the environment names another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import exits, octaspace, output
from skerry.cli.main import LazyGroup
from skerry.cli.options import Duration, Size, environment
from skerry.cli.places import Place, place_options
from skerry.errors import NoCapacityError, NotFoundError
from skerry.units import GIB, MIB

if TYPE_CHECKING:
    from skerry.networks.octaspace import App, MrMachine, OctaSpace, ServiceInfo

SERVICE = "mr"
USUAL_DISK_GB = 10
LAZY = {
    "ssh": ("skerry.cli.machine_ssh:ssh", "Log in to a machine with OpenSSH."),
    "app": ("skerry.cli.machine_app:app", "Install the programs behind templates."),
    "key": ("skerry.cli.machine_key:key", "Let an SSH key into the island's machines."),
}
complete_machine = octaspace.complete(SERVICE)


@click.group(cls=LazyGroup, lazy=LAZY)
def machine() -> None:
    """Rent machines, and log in to them.

    \b
    skerry machine key                                   once: your SSH key
    skerry machine start --image ubuntu:24.04 --wait
    skerry machine ssh 3f2a                              the beginning of its id is enough
    """


@machine.command()
@click.option("-a", "--all", "ended", is_flag=True, help="Also those that have ended lately.")
@place_options
@output.output_option
def ls(*, ended: bool, place: Place | None, directory: Path, form: str) -> int:
    """List rented machines."""
    with octaspace.asking(place, directory) as asked:
        found = octaspace.sessions(asked.client, SERVICE, ended=ended)
    if form == "json":
        output.print_json("machines", {"machines": [octaspace.plain(one) for one in found]})
        return exits.OK
    output.print_table(
        ["id", "node", "state", "app", "since", "charge"],
        [
            (
                one.uuid,
                one.node_id,
                octaspace.state(one),
                one.app_name,
                octaspace.since(one),
                octaspace.price(one.charge),
            )
            for one in found
        ],
        empty="no machines; rent one: skerry machine start --image ubuntu:24.04",
    )
    return exits.OK


@machine.command()
@place_options
@output.output_option
def offers(*, place: Place | None, directory: Path, form: str) -> int:
    """List machines that can be rented now, the cheapest first; prices are per hour."""
    with octaspace.asking(place, directory, start=True) as asked:
        found = _offers(asked.client)
    if form == "json":
        output.print_json("offers", {"offers": [one.to_dict() for one in found]})
        return exits.OK
    output.print_table(
        ["node", "cores", "memory", "disk", "gpus", "price", "in USD", "where"],
        [
            (
                one.node_id,
                one.cpu_cores,
                _gib(one.total_memory),
                _gib(one.free_disk),
                ", ".join(str(gpu.model) for gpu in one.gpus or ()),
                octaspace.price(one.total_price),
                octaspace.price(one.total_price_in_usd),
                ", ".join(filter(None, (one.city, one.country_iso))),
            )
            for one in found
        ],
        empty="no machine is free now",
    )
    return exits.OK


@machine.command()
@click.option("--image", help="Image to run, such as ubuntu:24.04.")
@click.option("--app", help="Template to run, by name or id, in place of an image.")
@click.option("--node", type=click.IntRange(1), help="Which machine; the cheapest free one by default.")
@click.option("--disk", type=Size(), help="Disk, such as 20G; 10 GiB by default, or what the template needs.")
@click.option("--port", "ports", type=click.IntRange(1, 65535), multiple=True, help="TCP and UDP port; repeatable.")
@click.option("--http-port", "http_ports", type=click.IntRange(1, 65535), multiple=True, help="With a URL; repeatable.")
@click.option("-e", "--env", "pairs", multiple=True, metavar="NAME[=VALUE]", help="Set a variable; repeatable.")
@click.option("--command", "start_command", help="Command line in place of the image's.")
@click.option("--entrypoint", help="Entry point in place of the image's.")
@click.option("--wait", is_flag=True, help="Return when it is ready.")
@click.option(
    "--timeout", type=Duration(), default="10m", show_default=True, help="How long to wait; it goes on after."
)
@place_options
@output.output_option
def start(
    *,
    image: str | None,
    app: str | None,
    node: int | None,
    disk: int | None,
    ports: tuple[int, ...],
    http_ports: tuple[int, ...],
    pairs: tuple[str, ...],
    start_command: str | None,
    entrypoint: str | None,
    wait: bool,
    timeout: float,
    place: Place | None,
    directory: Path,
    form: str,
) -> int:
    """Rent a machine and print its id; it costs until it is stopped.

    \b
    skerry machine start --image ubuntu:24.04 --wait
    skerry machine start --app Jupyter --disk 20G -e JUPYTER_TOKEN --wait
    """
    if not image and not app:
        raise click.UsageError("say what to run: --image or --app")
    if disk is not None and disk < MIB:
        # A bare number is bytes, which nobody means here.
        raise click.BadParameter("a disk is asked for in GiB, such as 20G", param_hint="--disk")
    envs = environment(pairs)
    with octaspace.asking(place, directory, start=True) as asked:
        client = asked.client
        template = _template(client, app) if app else None
        wanted: dict[str, Any] = {
            "disk_size": -(-disk // GIB) if disk is not None else _disk_of(template),
            "image": image or (template.image if template else None) or "",
            "app": template.uuid if template else None,
            "envs": envs or None,
            "ports": ports or None,
            "http_ports": http_ports or None,
            "start_command": start_command,
            "entrypoint": entrypoint,
        }
        started = client.services.mr.start(node or _cheapest(client), **wanted)
        if not wait:
            return _started(started.uuid, form)
        if form == "table":
            click.echo(started.uuid)
        info = octaspace.wait(started, timeout, then="it goes on, and costs, until it is stopped")
    if form == "json":
        output.print_json("machine", octaspace.plain(info))
    else:
        output.print_fields(_ways(info))
        if app and info.urls:
            output.note(f"skerry: if it asks for a password: skerry machine logs {started.uuid[:8]}")
    return exits.OK


@machine.command()
@click.argument("machine_id", metavar="MACHINE", shell_complete=complete_machine)
@click.option("--system", is_flag=True, help="What the platform did for it, in place of what it wrote.")
@place_options
@output.output_option
def logs(machine_id: str, *, system: bool, place: Place | None, directory: Path, form: str) -> int:
    """Print what a machine has written, also after its end."""
    with octaspace.asking(place, directory) as asked:
        found = octaspace.session(asked.client, machine_id, SERVICE, ended=True)
        assert found.uuid is not None
        told = asked.client.services.session(found.uuid).logs(recent=True)
    if form == "json":
        output.print_json("machine_logs", {"id": found.uuid, **told.to_dict()})
    elif system:
        for entry in told.system or ():
            click.echo((entry.msg or "").rstrip("\n"))
    else:
        click.echo(told.container or "", nl=False)
    return exits.OK


@machine.command()
@click.argument("machine_ids", nargs=-1, required=True, metavar="MACHINE...", shell_complete=complete_machine)
@click.option("--score", type=click.IntRange(1, 5), help="How good it was.")
@place_options
@output.output_option
def stop(machine_ids: tuple[str, ...], *, score: int | None, place: Place | None, directory: Path, form: str) -> int:
    """Stop machines, for good: their disks are gone."""
    with octaspace.asking(place, directory) as asked:
        found = [octaspace.session(asked.client, one, SERVICE) for one in machine_ids]
        return stop_all(asked.client, found, score, form, "machines_stopped")


def stop_all(client: OctaSpace, found: list[ServiceInfo], score: int | None, form: str, kind: str) -> int:
    """Stop sessions and say which; one that is gone by now is no failure."""
    stopped = list(dict.fromkeys(one.uuid for one in found if one.uuid is not None))
    for uuid in stopped:
        try:
            client.services.session(uuid).stop(score)
        except NotFoundError:
            pass
        if form == "table":
            click.echo(uuid)
    if form == "json":
        output.print_json(kind, {"stopped": stopped})
    return exits.OK


def _offers(client: OctaSpace) -> list[MrMachine]:
    found = client.services.mr.available()
    return sorted(found, key=lambda one: (one.total_price.amount if one.total_price else 0, one.node_id or 0))


def _cheapest(client: OctaSpace) -> int:
    found = [one.node_id for one in _offers(client) if one.node_id is not None]
    if not found:
        raise NoCapacityError("no machine is free now; see `skerry machine ls` for yours", network=octaspace.NAME)
    return found[0]


def _template(client: OctaSpace, word: str) -> App:
    known = client.apps.list()
    found = [one for one in known if word.lower() in ((one.uuid or "").lower(), (one.name or "").lower())]
    if not found:
        names = ", ".join(one.name for one in known if one.name) or "none"
        raise NotFoundError(
            f"there is no template {word!r}, only {names}; `skerry machine app ls` shows what an island can learn",
            network=octaspace.NAME,
        )
    return found[0]


def _disk_of(template: App | None) -> int:
    least = (template.extra_info or {}).get("min_disk_size") if template else None
    return max(1, round(float(least))) if isinstance(least, int | float) else USUAL_DISK_GB


def _started(uuid: str, form: str) -> int:
    if form == "json":
        output.print_json("machine", {"uuid": uuid})
    else:
        click.echo(uuid)
        output.note(f"skerry: log in when it is ready: skerry machine ssh {uuid[:8]}")
    return exits.OK


def _ways(info: ServiceInfo) -> list[tuple[str, object]]:
    """How a machine can be reached."""
    rows: list[tuple[str, object]] = []
    for name, access in (("ssh", info.ssh_direct or info.ssh_proxy),):
        if access is not None:
            rows.append((name, f"ssh -p {access.port} root@{access.host}"))
    if info.ssh_web:
        rows.append(("terminal", info.ssh_web))
    rows += [(f"port {inside}", outside) for inside, outside in sorted((info.ports_matrix or {}).items())]
    rows += [(f"http {port}", url) for port, url in sorted((info.urls or {}).items())]
    return rows


def _gib(size: int | None) -> str:
    return "" if size is None else f"{size / GIB:.1f} GiB"
