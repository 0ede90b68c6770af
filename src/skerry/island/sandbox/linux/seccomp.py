"""The system call filter of sandboxes, as a BPF program for x86_64 and aarch64.

A deny list: a sandbox must run whatever a development machine runs, so what it takes away is the kernel's
administration and its most attacked corners. Foreign instruction sets are killed, the x32 numbers refused, and `clone3`
answers ENOSYS, because its flags lie in memory where a filter cannot see them; the C libraries then fall back to
`clone`, whose flags can be checked.
"""

from __future__ import annotations

import errno
import struct

# Calls with one number everywhere (Linux 5.0 and newer).
_COMMON = {
    "pidfd_getfd": 438,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "open_tree_attr": 467,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
}
# name: (x86_64, aarch64); None where the processor has no such call.
_PER_MACHINE: dict[str, tuple[int | None, int | None]] = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "sysfs": (139, None),
    "ustat": (136, None),
    "nfsservctl": (180, 42),
}
_CHECKED = {"clone": (56, 220), "ptrace": (101, 117), "socket": (41, 198), "ioctl": (16, 29)}
_CLONE3 = 435
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_NAMESPACE_FLAGS = 0x7E020000
_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# Families that are confined by the network namespace; vsock, for one, would reach the machine's hypervisor.
_AF_ALLOWED = (1, 2, 10, 16)

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_REFUSE = _ERRNO | errno.EPERM


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(number: int, offset: int, tests: list[bytes], verdict: int) -> bytes:
    """For one call: load the low half of an argument; any passing test gives `verdict`, else it is allowed.

    Each test must be a jump whose `if_true` is 0; it is patched to reach the verdict.
    """
    body = b""
    for index, test in enumerate(tests):
        code, _, _, value = struct.unpack("=HBBI", test)
        body += _op(code, value, if_true=len(tests) - index)
    block = _op(_LOAD, offset) + body + _op(_RETURN, _ALLOW) + _op(_RETURN, verdict)
    return _op(_JUMP_EQUAL, number, if_false=len(block) // 8) + block


def program(machine: str) -> bytes | None:
    """The filter for a processor family as `os.uname().machine` names it; None when it is unknown here."""
    if machine not in _AUDIT_ARCH:
        return None
    column = 0 if machine == "x86_64" else 1
    denied = sorted([*_COMMON.values(), *(n for row in _PER_MACHINE.values() if (n := row[column]) is not None)])
    checked = {name: row[column] for name, row in _CHECKED.items()}

    code = _op(_LOAD, _ARCH) + _op(_JUMP_EQUAL, _AUDIT_ARCH[machine], if_true=1) + _op(_RETURN, _KILL)
    code += _op(_LOAD, _NR)
    if machine == "x86_64":
        code += _op(_JUMP_GREATER_EQUAL, _X32_BIT, if_false=1) + _op(_RETURN, _ERRNO | errno.ENOSYS)
    code += _op(_JUMP_EQUAL, _CLONE3, if_false=1) + _op(_RETURN, _ERRNO | errno.ENOSYS)
    code += _argument(checked["clone"], _ARG0, [_op(_JUMP_SET, _NAMESPACE_FLAGS)], _REFUSE)
    traced = [_op(_JUMP_EQUAL, request) for request in (_PTRACE_ATTACH, _PTRACE_SEIZE)]
    code += _argument(checked["ptrace"], _ARG0, traced, _REFUSE)
    terminal = [_op(_JUMP_EQUAL, request) for request in (_TIOCSTI, _TIOCLINUX)]
    code += _argument(checked["ioctl"], _ARG1, terminal, _REFUSE)
    allowed = b"".join(_op(_JUMP_EQUAL, family, if_true=len(_AF_ALLOWED) - i) for i, family in enumerate(_AF_ALLOWED))
    block = _op(_LOAD, _ARG0) + allowed + _op(_RETURN, _ERRNO | errno.EAFNOSUPPORT) + _op(_RETURN, _ALLOW)
    code += _op(_JUMP_EQUAL, checked["socket"], if_false=len(block) // 8) + block
    for index, number in enumerate(denied):
        code += _op(_JUMP_EQUAL, number, if_true=len(denied) - index)
    return code + _op(_RETURN, _ALLOW) + _op(_RETURN, _REFUSE)
