"""`skerry call`: any documented call of any network, made by the network's own client."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from skerry.cli import exits, fields, island_link, output
from skerry.cli.networks import (
    NETWORKS,
    Network,
    complete_network,
    complete_operation,
    identifiers,
    network_named,
)
from skerry.cli.options import Duration, data_dir_option
from skerry.errors import SkerryError

if TYPE_CHECKING:
    from skerry._kernel.dialect import Operation
    from skerry._kernel.hooks import ResponseSeen
    from skerry._kernel.options import RequestOptions
    from skerry._kernel.raw import RawResponse
    from skerry._kernel.request import Request
    from skerry.cli.signature import Signature

Place = Literal["hosted", "island"]


@click.command()
@click.argument("network_name", metavar="[NETWORK]", required=False, shell_complete=complete_network)
@click.argument("operation_name", metavar="[OPERATION]", required=False, shell_complete=complete_operation)
@click.argument("words", metavar="[ID...] [FIELD=VALUE...]", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="List the networks, or the operations of NETWORK.")
@click.option("--describe", is_flag=True, help="Show what OPERATION takes.")
@click.option("-d", "--data", metavar="JSON", help="Body: JSON, @FILE, or - for our standard input.")
@click.option("--query", multiple=True, metavar="NAME=VALUE", help="Parameter of the query; repeatable.")
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Filter of a list; repeatable.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Further header; repeatable.")
@click.option("--idempotency-key", metavar="KEY", help="The same key with the same request acts once.")
@click.option("--timeout", type=Duration(), help="How long each try may take.")
@click.option("--retries", type=click.IntRange(0), help="Further tries after the first.")
@click.option("--all", "every", is_flag=True, help="Print the objects of all pages, one a line.")
@click.option("--raw", "verbose", is_flag=True, help="Status and headers to stderr, the body's bytes to stdout.")
@click.option("--dry-run", is_flag=True, help="Print the request, secrets masked, and send nothing.")
@click.option("--hosted", "place", flag_value="hosted", help="Ask whom the client's own variables name.")
@click.option("--island", "place", flag_value="island", help="Ask the island of the data directory.")
@data_dir_option
@output.output_option
@click.pass_context
def call(
    context: click.Context,
    *,
    network_name: str | None,
    operation_name: str | None,
    words: tuple[str, ...],
    listing: bool,
    describe: bool,
    data: str | None,
    query: tuple[str, ...],
    filters: tuple[str, ...],
    headers: tuple[str, ...],
    idempotency_key: str | None,
    timeout: float | None,
    retries: int | None,
    every: bool,
    verbose: bool,
    dry_run: bool,
    place: Place | None,
    directory: Path,
    form: str,
) -> int:
    """Make any call of a network and print its answer as JSON.

    IDs of the path come first, then fields of the body: key=text, key:=json, key=@file; dots lead into objects.
    Without --hosted or --island, the client's variables decide (DISPERSED_PUBLIC_KEY, ARKER_BASE_URL ...); where none
    is set it is the island of the data directory, started if need be.

    \b
    skerry call                                      the networks
    skerry call dispersed                            its operations
    skerry call dispersed jobs.create --describe     what one takes
    skerry call arker vms.fork ubuntu name=box
    skerry call dispersed jobs.list --filter status=RUNNING --all
    """
    if network_name is None:
        return _list_networks(form)
    network = network_named(network_name)
    if operation_name is None or listing:
        return _list_operations(network, form)
    operation = network.operation(operation_name)
    count = len(identifiers(operation))
    plan = _Plan(network, operation, words[:count])
    if describe:
        return _describe(plan, form)
    if every and verbose:
        raise click.UsageError("--all prints objects and --raw a body; choose one")
    _check(plan, (*words, *query, *filters))
    if every and not plan.signature.paged:
        raise click.UsageError(f"{operation.name} answers without pages; leave --all out")
    positional, keywords = plan.signature.arguments(
        plan.ids[len(plan.ids) - plan.left :],
        fields.body_of(data, words[count:]),
        fields.pairs_of(query, "--query"),
        fields.pairs_of(filters, "--filter"),
    )
    keywords["options"] = _options(headers, idempotency_key, timeout, retries)
    if place is None and context.get_parameter_source("directory") is click.core.ParameterSource.COMMANDLINE:
        place = "island"
    variables = [] if place == "island" else network.set_variables()
    if place == "hosted" or variables:
        settings = {}
    else:
        # A rehearsal needs the island's keys, but starts nothing.
        link = island_link.need(directory) if dry_run else island_link.ensure(directory, output.note)
        settings = link.client_settings(network.name)
    way = _Way(network, settings, rehearsal=dry_run)
    try:
        return way.perform(plan, positional, keywords, every=every, verbose=verbose, form=form)
    except UnicodeEncodeError:
        raise click.UsageError("an argument is not Unicode text") from None
    except SkerryError as error:
        if not settings:
            exits.suggest(error, _elsewhere(variables))
        raise


class _Plan:
    """An operation, the ids given for it, and what it takes further."""

    def __init__(self, network: Network, operation: Operation, ids: tuple[str, ...]) -> None:
        from skerry.cli.signature import Signature

        self.network = network
        self.operation = operation
        self.ids = ids
        names = identifiers(operation)
        method, rest = network.method(network.unconnected(), operation, names)
        self.left = len(rest)
        self.signature: Signature = Signature(operation, method, len(rest))


def _check(plan: _Plan, words: tuple[str, ...]) -> None:
    names = [name.upper() for name in identifiers(plan.operation)]
    if len(plan.ids) < len(names) or any(not word or fields.is_field(word) for word in plan.ids):
        raise click.UsageError(f"{plan.operation.name} needs {' '.join(names)} before any field")
    for word in words:
        if not _is_text(word):
            raise click.UsageError("an argument is not Unicode text")


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _options(
    headers: tuple[str, ...], idempotency_key: str | None, timeout: float | None, retries: int | None
) -> RequestOptions:
    from skerry._kernel.model import NOT_GIVEN
    from skerry._kernel.options import RequestOptions

    pairs = [header.partition(":") for header in headers]
    if not all(name.strip() and colon for name, colon, _ in pairs):
        # What was given may be a secret, and is not repeated.
        raise click.UsageError("--header takes 'NAME: VALUE'")
    return RequestOptions(
        timeout=NOT_GIVEN if timeout is None else timeout,
        headers={name.strip(): value.strip() for name, _, value in pairs} or None,
        retries=retries,
        idempotency_key=idempotency_key,
    )


def _elsewhere(variables: list[str]) -> str:
    if variables:
        return f"{', '.join(variables)} said whom to ask; --island asks the island of the data directory"
    return "--hosted asks whom the client's own variables name; --island asks the island of the data directory"


class _Rehearsed(Exception):
    """A request that would have been sent."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


