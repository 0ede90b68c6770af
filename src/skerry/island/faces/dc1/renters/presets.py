"""Jobs that a renter keeps filled in, to submit them again (section 3.1, `me/templates`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ACCOUNT
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.tables import presets

_MOST = 50
_MOST_BYTES = 64 << 10
_MOST_NAME = 120
_OURS = ("id", "name", "created_at", "updated_at")


class Presets:
    """A renter's saved jobs.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """What a renter does with them."""
        path = "/api/renters/me/templates"
        return [
            Route(method="GET", path=path, handler=self.list, access=ACCOUNT),
            Route(method="POST", path=path, handler=self.save, access=ACCOUNT),
            Route(method="DELETE", path=f"{path}/{{preset_id}}", handler=self.delete, access=ACCOUNT),
        ]

    async def list(self, call: Call) -> Answer:
        """Them, the newest first."""

        def work(connection: Connection) -> list[dict[str, Any]]:
            query = select(presets).where(presets.c.renter_id == call.renter.id).order_by(presets.c.id.desc())
            return [_view(row) for row in connection.execute(query)]

        return Answer({"templates": await self._engine.store.read(work)})

    async def save(self, call: Call) -> Answer:
        """Keep a job under a name; whatever else the body has is kept as it is.

        Raises:
            Fault: 400 without a name, for more than 64 KiB, or when there are fifty.
        """
        fields = Fields(call.json)
        name = fields.text("name", least=1, most=_MOST_NAME)
        fields.check()
        body = wire.text({key: value for key, value in call.json.items() if key not in _OURS})
        if len(body.encode()) > _MOST_BYTES:
            raise Fault(400, f"A template has at most {_MOST_BYTES >> 10} KiB")

        def work(connection: Connection) -> dict[str, Any]:
            renter = renter_rows.active(connection, call.renter.id)
            count = select(func.count()).select_from(presets).where(presets.c.renter_id == renter.id)
            if connection.execute(count).scalar_one() >= _MOST:
                raise Fault(400, f"Maximum of {_MOST} templates reached. Delete an existing template first.")
            made = connection.execute(
                presets.insert().values(
                    renter_id=renter.id, name=name, body=body, created_at=call.now, updated_at=call.now
                )
            )
            number = made.inserted_primary_key[0]  # type: ignore[index]
            return _view(connection.execute(select(presets).where(presets.c.id == number)).one())

        return Answer({"success": True, "template": await self._engine.store.run(work)}, 201)

    async def delete(self, call: Call, preset_id: str) -> Answer:
        """Forget one.

        Raises:
            Fault: 404, there is none.
        """
        known = preset_id.isascii() and preset_id.isdigit() and len(preset_id) < 10

        def work(connection: Connection) -> int:
            gone = presets.delete().where(presets.c.id == int(preset_id), presets.c.renter_id == call.renter.id)
            return int(connection.execute(gone).rowcount)

        if not known or not await self._engine.store.run(work):
            raise Fault(404, "Template not found")
        return Answer({"success": True})


def _view(row: Row[Any]) -> dict[str, Any]:
    body: dict[str, Any] = wire.decode(row.body.encode())
    return {"id": row.id, "name": row.name, **body, "created_at": wire.iso(row.created_at)}
