"""Linux calls that the standard library of Python 3.11 does not offer, each raising OSError with its own name.

Loaded by the zygote and therefore by every agent: standard library only, and little of it.
"""

from __future__ import annotations

import ctypes
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x00100000

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_SIGCHLD = 17
_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4

MACHINE = os.uname().machine

# Calls newer than Linux 5.0 have one number on every architecture; the older ones are per architecture.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 437, 442
_PIVOT_ROOT, _CAPSET, _SECCOMP, _CLONE = {
    "x86_64": (155, 126, 317, 56),
    "aarch64": (41, 91, 277, 220),
}.get(MACHINE, (-1, -1, -1, -1))

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# Keeps the interpreter's lock over a call, as a call that returns twice must.
_locked = ctypes.PyDLL(None, use_errno=True)
_locked.syscall.restype = ctypes.c_long


def supported() -> bool:
    """Whether the numbers of this processor's calls are known here."""
    return _PIVOT_ROOT >= 0


def _fail(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def _call(what: str, number: int, *args: object) -> int:
    # The kernel reads every argument as a full register; ctypes would pass bare integers as 32-bit ints.
    values = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = _libc.syscall(ctypes.c_long(number), *values)
    if result < 0:
        raise _fail(what)
    return int(result)


def _text(value: str | None) -> ctypes.c_char_p:
    return ctypes.c_char_p(None if value is None else os.fsencode(value))


def unshare(flags: int) -> None:
    """Leave the namespaces named by `CLONE_NEW*` flags for new ones."""
    if _libc.unshare(ctypes.c_int(flags)) < 0:
        raise _fail("unshare")


def fork_into(flags: int) -> int:
    """Fork a child that is born into new namespaces (`CLONE_NEW*`); returns its id, and 0 in the child.

    Only for a process with one thread: nothing but the calling thread exists in the child, and no fork handler runs.
    """
    zero = ctypes.c_long(0)
    pid = _locked.syscall(ctypes.c_long(_CLONE), ctypes.c_long(flags | _SIGCHLD), zero, zero, zero, zero)
    if pid < 0:
        raise _fail("clone")
    return int(pid)


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """Classic mount(2), which unlike the newer calls takes overlay options of up to a page on every kernel."""
    result = _libc.mount(_text(source), _text(target), _text(fstype), ctypes.c_ulong(flags), _text(data))
    if result < 0:
        raise _fail(f"mount {fstype or source} on {target}")


def umount_detached(target: str) -> None:
    """Detach the mount at `target` now; it goes away when its last user does."""
    if _libc.umount2(_text(target), ctypes.c_int(MNT_DETACH)) < 0:
        raise _fail(f"umount {target}")


def pivot_root_here() -> None:
    """Make the working directory the root and detach the old root from it."""
    _call("pivot_root", _PIVOT_ROOT, _text("."), _text("."))
    umount_detached(".")
    os.chdir("/")


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) < 0:
        raise _fail(f"prctl {option}")


def open_tree(path: str, *, dir_fd: int = _AT_FDCWD, recursive: bool = False) -> int:
    """A detached copy of the mount at `path`, as a descriptor for `move_mount`."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _call(f"open_tree {path}", _OPEN_TREE, dir_fd, _text(path), flags)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount_setattr(tree: int, attributes: int, *, userns: int | None = None, recursive: bool = False) -> None:
    """Set `MOUNT_ATTR_*` on a detached mount; with `userns`, map the owners of its files through that namespace."""
    attr = _MountAttr(attributes | (0 if userns is None else MOUNT_ATTR_IDMAP), 0, 0, userns or 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    _call("mount_setattr", _MOUNT_SETATTR, tree, _text(""), flags, ctypes.byref(attr), ctypes.sizeof(attr))


def move_mount(tree: int, target: int) -> None:
    """Attach a detached mount on the directory or file open as `target`."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _call("move_mount", _MOVE_MOUNT, tree, _text(""), target, _text(""), flags)


def new_filesystem(fstype: str, options: dict[str, str] | None = None, attributes: int = 0) -> int:
    """A new file system of a type such as `proc` or `tmpfs` as a detached mount."""
    context = _call(f"fsopen {fstype}", _FSOPEN, _text(fstype), 1)
    try:
        for key, value in (options or {}).items():
            if value:
                _call(f"{fstype} {key}", _FSCONFIG, context, _FSCONFIG_SET_STRING, _text(key), _text(value), 0)
            else:
                _call(f"{fstype} {key}", _FSCONFIG, context, _FSCONFIG_SET_FLAG, _text(key), _text(None), 0)
        _call(f"create {fstype}", _FSCONFIG, context, _FSCONFIG_CMD_CREATE, _text(None), _text(None), 0)
        return _call(f"fsmount {fstype}", _FSMOUNT, context, 1, attributes)
    finally:
        os.close(context)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2): open `path` from `directory` under `RESOLVE_*` rules, close-on-exec."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    while True:
        try:
            return _call(f"open {path}", _OPENAT2, directory, _text(path), ctypes.byref(how), ctypes.sizeof(how))
        except (BlockingIOError, InterruptedError):
            # The kernel asks for another try when a rename raced with the resolution of `..`.
            continue


def keep_capabilities(kept: tuple[int, ...]) -> None:
    """Drop every capability but `kept` for good: bounding, effective, permitted, inheritable, ambient."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        if capability not in kept:
            prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    mask = sum(1 << capability for capability in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0), 24)
    _call("capset", _CAPSET, header, data)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install_seccomp(program: bytes) -> None:
    """Put a BPF filter on this thread and all it will ever start; sets no-new-privileges first."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    instructions = ctypes.create_string_buffer(program, len(program))
    filter_ = _Program(len(program) // 8, ctypes.cast(instructions, ctypes.c_void_p))
    _call("seccomp", _SECCOMP, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_SPEC_ALLOW, ctypes.byref(filter_))


def overwrite(start: int, end: int, text: bytes) -> None:
    """Replace this process's own memory from `start` to `end` by `text` and zeros."""
    if 0 < start < end:
        ctypes.memmove(start, text[: end - start - 1].ljust(end - start, b"\0"), end - start)
