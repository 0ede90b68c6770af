"""A new renter: account, master key, wallet and profile in one step, or nothing of it (section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from skerry.island.engine import accounts
from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import key_rows, limits
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields
from skerry.island.faces.dc1.money import wallet
from skerry.island.faces.dc1.renters import renter_rows

_MOST_EMAIL = 254
_KNOWN = ("name", "email", "organization", "use_case", "useCase", "phone")


class Registration:
    """Lets renters in.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """One call, by anybody."""
        return [
            Route(
                method="POST",
                path="/api/renters/register",
                handler=self.register,
                access=ANYBODY,
                limits=(limits.REGISTER,),
            )
        ]

    async def register(self, call: Call) -> Answer:
        """A new account, its key shown this once, with an opening balance of 10 riyals.

        Everything is written in one transaction: an address is never taken by an account that has no key.

        Raises:
            Fault: 400 for a body that is not as it should be, 409 for an address that has an account.
        """
        fields = Fields(call.json)
        name = fields.text("name", least=2, most=120)
        email = fields.text("email", email=True, most=_MOST_EMAIL)
        organization = fields.text("organization", most=160, required=False)
        use_case = fields.text("use_case", most=120, required=False)
        other = fields.text("useCase", most=120, required=False)
        phone = fields.text("phone", most=40, required=False)
        fields.only(_KNOWN)
        fields.check()
        assert name is not None
        assert email is not None
        draft = self._engine.accounts.draft(name, key_rows.NETWORK)

        def enter(connection: Connection) -> int:
            if renter_rows.by_email(connection, email) is not None:
                raise Fault(409, "A renter with this email already exists")
            accounts.enter(connection, draft, call.now)
            renter = renter_rows.add(
                connection,
                draft.account.id,
                name=name,
                email=email,
                now=call.now,
                organization=organization,
                use_case=use_case or other,
                phone=phone,
            )
            sealed = self._engine.vault.seal(draft.plain.encode(), renter_rows.key_context(renter.id))
            renter_rows.change(connection, renter.id, call.now, sealed_key=sealed)
            wallet.add(
                connection,
                draft.account.id,
                renter_rows.OPENING_HALALA,
                f"opening:{draft.account.id}",
                memo="opening balance",
                now=call.now,
            )
            return int(renter.id)

        renter_id = await self._engine.store.run(enter)
        message = f"Welcome {name}! Save your API key — it won't be shown again."
        return Answer({"success": True, "renter_id": renter_id, "api_key": draft.plain, "message": message}, 201)
