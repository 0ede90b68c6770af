"""What only the island's owner may do, with the key in `owner.key` instead of a signature (protocol section 3.10)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from skerry.island.asgi import BodyTooLarge, Receive, Scope, read_body
from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import replays, routes, wire
from skerry.island.faces.dispersed.account import profiles
from skerry.island.faces.dispersed.account.ledger import transaction_view
from skerry.island.faces.dispersed.bodies import read_json
from skerry.island.faces.dispersed.call import Answer, Route
from skerry.island.faces.dispersed.callers import Profile
from skerry.island.faces.dispersed.errors import Fault, not_found
from skerry.island.faces.dispersed.tables import transactions
from skerry.island.faces.dispersed.validation import Form
from skerry.island.faces.dispersed.writing import Done, carry_out
from skerry.island.ground.routes import Router
from skerry.island.store import ledger
from skerry.island.store.values import micros
from skerry.money import Money

LONGEST_MEMO = 200
MOST_CREDIT_MICROS = 10**15
"""A billion dollars at once."""


class Operator:
    """The owner's calls."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._router: Router[Route] = Router()
        self._router.add("POST", "/v1/admin/accounts/{uuid}/credits", Route(self.credit, kind="write", body=True))

    async def answer(self, scope: Scope, receive: Receive, raw: bytes, key: str | None) -> Done:
        """Answer a request that carries the owner's key.

        Args:
            scope: of the request.
            receive: gives its body.
            raw: its path below the mount.
            key: its idempotency key, if it has one.
        """
        route, (uuid,) = routes.find(self._router, scope["method"], raw)
        try:
            body = await read_body(scope, receive, wire.MOST_BODY_BYTES)
        except BodyTooLarge:
            raise Fault(413, "PAYLOAD_TOO_LARGE", f"A body has at most {wire.MOST_BODY_BYTES} bytes") from None
        value, has_body = read_json(scope, body, required=route.body)
        now = micros(self._engine.clock.now())
        profile = await self._engine.store.read(profiles.by_uuid, uuid)
        if profile is None:
            raise not_found("account")
        path = raw.decode("latin-1")
        bound = replays.binding(profile.account_id, scope["method"], path, key, value, has_body=has_body)
        # Read once more, so that an amount is what was written and not the nearest binary fraction.
        exact = json.loads(body.decode(), parse_float=Decimal)

        def work(connection: Connection) -> Answer:
            answer: Answer = route.handler(connection, profile, exact, now)
            return answer

        return await self._engine.store.run(carry_out, work, vault=self._engine.vault, bound=bound, now=now)

    def credit(self, connection: Connection, profile: Profile, body: Any, now: int) -> Answer:
        """Give an account credit: a CREDIT transaction, and the transfer in the ledger with it."""
        form = Form(body)
        amount = _amount(form)
        memo = form.optional_text("memo", most=LONGEST_MEMO)
        form.check()
        uuid = wire.new_uuid(now)
        money = Money(amount, "USD")
        entries = {"grant": -money, ledger.owner(profile.account_id): money}
        ledger.transfer(connection, f"grant:dispersed:{uuid}", entries, memo=memo or "credit", now=now)
        connection.execute(
            transactions.insert().values(
                uuid=uuid,
                account_id=profile.account_id,
                type="CREDIT",
                amount=amount,
                memo=memo,
                created_at=now,
                updated_at=now,
            )
        )
        row = connection.execute(select(transactions).where(transactions.c.uuid == uuid)).one()
        return Answer(201, transaction_view(row, profile))


def _amount(form: Form) -> int:
    """`amount_usd` in micros: a number, or the same as text."""
    value = form.members.get("amount_usd")
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        form.issue("invalid_type", "must be a number of dollars", "amount_usd")
        return 0
    try:
        amount = wire.micros_of(Decimal(value))
    except ArithmeticError:
        amount = None
    if amount is None:
        form.issue("invalid_format", "must be a number of dollars with at most six decimals", "amount_usd")
        return 0
    if not 0 < amount <= MOST_CREDIT_MICROS:
        form.issue(
            "too_small" if amount <= 0 else "too_big", "must be more than 0 and at most 1000000000", "amount_usd"
        )
    return amount
