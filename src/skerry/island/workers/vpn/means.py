"""What this machine can do for relays: the programs it has, and the way out it offers."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from skerry.island.sandbox.linux.powers import is_privileged
from skerry.island.workers.vpn import uplinks
from skerry.island.workers.vpn.recipes import PROGRAMS

Uplink = Literal["veth", "slirp"]
PACKAGES = {
    "wireguard-go": "wireguard-go",
    "openvpn": "openvpn",
    "ss-server": "shadowsocks-libev",
    "v2ray": "v2ray",
    "ip": "iproute2",
    "nft": "nftables",
    "slirp4netns": "slirp4netns",
}
"""Debian's package of each program."""

_NAMESPACES = """
import ctypes, os, sys
flags = 0x10000000 | 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(ctypes.c_int(flags)) < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
"""


def subkinds(uplink: Uplink | Literal["auto"] = "auto") -> dict[str, str | None]:
    """Each kind of relay, and None when it can run here, else what to install or why it cannot.

    Args:
        uplink: the way out, as for `Relays`. Blocks for some hundredths of a second when first called.
    """
    common = list(_missing_in_common(uplink))
    return {kind: _reason([*common, *_missing_for(kind)]) for kind in PROGRAMS}


def program(name: str) -> str | None:
    """The path of a program, as it will be found inside a relay; None when it is not installed."""
    return shutil.which(name, path=uplinks.PATH)


def choose_uplink(wished: Uplink | Literal["auto"] = "auto") -> Uplink:
    """The way out that relays take on this machine.

    Left to itself that is a veth pair where we are root and the machine routes already without filtering what it
    routes; slirp4netns anywhere else, so that nothing of the machine has to be changed.
    """
    if wished != "auto":
        return wished
    return "veth" if is_privileged() and _routes() else "slirp"


@functools.cache
def speaks_v2ray_5(path: str) -> bool:
    """Whether that V2Ray wants `run` on its command line: from version 5 on it does."""
    done = subprocess.run([path, "-version"], capture_output=True, env={"PATH": uplinks.PATH}, timeout=60, check=False)
    return done.returncode != 0


def _reason(reasons: list[str]) -> str | None:
    packages = sorted({PACKAGES[reason] for reason in reasons if reason in PACKAGES})
    parts = [reason for reason in reasons if reason not in PACKAGES]
    if packages:
        parts.insert(0, f"not installed: apt-get install {' '.join(packages)}")
    return "; ".join(parts) or None


def _missing_in_common(wished: Uplink | Literal["auto"]) -> Iterator[str]:
    """Programs that are missing, by name, and sentences about what else is."""
    for name in ("ip", "nft"):
        if program(name) is None:
            yield name
    failure = _namespaces_fail()
    if failure is not None:
        yield f"user namespaces cannot be made here ({failure}); see `skerry doctor`"
    uplink = choose_uplink(wished)
    if uplink == "veth" and not is_privileged():
        yield "a veth pair needs root"
    if uplink == "slirp":
        if program("slirp4netns") is None:
            yield "slirp4netns"
        yield from _no_tun("slirp4netns")


def _missing_for(kind: str) -> Iterator[str]:
    name = PROGRAMS[kind]
    if program(name) is None:
        yield name
    if kind in ("wg", "openvpn"):
        yield from _no_tun(name)


def _no_tun(who: str) -> Iterator[str]:
    device = Path("/dev/net/tun")
    if not device.exists():
        yield f"{who} needs /dev/net/tun, which this machine lacks"
    elif not os.access(device, os.R_OK | os.W_OK):
        yield f"{who} needs /dev/net/tun, which this user may not open (as root: chmod 666 /dev/net/tun)"


@functools.cache
def _namespaces_fail() -> str | None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _NAMESPACES], capture_output=True, text=True, timeout=60, check=False
    )
    return None if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def _routes() -> bool:
    """Whether answers would find their way back through this machine's default route, and nobody filters them."""
    devices = [row["dev"] for row in _ip_routes() if row.get("dst") == "default" and "dev" in row]
    if not devices or program("nft") is None:
        return False
    for device in devices:
        try:
            if Path(f"/proc/sys/net/ipv4/conf/{device}/forwarding").read_text().strip() != "1":
                return False
        except OSError:
            return False
    return not _filters_forwarding()


def _ip_routes() -> list[dict[str, str]]:
    if program("ip") is None:
        return []
    done = subprocess.run(
        ["ip", "-json", "-4", "route"], capture_output=True, env={"PATH": uplinks.PATH}, timeout=60, check=False
    )
    found: list[dict[str, str]] = json.loads(done.stdout or b"[]") if done.returncode == 0 else []
    return found


def _filters_forwarding() -> bool:
    """Whether any table has a chain for forwarded packets: container engines and firewalls drop ours there."""
    done = subprocess.run(
        ["nft", "-j", "list", "chains"], capture_output=True, env={"PATH": uplinks.PATH}, timeout=60, check=False
    )
    if done.returncode != 0:
        return True
    entries = json.loads(done.stdout).get("nftables", [])
    return any(entry["chain"].get("hook") == "forward" for entry in entries if "chain" in entry)
