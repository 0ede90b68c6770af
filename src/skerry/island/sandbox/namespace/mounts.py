"""The root file system of a sandbox, put together from an overlay, read-only host trees and a minimal /dev and /proc.

Two processes share the work. Where we are root, one outside the sandbox's user namespace may map file owners and
mounts the overlay (`outer_mounts`); where we are not, the sandbox's own first process does it in its user namespace
(`inner_mounts`). Both end in `assemble`, which works on descriptors only: a path that a sandbox planted as a symbolic
link in its own file system must never be followed while it is being put together.
"""

from __future__ import annotations

import os
import stat

from skerry.island.sandbox.linux import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_MASKED = (
    "acpi",
    "asound",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
)
_READ_ONLY = ("bus", "fs", "irq", "sys")
# Present on every machine, and visited by nothing between the mount on it and the change of root.
_STAGE = "/var"
_PLAIN = sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV | sc.MOUNT_ATTR_NOEXEC


def withdraw() -> None:
    """Into a mount namespace of our own, where the machine's later mounts still show and ours show nowhere else."""
    sc.unshare(sc.CLONE_NEWNS)
    sc.mount(None, "/", None, sc.MS_REC | sc.MS_SLAVE)


def outer_mounts(request: dict[str, Any], userns: int) -> list[int]:
    """As root, after `withdraw`: overlay and binds of a request as detached mounts, owners mapped by `userns`."""
    base = request["map"][0]
    for directory in (request["upper"], request["work"]):
        if os.stat(directory).st_uid != base:
            os.chown(directory, base, base)
    *layers, image = request["lowers"]
    trees: list[int] = []
    try:
        image_tree = sc.open_tree(image)
        trees.append(image_tree)
        sc.mount_setattr(image_tree, sc.MOUNT_ATTR_RDONLY, userns=userns)
        scratch = request["scratch"]
        _mount_overlay(request, [*layers, f"/proc/self/fd/{image_tree}"], scratch, "redirect_dir=off")
        try:
            overlay = sc.open_tree(scratch)
        finally:
            sc.umount_detached(scratch)
        os.close(image_tree)
        trees[0] = overlay
        for source, _ in request["binds"]:
            trees.append(host_tree(source, userns))
    except BaseException:
        for tree in trees:
            os.close(tree)
        raise
    return trees


def inner_mounts(request: dict[str, Any]) -> list[int]:
    """As anyone, in the sandbox's user namespace: the binds as detached mounts; the overlay is on the stage."""
    trees = [host_tree(source) for source, _ in request["binds"]]
    _mount_overlay(request, request["lowers"], _STAGE, "userxattr")
    return trees


def _mount_overlay(request: dict[str, Any], lowers: list[str], target: str, marks: str) -> None:
    # Options must fit a page: layers are named relative to the state directory they live in.
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    os.chdir(request["state_dir"])
    try:
        short = [_option(request, path) for path in lowers]
        upper, work = _option(request, request["upper"]), _option(request, request["work"])
        options = f"lowerdir={':'.join(short)},upperdir={upper},workdir={work},index=off,{marks}"
        sc.mount("overlay", target, "overlay", 0, options)
    finally:
        os.fchdir(here)
        os.close(here)


def _option(request: dict[str, Any], path: str) -> str:
    relative = path.removeprefix(request["state_dir"] + "/")
    for special in "\\:,":
        relative = relative.replace(special, "\\" + special)
    return relative


def host_tree(source: str, userns: int | None = None) -> int:
    """A read-only copy of a host tree, with what is mounted below it; owners mapped as far as its file system can."""
    attributes = sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV
    tree = sc.open_tree(source, recursive=True)
    sc.mount_setattr(tree, attributes, recursive=True)
    if userns is not None:
        try:
            sc.mount_setattr(tree, 0, userns=userns, recursive=True)
        except OSError:
            # Some file system below cannot map owners: its files then belong to nobody, and stay readable by all.
            pass
    return tree


def attach_stage(overlay: int) -> None:
    """Put an overlay from `outer_mounts` on the stage."""
    stage = os.open(_STAGE, os.O_PATH | os.O_DIRECTORY)
    sc.move_mount(overlay, stage)
    os.close(stage)
    os.close(overlay)


