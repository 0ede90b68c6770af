"""`skerry key`: API keys of the island, through the API of the network that they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skerry.cli import exits, island_link, output
from skerry.cli.main import LazyGroup
from skerry.cli.options import data_dir_option
from skerry.errors import InvalidRequestError
from skerry.times import parse_moment

if TYPE_CHECKING:
    from skerry.cli.island_link import Link

F = TypeVar("F", bound=Callable[..., Any])

WITH_KEYS = ["dispersed", "dc1"]
"""Networks whose API makes keys."""


class Moment(click.ParamType[datetime]):
    """A moment, from RFC 3339 text or a date."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse, or fail as a usage error."""
        try:
            return parse_moment(value)
        except InvalidRequestError as error:
            self.fail(str(error), param, ctx)


class Cidr(click.ParamType[str]):
    """An address, or a network in CIDR notation."""

    name = "cidr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check, or fail as a usage error."""
        import ipaddress

        try:
            ipaddress.ip_network(value)
        except ValueError as error:
            self.fail(f"{error}; write 203.0.113.7 or 203.0.113.0/24", param, ctx)
        return str(value)


def _network_option(command: F) -> F:
    return click.option(
        "--network",
        type=click.Choice(WITH_KEYS),
        default=WITH_KEYS[0],
        show_default=True,
        help="Whose keys.",
    )(command)


@click.group(cls=LazyGroup)
def key() -> None:
    """List, make and revoke API keys of the island."""


@key.command()
@_network_option
@data_dir_option
@output.output_option
def ls(*, network: str, directory: Path, form: str) -> int:
    """List API keys; their secrets are never shown."""
    link = island_link.ensure(directory, output.note)
    if network == "dc1":
        return _list_scoped(link, form)
    with link.dispersed() as client:
        found = list(client.api_keys.iter_all({"limit": 50}))
    if form == "json":
        output.print_json("keys", {"network": network, "keys": [one.to_dict() for one in found]})
        return exits.OK
    output.print_table(
        ["id", "name", "public key", "preset", "from", "state"],
        [
            (
                one.uuid,
                one.name,
                one.public_key,
                one.preset,
                ", ".join(one.allowed_ips or ()) or "anywhere",
                _state(one),
            )
            for one in found
        ],
        empty="no keys; make one: skerry key create",
    )
    return exits.OK


@key.command()
@_network_option
@click.option("--name", help="A name of your own; shown in lists.")
@click.option(
    "--preset",
    type=click.Choice(["CONSUMER", "COMPUTE_NODE"]),
    help="What it may do; CONSUMER by default. Only for dispersed.",
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["inference", "billing", "admin"]),
    multiple=True,
    help="What it may do; repeatable, inference by default. Only for dc1.",
)
@click.option(
    "--allowed-ip",
    "addresses",
    type=Cidr(),
    multiple=True,
    help="Where it may be used from; repeatable, else anywhere. Only for dispersed.",
)
@click.option("--expires-at", type=Moment(), help="When it ends, such as 2027-01-31T00:00:00Z; never by default.")
@data_dir_option
@output.output_option
def create(
    *,
    network: str,
    name: str | None,
    preset: str | None,
    scopes: tuple[str, ...],
    addresses: tuple[str, ...],
    expires_at: datetime | None,
    directory: Path,
    form: str,
) -> int:
    """Make an API key and print it with its secret, which is shown this once."""
    if network == "dc1":
        if preset is not None or addresses:
            raise click.UsageError("keys of dc1 have --scope, and neither --preset nor --allowed-ip")
        return _create_scoped(island_link.ensure(directory, output.note), name, scopes, expires_at, form)
    if scopes:
        raise click.UsageError("--scope is for keys of dc1; keys of dispersed have --preset")
    wanted = {
        "name": name,
        "preset": preset,
        "allowed_ips": list(addresses) or None,
        "expires_at": expires_at,
    }
    link = island_link.ensure(directory, output.note)
    with link.dispersed() as client:
        made = client.api_keys.create({field: value for field, value in wanted.items() if value is not None}, retry=0)
    if form == "json":
        output.print_json("key", {"network": network, "key": made.to_dict()})
        return exits.OK
    output.print_fields([("id", made.uuid), ("public key", made.public_key), ("secret key", made.secret_key)])
    output.note("skerry: the secret is not shown again")
    return exits.OK


@key.command()
@click.argument("key_ids", nargs=-1, required=True, metavar="KEY...")
@_network_option
@data_dir_option
@output.output_option
def revoke(key_ids: tuple[str, ...], *, network: str, directory: Path, form: str) -> int:
    """Revoke API keys, for good; revoking one twice does no harm."""
    with _revoking(island_link.need(directory), network) as revoke_one:
        for key_id in key_ids:
            revoke_one(key_id)
            if form == "table":
                click.echo(key_id)
    if form == "json":
        output.print_json("keys_revoked", {"network": network, "revoked": list(key_ids)})
    return exits.OK


@contextmanager
def _revoking(link: Link, network: str) -> Iterator[Callable[[str], object]]:
    if network == "dc1":
        from skerry.cli import dc1_owner

        with dc1_owner.asking(link) as dc1:
            yield partial(dc1_owner.revoke_key, dc1)
        return
    with link.dispersed() as client:
        yield client.api_keys.revoke


def _list_scoped(link: Link, form: str) -> int:
    from skerry.cli import dc1_owner

    found = dc1_owner.keys(link)
    if form == "json":
        output.print_json("keys", {"network": "dc1", "keys": [one.to_dict() for one in found]})
        return exits.OK
    output.print_table(
        ["id", "name", "scopes", "state"],
        [(one.name, one.label, ", ".join(one.scopes or ()), _state(one)) for one in found],
        empty="no keys; make one: skerry key create --network dc1",
    )
    return exits.OK


def _create_scoped(
    link: Link, name: str | None, scopes: tuple[str, ...], expires_at: datetime | None, form: str
) -> int:
    from skerry.cli import dc1_owner

    made = dc1_owner.create_key(link, name, scopes, expires_at)
    if form == "json":
        output.print_json("key", {"network": "dc1", "key": made.to_dict()})
        return exits.OK
    output.print_fields([("id", made.name), ("scopes", ", ".join(made.scopes or ())), ("key", made.key)])
    output.note("skerry: the key is not shown again")
    return exits.OK


def _state(one: Any) -> str:
    if getattr(one, "revoked_at", None) is not None or getattr(one, "revoked", False):
        return "revoked"
    if not isinstance(one.expires_at, datetime):
        return "good"
    return (
        "expired" if one.expires_at <= datetime.now(UTC) else f"until {one.expires_at.astimezone(UTC):%Y-%m-%d %H:%M}"
    )
