"""The operator's view of money, and what it decides about payments (section 3.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ADMIN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.money import payment_rows, settling, wallet
from skerry.island.faces.dc1.renters.renter_rows import CURRENCY
from skerry.island.faces.dc1.tables import jobs, payments, providers, renters, withdrawals
from skerry.island.store import ledger
from skerry.island.store.tables import balances, postings
from skerry.networks.dc1.pricing import CLASSES, FLAT_OTHER, FLAT_RATES, GPU_OTHER, GPU_RATES

_USUAL, _MOST_LISTED = 50, 200
_MOST_PAGE = 1_000_000
_MOST_REASON = 500
_ESCROW = "esc-"
_CLAIM_SLACK = 1_800_000_000


class AdminFinance:
    """Payments, sums, holds and the ledger.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """All with the operator's token."""
        base = "/api/admin"
        one = f"{base}/payments/{{payment_id}}"
        rows = (
            ("GET", f"{base}/payments", self.payments),
            ("POST", f"{one}/confirm-topup", self.confirm),
            ("POST", f"{one}/refund", self.refund),
            ("POST", f"{one}/reject", self.reject),
            ("GET", f"{base}/finance/summary", self.summary),
            ("GET", f"{base}/finance/transactions", self.transactions),
            ("GET", f"{base}/escrow", self.escrow),
            ("GET", f"{base}/audit", self.audit),
            ("GET", f"{base}/pricing", self.pricing),
            ("POST", f"{base}/pricing", self.set_pricing),
            ("PATCH", f"{base}/pricing", self.set_pricing),
            ("PATCH", f"{base}/pricing/{{name}}", self.set_pricing),
        )
        return [
            Route(method=method, path=path, handler=handler, access=ADMIN, limits=(limits.ADMIN,))
            for method, path, handler in rows
        ]

    async def payments(self, call: Call) -> Answer:
        """Payments by pages, the newest first; of one state if the query names one."""
        page, limit = _page(call)
        status = call.query.get("status")

        def work(connection: Connection) -> dict[str, Any]:
            rows, total = payment_rows.listed(connection, status=status, limit=limit, offset=(page - 1) * limit)
            found = [{**payment_rows.view(row), "renter_id": row.renter_id} for row in rows]
            return {"payments": found, "pagination": _pages(page, limit, total)}

        return Answer(await self._engine.store.read(work))

    async def confirm(self, call: Call, payment_id: str) -> Answer:
        """The money of a bank transfer has come: the wallet has it from now on, once.

        Raises:
            Fault: 404, or 409 when the payment is not pending.
        """
        payment, has = await self._engine.store.run(payment_rows.confirm, payment_id, call.now)
        return Answer(_moved(payment, has))

    async def refund(self, call: Call, payment_id: str) -> Answer:
        """The money of a payment was given back outside: it leaves the wallet, once.

        Raises:
            Fault: 404, or 409 when it was not paid, or the wallet has no longer what it was.
        """
        payment, has = await self._engine.store.run(payment_rows.refund, payment_id, _reason(call), call.now)
        return Answer(_moved(payment, has))

    async def reject(self, call: Call, payment_id: str) -> Answer:
        """The money of a bank transfer will not come.

        Raises:
            Fault: 404, or 409 when the payment is not pending.
        """
        payment = await self._engine.store.run(payment_rows.reject, payment_id, _reason(call), call.now)
        return Answer({"success": True, **payment_rows.view(payment)})

    async def summary(self, call: Call) -> Answer:
        """Where every halala is."""
        return Answer({**await self._engine.store.read(_summary), "timestamp": wire.iso(call.now)})

    async def transactions(self, call: Call) -> Answer:
        """Lines of the ledger in riyals, of everybody, the newest first."""
        page, limit = _page(call)

        def work(connection: Connection) -> dict[str, Any]:
            where = postings.c.currency == CURRENCY
            total = int(connection.execute(select(func.count()).select_from(postings).where(where)).scalar_one())
            query = select(postings).where(where).order_by(postings.c.id.desc())
            found = [_line(row) for row in connection.execute(query.limit(limit).offset((page - 1) * limit))]
            return {"transactions": found, "pagination": _pages(page, limit, total)}

        return Answer(await self._engine.store.read(work))

    async def escrow(self, call: Call) -> Answer:
        """What each job that has not ended holds."""

        def work(connection: Connection) -> dict[str, Any]:
            where = (jobs.c.status.not_in(job_rows.TERMINAL), jobs.c.account_id.is_not(None))
            holds = [_hold(job) for job in connection.execute(select(jobs).where(*where).order_by(jobs.c.id.desc()))]
            sums = {
                status: {
                    "count": sum(hold["status"] == status for hold in holds),
                    "amount_halala": sum(hold["amount_halala"] for hold in holds if hold["status"] == status),
                }
                for status in ("held", "locked")
            }
            return {"escrow": holds, "total": len(holds), "summary": sums}

        return Answer(await self._engine.store.read(work))

    async def audit(self, call: Call) -> Answer:
        """Whether the books are right: each transfer balances, each sum is right, and holds are those of jobs."""
        problems = [*await self._engine.ledger.audit(), *await self._engine.store.read(_mismatches)]
        return Answer({"ok": not problems, "problems": problems, "checked_at": wire.iso(call.now)})

    async def pricing(self, call: Call) -> Answer:
        """The prices in force."""
        mode = self._engine.settings.dc1.pricing
        flat = [{"job_type": name, "rate_halala_per_min": rate} for name, rate in FLAT_RATES.items()]
        gpus = [{"gpu_model": words[0], "rate_per_second_usd": rate} for words, rate in GPU_RATES]
        return Answer(
            {
                "mode": mode,
                "editable": False,
                "pricing": [*flat, {"job_type": "other", "rate_halala_per_min": FLAT_OTHER}]
                if mode == "flat"
                else [*gpus, {"gpu_model": "other", "rate_per_second_usd": GPU_OTHER}],
                "pricing_classes": CLASSES if mode == "gpu" else dict.fromkeys(CLASSES, 1),
            }
        )

    async def set_pricing(self, call: Call, *names: str) -> Answer:
        """Nothing: prices are the network's published ones.

        Raises:
            Fault: 400, always.
        """
        raise Fault(
            400,
            "Prices cannot be changed here: they are the network's published tables. The island's setting `pricing`"
            " chooses between them, and a provider's own rate per minute goes before both.",
        )


