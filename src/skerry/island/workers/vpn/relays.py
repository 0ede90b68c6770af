"""VPN relays: servers of WireGuard, OpenVPN, Shadowsocks and V2Ray, each in a network of its own, for one user each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from skerry.errors import ConfigurationError
from skerry.island.clock import Clock
from skerry.island.sandbox.egress.rules import CLOSED4, BadRule, parse_blocks
from skerry.island.sandbox.linux.powers import is_privileged
from skerry.island.workers.vpn import endpoints, living, means, uplinks
from skerry.island.workers.vpn.means import Uplink
from skerry.island.workers.vpn.recipes import PROGRAMS, TRANSPORTS, Wanted, recipe
from skerry.island.workers.vpn.records import Records
from skerry.island.workers.vpn.values import RelayError, Traffic, check_id, check_label, check_protocol

# Relays' users on the machine, away from people, daemons, sandboxes and the blocks that containers are given.
_FIRST_USER, _USERS = 1_879_048_192, 65_536
_BUILDING_SECONDS = 60.0
_LOOKING_SECONDS, _PAUSE = 10.0, 0.02


class Relay:
    """One relay that was found alive.

    Args:
        records: where it is.
        spec: what was stored about it.
    """

    def __init__(self, records: Records, spec: dict[str, Any]) -> None:
        self._records = records
        self.id: str = spec["id"]
        self.subkind: str = spec["subkind"]
        self.protocol: str | None = spec["protocol"]
        self.label: str = spec["label"]
        self.config: str = spec["config"]
        """What the user gives to a client program: octaspace section 9."""
        self.endpoint: tuple[str, int] = (spec["endpoint"][0], spec["endpoint"][1])
        """IPv4 literal and port that the user connects to."""
        self.exit_ip: str = spec["exit_ip"]
        """Address that the world sees, as far as this machine knows."""
        self.started_at: datetime = datetime.fromisoformat(spec["started_at"])

    def __repr__(self) -> str:
        return f"<Relay {self.id} {self.subkind} {self.endpoint[0]}:{self.endpoint[1]}>"

    async def traffic(self) -> Traffic:
        """What it has moved by now, or in the end; never less than it said before."""
        home = self._records.home(self.id)
        answer = await asyncio.to_thread(living.ask, home, "status")
        if answer is not None:
            return Traffic(answer["received"], answer["sent"])
        said = await asyncio.to_thread(self._records.ended, self.id)
        return said if said is not None else await asyncio.to_thread(self._records.traffic, self.id)

    async def alive(self) -> bool:
        """Whether it serves, or will again in a moment because its program is just being restarted."""
        return await asyncio.to_thread(living.ask, self._records.home(self.id), "status") is not None


class Relays:
    """Every relay of one island.

    Args:
        state_dir: theirs alone; made when missing.
        host: IPv4 address to bind endpoints to, or `localhost`.
        ports: endpoints are taken from these; None for any free ones.
        clock: dates the starts.
        address: IPv4 literal that users are told to connect to; by default `host`, or where that is `0.0.0.0` the
            machine's address towards the world.
        uplink: the way out: `veth` (root, and a machine that routes), `slirp` (slirp4netns), or `auto`; see
            `means.choose_uplink`.
        egress_private: CIDR blocks that users may reach although they are private or this machine's.
        dns: IPv4 address of the name server that users and relays use.

    Raises:
        ConfigurationError: an address or block cannot be read.
    """

    def __init__(
        self,
        state_dir: Path,
        host: str,
        ports: range | None,
        clock: Clock,
        *,
        address: str | None = None,
        uplink: Uplink | Literal["auto"] = "auto",
        egress_private: Sequence[str] = (),
        dns: str = "1.1.1.1",
    ) -> None:
        self._host = endpoints.literal(host)
        self._address = None if address is None else endpoints.literal(address)
        self._dns = endpoints.literal(dns)
        self._ports = ports
        self._clock = clock
        self._uplink: Uplink | Literal["auto"] = uplink
        try:
            blocks = parse_blocks(egress_private)
        except BadRule as error:
            raise ConfigurationError(f"egress_private: {error}") from None
        self._allowed = [str(block) for block in blocks if block.version == 4]
        self._records = Records(state_dir)
        self._locks: dict[str, asyncio.Lock] = {}

    async def start(self, id: str, *, subkind: str, protocol: str | None = None, label: str) -> Relay:
        """Start a relay, or find the one that was started as `id`; it answers users when this returns.

        One that was killed, or that its machine's restart ended, comes back with its credentials, its endpoint and
        its counts.

        Args:
            id: 1 to 64 of `A-Z a-z 0-9 _ -`.
            subkind: `wg`, `openvpn`, `ss` or `v2ray`.
            protocol: of `v2ray`: `trojan` (default), `vmess` or `vless`.
            label: for links and certificates, as in `octa-9539`.

        Raises:
            RelayError: see its codes.
        """
        check_id(id)
        check_label(label)
        protocol = check_protocol(subkind, protocol)
        async with self._alone(id):
            # A thread cannot be stopped halfway: let it finish, then take back what it made.
            work = asyncio.ensure_future(asyncio.to_thread(self._start, id, subkind, protocol, label))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                with contextlib.suppress(RelayError):
                    await work
                    await asyncio.to_thread(self._stop, id)
                    self._records.forget(id)
                raise

    async def find(self, id: str) -> Relay | None:
        """The living relay of that id, also one that an earlier life of this island started; None if there is none."""
        check_id(id)
        return await asyncio.to_thread(self._find, id)

    async def stop(self, id: str) -> Traffic:
        """End a relay and its credentials, now; of one that never was, or is gone, what it had moved.

        Nothing of it is left but its final counts, which this returns again until `forget` or `recover`: who is killed
        between hearing them and writing them down asks again.

        Raises:
            RelayError: `failed`: something of it will not go.
        """
        check_id(id)
        async with self._alone(id):
            return await asyncio.to_thread(self._stop, id)

    async def rest(self) -> None:
        """End the processes of every relay, as the end of the machine would; `start` brings each back as it was.

        Raises:
            RelayError: `failed`: something will not go.
        """
        for id in await asyncio.to_thread(self._records.ids):
            async with self._alone(id):
                await asyncio.to_thread(living.rest, self._records, id, veth=is_privileged())

    async def forget(self, id: str) -> None:
        """Drop the final counts of a stopped relay, once they are written down elsewhere."""
        check_id(id)
        await asyncio.to_thread(self._records.forget, id)

    async def recover(self, wanted: Collection[str]) -> None:
        """When the island starts: end every relay that is not wanted, and forget it. The others are left as they are.

        Args:
            wanted: ids.

        Raises:
            RelayError: `failed`: something will not go.
        """
        for id in await asyncio.to_thread(self._records.ids):
            if id not in wanted:
                await self.stop(id)
        for id in await asyncio.to_thread(self._records.ended_ids):
            if id not in wanted:
                await self.forget(id)

    @contextlib.asynccontextmanager
    async def _alone(self, id: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(id, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop(id, None)

    def _start(self, id: str, subkind: str, protocol: str | None, label: str) -> Relay:
        if self._records.ended(id) is not None:
            raise RelayError("ended", f"the relay {id} was stopped; start another one")
        spec = self._records.spec(id)
        if spec is not None and (spec["subkind"], spec["protocol"]) != (subkind, protocol):
            raise RelayError("invalid", f"the relay {id} is one of {spec['subkind']}, not of {subkind}")
        found = self._find(id)
        if found is not None:
            return found
        reason = means.subkinds(self._uplink)[subkind]
        if reason is not None:
            raise RelayError("unavailable", f"{subkind} relays cannot run on this machine: {reason}")
        if spec is None:
            return self._start_new(id, subkind, protocol, label)
        host, port = spec["bound"]
        bound = endpoints.take(host, TRANSPORTS[subkind], [port])
        try:
            self._build(id, bound)
        finally:
            _close(bound)
        return Relay(self._records, spec)

    def _start_new(self, id: str, subkind: str, protocol: str | None, label: str) -> Relay:
        bound = endpoints.take(self._host, TRANSPORTS[subkind], self._ports)
        try:
            port = next(iter(bound.values())).getsockname()[1]
            spec = self._spec(id, subkind, protocol, label, port)
            self._records.write_spec(id, spec)
            try:
                self._build(id, bound)
            except BaseException:
                self._stop(id)
                self._records.forget(id)
                raise
        finally:
            _close(bound)
        return Relay(self._records, spec)

    def _spec(self, id: str, subkind: str, protocol: str | None, label: str, port: int) -> dict[str, Any]:
        exit_ip = endpoints.exit_address() or self._host
        host = self._address or (exit_ip if self._host == "0.0.0.0" else self._host)  # noqa: S104
        program = means.program(PROGRAMS[subkind])
        assert program is not None
        uplink = means.choose_uplink(self._uplink)
        made = recipe(
            subkind,
            Wanted(
                protocol=protocol,
                program=program,
                label=label,
                host=host,
                port=port,
                dns=self._dns,
                uplink=uplink,
                newer=subkind == "v2ray" and means.speaks_v2ray_5(program),
            ),
        )
        mark = uplinks.tag(str(self._records.directory), id)
        privileged = is_privileged()
        made.plan.update(
            uplink=uplink,
            mark=mark,
            privileged=privileged,
            user=_user(mark) if privileged else os.geteuid(),
            group=_user(mark) if privileged else os.getegid(),
            closed=[str(block) for block in CLOSED4],
            allowed=self._allowed,
        )
        return {
            "id": id,
            "subkind": subkind,
            "protocol": protocol,
            "label": label,
            "config": made.config,
            "endpoint": [host, port],
            "bound": [self._host, port],
            "exit_ip": exit_ip,
            "started_at": self._clock.now().isoformat(),
            "plan": made.plan,
        }

    def _build(self, id: str, bound: dict[Any, socket.socket]) -> None:
        # Who only looks whether it lives holds the lock for a moment.
        lock = living.wait_for_lock(self._records, id, _LOOKING_SECONDS)
        if lock is None:
            raise RelayError("failed", f"another process is making the relay {id} at this moment")
        try:
            living.build(self._records.home(id), lock, bound)
        finally:
            os.close(lock)

    def _find(self, id: str) -> Relay | None:
        spec = self._records.spec(id)
        if spec is None:
            return None
        deadline = time.monotonic() + _BUILDING_SECONDS
        while True:
            lock = self._records.acquire(id)
            if lock is not None:
                os.close(lock)
                return None
            # It may be in the making still, by whom a server that died had asked.
            left = deadline - time.monotonic()
            if living.ask(self._records.home(id), "status", timeout=max(left, _PAUSE)) is not None:
                return Relay(self._records, spec)
            if left <= 0:
                return None
            time.sleep(_PAUSE)

    def _stop(self, id: str) -> Traffic:
        return living.end(self._records, id, veth=is_privileged())


def _user(mark: str) -> int:
    return _FIRST_USER + int(mark, 16) % _USERS


def _close(bound: dict[Any, socket.socket]) -> None:
    for one in bound.values():
        one.close()
