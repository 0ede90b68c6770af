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

WITH_CREDIT = {"dispersed": "USD", "dc1": "SAR"}
"""Networks whose API the owner can add credit through, and the currency of each."""


@click.group(cls=LazyGroup)
def credit() -> None:
    """Add credit to an account of the island."""


@credit.command()
@click.argument("amount")
@click.option(
    "--network", type=click.Choice(list(WITH_CREDIT)), default="dispersed", show_default=True, help="Whose API."
)
@click.option(
    "--account",
    metavar="ID",
    help="Whose credit: a UUID of dispersed, a renter's number of dc1; the island's first account by default.",
)
@click.option("--memo", help="A remark for the ledger.")
@data_dir_option
@output.output_option
def add(amount: str, *, network: str, account: str | None, memo: str | None, directory: Path, form: str) -> int:
    """Add AMOUNT, such as 12.50, to an account; only the island's owner can.

    The amount is in US dollars for dispersed and in riyals for dc1.

    \b
    skerry credit add 25 --memo "more for June"
    skerry credit add 50 --network dc1
    """
    money = _money(amount, WITH_CREDIT[network])
    if network == "dc1" and account is not None and not (account.isascii() and account.isdigit()):
        raise click.UsageError("--account is a renter's number, such as 2, for dc1")
    link = island_link.ensure(directory, output.note)
    if network == "dc1":
        return _add_riyals(link, account, money, memo, form)
    if account is None:
        with link.dispersed() as client:
            account = client.accounts.get_me().uuid
    if not account:
        raise ProtocolError("the island did not say which account is its first", network=network)
    made = _add(link, account, money, memo)
    if form == "json":
        facts = {"network": network, "account": account, "added": output.plain(money)}
        click.echo(verbatim.document("credit", {**facts, "transaction": msgspec.Raw(verbatim.as_json(made.body))}))
        return exits.OK
    output.print_fields([("account", account), ("added", money), ("transaction", made.parsed.uuid)])
    return exits.OK


def _money(text: str, currency: str) -> Money:
    """An exact amount, or a usage error."""
    try:
        amount = Money.of(text, currency)
    except InvalidRequestError as error:
        raise click.BadParameter(str(error), param_hint="AMOUNT") from None
    if amount.amount <= 0:
        raise click.BadParameter("credit is added in amounts above 0", param_hint="AMOUNT")
    return amount


def _add_riyals(link: Link, account: str | None, amount: Money, memo: str | None, form: str) -> int:
    from skerry.cli import dc1_owner

    renter, made = dc1_owner.add_credit(link, amount, account, memo)
    if form == "json":
        facts = {"network": "dc1", "account": renter, "added": output.plain(amount)}
        click.echo(verbatim.document("credit", {**facts, "transaction": msgspec.Raw(verbatim.as_json(made.body))}))
        return exits.OK
    balance = Money(int(made.parsed["new_balance"]), "SAR")
    output.print_fields([("account", renter), ("added", amount), ("balance", balance)])
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
