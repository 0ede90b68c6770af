"""The caller's account (protocol section 3.1)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace import profiles
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.ground.answers import Answer

_AVATAR = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>"
    "<rect width='8' height='8' fill='hsl({hue},55%,45%)'/><circle cx='4' cy='4' r='2' fill='#fff'/></svg>"
)


class Accounts:
    """What an account has, and where to deposit more.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(method="GET", path="/accounts", handler=self.get, summary="The caller's account", answer="Account"),
            Route(
                method="GET",
                path="/accounts/balance",
                handler=self.balance,
                summary="What the account has to spend, in Wei",
                answer="Balance",
            ),
            Route(
                method="POST",
                path="/accounts",
                handler=self.generate_wallet,
                summary="Make a new deposit address",
                answer="Wallet",
                changes=True,
                status=201,
            ),
        ]

    async def get(self, call: Call) -> Answer:
        """GET /accounts."""
        return Answer(await self._engine.store.run(_view, call.account_id, call.now))

    async def balance(self, call: Call) -> Answer:
        """GET /accounts/balance."""
        return Answer({"balance": await self._engine.store.read(profiles.balance, call.account_id)})

    async def generate_wallet(self, call: Call) -> Answer:
        """POST /accounts."""
        address = await self._engine.store.run(profiles.new_wallet, self._engine, call.account_id, call.now)
        return Answer({"address": address}, 201)


def _view(connection: Connection, account_id: str, now: int) -> dict[str, Any]:
    profile = profiles.ensure(connection, account_id, now)
    return {
        "account_uuid": profile.uuid,
        "avatar": "data:image/svg+xml," + quote(_AVATAR.format(hue=profile.uid * 47 % 360)),
        "balance": profiles.balance(connection, account_id),
        "deposit_address": profile.wallet,
        "email": profile.email,
        "ref_code": profile.ref_code,
        "uid": profile.uid,
        "wallet": profile.wallet,
    }