def _summary(connection: Connection) -> dict[str, Any]:
    mine = {row.account: int(row.amount) for row in connection.execute(_in_riyals())}
    accounts = [row.account_id for row in connection.execute(select(renters.c.account_id))]
    earned = select(providers.c.id, providers.c.total_earned)
    asked = (withdrawals.c.status.in_(("pending", "processing", "approved")),)
    waiting = connection.execute(select(func.sum(withdrawals.c.amount)).where(*asked)).scalar()
    by_state = select(payments.c.status, func.count().label("number"), func.sum(payments.c.amount).label("total"))
    revenue = select(func.sum(jobs.c.charged)).where(jobs.c.status == "completed")
    return {
        "total_renter_balance_halala": sum(mine.get(ledger.owner(account), 0) for account in accounts),
        "held_halala": sum(mine.get(ledger.holding(account), 0) for account in accounts),
        "provider_balances_halala": sum(
            mine.get(settling.earnings(row.id), 0) for row in connection.execute(earned).all()
        ),
        "pending_withdrawals_halala": int(waiting or 0),
        "platform_balance_halala": mine.get(settling.PLATFORM, 0),
        "total_revenue_halala": int(connection.execute(revenue).scalar() or 0),
        "given_halala": -mine.get(wallet.GIFTS, 0),
        "paid_in_halala": -mine.get(wallet.PAYMENTS, 0),
        "payments": {
            row.status: {"count": row.number, "amount_halala": int(row.total)}
            for row in connection.execute(by_state.group_by(payments.c.status))
        },
    }


def _in_riyals() -> Any:
    return select(balances.c.account, balances.c.amount).where(balances.c.currency == CURRENCY)


def _mismatches(connection: Connection) -> list[str]:
    """Renters whose ledger holds other than what their jobs hold, and wallets below nothing."""
    wrong = []
    for renter in connection.execute(select(renters.c.id, renters.c.account_id)).all():
        held = ledger.balance(connection, ledger.holding(renter.account_id), CURRENCY)
        expected = job_rows.unsettled(connection, renter.id)
        if held != expected:
            wrong.append(f"renter {renter.id} has {held} halala held, its jobs hold {expected}")
        if (has := wallet.balance(connection, renter.account_id)) < 0:
            wrong.append(f"renter {renter.id} has a balance of {has} halala")
    return wrong


def _hold(job: Row[Any]) -> dict[str, Any]:
    return {
        "id": f"{_ESCROW}{job.job_id}",
        "job_id": job.job_id,
        "renter_id": job.renter_id,
        "provider_id": job.provider_id,
        "amount_halala": job.quote,
        "status": "locked" if job.status in job_rows.CLAIMED else "held",
        "created_at": wire.iso(job.submitted_at),
        "expires_at": wire.iso(job.submitted_at + job.max_duration_seconds * 1_000_000 + _CLAIM_SLACK),
    }


def _line(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "transfer_id": row.transfer_id,
        "account": row.account,
        "amount_halala": int(row.amount),
        "memo": row.memo,
        "created_at": wire.iso(row.created_at),
    }


def _moved(payment: Row[Any], has: int) -> dict[str, Any]:
    return {
        "success": True,
        "renter_id": payment.renter_id,
        **payment_rows.view(payment),
        "new_balance_halala": has,
        "new_balance_sar": wire.sar(has),
    }


def _reason(call: Call) -> str | None:
    found = call.json.get("reason") if isinstance(call.json, dict) else None
    if found is not None and (not isinstance(found, str) or len(found) > _MOST_REASON or "\x00" in found):
        raise Fault(400, f"reason must be a string of at most {_MOST_REASON} characters")
    return found


def _page(call: Call) -> tuple[int, int]:
    return call.whole("page", 1, 1, _MOST_PAGE), call.whole("limit", _USUAL, 1, _MOST_LISTED)


def _pages(page: int, limit: int, total: int) -> dict[str, int]:
    return {"page": page, "limit": limit, "total": total, "pages": -(-total // limit)}
