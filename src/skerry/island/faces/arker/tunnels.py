"""Inbound ports of VMs: asked for by runs, kept as rows, reached through the gateway or a TCP port of this machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError
from skerry.island.engine.forwarding import Forwarder, Link, bound
from skerry.island.faces.arker import tables
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.goldens import label_of
from skerry.island.faces.arker.schemas import InboundInfo, InboundPort, NetworkInfo, PortInfo, RunNetwork, TunnelInfo
from skerry.island.faces.arker.tables import TunnelRow
from skerry.island.faces.arker.tokens import TokenRefused, TokenSigner, TunnelGrant
from skerry.island.faces.arker.wire import number
from skerry.island.gateway import PASS, Tunnel

MOST_PORTS = 32
MOST_TCP_CONNECTIONS = 128
PASS_SECONDS = 86_400
_log = logging.getLogger("skerry.island.arker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How clients reach the gateway: `scheme://<port>-<vm>.<suffix>`."""

    scheme: str
    suffix: str


def wanted_ports(network: RunNetwork | None) -> dict[int, InboundPort]:
    """The inbound ports a run asks for.

    Raises:
        ArkerFault: `bad_request` for an impossible port or visibility, `unsupported_operation` for a protocol the
            gateway does not speak.
    """
    asked: Mapping[str, InboundPort] = {}
    if network is not None and network.inbound is not None and network.inbound.ports is not None:
        asked = network.inbound.ports
    if len(asked) > MOST_PORTS:
        raise ArkerFault("bad_request", f"at most {MOST_PORTS} inbound ports per run")
    ports: dict[int, InboundPort] = {}
    for text, port in asked.items():
        port_number = number("an inbound port", text, 1, 65535)
        if port_number in ports:
            raise ArkerFault("bad_request", f"port {port_number} is asked for twice")
        if (port.visibility or "private") not in ("private", "public"):
            raise ArkerFault("bad_request", f"port {text}: visibility is private or public")
        if (port.protocol or "http") not in ("http", "tcp"):
            raise ArkerFault("unsupported_operation", f"port {text}: this island carries http (with WebSocket) and tcp")
        ports[port_number] = port
    return ports


class Tunnels:
    """Every open tunnel, and the listeners of the TCP ones.

    Args:
        engine: dials into VMs.
        signer: makes and opens passes of private tunnels.
    """

    def __init__(self, engine: Engine, signer: TokenSigner) -> None:
        self._engine = engine
        self._signer = signer
        self._forwarder: Forwarder[tuple[str, int]] = Forwarder(
            engine.clock, most=MOST_TCP_CONNECTIONS, most_each=MOST_TCP_CONNECTIONS
        )

    async def start(self) -> None:
        """Listen again for the TCP tunnels that were open before."""
        for row in await self._engine.store.read(tables.list_tunnels):
            if row.protocol == "tcp":
                await self._engine.store.run(tables.put_tunnel, await self._listen(row))

    async def stop(self) -> None:
        """Close every listener and connection."""
        await self._forwarder.close()

    async def open(self, account_id: str, vm_id: str, run_id: str, ports: Mapping[int, InboundPort]) -> list[TunnelRow]:
        """Open tunnels for a run, or change those already open on these ports."""
        rows = []
        for port, wanted in sorted(ports.items()):
            protocol = wanted.protocol or "http"
            row = TunnelRow(
                vm_id=vm_id,
                port=port,
                account_id=account_id,
                label=label_of(vm_id),
                visibility=wanted.visibility or "private",
                protocol=protocol,
                run_id=run_id,
                host_port=None,
            )
            if protocol == "tcp":
                row = await self._listen(row)
            else:
                await self._forwarder.silence((vm_id, port))
            await self._engine.store.run(tables.put_tunnel, row)
            rows.append(row)
        return rows

    async def of_run(self, run_id: str) -> list[TunnelRow]:
        """The tunnels that a run opened and that are still open."""
        return await self._engine.store.read(tables.list_tunnels, run_id=run_id)

    async def find(self, label: str, port: int) -> Tunnel | None:
        """The tunnel behind a host name of the gateway."""
        row = await self._engine.store.read(tables.get_tunnel, label, port)
        if row is None or row.protocol != "http":
            return None
        return Tunnel(account_id=row.account_id, sandbox_id=row.vm_id, port=row.port, public=row.visibility == "public")

    def admits(self, tunnel: Tunnel, token: str) -> bool:
        """Whether a pass opens this tunnel now."""
        try:
            grant = self._signer.open(token, TunnelGrant, self._engine.clock.now().timestamp())
        except TokenRefused:
            return False
        return grant.vm == tunnel.sandbox_id and grant.port == tunnel.port

    async def drop_vm(self, vm_id: str) -> None:
        """Close the listeners of a deleted VM; its rows go with its other rows."""
        for key in self._forwarder.listeners():
            if key[0] == vm_id:
                await self._forwarder.silence(key)

    def info(self, row: TunnelRow, place: Place) -> TunnelInfo:
        """A tunnel as clients see it."""
        url = self.url(row, place)
        message = None
        if row.protocol == "tcp":
            status = "open" if row.host_port else "closed"
            message = "reachable from this machine, by any of its users, without a key" if row.host_port else "no port"
        else:
            status = "open"
            if row.visibility == "private":
                expires = int(self._engine.clock.now().timestamp()) + PASS_SECONDS
                token = self._signer.sign(TunnelGrant(vm=row.vm_id, port=row.port, expires=expires))
                message = f"private: send your key as a bearer token, or open {url}?{PASS}={token}"
        return TunnelInfo(
            port=row.port,
            visibility=_effective(row),
            protocol=row.protocol,
            status=status,
            run_id=row.run_id,
            url=url,
            message=message,
        )

    def network(self, rows: Sequence[TunnelRow], place: Place) -> NetworkInfo | None:
        """What became of each port that was asked for."""
        if not rows:
            return None
        ports = {
            str(row.port): PortInfo(
                requested=row.visibility,
                observed=_effective(row),
                effective=_effective(row),
                protocol=row.protocol,
                url=self.url(row, place),
            )
            for row in rows
        }
        return NetworkInfo(inbound=InboundInfo(ports=ports))

    def url(self, row: TunnelRow, place: Place) -> str | None:
        """Where a tunnel is reached."""
        if row.protocol == "tcp":
            return None if row.host_port is None else f"tcp://127.0.0.1:{row.host_port}"
        return f"{place.scheme}://{row.port}-{row.label}.{place.suffix}/"

    async def _listen(self, row: TunnelRow) -> TunnelRow:
        """The row with the loopback port it is reached by: the one it had, if that is still free."""
        key = (row.vm_id, row.port)
        running = self._forwarder.port(key)
        if running is not None:
            return replace(row, host_port=running)

        async def carry(link: Link) -> None:
            try:
                inside = await self._engine.sandboxes.dial(row.account_id, row.vm_id, row.port)
            except (EngineError, OSError):
                return
            await link.carry(inside, lambda: self._engine.sandboxes.touch(row.vm_id))

        for port in (row.host_port, 0):
            if port is None:
                continue
            try:
                listener = await bound("127.0.0.1", port, allow_remote=False)
            except OSError as error:
                _log.warning("no loopback port for tunnel %s of %s: %s", row.port, row.vm_id, error)
                continue
            self._forwarder.listen(key, listener, carry)
            return replace(row, host_port=self._forwarder.port(key))
        return replace(row, host_port=None)


def _effective(row: TunnelRow) -> str:
    # A TCP port is bound to loopback, whatever was asked for.
    return "private" if row.protocol == "tcp" else row.visibility
