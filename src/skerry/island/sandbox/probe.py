"""What this machine can do for sandboxes, found out by trying."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from skerry.island.sandbox.layers import reflink
from skerry.island.sandbox.limits.cgroups import Cgroups
from skerry.island.sandbox.linux import landlock
from skerry.island.sandbox.linux import syscalls as sc
from skerry.island.sandbox.linux.powers import is_privileged, kernel_version, seccomp_ready
from skerry.island.sandbox.namespace.trial import namespaces_fail

_NEEDED, _NEEDED_AS_ROOT = (5, 12), (5, 19)
_SYSCTL = Path("/proc/sys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: what.
        ok: whether it is there.
        detail: what was found.
        remedy: what would bring it, where it is missing; empty otherwise.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def findings(state_dir: Path) -> list[Finding]:
    """Everything that decides how well sandboxes are held here, with a remedy for what is missing.

    Args:
        state_dir: where sandboxes live or would live; made when missing. Blocks for about a tenth of a second.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    failure = namespaces_fail(state_dir)
    return [
        _kernel(),
        _user_namespaces(),
        _apparmor(),
        Finding(
            name="namespaces",
            ok=failure is None,
            detail=failure or f"a sandbox was put up, {'with mapped ids' if is_privileged() else 'as a plain user'}",
            remedy="" if failure is None else _remedy(failure),
        ),
        _seccomp(),
        _landlock(),
        *_cgroups(),
        _reflink(state_dir),
        _kvm(),
    ]


def _kernel() -> Finding:
    needed = _NEEDED_AS_ROOT if is_privileged() else _NEEDED
    return Finding(
        name="kernel",
        ok=kernel_version() >= needed,
        detail=os.uname().release,
        remedy=""
        if kernel_version() >= needed
        else f"run Linux {needed[0]}.{needed[1]} or newer; until then the `process` driver is used",
    )


def _user_namespaces() -> Finding:
    for name, bad in (("kernel/unprivileged_userns_clone", "0"), ("user/max_user_namespaces", "0")):
        if _read(name) == bad and not (is_privileged() and name.startswith("kernel")):
            key = name.replace("/", ".")
            return Finding(
                name="user-namespaces", ok=False, detail=f"{key} = {bad}", remedy=f"sysctl {key}=<more than 0>, as root"
            )
    return Finding(name="user-namespaces", ok=True, detail=f"at most {_read('user/max_user_namespaces') or 'any'}")


def _apparmor() -> Finding:
    restricted = _read("kernel/apparmor_restrict_unprivileged_userns") == "1" and not is_privileged()
    return Finding(
        name="apparmor",
        ok=not restricted,
        detail="restricts user namespaces of plain users" if restricted else "does not stand in the way",
        remedy="as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for this Python"
        if restricted
        else "",
    )


def _seccomp() -> Finding:
    if not seccomp_ready():
        return Finding(
            name="seccomp", ok=False, detail=f"no filter is known for {sc.MACHINE}", remedy="use x86_64 or aarch64"
        )
    return Finding(name="seccomp", ok=True, detail=f"filter for {sc.MACHINE}")


def _landlock() -> Finding:
    version = landlock.abi()
    return Finding(
        name="landlock",
        ok=version > 0,
        detail=f"interface version {version}" if version else "not offered",
        remedy="" if version else "boot with lsm=landlock,... (needed by the `process` driver only)",
    )


def _cgroups() -> list[Finding]:
    groups = Cgroups.detect(f"probe-{os.getpid()}")
    groups.close()
    remedy = (
        "mount a cgroup hierarchy with these controllers"
        if os.geteuid() == 0
        else "run under a systemd user session that delegates them, or as root"
    )
    found = [
        Finding(
            name="cgroups",
            ok=groups.backend != "none",
            detail=f"version {groups.backend[1:]}" if groups.backend != "none" else "none that we may use",
            remedy=""
            if groups.backend != "none"
            else f"{remedy}; until then limits are set per process and by polling",
        )
    ]
    reasons = dict(groups.missing)
    for name in ("cpu", "memory", "pids", "freezer"):
        ok = name in groups.active
        detail = "enforced" if ok else reasons.get(name, "not enforced")
        found.append(Finding(name=f"cgroup-{name}", ok=ok, detail=detail, remedy="" if ok else remedy))
    return found


def _reflink(state_dir: Path) -> Finding:
    ok = reflink.supported(state_dir)
    return Finding(
        name="reflink",
        ok=ok,
        detail="forks of running sandboxes take constant time"
        if ok
        else "forks of running sandboxes copy what they wrote",
        remedy="" if ok else "put the data directory on btrfs or xfs",
    )


def _kvm() -> Finding:
    flags = Path("/proc/cpuinfo").read_text()
    hardware = re.search(r"\b(vmx|svm)\b", flags) is not None
    device = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return Finding(
        name="kvm",
        ok=hardware and device,
        detail="usable" if hardware and device else "no hardware virtualisation" if device else "no /dev/kvm for us",
        remedy="" if hardware and device else "only machine-level isolation would need it; nothing here does",
    )


def _remedy(failure: str) -> str:
    if "proc" in failure:
        return "in a container, run it with an unmasked /proc (docker: --security-opt systempaths=unconfined)"
    if "overlay" in failure or "mount_setattr" in failure:
        return (
            "put the data directory on a local ext4, xfs, btrfs or tmpfs file system, not on an overlay or network one"
        )
    return "allow user namespaces (see above), or use the `process` driver, which is chosen by itself"


def _read(name: str) -> str:
    try:
        return (_SYSCTL / name).read_text().strip()
    except OSError:
        return ""
