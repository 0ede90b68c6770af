"""How `skerry call` prints what it was answered, and what it would have sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import click
import msgspec

from skerry._io.httpx_support import wire_headers
from skerry._kernel.dialect import Operation
from skerry._kernel.hooks import ResponseSeen
from skerry._kernel.model import Model
from skerry._kernel.raw import RawResponse, raw
from skerry._kernel.redaction import MASK, redact_headers, redact_url
from skerry._kernel.request import Request
from skerry.cli import verbatim
from skerry.cli.watch import encoded

Shown = Literal["answer", "every", "raw"]


def show(
    operation: Operation,
    network: str,
    exchange: RawResponse[Any],
    shown: Shown,
    seen: Sequence[ResponseSeen],
    form: str,
) -> None:
    """Print an answer.

    Args:
        operation: what was called.
        network: whose.
        exchange: the answer, the first page of several for `every`.
        shown: the answer as JSON, the objects of all pages, or the body as it came.
        seen: answers to all requests that it took.
        form: `table` for people, `json` for one object with the facts around it.
    """
    which = {"network": network, "operation": operation.name}
    if shown == "raw":
        show_raw(seen, exchange.body)
    elif shown == "every" and form == "json":
        items = [msgspec.Raw(item) for item in _every(exchange)]
        click.echo(verbatim.document("call", {**which, "items": items}))
    elif shown == "every":
        for item in _every(exchange):
            click.echo(verbatim.laid_out(item, lines=False))
    else:
        _show_answer(which, exchange, form)


def _show_answer(which: dict[str, Any], exchange: RawResponse[Any], form: str) -> None:
    content = exchange.parsed if isinstance(exchange.parsed, bytes) else None
    if form == "json":
        facts: dict[str, Any] = {**which, "status": exchange.status}
        if content is None:
            facts["answer"] = msgspec.Raw(verbatim.as_json(exchange.body))
        else:
            facts["content"], facts["encoding"] = encoded(content)
        click.echo(verbatim.document("call", facts))
    elif content is not None:
        _write(content)
    elif exchange.body:
        click.echo(verbatim.laid_out(exchange.body))


def show_stream(pieces: Iterable[Any]) -> None:
    """Print what comes piece by piece, each as JSON on a line of its own, as soon as it is there."""
    for piece in pieces:
        click.echo(msgspec.json.encode(piece.to_dict() if isinstance(piece, Model) else piece))


def show_raw(seen: Sequence[ResponseSeen], body: bytes) -> None:
    """Print status and headers of the last answer to stderr, and its body as it came to stdout."""
    click.echo(f"HTTP {seen[-1].status}", err=True)
    for name, value in seen[-1].headers:
        click.echo(f"{name}: {value}", err=True)
    _write(body)


def show_request(request: Request, form: str) -> None:
    """Print a request, with whatever may be a secret masked."""
    url = redact_url(request.url, secret=request.secret)
    headers = [
        (name, MASK if verbatim.SECRET_NAME.search(name) else value)
        for name, value in redact_headers(wire_headers(request))
    ]
    body = verbatim.masked(request.body) if isinstance(request.body, bytes) else None
    if form == "json":
        facts = {"method": request.method, "url": url, "headers": dict(headers)}
        click.echo(verbatim.document("request", {**facts, "body": None if body is None else msgspec.Raw(body)}))
        return
    click.echo(f"{request.method} {url}")
    for name, value in headers:
        click.echo(f"{name}: {value}")
    if body is not None:
        click.echo(f"\n{verbatim.laid_out(body)}")


def _every(exchange: RawResponse[Any]) -> Iterator[bytes]:
    while True:
        yield from verbatim.items(exchange.body)
        if not exchange.parsed.has_next:
            return
        exchange = raw(exchange.parsed.next_page)()


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
