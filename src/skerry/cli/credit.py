"""`skerry credit`: the owner of an island gives an account credit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from skerry.cli import exits, island_link, output, verbatim
from skerry.cli.main import LazyGroup
from skerry.cli.options import data_dir_option
from skerry.errors import InvalidRequestError, ProtocolError
from skerry.money import Money

if TYPE_CHECKING:
    from skerry._kernel.raw import RawResponse
    from skerry.cli.island_link import Link
    from skerry.networks.dispersed.models import LedgerTransaction

WITH_CREDIT = ["dispersed"]
"""Networks whose API the owner can add credit through."""


class Dollars(click.ParamType[Money]):
    """An amount of US dollars, exact, such as `12.50`."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Money:
        """Parse, or fail as a usage error."""
        try:
            amount = Money.of(value, "USD")
        except InvalidRequestError as error:
            self.fail(str(error), param, ctx)
        if amount.amount <= 0:
            self.fail("credit is added in amounts above 0", param, ctx)
        return amount


@click.group(cls=LazyGroup)
def credit() -> None:
    """Add credit to an account of the island."""


@credit.command()
@click.argument("amount", type=Dollars())
@click.option("--network", type=click.Choice(WITH_CREDIT), default=WITH_CREDIT[0], show_default=True, help="Whose API.")
@click.option("--account", metavar="UUID", help="Whose credit; the island's first account by default.")
@click.option("--memo", help="A remark for the ledger.")
@data_dir_option
@output.output_option
def add(amount: Money, *, network: str, account: str | None, memo: str | None, directory: Path, form: str) -> int:
    """Add AMOUNT US dollars, such as 12.50, to an account; only the island's owner can.

    \b
    skerry credit add 25 --memo "more for June"
    """
    link = island_link.ensure(directory, output.note)
    if account is None:
        with link.dispersed() as client:
            account = client.accounts.get_me().uuid
    if not account:
        raise ProtocolError("the island did not say which account is its first", network=network)
    made = _add(link, account, amount, memo)
    if form == "json":
        facts = {"network": network, "account": account, "added": output.plain(amount)}
        click.echo(verbatim.document("credit", {**facts, "transaction": msgspec.Raw(verbatim.as_json(made.body))}))
        return exits.OK
    output.print_fields([("account", account), ("added", amount), ("transaction", made.parsed.uuid)])
    return exits.OK


def _add(link: Link, account: str, amount: Money, memo: str | None) -> RawResponse[LedgerTransaction]:
    """Top up an account, once: a request that may have been carried out is not repeated (section 3.10)."""
    import httpx2

    from skerry._io._sync.driver import Driver
    from skerry._io.choice import transport_for
    from skerry._kernel.dialect import Call, Dialect, Operation
    from skerry._kernel.raw import raw
    from skerry._kernel.request import Request
    from skerry._kernel.retry import ONCE
    from skerry.networks.dispersed.answers import reader
    from skerry.networks.dispersed.codes import error_of, failure_error
    from skerry.networks.dispersed.models import LedgerTransaction
    from skerry.networks.dispersed.operations import JSON, segment

    operation = Operation("admin.add_credit", "POST", "/v1/admin/accounts/{uuid}/credits", "unsafe", LedgerTransaction)
    url = link.base_url("dispersed") + operation.path.format(uuid=segment(account))
    # As a JSON number, digit by digit: money is never a float on its way.
    fields: dict[str, Any] = {"amount_usd": msgspec.Raw(f"{amount.decimal:f}".encode())}
    body = msgspec.json.encode(fields if memo is None else {**fields, "memo": memo})
    authorization = ("authorization", f"Bearer {link.owner_key}")

    def sign(request: Request) -> Request:
        return request.but(headers=(*request.headers, authorization))

    dialect = Dialect("dispersed", sign, error_of, failure_error, ONCE, timeout=30.0)
    # The island is on this machine: no proxy may see the owner's key, whatever the environment says.
    with httpx2.Client(trust_env=False) as connections:
        driver = Driver(dialect, transport_for(connections))
        return raw(driver.send)(Call(operation, url, reader(LedgerTransaction), JSON, body))
