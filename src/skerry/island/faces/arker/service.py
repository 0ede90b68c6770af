"""Arker's rules over the engine: goldens, VMs, sessions (protocol sections 3.2, 3.3, 3.6, 5.1, 5.2)."""

from __future__ import annotations

from dataclasses import replace

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import NotFound
from skerry.island.engine.records import SandboxRecord, SessionRecord
from skerry.island.faces.arker import goldens, sizes, views
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.goldens import Golden
from skerry.island.faces.arker.schemas import ForkRequest, ResizeRequest
from skerry.island.sandbox.spec import Limits
from skerry.units import MIB

NETWORK = "arker"
LONGEST_NAME = 256
MOST_VARIABLES = 1_000


class Service:
    """What a caller may do with goldens, VMs and sessions.

    Args:
        engine: does the work.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def goldens(self) -> list[Golden]:
        """Every public source of forks on this island."""
        images = self._engine.images
        return goldens.catalogue(
            images.list(),
            images.resolve(goldens.UBUNTU_IMAGE) or images.resolve("host") or "host",
            (await self._engine.nodes.list())[0],
            self._engine.nodes.fitting(self._engine.settings.limits),
            sizes=sizes.can_bound(self._engine.driver.barriers()),
        )

    async def vm(self, account_id: str, vm_id: str) -> SandboxRecord:
        """A VM of the caller.

        Raises:
            ArkerFault: `not_found` for one that is unknown or another's; `forbidden` for a golden.
        """
        try:
            vm = await self._engine.sandboxes.get(account_id, vm_id)
        except NotFound:
            vm = None
        if vm is not None and vm.network == NETWORK:
            return vm
        golden = goldens.find(await self.goldens(), vm_id)
        if golden is not None:
            raise ArkerFault("forbidden", f"{golden.name} is a golden; fork it and use the fork")
        raise _no_vm(vm_id)

    async def vms(
        self,
        account_id: str,
        *,
        limit: int | None = None,
        offset: int = 0,
        query: str | None = None,
        sort: str | None = None,
    ) -> tuple[list[tuple[SandboxRecord, list[SessionRecord]]], int]:
        """The caller's VMs with their sessions, and how many match in all."""
        found, total = await self._engine.sandboxes.list(
            account_id, network=NETWORK, limit=limit, offset=offset, query=query, sort=sort
        )
        # One that was deleted between the two looks has no session any more, and is left out.
        sessions = await self._engine.sessions.of_many([vm.id for vm in found])
        return [(vm, sessions[vm.id]) for vm in found if sessions[vm.id]], total

    async def fork(
        self, account_id: str, source: str, request: ForkRequest, *, legacy: bool = False
    ) -> tuple[SandboxRecord, list[SessionRecord]]:
        """A new VM from a golden (by name or id) or from a VM of the caller.

        Raises:
            ArkerFault: `unsupported_operation` for what this island cannot honour, `bad_request`, `not_found`.
            EngineError: the engine refuses.
        """
        barriers = self._engine.driver.barriers()
        limits = sizes.override(
            barriers, vcpu_count=request.vcpu_count, memory_mib=request.memory_mib, disk_mib=request.disk_mib
        )
        policy = sizes.policy_of(request.network)
        if request.name is not None:
            _check_name(request.name)
        if request.disk is False:
            raise ArkerFault(
                "unsupported_operation",
                "disk: every VM here has a disk that lives as long as it does; leave disk out, and delete the VM",
            )
        if request.max_memory_mib is not None and not sizes.can_bound(barriers):
            raise ArkerFault("unsupported_operation", "max_memory_mib: this machine gives the island no control groups")
        parent, golden = await self._source(account_id, source)
        labels = {views.GOLDEN_LABEL: golden.name} if golden else _inherited(parent)
        if request.max_memory_mib is not None:
            labels[views.CEILING_LABEL] = str(request.max_memory_mib)
            whole = golden.limits if golden else parent.limits if parent else Limits()
            wanted = (limits and limits.memory_bytes) or whole.memory_bytes
            check_ceiling(labels, wanted)
            self._engine.nodes.check(Limits(memory_bytes=request.max_memory_mib * MIB))
        if legacy:
            labels[views.LEGACY_LABEL] = "1"
        if golden is not None:
            vm = await self._engine.sandboxes.create(
                account_id,
                id=goldens.new_vm_id(burst=golden.burst),
                network=NETWORK,
                image=golden.image if request.image is None else request.image,
                name=request.name,
                limits=_over(limits, golden.limits),
                policy=policy,
                durable=bool(request.durable),
                labels=labels,
            )
        else:
            assert parent is not None
            vm = await self._engine.sandboxes.fork(
                account_id,
                parent.id,
                id=goldens.new_vm_id(burst=goldens.is_burst(parent.id)),
                name=request.name,
                limits=limits,
                policy=policy,
                durable=bool(request.durable),
                image=request.image,
                labels=labels,
            )
        return vm, await self._engine.sessions.list(account_id, vm.id)

    async def _source(self, account_id: str, source: str) -> tuple[SandboxRecord | None, Golden | None]:
        try:
            vm = await self._engine.sandboxes.get(account_id, source)
        except NotFound:
            vm = None
        if vm is not None and vm.network == NETWORK:
            return vm, None
        golden = goldens.find(await self.goldens(), source)
        if golden is None:
            raise ArkerFault("not_found", f"no VM and no golden is called {_short(source)}")
        return None, golden

    async def resize(self, account_id: str, vm_id: str, request: ResizeRequest) -> None:
        """Change the bounds of a VM, for what runs in it at once."""
        vm = await self.vm(account_id, vm_id)
        limits = sizes.override(
            self._engine.driver.barriers(),
            vcpu_count=request.vcpu_count,
            memory_mib=request.memory_mib,
            disk_mib=request.disk_mib,
        )
        if limits is None:
            return
        check_ceiling(vm.labels, limits.memory_bytes)
        await self._engine.sandboxes.update(account_id, vm_id, limits=limits)

    async def session(self, account_id: str, vm_id: str, session_id: str) -> SessionRecord:
        """A session of a VM.

        Raises:
            ArkerFault: `not_found`.
        """
        try:
            return await self._engine.sessions.get(account_id, vm_id, session_id)
        except NotFound:
            raise ArkerFault("not_found", f"session not found: {_short(session_id)}") from None

    async def new_session(
        self, account_id: str, vm_id: str, *, cwd: str | None, env: dict[str, str] | None
    ) -> SessionRecord:
        """A further session of a VM."""
        await self.vm(account_id, vm_id)
        if env is not None and len(env) > MOST_VARIABLES:
            raise ArkerFault("bad_request", f"at most {MOST_VARIABLES} environment variables")
        return await self._engine.sessions.create(account_id, vm_id, cwd=cwd, env=env)


