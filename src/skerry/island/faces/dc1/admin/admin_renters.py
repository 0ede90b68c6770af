"""What the operator does about renters: looks, suspends, gives and takes, one by one or many (section 3.9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, func, or_, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ADMIN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.money import payment_rows, wallet
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.renters.renter_keys import rotate
from skerry.island.faces.dc1.renters.renters import profile, recent_jobs
from skerry.island.faces.dc1.tables import renters
from skerry.island.ground.texts import digits

_USUAL, _MOST_LISTED = 50, 200
_MOST_PAGE = 1_000_000
_MOST_HALALA = 10**12
_MOST_REASON = 500
_MOST_IDS = 500
_ACTIONS = ("suspend", "unsuspend", "credit")
_PAYMENTS = 20

Change = Callable[[Connection, Row[Any]], None]


class AdminRenters:
    """The operator's side of renters.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """All with the operator's token."""
        base = "/api/admin/renters"
        one = f"{base}/{{renter_id}}"
        rows = (
            ("GET", base, self.list),
            ("GET", one, self.get),
            ("POST", f"{one}/suspend", self.suspend),
            ("POST", f"{one}/unsuspend", self.unsuspend),
            ("POST", f"{one}/credit", self.credit),
            ("POST", f"{one}/balance", self.adjust),
            ("POST", f"{one}/rotate-key", self.rotate_key),
            ("POST", "/api/admin/bulk/renters", self.bulk),
        )
        return [
            Route(method=method, path=path, handler=handler, access=ADMIN, limits=(limits.ADMIN,))
            for method, path, handler in rows
        ]

    async def list(self, call: Call) -> Answer:
        """A page of renters, counted from 1, the newest first; some of them by name, address or state."""
        page, limit = call.whole("page", 1, 1, _MOST_PAGE), call.whole("limit", _USUAL, 1, _MOST_LISTED)
        search, states = call.query.get("search", "").strip(), call.query.get("status", "")

        def work(connection: Connection) -> dict[str, Any]:
            where: list[Any] = []
            if search:
                columns = (renters.c.name, renters.c.email, renters.c.organization)
                where.append(or_(*(column.icontains(search, autoescape=True) for column in columns)))
            if wanted := [word.strip() for word in states.split(",") if word.strip()]:
                where.append(renters.c.status.in_(wanted))
            total = int(connection.execute(select(func.count()).select_from(renters).where(*where)).scalar_one())
            query = select(renters).where(*where).order_by(renters.c.id.desc()).limit(limit).offset((page - 1) * limit)
            found = [_view(connection, row) for row in connection.execute(query).all()]
            pages = {"page": page, "limit": limit, "total": total, "pages": -(-total // limit)}
            return {"renters": found, "total": total, "pagination": pages}

        return Answer(await self._engine.store.read(work))

    async def get(self, call: Call, renter_id: str) -> Answer:
        """One renter, its latest jobs and payments."""

        def work(connection: Connection) -> dict[str, Any]:
            renter = _find(connection, renter_id)
            paid, _ = payment_rows.listed(connection, renter_id=renter.id, limit=_PAYMENTS, offset=0)
            return {
                "renter": _view(connection, renter),
                "recent_jobs": recent_jobs(connection, renter.id),
                "payments": [payment_rows.view(row) for row in paid],
            }

        return Answer(await self._engine.store.read(work))

    async def suspend(self, call: Call, renter_id: str) -> Answer:
        """Let a renter do nothing for the time being: its keys are as unknown ones; what goes on goes on."""
        reason = _reason(_object(call.json), required=False)
        renter = await self._change(renter_id, _suspending(reason, call.now))
        return Answer({"success": True, "message": f"Renter {renter.name} suspended"})

    async def unsuspend(self, call: Call, renter_id: str) -> Answer:
        """Let it in again."""
        renter = await self._change(renter_id, _reactivating(call.now))
        return Answer({"success": True, "message": f"Renter {renter.name} reactivated"})

    async def credit(self, call: Call, renter_id: str) -> Answer:
        """Give a renter halala.

        Raises:
            Fault: 400 without an amount above 0 and a reason, 404 for no such renter.
        """
        body = _object(call.json)
        halala, reason = _halala(body, signed=False), _reason(body)
        renter, before, after = await self._move(renter_id, halala, "credit", reason, call.now)
        return Answer(
            {
                "success": True,
                "renter_id": renter.id,
                "name": renter.name,
                "previous_balance": before,
                "granted_halala": halala,
                "new_balance": after,
                "reason": reason,
            }
        )

    async def adjust(self, call: Call, renter_id: str) -> Answer:
        """Give or take halala; never more than the balance has.

        Raises:
            Fault: 400 without an amount and a reason, or where the balance does not cover it; 404 for no such renter.
        """
        body = _object(call.json)
        halala, reason = _halala(body, signed=True), _reason(body)
        renter, before, after = await self._move(renter_id, halala, "adjustment", reason, call.now)
        return Answer(
            {
                "success": True,
                "renter_id": renter.id,
                "name": renter.name,
                "previous_balance": before,
                "adjustment": halala,
                "new_balance": after,
                "reason": reason,
            }
        )

    async def rotate_key(self, call: Call, renter_id: str) -> Answer:
        """Replace the key of a renter that has lost it; the new one is shown this once, the old one is dead."""
        renter = await self._engine.store.read(_find, renter_id)
        new = await rotate(self._engine, renter.id, call.now)
        return Answer({"success": True, "renter_id": renter.id, "new_key": new, "api_key": new})

    async def bulk(self, call: Call) -> Answer:
        """Do the same to many, each for itself: those that cannot be found count as failed.

        Raises:
            Fault: 400 for a body that is not as it should be; then nothing was done.
        """
        body = _object(call.json)
        ids, action = body.get("ids"), body.get("action")
        if not isinstance(ids, list) or not 0 < len(ids) <= _MOST_IDS or not all(_is_id(one) for one in ids):
            raise Fault(400, f"ids must be an array of 1 to {_MOST_IDS} renter ids")
        if action not in _ACTIONS:
            raise Fault(400, f"Invalid action. Must be one of: {', '.join(_ACTIONS)}")
        reason = _reason(body, required=False) or "Bulk operation"
        halala = _halala(body, signed=False) if action == "credit" else 0
        unique = list(dict.fromkeys(ids))
        name = str(uuid4())

        def work(connection: Connection) -> int:
            done = 0
            for one in unique:
                renter = renter_rows.find(connection, one)
                if renter is None or renter.status == "deleted":
                    continue
                if action == "credit":
                    label = f"credit:{name}:{renter.id}"
                    wallet.add(connection, renter.account_id, halala, label, memo=reason, now=call.now)
                else:
                    change = _suspending(reason, call.now) if action == "suspend" else _reactivating(call.now)
                    change(connection, renter)
                done += 1
            return done

        done = await self._engine.store.run(work)
        total = len(unique)
        return Answer({"success": True, "action": action, "processed": done, "failed": total - done, "total": total})

    async def _change(self, renter_id: str, change: Change) -> Row[Any]:
        def work(connection: Connection) -> Row[Any]:
            renter = _find(connection, renter_id, deleted=False)
            change(connection, renter)
            return renter

        return await self._engine.store.run(work)

    async def _move(self, renter_id: str, halala: int, kind: str, reason: str, now: int) -> tuple[Row[Any], int, int]:
        """Put halala in or take them out, exactly; the renter, and the balance before and after."""
        name = f"{kind}:{uuid4()}"

        def work(connection: Connection) -> tuple[Row[Any], int, int]:
            renter = _find(connection, renter_id, deleted=False)
            before = wallet.balance(connection, renter.account_id)
            if before + halala < 0 and halala < 0:
                raise Fault(400, "Adjustment would make the balance negative", balance_halala=before)
            wallet.add(connection, renter.account_id, halala, name, memo=reason, now=now)
            return renter, before, wallet.balance(connection, renter.account_id)

        return await self._engine.store.run(work)


def _find(connection: Connection, renter_id: str, *, deleted: bool = True) -> Row[Any]:
    number = digits(renter_id, 9)
    renter = None if number is None else renter_rows.find(connection, number)
    if renter is None:
        raise Fault(404, "Renter not found")
    if renter.status == "deleted" and not deleted:
        raise Fault(409, "The renter has deleted its account")
    return renter


def _view(connection: Connection, renter: Row[Any]) -> dict[str, Any]:
    return {
        **profile(connection, renter),
        "held_halala": wallet.view(connection, renter)["held_halala"],
        "status": renter.status,
        "status_reason": renter.status_reason,
        "account_id": renter.account_id,
        "updated_at": wire.iso(renter.updated_at),
        "deleted_at": wire.maybe_iso(renter.deleted_at),
    }


def _suspending(reason: str | None, now: int) -> Change:
    def change(connection: Connection, renter: Row[Any]) -> None:
        renter_rows.change(connection, renter.id, now, status="suspended", status_reason=reason)

    return change


def _reactivating(now: int) -> Change:
    def change(connection: Connection, renter: Row[Any]) -> None:
        renter_rows.change(connection, renter.id, now, status="active", status_reason=None)

    return change


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Fault(400, "The body must be a JSON object")
    return body


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _halala(body: dict[str, Any], *, signed: bool) -> int:
    found = body.get("amount_halala")
    whole = isinstance(found, int) and not isinstance(found, bool) and abs(found) <= _MOST_HALALA
    if signed:
        if not whole or not found:
            raise Fault(400, "amount_halala must be an integer other than 0")
    elif not whole or found <= 0:  # type: ignore[operator]
        raise Fault(400, "amount_halala must be a positive integer")
    assert isinstance(found, int)
    return found


def _reason(body: dict[str, Any], *, required: bool = True) -> str:
    found = body.get("reason")
    if found is None and not required:
        return ""
    if not isinstance(found, str) or not found.strip():
        raise Fault(400, "reason is required")
    if len(found) > _MOST_REASON or "\x00" in found:
        raise Fault(400, f"reason has at most {_MOST_REASON} characters, none of them NUL")
    return found
