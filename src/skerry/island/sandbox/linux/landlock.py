"""Landlock: a process gives up, for good, what it and its children will not need of files, TCP ports and signals.

Standard library only: it is loaded into every agent of the process driver.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_RULE_PATH, _RULE_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
# How many file rights each version of the interface knows: REFER came with 2, TRUNCATE with 3, IOCTL_DEV with 5.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1 << 0, 1 << 1

NET_ABI = 4
SCOPE_ABI = 6

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def abi() -> int:
    """The version of the kernel's interface; 0 where there is none or it is switched off."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def ruleset(version: int, paths: Iterable[tuple[str, str]], connect_ports: Iterable[int] = ()) -> int:
    """A descriptor of rules that allow what is listed and deny all else that this version can deny.

    Args:
        version: from `abi`.
        paths: absolute paths with what is allowed beneath: `rw` (all but device nodes), `rx` (read, list, execute),
            `ro` (read and list) or `dev` (read, write, device control). Missing paths are passed over.
        connect_ports: TCP ports that may be connected to, at any address; no port may be listened on.

    Raises:
        OSError: the kernel refuses.
    """
    handled = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    network = _BIND_TCP | _CONNECT_TCP if version >= NET_ABI else 0
    scoped = _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL if version >= SCOPE_ABI else 0
    attributes = ctypes.create_string_buffer(struct.pack("=QQQ", handled, network, scoped), 24)
    rules = _call(_CREATE_RULESET, attributes, 24, 0)
    try:
        for path, kind in paths:
            _allow_path(rules, path, _KINDS[kind] & handled)
        if network:
            for port in connect_ports:
                entry = ctypes.create_string_buffer(struct.pack("=QQ", _CONNECT_TCP, port), 16)
                _call(_ADD_RULE, rules, _RULE_PORT, entry, 0)
    except BaseException:
        os.close(rules)
        raise
    return rules


def restrict(rules: int) -> None:
    """Put this thread and all it will start under the rules; needs no-new-privileges to be set already."""
    _call(_RESTRICT_SELF, rules, 0)


_KINDS = {
    "rw": ((1 << 16) - 1) & ~(_MAKE_CHAR | _MAKE_BLOCK),
    "rx": _EXECUTE | _READ_FILE | _READ_DIR,
    "ro": _READ_FILE | _READ_DIR,
    "dev": _READ_FILE | _WRITE_FILE | _READ_DIR | _IOCTL_DEV,
}


def _allow_path(rules: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _ON_FILES
        entry = ctypes.create_string_buffer(struct.pack("=Qi", rights, handle), 12)
        _call(_ADD_RULE, rules, _RULE_PATH, entry, 0)
    finally:
        os.close(handle)


def _call(number: int, *args: object) -> int:
    # The kernel reads every argument as a full register; ctypes would pass bare integers as 32-bit ints.
    values = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = _libc.syscall(ctypes.c_long(number), *values)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return int(result)
