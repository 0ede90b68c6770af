"""A renter's wallet as the ledger has it, and invoices of its jobs (section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ACCOUNT, OWN_MONEY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.money import wallet
from skerry.island.faces.dc1.money.invoices import invoice
from skerry.island.faces.dc1.money.spreadsheet import CSV, attachment, rows_of
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.renters.renter_keys import own
from skerry.island.faces.dc1.tables import jobs
from skerry.island.store import ledger
from skerry.island.store.tables import postings

_USUAL, _MOST = 50, 200
_MOST_OFFSET = 10_000_000
_INVOICE = "INV-"
_KINDS = (
    ("wallet:dc1:topup:", "topup"),
    ("wallet:dc1:payment:", "payment"),
    ("wallet:dc1:refund:", "payment_refund"),
    ("wallet:dc1:credit:", "credit"),
    ("wallet:dc1:adjustment:", "adjustment"),
    ("wallet:dc1:opening:", "opening_balance"),
    ("grant:dc1:", "opening_balance"),
    ("hold:", "hold"),
    ("settle:", "release"),
    ("grant:", "credit"),
)


class Statements:
    """What came into a wallet and what went out.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Reads; with a key that may see the balance, but for invoices."""
        one, invoices = "/api/renters/{renter_id}", "/api/renters/me/invoices"
        return [
            Route(method="GET", path=f"{one}/balance", handler=self.balance, access=OWN_MONEY),
            Route(method="GET", path=f"{one}/transactions", handler=self.transactions, access=OWN_MONEY),
            Route(method="GET", path=f"{one}/ledger", handler=self.ledger, access=OWN_MONEY),
            Route(method="GET", path=invoices, handler=self.invoices, access=ACCOUNT),
            Route(method="GET", path=f"{invoices}/{{invoice_id}}/csv", handler=self.invoice_csv, access=ACCOUNT),
        ]

    async def balance(self, call: Call, renter_id: str) -> Answer:
        """What the wallet has."""
        own(call, renter_id)

        def work(connection: Connection) -> dict[str, Any]:
            renter = renter_rows.active(connection, call.renter.id)
            return {"renter_id": renter.id, **wallet.view(connection, renter)}

        return Answer(await self._engine.store.read(work))

    async def transactions(self, call: Call, renter_id: str) -> Answer:
        """Movements of the balance, the newest first."""
        own(call, renter_id)
        accounts = [ledger.owner(call.renter.account_id)]
        return Answer(await self._engine.store.read(_lines, accounts, "transactions", *_page(call)))

    async def ledger(self, call: Call, renter_id: str) -> Answer:
        """Lines of the ledger, of the balance and of what jobs hold, the newest first."""
        own(call, renter_id)
        accounts = [ledger.owner(call.renter.account_id), ledger.holding(call.renter.account_id)]
        return Answer(await self._engine.store.read(_lines, accounts, "ledger", *_page(call)))

    async def invoices(self, call: Call) -> Answer:
        """An invoice for each job that was charged, the newest first."""
        limit, offset = _page(call)

        def work(connection: Connection) -> dict[str, Any]:
            where = (jobs.c.renter_id == call.renter.id, jobs.c.status == "completed")
            query = select(jobs).where(*where).order_by(jobs.c.completed_at.desc(), jobs.c.id.desc())
            found = [_invoice(job) for job in connection.execute(query.limit(limit).offset(offset))]
            total = connection.execute(select(func.count()).select_from(jobs).where(*where)).scalar_one()
            return {"invoices": found, "pagination": {"limit": limit, "offset": offset, "total": int(total)}}

        return Answer(await self._engine.store.read(work))

    async def invoice_csv(self, call: Call, invoice_id: str) -> Answer:
        """One invoice as a table.

        Raises:
            Fault: 404, there is none, or it is another renter's.
        """

        def work(connection: Connection) -> dict[str, Any]:
            job = job_rows.find(connection, invoice_id.removeprefix(_INVOICE))
            if job is None or job.renter_id != call.renter.id or job.status != "completed":
                raise Fault(404, "Invoice not found")
            return _invoice(job)

        found = await self._engine.store.read(work)
        table = rows_of(list(found), [list(found.values())])
        return Answer(table, media=CSV, headers=attachment(f"{found['invoice_id']}.csv"))


def _invoice(job: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in invoice(job).items() if name != "success"}


def _page(call: Call) -> tuple[int, int]:
    return call.whole("limit", _USUAL, 1, _MOST), call.whole("offset", 0, 0, _MOST_OFFSET)


def _lines(connection: Connection, accounts: Sequence[str], name: str, limit: int, offset: int) -> dict[str, Any]:
    where = (or_(*(postings.c.account == it for it in accounts)), postings.c.currency == renter_rows.CURRENCY)
    query = select(postings).where(*where).order_by(postings.c.id.desc()).limit(limit).offset(offset)
    total = connection.execute(select(func.count()).select_from(postings).where(*where)).scalar_one()
    pages = {"limit": limit, "offset": offset, "total": int(total)}
    return {name: [_line(row, accounts[0]) for row in connection.execute(query)], "pagination": pages}


def _line(row: Row[Any], balance: str) -> dict[str, Any]:
    amount = int(row.amount)
    return {
        "id": row.id,
        "type": next((kind for prefix, kind in _KINDS if row.transfer_id.startswith(prefix)), "transfer"),
        "account": "balance" if row.account == balance else "held",
        "direction": "credit" if amount > 0 else "debit",
        "amount_halala": amount,
        "amount_sar": wire.sar(amount),
        "description": row.memo,
        "created_at": wire.iso(row.created_at),
    }