def assemble(request: dict[str, Any], trees: list[int]) -> None:
    """Complete the root on the stage with binds, /proc and /dev, and make it the root of this mount namespace."""
    nodes = [(name, sc.open_tree(f"/dev/{name}")) for name in _DEVICES]
    nodes += [(name, sc.open_tree(source)) for source, name in request["devices"]]
    os.chdir(_STAGE)
    root = os.open(".", os.O_PATH | os.O_DIRECTORY)
    for (_, target), tree in zip(request["binds"], trees, strict=True):
        try:
            _attach(root, target, tree)
        except OSError as error:
            raise OSError(error.errno, f"nothing can be mounted at {target} there: {error.strerror}") from None
    if request["shelved"]:
        _shelve(root, request["shelf"], request["shelved"])
    _proc(root)
    _dev(root, nodes, request)
    os.close(root)
    sc.pivot_root_here()


def _shelve(root: int, place: str, files: list[list[str]]) -> None:
    """Show files of the machine, read-only, in a small directory of their own."""
    shelf = sc.new_filesystem("tmpfs", {"mode": "755", "size": "4m", "nr_inodes": "4k"}, _PLAIN & ~sc.MOUNT_ATTR_NOEXEC)
    keep = os.dup(shelf)
    _attach(root, place, shelf)
    for source, name in files:
        _attach(keep, name, host_tree(source))
    sc.mount_setattr(keep, sc.MOUNT_ATTR_RDONLY)
    os.close(keep)


def _attach(root: int, target: str, tree: int) -> None:
    """Mount `tree` on a directory (or file) of the root, made if missing, reached through no symbolic link."""
    strict = sc.RESOLVE_NO_SYMLINKS | sc.RESOLVE_BENEATH
    path = target.strip("/")
    try:
        place = sc.openat2(root, path, os.O_PATH, resolve=strict)
    except FileNotFoundError:
        directory = os.dup(root)
        *parents, last = path.split("/")
        for name in parents:
            inner = _enter(directory, name)
            os.close(directory)
            directory = inner
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            place = _enter(directory, last)
        else:
            os.close(os.open(last, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=directory))
            place = sc.openat2(directory, last, os.O_PATH, resolve=strict)
        os.close(directory)
    sc.move_mount(tree, place)
    os.close(place)
    os.close(tree)


def _enter(directory: int, name: str) -> int:
    try:
        os.mkdir(name, 0o755, dir_fd=directory)
    except FileExistsError:
        pass
    return sc.openat2(directory, name, os.O_PATH | os.O_DIRECTORY, resolve=sc.RESOLVE_NO_SYMLINKS | sc.RESOLVE_BENEATH)


def _proc(root: int) -> None:
    proc = sc.new_filesystem("proc", attributes=_PLAIN)
    keep = os.dup(proc)
    _attach(root, "proc", proc)
    try:
        # The kernel itself then refuses user namespaces inside, even where no system call filter is to be had.
        with open(os.open("sys/user/max_user_namespaces", os.O_WRONLY | os.O_CLOEXEC, dir_fd=keep), "w") as limit:
            limit.write("0")
    except OSError:
        pass
    for name in _MASKED:
        try:
            place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=keep)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(os.fstat(place).st_mode):
            cover = sc.new_filesystem("tmpfs", {"size": "4k"}, _PLAIN | sc.MOUNT_ATTR_RDONLY)
        else:
            cover = sc.open_tree("/dev/null")
        sc.move_mount(cover, place)
        os.close(cover)
        os.close(place)
    for name in _READ_ONLY:
        try:
            tree = sc.open_tree(name, dir_fd=keep)
        except FileNotFoundError:
            continue
        sc.mount_setattr(tree, sc.MOUNT_ATTR_RDONLY | _PLAIN)
        place = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=keep)
        sc.move_mount(tree, place)
        os.close(tree)
        os.close(place)
    os.close(keep)


def _dev(root: int, nodes: list[tuple[str, int]], request: dict[str, Any]) -> None:
    # No MOUNT_ATTR_NODEV: the device nodes are mounts of their own, but programs look at the flags of /dev.
    dev = sc.new_filesystem(
        "tmpfs", {"mode": "755", "size": "1m", "nr_inodes": "4k"}, sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NOEXEC
    )
    keep = os.dup(dev)
    _attach(root, "dev", dev)
    for name, tree in nodes:
        _attach(keep, name, tree)
    for name, target in _DEVICE_LINKS:
        os.symlink(target, name, dir_fd=keep)
    terminals = {"newinstance": "", "ptmxmode": "0666", "mode": "0620"}
    if request["map"][1] > 5:
        terminals["gid"] = "5"  # the group `tty`, which one-id maps do not have
    _attach(keep, "pts", sc.new_filesystem("devpts", terminals, sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NOEXEC))
    shared = {"mode": "1777", "size": str(request["shm_bytes"])}
    _attach(keep, "shm", sc.new_filesystem("tmpfs", shared, _PLAIN))
    os.close(keep)