def check_ceiling(labels: dict[str, str], memory_bytes: int | None) -> None:
    """Refuse more memory than the VM's ceiling.

    Raises:
        ArkerFault: `bad_request`.
    """
    ceiling = labels.get(views.CEILING_LABEL)
    if ceiling is not None and memory_bytes is not None and memory_bytes > int(ceiling) * MIB:
        raise ArkerFault("bad_request", f"memory above max_memory_mib, which is {ceiling} for this VM")


def _inherited(parent: SandboxRecord | None) -> dict[str, str]:
    """Labels that a child keeps: where the chain began, and who its makers are. A ceiling is the fork's own choice."""
    if parent is None:
        return {}
    return {key: parent.labels[key] for key in (views.GOLDEN_LABEL, views.LEGACY_LABEL) if key in parent.labels}


def _over(limits: Limits | None, base: Limits) -> Limits:
    if limits is None:
        return base
    return replace(
        base,
        cpu_millis=limits.cpu_millis or base.cpu_millis,
        memory_bytes=limits.memory_bytes or base.memory_bytes,
        disk_bytes=limits.disk_bytes or base.disk_bytes,
    )


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise ArkerFault("bad_request", f"a name is 1 to {LONGEST_NAME} printable characters")


def _no_vm(vm_id: str) -> ArkerFault:
    return ArkerFault("not_found", f"vm not found: {_short(vm_id)}")


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "..."
