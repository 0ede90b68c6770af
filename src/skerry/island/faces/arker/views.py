"""The engine's records in Arker's words."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from skerry.island.engine.records import RunRecord, SandboxRecord, SessionRecord
from skerry.island.faces.arker.goldens import Golden
from skerry.island.faces.arker.schemas import (
    CompletedAnswer,
    ForkAnswer,
    GoldenInfo,
    NetworkInfo,
    RunStatusAnswer,
    RunSummary,
    SessionInfo,
    TunnelInfo,
    VmInfo,
)
from skerry.island.faces.arker.wire import text_of
from skerry.island.sandbox.spec import Limits
from skerry.times import rfc3339
from skerry.units import MIB

GOLDEN_LABEL = "arker.golden"
CEILING_LABEL = "arker.max_memory_mib"
LEGACY_LABEL = "arker.legacy"

_ENDED = frozenset({"completed", "failed", "cancelled"})
LOST = -1


def session_info(session: SessionRecord) -> SessionInfo:
    """A session as clients see it."""
    return SessionInfo(session_id=session.id, state=session.state, cwd=session.cwd)


def cpus(limits: Limits) -> int | None:
    """Whole CPUs of a bound, rounded up."""
    return None if limits.cpu_millis is None else min(255, -(-limits.cpu_millis // 1000))


def mebibytes(count: int | None) -> int | None:
    """Whole MiB of a byte count."""
    return None if count is None else count // MIB


def golden_info(golden: Golden) -> GoldenInfo:
    """A golden as clients see it; it is the root of its own chain."""
    return GoldenInfo(
        vm_id=golden.vm_id,
        name=golden.name,
        source_golden=golden.name,
        memory_mib=mebibytes(golden.limits.memory_bytes),
        vcpu_count=cpus(golden.limits),
        disk_mib=mebibytes(golden.limits.disk_bytes),
    )


def vm_info(vm: SandboxRecord, sessions: Sequence[SessionRecord]) -> VmInfo:
    """A VM as clients see it."""
    return VmInfo(
        vm_id=vm.id,
        owner_id=vm.account_id,
        created_at=rfc3339(vm.created_at),
        state=vm.state,
        sessions=[session_info(session) for session in sessions],
        name=vm.name,
        source_golden=vm.labels.get(GOLDEN_LABEL),
        last_activity=rfc3339(vm.last_active_at),
        vcpu_count=cpus(vm.limits),
        memory_mib=mebibytes(vm.limits.memory_bytes),
        disk_mib=mebibytes(vm.limits.disk_bytes),
    )


def fork_answer(vm: SandboxRecord, sessions: Sequence[SessionRecord]) -> ForkAnswer:
    """The answer to a fork: these four keys and no others."""
    return ForkAnswer(
        vm_id=vm.id,
        owner_id=vm.account_id,
        created_at=rfc3339(vm.created_at),
        sessions=[session_info(session) for session in sessions],
    )


def ended(run: RunRecord) -> bool:
    """Whether a run is over, however it went."""
    return run.state in _ENDED


def exit_code(run: RunRecord) -> int:
    """The exit code of a run that is over; -1 when its end is unknown (protocol section 5.4)."""
    return LOST if run.exit_code is None else run.exit_code


def notes(run: RunRecord) -> bytes:
    """What the face adds to standard error where neither the command nor the engine has explained the end."""
    lines = []
    if run.dropped_bytes:
        lines.append(f"skerry: {run.dropped_bytes} bytes of output beyond the limit were dropped")
    if run.cause == "out_of_memory":
        lines.append("skerry: the run was killed because the VM's memory was used up")
    return "".join(line + "\n" for line in lines).encode()


def with_notes(stderr: bytes, run: RunRecord) -> bytes:
    """Standard error with the island's notes on lines of their own."""
    added = notes(run)
    if added and stderr and not stderr.endswith(b"\n"):
        return stderr + b"\n" + added
    return stderr + added


def completed_answer(run: RunRecord, stdout: bytes, stderr: bytes) -> CompletedAnswer:
    """The answer to a foreground run: these six keys and no others."""
    out, out_encoding = text_of(stdout)
    err, err_encoding = text_of(with_notes(stderr, run))
    return CompletedAnswer(
        stdout=out, stdout_encoding=out_encoding, stderr=err, stderr_encoding=err_encoding, exit_code=exit_code(run)
    )


def status_answer(
    run: RunRecord, stdout: bytes, stderr: bytes, tunnels: list[TunnelInfo], network: NetworkInfo | None
) -> RunStatusAnswer:
    """How a run stands."""
    over = ended(run)
    out, out_encoding = text_of(stdout)
    err, err_encoding = text_of(with_notes(stderr, run) if over else stderr)
    return RunStatusAnswer(
        run_id=run.id,
        stdout=out,
        stdout_encoding=out_encoding,
        stderr=err,
        stderr_encoding=err_encoding,
        exit_code=exit_code(run) if over else None,
        completed=over,
        tunnels=tunnels,
        retry_count=max(0, run.attempts - 1),
        network=UNSET if network is None else network,
    )


def run_summary(run: RunRecord) -> RunSummary:
    """A run in a list."""
    over = ended(run)
    return RunSummary(
        run_id=run.id,
        state=run.state,
        command=run.command,
        session_id=run.session_id,
        exit_code=exit_code(run) if over else None,
        completed=over,
        created_at=rfc3339(run.created_at),
        started_at=None if run.started_at is None else rfc3339(run.started_at),
        ended_at=None if run.ended_at is None else rfc3339(run.ended_at),
        retry_count=max(0, run.attempts - 1),
    )
