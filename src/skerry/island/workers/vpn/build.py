"""The short-lived process that makes a relay: its namespaces, its way out, and its keeper, which stays.

It runs on the machine's side, as the server's user, in a session of its own: a server that dies meanwhile leaves a
finished relay or none. It prints one line of JSON, `{"ready": true}` or `{"error": text}`.

Arguments: the relay's directory, then `name=descriptor` for each it is to hand on: `lock`, and `tcp`, `udp`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

from skerry.island.sandbox.linux import syscalls as sc
from skerry.island.workers.vpn import keeper, room, uplinks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SPEC, TRAFFIC, LOG, CONTROL, PIDS = "relay.json", "traffic", "log", "control", "pids"
"""What lies in a relay's directory, beside its `lock`."""
_NAMESPACES = sc.CLONE_NEWUSER | sc.CLONE_NEWNS | sc.CLONE_NEWPID | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWNET
_PACKET = 65_536
_READY_SECONDS = 60.0
# Packets of tunnels come as they are; proxies make their own.
_PLAIN_MTU, _LARGEST_MTU = 1500, 65_520


def main(arguments: list[str]) -> None:
    """Make the relay that a directory describes."""
    directory, *handed = arguments
    held = {name: int(fd) for name, _, fd in (word.partition("=") for word in handed)}
    os.umask(0o077)
    try:
        _build(directory, held)
        answer: dict[str, Any] = {"ready": True}
    except (OSError, ValueError, uplinks.UplinkError) as error:
        answer = {"error": str(error)}
    try:
        sys.stdout.write(json.dumps(answer))
        sys.stdout.flush()
    except OSError:
        pass  # the server is gone


def _build(directory: str, held: dict[str, int]) -> None:
    with open(f"{directory}/{SPEC}") as file:
        plan = json.load(file)["plan"]
    outer = plan["privileged"]
    held["traffic"] = os.open(f"{directory}/{TRAFFIC}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    held["log"] = os.open(f"{directory}/{LOG}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    held["control"] = _listen(directory)
    tree = room.device_tree() if outer and plan["tunnel"] is not None else None
    ended, alive = os.pipe2(os.O_CLOEXEC)
    held["alive"] = alive
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = sc.fork_into(_NAMESPACES)
    if pid == 0:
        ours.close()
        keeper.main(plan, held, theirs, outer=outer)
    theirs.close()
    os.close(alive)
    ours.settimeout(_READY_SECONDS)
    try:
        if outer:
            for kind in ("uid", "gid"):
                with open(f"/proc/{pid}/{kind}_map", "w") as file:
                    file.write(f"0 {plan['user']} 1")
            socket.send_fds(ours, [b'{"mapped":true}'], [] if tree is None else [tree])
        _hear(ours)
        _note(directory, {"keeper": pid})
        uplink: dict[str, Any]
        if plan["uplink"] == "veth":
            uplink = dict(uplinks.make_veth(plan["mark"], pid, plan["closed"], plan["allowed"]))
        else:
            slirp = uplinks.start_slirp(pid, ended, mtu=_PLAIN_MTU if plan["tunnel"] else _LARGEST_MTU)
            _note(directory, {"keeper": pid, "slirp": slirp})
            uplink = {"interface": uplinks.SLIRP}
        uplink["own"] = uplinks.own_addresses()
        ours.send(json.dumps(uplink).encode())
        _hear(ours)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if plan["uplink"] == "veth":
            uplinks.remove_veth(plan["mark"])
        raise


def _listen(directory: str) -> int:
    """The control socket, bound through a descriptor, for its path may be longer than the kernel takes."""
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = f"/proc/self/fd/{folder}/{CONTROL}"
        if os.path.lexists(path):
            os.unlink(path)
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.bind(path)
        control.listen(16)
        return control.detach()
    finally:
        os.close(folder)


def _note(directory: str, pids: dict[str, int]) -> None:
    with open(f"{directory}/{PIDS}.new", "w") as file:
        json.dump(pids, file)
    os.replace(f"{directory}/{PIDS}.new", f"{directory}/{PIDS}")


def _hear(keeper_: socket.socket) -> None:
    packet = keeper_.recv(_PACKET)
    answer = json.loads(packet) if packet else {"error": "the relay's first process ended without a word"}
    if "error" in answer:
        raise OSError(answer["error"])


if __name__ == "__main__":
    main(sys.argv[1:])
