"""Accepting a start: every check and the session's row in one transaction (protocol sections 3.7 to 3.9)."""

from __future__ import annotations

import json
import secrets
import uuid as uuids
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import NoCapacity
from skerry.island.faces.octaspace.nodes import node_rows, shares
from skerry.island.faces.octaspace.nodes.hardware import Hardware
from skerry.island.faces.octaspace.sessions import apps, billing, session_rows, states
from skerry.island.faces.octaspace.sessions.mr_request import USUAL_DISK_GB, MrRequest, check, completed
from skerry.island.faces.octaspace.sessions.mr_work import PREFIX, envs_context, secret_context
from skerry.island.faces.octaspace.sessions.offers import Offers
from skerry.island.faces.octaspace.tables import sessions
from skerry.units import GIB

MOST_RELAYS = 64
"""VPN sessions that one node serves at once; each is a server program of its own."""

_LABEL_BYTES = 6
_SECRET_BYTES = 24


class Rejected(Exception):
    """A start is rejected; the reason is one of the network's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Idling(Rejected):
    """A start is rejected for GPUs that idle processes would give back."""


NODE_NOT_FOUND = "Node not found"
NODE_BUSY = "Node is busy"
IMAGE_REQUIRED = "Image is required"
APP_NOT_FOUND = "App not found"
DISK_TOO_LARGE = "Disk size is too large"
NOT_ENOUGH_PORTS = "Not enough ports"
INSUFFICIENT_BALANCE = "Insufficient balance"


class Starting:
    """Accepts sessions; each function works in the caller's transaction, and rejecting leaves nothing behind.

    Args:
        engine: open.
        hardware: of this machine.
        offers: what is free.
    """

    def __init__(self, engine: Engine, hardware: Hardware, offers: Offers) -> None:
        self._engine = engine
        self._hardware = hardware
        self._offers = offers

    def machine(self, connection: Connection, account_id: str, request: MrRequest, now: int) -> str:
        """Accept a machine; returns the session's UUID.

        Raises:
            Rejected: with the first reason there is. Fault: 422 for ports that clash with the app's.
        """
        app = None
        if request.app:
            app = apps.find(connection, self._engine, account_id, request.app)
            if app is None:
                raise Rejected(APP_NOT_FOUND)
            request = completed(request, app)
            check(request)
        node = self._free_node(connection, request.node_id, "mr")
        if not request.image:
            raise Rejected(IMAGE_REQUIRED)
        disk_gb = request.disk_gb or USUAL_DISK_GB
        if disk_gb * GIB > self._hardware.free_disk():
            raise Rejected(DISK_TOO_LARGE)
        # The way to its SSH server takes a port too.
        if len(request.ports) + 1 > self._offers.free_ports(connection):
            raise Rejected(NOT_ENOUGH_PORTS)
        extra = {} if app is None else app["extra"]
        return self._enter(
            connection,
            account_id,
            node,
            now,
            service="mr",
            kind="base",
            app_uuid=None if app is None else app["uuid"],
            app_name=None if app is None else app["name"],
            app_logo=extra.get("logo"),
            image=request.image,
            disk_gb=disk_gb,
            request=request.kept(),
            envs=request.envs,
        )

    def renderer(
        self,
        connection: Connection,
        account_id: str,
        node_id: int,
        disk_gb: int,
        envs: Mapping[str, str],
        multi: bool,
        now: int,
    ) -> str:
        """Accept a render worker; returns the session's UUID. Raises Rejected."""
        node = self._free_node(connection, node_id, "render")
        if disk_gb * GIB > self._hardware.free_disk():
            raise Rejected(DISK_TOO_LARGE)
        return self._enter(
            connection,
            account_id,
            node,
            now,
            service="render",
            kind="render",
            disk_gb=disk_gb,
            request=json.dumps({"multi-gpu-worker": multi, "http_ports": []}),
            envs=envs,
        )

    def relay(
        self, connection: Connection, account_id: str, node_id: int, subkind: str, protocol: str | None, now: int
    ) -> str:
        """Accept a VPN; returns the session's UUID. Raises Rejected."""
        node = node_rows.find(connection, self._engine, node_id)
        if node is None or not node.vpn or node_rows.state(node, set()) == "offline":
            raise Rejected(NODE_NOT_FOUND)
        if node_rows.relays(connection, node.id) >= MOST_RELAYS:
            raise Rejected(NODE_BUSY)
        return self._enter(
            connection, account_id, node, now, service="vpn", kind=subkind, protocol=protocol, request="{}", envs={}
        )

    def _free_node(self, connection: Connection, node_id: int, service: str) -> Row[Any]:
        node = node_rows.find(connection, self._engine, node_id)
        if node is None or not getattr(node, service):
            raise Rejected(NODE_NOT_FOUND)
        state = node_rows.state(node, node_rows.occupied(connection))
        if state == "offline":
            raise Rejected(NODE_NOT_FOUND)
        if state == "busy":
            raise Rejected(NODE_BUSY)
        return node

    def _enter(
        self,
        connection: Connection,
        account_id: str,
        node: Row[Any],
        now: int,
        *,
        service: str,
        kind: str,
        envs: Mapping[str, str],
        request: str,
        image: str = "",
        disk_gb: int = 0,
        **columns: Any,
    ) -> str:
        prices = self._offers.prices(node)
        whole = service != "vpn"
        base, storage = (prices.base, prices.storage) if whole else (0, 0)
        tick = self._engine.settings.octaspace.tick
        first = billing.amount(base, storage, 0, disk_gb=disk_gb, seconds=tick, moved=0)
        if not billing.covered(connection, account_id, tick, further=first, moving=prices.traffic > 0):
            raise Rejected(INSUFFICIENT_BALANCE)
        uuid, vault = str(uuids.uuid4()), self._engine.vault
        if whole:
            try:
                shares.set_aside(connection, self._engine, uuid, account_id, node.slot, now)
            except NoCapacity:
                raise (Idling if self._hardware.fits(connection, node) else Rejected)(NODE_BUSY) from None
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        connection.execute(
            sessions.insert().values(
                uuid=uuid,
                account_id=account_id,
                node_id=node.id,
                service=service,
                kind=kind,
                state=states.PENDING,
                image=image,
                disk_gb=disk_gb,
                request=request,
                envs=vault.seal(json.dumps(dict(envs)).encode(), envs_context(uuid)),
                label=secrets.token_hex(_LABEL_BYTES),
                secret=vault.seal(secret.encode(), secret_context(uuid)),
                sandbox_id=f"{PREFIX}{uuid}" if service == "mr" else None,
                run_id=uuid if service == "mr" else None,
                base=str(base),
                storage=str(storage),
                traffic=str(prices.traffic),
                currency_usd=int(prices.currency_usd),
                base_usd=prices.base_usd if whole else 0,
                market_price=prices.market_price,
                hardware=json.dumps(self._hardware.session(node, disk_gb)),
                tx=0,
                rx=0,
                billed_seconds=0,
                charged="0",
                bills=0,
                started_at=now,
                seen_at=now,
                created_at=now,
                updated_at=now,
                **columns,
            )
        )
        session_rows.tell(connection, uuid, "Session accepted\n", now)
        return uuid
