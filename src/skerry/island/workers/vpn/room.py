"""The file system of a relay: the machine's programs, read-only, and what its server needs to read. Nothing else."""

from __future__ import annotations

import os

from skerry.island.sandbox.linux import syscalls as sc
from skerry.island.sandbox.namespace import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_TREES = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc/alternatives", "etc/ssl", "etc/iproute2")
_SIZE = "4m"


def device_tree() -> int:
    """As root: a detached file system with a TUN device that anyone in the relay may open.

    The machine's own /dev/net/tun belongs to a root that does not exist in there.
    """
    tree = sc.new_filesystem("tmpfs", {"mode": "755", "size": "64k"}, sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NOEXEC)
    try:
        os.mknod("tun", 0o020666, os.makedev(10, 200), dir_fd=tree)
        # Whoever gets at it makes interfaces only in networks that he rules anyhow.
        os.chmod("tun", 0o666, dir_fd=tree)  # noqa: S103
    except OSError:
        os.close(tree)
        raise
    return tree


def enter(files: Mapping[str, str], devices: int | None, *, tun: bool) -> None:
    """Make the room and move into it; the machine's file system is out of reach afterwards.

    Args:
        files: text by absolute path, readable by the relay alone.
        devices: from `device_tree`; None to use the machine's own device.
        tun: whether there is to be a /dev/net/tun.
    """
    wanted: list[tuple[str, str]] = []
    if tun:
        device = "/dev/net/tun"
        if devices is not None:
            # To copy the mount of a file, its tree must stand somewhere; it stays behind with the old root.
            _attach(devices, "/tmp")  # noqa: S108
            device = "/tmp/tun"  # noqa: S108
        wanted.append((device, "net/tun"))
    binds, links = [], []
    for name in _TREES:
        path = f"/{name}"
        if os.path.islink(path):
            links.append((name, os.readlink(path)))
        elif os.path.isdir(path):
            binds.append((path, path))
    trees = [mounts.host_tree(source) for source, _ in binds]
    root = sc.new_filesystem("tmpfs", {"mode": "755", "size": _SIZE}, sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV)
    for name, target in links:
        os.symlink(target, name, dir_fd=root)
    for name in ("run", "var", "tmp", "etc"):
        os.mkdir(name, 0o755, dir_fd=root)
    os.symlink("../run", "var/run", dir_fd=root)
    mounts.attach_stage(root)
    request = {"binds": binds, "devices": wanted, "shelved": [], "map": [0, 1], "shm_bytes": 4096}
    mounts.assemble(request, trees)
    for path, text in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)


def _attach(tree: int, path: str) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    sc.move_mount(tree, place)
    os.close(place)
    os.close(tree)