class _Rehearsal:
    """A transport that sends nothing."""

    def send(self, request: Request) -> Any:
        raise _Rehearsed(request)

    def stream(self, request: Request) -> Any:
        raise _Rehearsed(request)

    def close(self) -> None:
        """There is nothing to let go of."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How a call is made: by whose client, with which settings, in earnest or not."""

    network: Network
    settings: dict[str, Any]
    rehearsal: bool

    def perform(
        self,
        plan: _Plan,
        positional: list[Any],
        keywords: dict[str, Any],
        *,
        every: bool,
        verbose: bool,
        form: str,
    ) -> int:
        from skerry._kernel.hooks import Hooks
        from skerry._kernel.raw import raw

        seen: list[ResponseSeen] = []
        transport = {"transport": _Rehearsal()} if self.rehearsal else {}
        with self.network.connect(**self.settings, **transport, hooks=Hooks(on_response=[seen.append])) as client:
            method, _ = self.network.method(client, plan.operation, plan.ids)
            try:
                exchange = raw(method)(*positional, **keywords)
                if every:
                    _print_every(plan, exchange, form)
                elif verbose:
                    _print_head(seen[-1])
                    _write(exchange.body)
                else:
                    _print_answer(plan, exchange, form)
            except _Rehearsed as rehearsed:
                _print_request(rehearsed.request, form)
            except SkerryError as error:
                if verbose and seen:
                    _print_head(seen[-1])
                    _write(error.body or b"")
                raise
        return exits.OK


