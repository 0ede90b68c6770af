"""The way out of a relay, on the machine's side: a veth pair that the machine routes, or slirp4netns.

A veth pair needs root and a machine that forwards packets already; ours are the pair, one route, two settings of our
own end of the pair, and one nftables table. slirp4netns carries connections in user space and changes nothing on the
machine.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import subprocess

from skerry.island.workers.vpn import rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VETH, SLIRP = "up0", "tap0"
"""What the way out is called inside."""
_POOLS = ("10.212.0.0/16", "172.29.0.0/16", "192.168.212.0/24")
_PATIENCE = 60.0


class UplinkError(Exception):
    """It could not be made; the message says why."""


def tag(directory: str, id: str) -> str:
    """What a relay's things on the machine are named after: unique to its state directory and id.

    Args:
        directory: the directory of all relays, resolved.
        id: the relay's.
    """
    return hashlib.blake2b(f"{directory}\0{id}".encode(), digest_size=5).hexdigest()


def link_name(mark: str) -> str:
    """Our end of the pair, 13 characters."""
    return f"skv{mark}"


def table_name(mark: str) -> str:
    """Our nftables table."""
    return f"skerry_vpn_{mark}"


def own_addresses() -> list[str]:
    """Every IPv4 address of this machine."""
    return sorted({address for address, _ in _addresses()})


def make_veth(mark: str, pid: int, closed: Sequence[str], allowed: Sequence[str]) -> dict[str, str]:
    """Make the pair, and route and translate for it.

    Args:
        mark: from `tag`.
        pid: a process in the relay's network namespace.
        closed: blocks that must not be reached.
        allowed: blocks that may be, although they are closed or this machine's.

    Returns:
        What is to be set inside: `interface`, `address` with prefix length, `gateway`.

    Raises:
        UplinkError: something in the way.
    """
    remove_veth(mark)
    link = link_name(mark)
    _run("ip", "link", "add", link, "type", "veth", "peer", "name", VETH, "netns", str(pid))
    try:
        for name in ("ipv4/conf/{}/forwarding 1", "ipv6/conf/{}/disable_ipv6 1"):
            path, value = name.format(link).split()
            _set(path, value)
        _run("ip", "link", "set", link, "up")
        for block in _free_blocks():
            gateway, address = block[1], block[2]
            # The route is what claims the block: the kernel lets only one of two at the same time have it.
            if _run("ip", "route", "add", str(block), "dev", link, missing_ok=True):
                _run("ip", "addr", "add", f"{gateway}/30", "dev", link, "noprefixroute")
                break
        else:
            raise UplinkError(f"no free block of addresses in {', '.join(_POOLS)}")
        table = table_name(mark)
        text = rules.outside(table=table, link=link, address=str(address), closed=closed, allowed=allowed)
        _run("nft", "-f", "-", text=text)
    except BaseException:
        remove_veth(mark)
        raise
    return {"interface": VETH, "address": f"{address}/30", "gateway": str(gateway)}


def remove_veth(mark: str) -> None:
    """Take the pair, its route and the table away; harmless when they are gone.

    Raises:
        UplinkError: they are there and stay.
    """
    link, table = link_name(mark), table_name(mark)
    place = f"/sys/class/net/{link}"
    # The kernel may be taking it away at this moment, after the end of the namespace with the other end.
    if os.path.exists(place) and not _run("ip", "link", "del", link, missing_ok=True) and os.path.exists(place):
        raise UplinkError(f"the interface {link} cannot be removed")
    # `add` before `delete` makes the deletion of what may not exist one transaction that cannot fail.
    _run("nft", "-f", "-", text=f"add table ip {table}\ndelete table ip {table}\n")


def start_slirp(pid: int, exit_fd: int, *, mtu: int) -> int:
    """Start slirp4netns for a namespace and wait until it carries; it ends when the other end of `exit_fd` closes.

    Args:
        pid: a process in the relay's network namespace.
        exit_fd: the reading end of a pipe.
        mtu: of the way out; the larger, the faster are connections that begin in the relay itself.

    Returns:
        Its process id.

    Raises:
        UplinkError: it would not start.
    """
    ready, told = os.pipe()
    command = [
        "slirp4netns",
        "--configure",
        f"--mtu={mtu}",
        "--disable-host-loopback",
        "--disable-dns",
        f"--exit-fd={exit_fd}",
        f"--ready-fd={told}",
        "--enable-seccomp",
        str(pid),
        SLIRP,
    ]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": PATH},
            pass_fds=[exit_fd, told],
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        os.close(ready)
        raise UplinkError(f"slirp4netns: {error.strerror}") from None
    finally:
        os.close(told)
    with os.fdopen(ready, "rb") as signal:
        if signal.read(1) == b"1":
            return process.pid
    process.kill()
    _, complaint = process.communicate()
    raise UplinkError(f"slirp4netns: {complaint.decode(errors='replace').strip()[-400:] or 'ended without a word'}")


def _free_blocks() -> Iterator[ipaddress.IPv4Network]:
    taken = [ipaddress.IPv4Network(f"{address}/{length}", strict=False) for address, length in _addresses()]
    taken += [
        ipaddress.IPv4Network(row["dst"], strict=False)
        for row in _json("-4", "route", "show", "table", "all")
        if row["dst"] not in ("default", "0.0.0.0/0")
    ]
    for pool in map(ipaddress.IPv4Network, _POOLS):
        near = [block for block in taken if block.overlaps(pool)]
        for block in pool.subnets(new_prefix=30):
            if not any(block.overlaps(other) for other in near):
                yield block


def _addresses() -> list[tuple[str, int]]:
    return [
        (entry["local"], entry["prefixlen"])
        for interface in _json("-4", "addr", "show")
        for entry in interface.get("addr_info", ())
        if "local" in entry
    ]


def _json(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["ip", "-json", *arguments], capture_output=True, env={"PATH": PATH}, timeout=_PATIENCE, check=False
    )
    if done.returncode != 0:
        raise UplinkError(f"ip {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
    rows: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return rows


def _run(*command: str, text: str | None = None, missing_ok: bool = False) -> bool:
    done = subprocess.run(
        command,
        input=None if text is None else text.encode(),
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        env={"PATH": PATH},
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode != 0 and not missing_ok:
        raise UplinkError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.returncode == 0


def _set(name: str, value: str) -> None:
    try:
        with open(f"/proc/sys/net/{name}", "w") as file:
            file.write(value)
    except OSError as error:
        if name.startswith("ipv6"):
            return  # no IPv6 on this machine
        raise UplinkError(f"/proc/sys/net/{name} cannot be set: {error.strerror}") from None
