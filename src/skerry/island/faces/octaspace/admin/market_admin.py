"""Templates and nodes, for the island's owner."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Invalid
from skerry.island.faces.octaspace import profiles
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.errors import invalid, not_found
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.sessions import apps
from skerry.island.faces.octaspace.sessions.mr_request import MOST_HTTP_PORTS, check_ports, words
from skerry.island.faces.octaspace.tables import apps as app_table
from skerry.island.faces.octaspace.tables import nodes
from skerry.island.faces.octaspace.validation import Form
from skerry.island.ground.answers import Answer
from skerry.island.ground.texts import digits
from skerry.island.images.reference import parse_reference

_SWITCHES = ("enabled", "mr", "render", "vpn")


class MarketAdmin:
    """What is on offer.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """What it answers."""
        body: dict[str, Any] = {"body": "Nothing", "needs_body": True, "changes": True}
        return [
            Route(
                method="POST",
                path="/admin/apps",
                handler=self.create_app,
                summary="A template, for all or for one account",
                status=201,
                **body,
            ),
            Route(
                method="DELETE",
                path="/admin/apps/{uuid}",
                handler=self.delete_app,
                summary="Remove a template",
                changes=True,
            ),
            Route(method="GET", path="/admin/nodes", handler=self.nodes, summary="Every node"),
            Route(
                method="PATCH",
                path="/admin/nodes/{node_id}",
                handler=self.change_node,
                summary="What a node takes part in",
                **body,
            ),
        ]

    async def create_app(self, call: Call) -> Answer:
        """POST /admin/apps: the members of an app; `uid` makes it that account's own."""
        form = Form(call.json)
        extra = call.json.get("extra") or {}
        if not isinstance(extra, dict):
            raise invalid("extra must be an object")
        if "min_disk_size" in extra:
            Form(extra, "extra").whole("min_disk_size", least=1)
            extra["min_disk_size"] = int(extra["min_disk_size"])
        image = form.text("image", most=512)
        try:
            parse_reference(image)
        except Invalid as error:
            raise invalid(f"image: {error.message}") from None
        command, ports = form.text("start_command", ""), form.ports("ports")
        http_ports = form.ports("http_ports", most=MOST_HTTP_PORTS)
        words(command, "start_command")
        check_ports(ports, http_ports)
        try:
            kept = json.dumps(extra, default=float, allow_nan=False)
        except ValueError:
            # A list that cannot be written as JSON would be nobody's any more.
            raise invalid("extra has a number that is too large") from None
        values = {
            "uuid": str(uuid4()),
            "name": form.text("name", most=200),
            "category": form.text("category", "", most=100),
            "description": form.text("description", ""),
            "image": image,
            "envs": json.dumps(form.variables("envs")),
            "extra": kept,
            "ports": json.dumps(ports),
            "http_ports": json.dumps(http_ports),
            "start_command": command,
        }
        uid = form.whole("uid", least=1, most=2**31 - 1) if form.has("uid") else None
        return Answer(await self._engine.store.run(_add_app, values, uid, call.now), 201)

    async def delete_app(self, call: Call, uuid: str) -> Answer:
        """DELETE /admin/apps/{uuid}."""
        if not await self._engine.store.run(_drop_app, uuid):
            raise not_found("App")
        return Answer({})

    async def nodes(self, call: Call) -> Answer:
        """GET /admin/nodes."""
        return Answer(await self._engine.store.read(_nodes, self._engine))

    async def change_node(self, call: Call, node_id: str) -> Answer:
        """PATCH /admin/nodes/{id}: any of `enabled`, `mr`, `render`, `vpn`; what goes on there goes on."""
        form = Form(call.json)
        changes = {name: int(form.flag(name)) for name in _SWITCHES if form.has(name)}
        if not changes:
            raise invalid(f"Name at least one of {', '.join(_SWITCHES)}")
        id = digits(node_id) or 0
        return Answer(await self._engine.store.run(_switch, self._engine, id, changes, call.now))


def _add_app(connection: Connection, values: dict[str, Any], uid: int | None, now: int) -> dict[str, Any]:
    account_id = None
    if uid is not None:
        profile = profiles.of_uid(connection, uid)
        if profile is None:
            raise not_found("Account")
        account_id = profile.account_id
    connection.execute(app_table.insert().values(**values, account_id=account_id, created_at=now, updated_at=now))
    made = connection.execute(app_table.select().where(app_table.c.uuid == values["uuid"])).one()
    return apps.view(made)


def _drop_app(connection: Connection, uuid: str) -> bool:
    return connection.execute(app_table.delete().where(app_table.c.uuid == uuid)).rowcount > 0


def _nodes(connection: Connection, engine: Engine) -> list[dict[str, Any]]:
    busy = node_rows.occupied(connection)
    return [
        {"id": node.id, "state": node_rows.state(node, busy), **{name: bool(getattr(node, name)) for name in _SWITCHES}}
        for node in node_rows.every(connection, engine)
    ]


def _switch(connection: Connection, engine: Engine, node_id: int, changes: dict[str, int], now: int) -> dict[str, Any]:
    if node_rows.find(connection, engine, node_id) is None:
        raise not_found("Node")
    connection.execute(nodes.update().where(nodes.c.id == node_id).values(**changes, updated_at=now))
    return next(view for view in _nodes(connection, engine) if view["id"] == node_id)
