"""What can be rented: the `services` object of the client, with machines, render workers, VPNs and sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Unpack

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.dialect import Call
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace._async.session import AsyncRawSession, AsyncSession
from skerry.networks.octaspace.config import Config
from skerry.networks.octaspace.inputs import CallOptions, VpnProtocol, VpnSubkind
from skerry.networks.octaspace.machines import MrMachine, RenderMachine, VpnNode
from skerry.networks.octaspace.models import Started
from skerry.networks.octaspace.operations import Id


class AsyncService(AsyncResource):
    """What the services share: a start gives a session."""

    async def _start(self, built: Call[Started], options: RequestOptions | None, call: CallOptions) -> AsyncSession:
        answer = await self._send(built, options, call)
        uuid: Any = None if answer is None else answer.uuid
        return AsyncSession(self._driver, self._config, uuid if isinstance(uuid, str) else "", answer)


class AsyncMachineRental(AsyncService):
    """Machines for any container: `services.mr`."""

    async def available(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> list[MrMachine]:
        """Machines that can be rented now (section 3.5).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaError: they could not be had.
        """
        return await self._send(operations.list_machines(self._base_url), options, call)

    async def start(
        self,
        node_id: Id,
        *,
        disk_size: int,
        image: str | None = None,
        app: str | None = None,
        envs: Mapping[str, Any] | None = None,
        ports: Sequence[int] | None = None,
        http_ports: Sequence[int] | None = None,
        start_command: str | None = None,
        entrypoint: str | None = None,
        extra: Mapping[str, Any] | None = None,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> AsyncSession:
        """Rent a machine and run a container on it (section 3.7). It is never tried again: each try could rent one.

        Args:
            node_id: which machine.
            disk_size: GB for the container, at least 1.
            image: of the container; may be left out with an `app`, for the app's own.
            app: uuid of a template.
            envs: environment of the container.
            ports: TCP and UDP ports to be reachable from outside; 22 brings SSH.
            http_ports: ports to get a public URL.
            start_command: in place of the image's.
            entrypoint: in place of the image's.
            extra: members of the wire that this version does not know.
            options: for this call; keywords of `CallOptions` win over it.

        Returns:
            The session, which is not ready yet; see its `wait_ready`.

        Raises:
            OctaProvisionRejectedError: that machine was not rented; a subclass says why in the common tree.
            OctaError: anything else went wrong; whether a session began is told by `outcome`.
        """
        built = operations.start_machine(
            self._base_url,
            node_id,
            disk_size=disk_size,
            image=image,
            app=app,
            envs=envs,
            ports=ports,
            http_ports=http_ports,
            start_command=start_command,
            entrypoint=entrypoint,
            extra=extra,
        )
        return await self._start(built, options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawMachineRental:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawMachineRental(self)


class AsyncRawMachineRental:
    """The methods of `AsyncMachineRental`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncMachineRental) -> None:
        self.available = async_raw(resource.available)
        self.start = async_raw(resource.start)


class AsyncRender(AsyncService):
    """Render workers: `services.render`."""

    async def available(
        self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> list[RenderMachine]:
        """Machines that can render now (section 3.5).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaError: they could not be had.
        """
        return await self._send(operations.list_renderers(self._base_url), options, call)

    async def start(
        self,
        node_id: Id,
        *,
        disk_size: int,
        envs: Mapping[str, Any] | None = None,
        multi_gpu_worker: bool | None = None,
        extra: Mapping[str, Any] | None = None,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> AsyncSession:
        """Start a render worker (section 3.8). It is never tried again: each try could start one.

        Args:
            node_id: which machine.
            disk_size: GB for the worker.
            envs: environment of the worker.
            multi_gpu_worker: one worker for each GPU; `multi-gpu-worker` on the wire.
            extra: members of the wire that this version does not know.
            options: for this call; keywords of `CallOptions` win over it.

        Returns:
            The session, which is not ready yet; see its `wait_ready`.

        Raises:
            OctaPaymentRequiredError: the balance does not cover it.
            OctaError: anything else went wrong; whether a session began is told by `outcome`.
        """
        built = operations.start_renderer(
            self._base_url,
            node_id,
            disk_size=disk_size,
            envs=envs,
            multi_gpu_worker=multi_gpu_worker,
            extra=extra,
        )
        return await self._start(built, options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawRender:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawRender(self)


class AsyncRawRender:
    """The methods of `AsyncRender`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncRender) -> None:
        self.available = async_raw(resource.available)
        self.start = async_raw(resource.start)


class AsyncVpn(AsyncService):
    """VPN relays: `services.vpn`."""

    async def available(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> list[VpnNode]:
        """Nodes that relay traffic now (section 3.9).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaError: they could not be had.
        """
        return await self._send(operations.list_relays(self._base_url), options, call)

    async def start(
        self,
        node_id: Id,
        *,
        subkind: VpnSubkind | str | None = None,
        protocol: VpnProtocol | str | None = None,
        extra: Mapping[str, Any] | None = None,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> AsyncSession:
        """Start a VPN (section 3.9); once it is ready, `config` of its info is what the VPN program needs.

        It is never tried again: each try could start one.

        Args:
            node_id: which relay.
            subkind: how it is spoken to; the service takes `wg` when nothing is said.
            protocol: for `v2ray` alone; the service takes `trojan` when nothing is said.
            extra: members of the wire that this version does not know.
            options: for this call; keywords of `CallOptions` win over it.

        Returns:
            The session, which is not ready yet; see its `wait_ready`.

        Raises:
            OctaValidationError: subkind and protocol do not go together.
            OctaPaymentRequiredError: the balance does not cover it.
            OctaError: anything else went wrong; whether a session began is told by `outcome`.
        """
        built = operations.start_relay(self._base_url, node_id, subkind=subkind, protocol=protocol, extra=extra)
        return await self._start(built, options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawVpn:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawVpn(self)


class AsyncRawVpn:
    """The methods of `AsyncVpn`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncVpn) -> None:
        self.available = async_raw(resource.available)
        self.start = async_raw(resource.start)


class AsyncServices:
    """What can be rented.

    Attributes:
        mr: machines for any container.
        render: render workers.
        vpn: VPN relays.
    """

    def __init__(self, driver: AsyncDriver, config: Config) -> None:
        self._driver = driver
        self._config = config
        self.mr = AsyncMachineRental(driver, config)
        self.render = AsyncRender(driver, config)
        self.vpn = AsyncVpn(driver, config)

    def session(self, uuid: str) -> AsyncSession:
        """A session by its id; nothing is sent."""
        return AsyncSession(self._driver, self._config, uuid)

    @cached_property
    def with_raw_response(self) -> AsyncRawServices:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawServices(self)


class AsyncRawServices:
    """The methods of `AsyncServices`, returning `RawResponse` objects."""

    def __init__(self, services: AsyncServices) -> None:
        self._services = services
        self.mr = services.mr.with_raw_response
        self.render = services.render.with_raw_response
        self.vpn = services.vpn.with_raw_response

    def session(self, uuid: str) -> AsyncRawSession:
        """A session by its id; nothing is sent."""
        return self._services.session(uuid).with_raw_response
