"""`skerry vpn`: VPN relays on OctaSpace, which is the island's unless the environment names another."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import exits, octaspace, output
from skerry.cli.machine import stop_all
from skerry.cli.main import LazyGroup
from skerry.cli.options import Duration
from skerry.cli.places import Place, place_options
from skerry.errors import ConflictError, NoCapacityError, NotFoundError

if TYPE_CHECKING:
    from skerry.networks.octaspace import OctaSpace, ServiceInfo, VpnNode

SERVICE = "vpn"
SUBKINDS = ["wg", "openvpn", "ss", "v2ray"]
PROTOCOLS = ["trojan", "vmess", "vless"]
complete_vpn = octaspace.complete(SERVICE)


@click.group(cls=LazyGroup)
def vpn() -> None:
    """Start VPN relays, and print their configuration.

    \b
    skerry vpn up --file wg0.conf && sudo wg-quick up ./wg0.conf
    skerry vpn down 3f2a
    """


@vpn.command()
@click.option("-a", "--all", "ended", is_flag=True, help="Also those that have ended lately.")
@click.option("--relays", is_flag=True, help="Where one can be had, in place of those you have.")
@place_options
@output.output_option
def ls(*, ended: bool, relays: bool, place: Place | None, directory: Path, form: str) -> int:
    """List VPNs; what was moved counts from your side."""
    with octaspace.asking(place, directory, start=relays) as asked:
        if relays:
            return _list_relays(_relays(asked.client), form)
        found = octaspace.sessions(asked.client, SERVICE, ended=ended)
    if form == "json":
        output.print_json("vpns", {"vpns": [octaspace.plain(one) for one in found]})
        return exits.OK
    output.print_table(
        ["id", "node", "kind", "state", "exit", "sent", "received", "since", "charge"],
        [
            (
                one.uuid,
                one.node_id,
                one.kind,
                octaspace.state(one),
                one.ip,
                one.bytes_sent,
                one.bytes_received,
                octaspace.since(one),
                octaspace.price(one.charge),
            )
            for one in found
        ],
        empty="no VPNs; start one: skerry vpn up",
    )
    return exits.OK


@vpn.command()
@click.option("--node", type=click.IntRange(1), help="Which relay; the cheapest by default.")
@click.option("--country", help="A relay there: a part of the country's name, or its two letters.")
@click.option("--subkind", type=click.Choice(SUBKINDS), default=SUBKINDS[0], show_default=True, help="What to speak.")
@click.option("--protocol", type=click.Choice(PROTOCOLS), help="With v2ray: what to speak within; trojan by default.")
@click.option("--file", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the configuration here.")
@click.option("--timeout", type=Duration(), default="2m", show_default=True, help="How long to wait until it is ready.")
@place_options
@output.output_option
def up(
    *,
    node: int | None,
    country: str | None,
    subkind: str,
    protocol: str | None,
    path: Path | None,
    timeout: float,
    place: Place | None,
    directory: Path,
    form: str,
) -> int:
    """Start a VPN, wait until it is ready, and print the configuration for its client program.

    Its id goes to stderr. The configuration is a secret: a file is made so that only you can read it.
    """
    if protocol and subkind != "v2ray":
        raise click.UsageError("--protocol goes with --subkind v2ray only")
    if node and country:
        raise click.UsageError("--node and --country exclude each other")
    _have_room(path)
    with octaspace.asking(place, directory, start=True) as asked:
        chosen = node or _cheapest(asked.client, country)
        started = asked.client.services.vpn.start(chosen, subkind=subkind, protocol=protocol)
        try:
            info = octaspace.wait(started, timeout, then="it was stopped")
            status = _hand_over(info, _content(info), path, form)
        except BaseException:
            # Nobody would know of it, and it costs. One that has ended already keeps its own reason.
            with suppress(NotFoundError):
                asked.client.services.session(started.uuid).stop()
            raise
    output.note(f"skerry: VPN {info.uuid} leaves the network at {info.ip}")
    return status


@vpn.command()
@click.argument("vpn_id", metavar="VPN", shell_complete=complete_vpn)
@click.option("--file", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write it here, for you alone.")
@place_options
@output.output_option
def config(vpn_id: str, *, path: Path | None, place: Place | None, directory: Path, form: str) -> int:
    """Print the configuration of a VPN again."""
    _have_room(path)
    with octaspace.asking(place, directory) as asked:
        info = octaspace.session(asked.client, vpn_id, SERVICE)
    return _hand_over(info, _content(info), path, form)


@vpn.command()
@click.argument("vpn_ids", nargs=-1, required=True, metavar="VPN...", shell_complete=complete_vpn)
@click.option("--score", type=click.IntRange(1, 5), help="How good it was.")
@place_options
@output.output_option
def down(vpn_ids: tuple[str, ...], *, score: int | None, place: Place | None, directory: Path, form: str) -> int:
    """Stop VPNs; their configuration is worthless at once."""
    with octaspace.asking(place, directory) as asked:
        found = [octaspace.session(asked.client, one, SERVICE) for one in vpn_ids]
        return stop_all(asked.client, found, score, form, "vpns_stopped")


def _content(info: ServiceInfo) -> str:
    if not info.config:
        raise ConflictError(f"VPN {info.uuid} is not ready: {octaspace.state(info)}", network=octaspace.NAME)
    return info.config if isinstance(info.config, str) else json.dumps(info.config)


def _hand_over(info: ServiceInfo, content: str, path: Path | None, form: str) -> int:
    if path is not None:
        write_private(path, content if content.endswith("\n") else f"{content}\n")
    if form == "json":
        where: dict[str, Any] = {"config": content} if path is None else {"file": path}
        facts = {"id": info.uuid, "node_id": info.node_id, "subkind": info.kind, "ip": info.ip}
        output.print_json("vpn", {**facts, **where})
    elif path is None:
        click.echo(content, nl=not content.endswith("\n"))
    else:
        click.echo(path)
    return exits.OK


def _have_room(path: Path | None) -> None:
    """Look where a file goes before anything is rented for it.

    Raises:
        click.BadParameter: it cannot be made there.
    """
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no directory {path.parent}", param_hint="'--file'")


def write_private(path: Path, content: str) -> None:
    """Replace a file by one that nobody else can read."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _relays(client: OctaSpace) -> list[VpnNode]:
    found = client.services.vpn.available()
    return sorted(found, key=lambda one: (one.traffic_price.amount if one.traffic_price else 0, one.node_id or 0))


def _cheapest(client: OctaSpace, country: str | None) -> int:
    wanted = (country or "").lower()
    for one in _relays(client):
        inside = wanted in (one.country or "").lower() or wanted == (one.country_iso or "").lower()
        if one.node_id is not None and inside:
            return one.node_id
    where = f" in {country}" if country else ""
    raise NoCapacityError(
        f"there is no VPN relay{where} now; `skerry doctor` says what an island lacks", network=octaspace.NAME
    )


def _list_relays(found: list[VpnNode], form: str) -> int:
    if form == "json":
        output.print_json("relays", {"relays": [one.to_dict() for one in found]})
        return exits.OK
    output.print_table(
        ["node", "city", "country", "residential", "per GB", "in USD"],
        [
            (
                one.node_id,
                one.city,
                one.country,
                "yes" if one.residential else "no",
                octaspace.price(one.traffic_price),
                octaspace.price(one.traffic_price_in_usd),
            )
            for one in found
        ],
        empty="there is no VPN relay; `skerry doctor` says what an island lacks",
    )
    return exits.OK
