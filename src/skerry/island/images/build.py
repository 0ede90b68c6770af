"""Building a Debian or Ubuntu root from packages with mmdebstrap, as root or in a user namespace."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from skerry.island.engine.errors import Invalid, Unavailable, Unsupported

_SUITE = re.compile(r"[a-z][a-z0-9.-]{0,63}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,127}(?::[a-z0-9]+)?(?:=[A-Za-z0-9.+:~-]+)?")
_MIRROR = re.compile(r"(?:https?|file|copy)://[!-~]+|deb(?:-src)? [ -~]+")
_KEPT_ERROR = 4000
_GRACE = 10.0


def command(
    suite: str, packages: Sequence[str], target: Path, *, mirrors: Sequence[str] = (), root: bool | None = None
) -> list[str]:
    """The mmdebstrap command line that writes a root as a tar archive.

    Args:
        suite: such as `bookworm` or `noble`.
        packages: installed besides the minimal base.
        target: archive to write.
        mirrors: where packages come from, as URLs or `deb ...` lines; none leaves mmdebstrap's own choice.
        root: whether we are root; None asks the system.

    Raises:
        Invalid: a suite, package or mirror that cannot be one, or that would pass for an option.
    """
    if not _SUITE.fullmatch(suite):
        raise Invalid(f"{suite!r} is not the name of a suite; write for example bookworm or noble")
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise Invalid(f"{package!r} is not the name of a package")
    for mirror in mirrors:
        if not _MIRROR.fullmatch(mirror):
            raise Invalid(f"{mirror!r} is not a mirror; write a URL or a `deb` line")
    privileged = os.geteuid() == 0 if root is None else root
    return [
        "mmdebstrap",
        f"--mode={'root' if privileged else 'unshare'}",
        "--variant=minbase",
        "--format=tar",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        *([f"--include={','.join(packages)}"] if packages else []),
        suite,
        str(target),
        *mirrors,
    ]


def check_tools(*, root: bool | None = None) -> None:
    """See that what a build needs is installed.

    Raises:
        Unsupported: something is missing; the message names the package and the reason.
    """
    if shutil.which("mmdebstrap") is None:
        raise Unsupported("building an image needs mmdebstrap; install it with `apt install mmdebstrap`")
    privileged = os.geteuid() == 0 if root is None else root
    if privileged:
        return
    if shutil.which("newuidmap") is None:
        raise Unsupported("building without root needs newuidmap; install it with `apt install uidmap`")
    if not _has_subordinate_ids():
        raise Unsupported(
            "building without root needs a range of subordinate ids for this user; an administrator can add one with "
            "`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 <user>`"
        )


async def debootstrap(suite: str, packages: Sequence[str], target: Path, *, mirrors: Sequence[str] = ()) -> None:
    """Write a fresh root to the archive `target`; takes half a minute and downloads from the mirrors.

    Raises:
        Unsupported: a tool is missing. Invalid: a malformed name. Unavailable: mmdebstrap failed; its last words
            are in the message.
    """
    arguments = command(suite, packages, target, mirrors=mirrors)
    check_tools()
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        await _end(process)
        raise
    if process.returncode != 0:
        tail = said[-_KEPT_ERROR:].decode(errors="replace").strip()
        raise Unavailable(f"mmdebstrap ended with status {process.returncode}:\n{tail}")


async def _end(process: asyncio.subprocess.Process) -> None:
    # It removes its mounts and temporary directories on SIGTERM, so it is given the time to.
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            await asyncio.wait_for(process.wait(), _GRACE)
        except TimeoutError:
            continue
        return


def _has_subordinate_ids() -> bool:
    import pwd

    uid = os.geteuid()
    try:
        names = {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        names = {str(uid)}
    for file in ("/etc/subuid", "/etc/subgid"):
        try:
            lines = Path(file).read_text().splitlines()
        except OSError:
            return False
        if not any(line.split(":")[0] in names for line in lines):
            return False
    return True