def _list_networks(form: str) -> int:
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


def _list_operations(network: Network, form: str) -> int:
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


def _describe(plan: _Plan, form: str) -> int:
    operation, described = plan.operation, plan.signature.described
    facts = {
        "network": plan.network.name,
        "name": operation.name,
        "method": operation.method,
        "path": operation.path,
        "summary": operation.summary,
        "paged": plan.signature.paged,
        "takes_idempotency_key": operation.keyed,
    }
    if form == "json":
        rows = [{"name": a.name, "place": a.place, "type": a.type, "required": a.required} for a in described]
        output.print_json("operation", {**facts, "arguments": rows})
        return exits.OK
    click.echo(f"{operation.method} {operation.path}  {operation.summary}")
    extras = [text for text, so in (("--all", plan.signature.paged), ("--idempotency-key", operation.keyed)) if so]
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


def _print_answer(plan: _Plan, exchange: RawResponse[Any], form: str) -> None:
    from skerry.cli import verbatim

    content = exchange.parsed if isinstance(exchange.parsed, bytes) else None
    if form == "json":
        import msgspec

        from skerry.cli.watch import encoded

        answer: dict[str, Any] = {"answer": msgspec.Raw(verbatim.as_json(exchange.body))}
        if content is not None:
            answer["content"], answer["encoding"] = encoded(content)
            del answer["answer"]
        click.echo(verbatim.document("call", {**_which(plan), "status": exchange.status, **answer}))
    elif content is not None:
        _write(content)
    elif exchange.body:
        click.echo(verbatim.laid_out(exchange.body))


def _print_every(plan: _Plan, exchange: RawResponse[Any], form: str) -> None:
    from skerry.cli import verbatim

    if form != "json":
        for item in _every(exchange):
            click.echo(verbatim.laid_out(item, lines=False))
        return
    import msgspec

    items = [msgspec.Raw(item) for item in _every(exchange)]
    click.echo(verbatim.document("call", {**_which(plan), "items": items}))


def _every(exchange: RawResponse[Any]) -> Iterator[bytes]:
    from skerry._kernel.raw import raw
    from skerry.cli import verbatim

    while True:
        yield from verbatim.items(exchange.body)
        if not exchange.parsed.has_next:
            return
        exchange = raw(exchange.parsed.next_page)()


def _print_request(request: Request, form: str) -> None:
    from skerry._io.httpx_support import wire_headers
    from skerry._kernel.redaction import MASK, redact_headers, redact_url
    from skerry.cli import verbatim

    url = redact_url(request.url, secret=request.secret)
    headers = [
        (name, MASK if verbatim.SECRET_NAME.search(name) else value)
        for name, value in redact_headers(wire_headers(request))
    ]
    body = verbatim.masked(request.body) if isinstance(request.body, bytes) else None
    if form == "json":
        import msgspec

        facts = {"method": request.method, "url": url, "headers": dict(headers)}
        click.echo(verbatim.document("request", {**facts, "body": None if body is None else msgspec.Raw(body)}))
        return
    click.echo(f"{request.method} {url}")
    for name, value in headers:
        click.echo(f"{name}: {value}")
    if body is not None:
        click.echo(f"\n{verbatim.laid_out(body)}")


def _print_head(answer: ResponseSeen) -> None:
    click.echo(f"HTTP {answer.status}", err=True)
    for name, value in answer.headers:
        click.echo(f"{name}: {value}", err=True)


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _which(plan: _Plan) -> dict[str, Any]:
    return {"network": plan.network.name, "operation": plan.operation.name}
