"""`skerry call`: any documented call of any network, made by the network's own client."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import catalogue, exits, fields, output
from skerry.cli.networks import complete_network, complete_operation, network_named
from skerry.cli.options import Duration
from skerry.cli.places import Place, place_options, target
from skerry.errors import SkerryError

if TYPE_CHECKING:
    from skerry._kernel.hooks import ResponseSeen
    from skerry._kernel.options import RequestOptions
    from skerry._kernel.request import Request
    from skerry.cli.answers import Shown
    from skerry.cli.signature import Signature


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
@place_options
@output.output_option
def call(
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
        return catalogue.networks(form)
    network = network_named(network_name)
    if operation_name is None or listing:
        return catalogue.operations(network, form)
    from skerry._kernel.hooks import Hooks
    from skerry._kernel.raw import raw
    from skerry.cli import answers
    from skerry.cli.signature import Signature

    signature = Signature(network, network.operation(operation_name))
    if describe:
        return catalogue.operation(signature, form)
    if every and verbose:
        raise click.UsageError("--all prints objects and --raw a body; choose one")
    if every and not signature.paged:
        raise click.UsageError(f"{operation_name} answers without pages; leave --all out")
    if verbose and signature.streams:
        raise click.UsageError(f"{operation_name} answers piece by piece; leave --raw out")
    ids, rest = words[: len(signature.ids)], words[len(signature.ids) :]
    _check(signature, ids, (*words, *query, *filters))
    positional, keywords = signature.arguments(
        ids,
        fields.body_of(data, rest),
        fields.pairs_of(query, "--query"),
        fields.pairs_of(filters, "--filter"),
    )
    keywords["options"] = _options(headers, idempotency_key, timeout, retries)
    # A rehearsal needs the island's keys, but starts nothing.
    asked = target(network, place, directory, start=not dry_run)
    shown: Shown = "every" if every else "raw" if verbose else "answer"
    seen: list[ResponseSeen] = []
    try:
        with (
            _Rehearsal.instead() if dry_run else asked.transport() as transport,
            network.connect(**asked.settings, **transport, hooks=Hooks(on_response=[seen.append])) as client,
        ):
            method, _ = network.method(client, signature.operation, ids)
            if signature.streams:
                answers.show_stream(method(*positional, **keywords))
                return exits.OK
            exchange = raw(method)(*positional, **keywords)
            answers.show(signature.operation, network.name, exchange, shown, seen, form)
    except _Rehearsed as rehearsed:
        answers.show_request(rehearsed.request, form)
    except UnicodeEncodeError:
        raise click.UsageError("an argument is not Unicode text") from None
    except SkerryError as error:
        if verbose and seen:
            answers.show_raw(seen, error.body or b"")
        asked.explain(error)
        raise
    return exits.OK


def _check(signature: Signature, ids: tuple[str, ...], words: tuple[str, ...]) -> None:
    names = [name.upper() for name in signature.ids]
    if len(ids) < len(names) or any(not word or fields.is_field(word) for word in ids):
        raise click.UsageError(f"{signature.operation.name} needs {' '.join(names)} before any field")
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


class _Rehearsed(Exception):
    """A request that would have been sent."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


class _Rehearsal:
    """A transport that sends nothing."""

    @classmethod
    def instead(cls) -> AbstractContextManager[dict[str, Any]]:
        """The argument that has a client use it."""
        return nullcontext({"transport": cls()})

    def send(self, request: Request) -> Any:
        raise _Rehearsed(request)

    def stream(self, request: Request) -> Any:
        raise _Rehearsed(request)

    def close(self) -> None:
        """There is nothing to let go of."""
