"""What `skerry call` can call: networks, their operations, and what each of these takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skerry.cli import exits, output
from skerry.cli.networks import NETWORKS, Network

if TYPE_CHECKING:
    from skerry.cli.signature import Signature


def networks(form: str) -> int:
    """List the networks, and whom each of them would ask now."""
    rows = [(network.name, network.summary, network.set_variables()) for network in NETWORKS.values()]
    if form == "json":
        known = [{"name": name, "summary": text, "variables_set": found} for name, text, found in rows]
        output.print_json("networks", {"networks": known})
        return exits.OK
    output.print_table(
        ["network", "what it is", "asked by default"],
        [(name, text, f"as {', '.join(found)} say" if found else "the island") for name, text, found in rows],
        empty="no networks",
    )
    return exits.OK


def operations(network: Network, form: str) -> int:
    """List the operations of a network."""
    known = list(network.operations.values())
    if form == "json":
        found = [{"name": o.name, "method": o.method, "path": o.path, "summary": o.summary} for o in known]
        output.print_json("operations", {"network": network.name, "operations": found})
        return exits.OK
    output.print_table(
        ["operation", "method", "path", "summary"],
        [(o.name, o.method, o.path, o.summary) for o in known],
        empty="no operations",
    )
    return exits.OK


def operation(signature: Signature, form: str) -> int:
    """Say what one operation takes."""
    called, described = signature.operation, signature.described
    facts = {
        "network": signature.network.name,
        "name": called.name,
        "method": called.method,
        "path": called.path,
        "summary": called.summary,
        "paged": signature.paged,
        "takes_idempotency_key": called.keyed,
    }
    if form == "json":
        rows = [{"name": a.name, "place": a.place, "type": a.type, "required": a.required} for a in described]
        output.print_json("operation", {**facts, "arguments": rows})
        return exits.OK
    click.echo(f"{called.method} {called.path}  {called.summary}")
    extras = [text for text, so in (("--all", signature.paged), ("--idempotency-key", called.keyed)) if so]
    if extras:
        click.echo(f"also: {', '.join(extras)}")
    if described:
        click.echo()
    output.print_table(
        ["argument", "place", "type", "required"],
        [(a.name, a.place, a.type, "yes" if a.required else "") for a in described],
        empty="it takes no arguments",
    )
    return exits.OK
