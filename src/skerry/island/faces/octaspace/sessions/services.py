"""The three services: what is on offer, and starting it (protocol sections 3.5 to 3.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from sqlalchemy import Connection

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.errors import Fault, bad_request, busy, invalid, not_found, poor, unavailable
from skerry.island.faces.octaspace.sessions import session_rows, starting
from skerry.island.faces.octaspace.sessions.carrier import Carrier
from skerry.island.faces.octaspace.sessions.mr_request import MrRequest, read, read_many
from skerry.island.faces.octaspace.sessions.offers import Offers, Unready
from skerry.island.faces.octaspace.sessions.starting import Idling, Rejected, Starting
from skerry.island.faces.octaspace.validation import Form
from skerry.island.ground.answers import Answer

P = ParamSpec("P")

SUBKINDS = ("wg", "openvpn", "ss", "v2ray")
PROTOCOLS = ("trojan", "vmess", "vless")
_MOST_DISK_GB = 10**6


class Services:
    """Offers and starts.

    Args:
        engine: open.
        carrier: is given what was accepted.
        offers: what is free.
        starting: accepts.
        subkinds: of VPN, each with why it cannot be had here, or None.
        unready: why rendering cannot be had here.
    """

    def __init__(
        self,
        engine: Engine,
        carrier: Carrier,
        offers: Offers,
        starting: Starting,
        subkinds: Callable[[], dict[str, str | None]],
        unready: Unready,
    ) -> None:
        self._engine = engine
        self._carrier = carrier
        self._offers = offers
        self._starting = starting
        self._subkinds = subkinds
        self._unready = unready

    def routes(self) -> list[Route]:
        """What it answers."""
        country = {"country": "a part of the country's name, or its two letters"}
        rows: list[Route] = []
        for name, lister, starter, shape, body, status, what in (
            ("mr", self.machines, self.rent, "MrMachine", "StartMr", 200, "machine"),
            ("render", self.renderers, self.render, "RenderMachine", "StartRender", 201, "render worker"),
            ("vpn", self.relays, self.connect, "VpnNode", "StartVpn", 201, "VPN"),
        ):
            path = f"/services/{name}"
            rows.append(
                Route(
                    method="GET",
                    path=path,
                    handler=lister,
                    summary=f"Nodes on which a {what} can be had now",
                    answer=shape,
                    listed=True,
                    parameters=country,
                )
            )
            rows.append(
                Route(
                    method="POST",
                    path=path,
                    handler=starter,
                    summary=f"Start a {what}",
                    answer="StartedMr" if name == "mr" else "Started",
                    body=body,
                    needs_body=True,
                    changes=True,
                    status=status,
                    faults=(400, 422) if name == "mr" else (402, 404, 409, 422, 503),
                )
            )
        return rows

    async def machines(self, call: Call) -> Answer:
        """GET /services/mr."""
        return Answer(await self._read(self._offers.machines, "mr", call.query.get("country", ""), call.now))

    async def renderers(self, call: Call) -> Answer:
        """GET /services/render; none where Blender cannot run."""
        if self._unready() is not None:
            return Answer([])
        return Answer(await self._read(self._offers.machines, "render", call.query.get("country", ""), call.now))

    async def relays(self, call: Call) -> Answer:
        """GET /services/vpn; none where no relay can run."""
        if not any(reason is None for reason in self._subkinds().values()):
            return Answer([])
        return Answer(await self._read(self._offers.relays, call.query.get("country", "")))

    async def rent(self, call: Call) -> Answer:
        """POST /services/mr; the answer has the form of the question."""
        if isinstance(call.json, dict):
            request = read(call.json)
            try:
                return Answer({"uuid": await self._rent(call, request)}, 201)
            except Rejected as error:
                raise bad_request(error.reason) from None
        answers: list[dict[str, Any]] = []
        for request in read_many(call.json):
            try:
                answers.append({"id": request.id, "uuid": await self._rent(call, request)})
            except Rejected as error:
                answers.append({"id": request.id, "reason": error.reason, "status": 1})
            except Fault as fault:
                answers.append({"id": request.id, "reason": fault.message, "status": 1})
        return Answer(answers)

    async def render(self, call: Call) -> Answer:
        """POST /services/render."""
        form = Form(call.json)
        node_id = form.whole("node_id")
        disk_gb = form.whole("disk_size", least=1, most=_MOST_DISK_GB)
        envs, multi = form.variables("envs"), form.flag("multi-gpu-worker", False)
        reason = self._unready()
        if reason is not None:
            raise unavailable(f"This node cannot render: {reason}")
        started = await self._begin(self._starting.renderer, call, node_id, disk_gb, envs, multi, call.now)
        return Answer({"uuid": started}, 201)

    async def connect(self, call: Call) -> Answer:
        """POST /services/vpn."""
        form = Form(call.json)
        node_id = form.whole("node_id")
        subkind = form.text("subkind", "wg", most=32) or "wg"
        if subkind not in SUBKINDS:
            raise invalid(f"subkind must be one of {', '.join(SUBKINDS)}")
        protocol = form.text("protocol", "", most=32) or None
        if protocol is not None and subkind != "v2ray":
            raise invalid("protocol goes with the subkind v2ray only")
        if subkind == "v2ray":
            protocol = protocol or PROTOCOLS[0]
            if protocol not in PROTOCOLS:
                raise invalid(f"protocol must be one of {', '.join(PROTOCOLS)}")
        reason = self._subkinds().get(subkind, "there are no relays")
        if reason is not None:
            raise unavailable(f"This node has no {subkind}: {reason}")
        return Answer(
            {"uuid": await self._begin(self._starting.relay, call, node_id, subkind, protocol, call.now)}, 201
        )

    async def _rent(self, call: Call, request: MrRequest) -> str:
        return await self._accept(self._starting.machine, call.account_id, request, call.now)

    async def _begin(self, accept: Callable[..., str], call: Call, *arguments: Any) -> str:
        """Accept, with rejections as statuses of their own (section 3.14)."""
        try:
            return await self._accept(accept, call.account_id, *arguments)
        except Rejected as error:
            fault = _FAULTS.get(error.reason)
            raise (invalid(error.reason) if fault is None else fault()) from None

    async def _accept(self, accept: Callable[Concatenate[Connection, P], str], *args: P.args, **kw: P.kwargs) -> str:
        while True:
            try:
                uuid = await self._engine.store.run(accept, *args, **kw)
                break
            except Idling:
                if not await self._engine.lending.make_room():
                    raise
        session = await self._engine.store.read(session_rows.find, uuid)
        assert session is not None, uuid
        self._carrier.take_up(session)
        return uuid

    async def _read(self, work: Callable[Concatenate[Connection, P], Any], *args: P.args, **kw: P.kwargs) -> Any:
        return await self._engine.store.read(work, *args, **kw)


_FAULTS: dict[str, Callable[[], Fault]] = {
    starting.NODE_NOT_FOUND: lambda: not_found("Node"),
    starting.NODE_BUSY: busy,
    starting.INSUFFICIENT_BALANCE: poor,
}
