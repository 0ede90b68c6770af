"""A second system call filter, for sandboxes that share the machine's network: which sockets may be made.

Landlock knows TCP ports only. Datagrams and other protocols would pass it by, and a path to a unix socket is judged
by file permissions alone, so such sockets are not made at all. Standard library only.
"""

from __future__ import annotations

import errno
import struct

_SOCKET = {"x86_64": 41, "aarch64": 198}
_UNIX, _INET, _INET6 = 1, 2, 10
_STREAM, _TYPE_MASK = 1, 0xF
_ANY_PROTOCOL, _TCP = 0, 6
_LOAD, _AND, _JUMP_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NR, _FAMILY, _TYPE, _PROTOCOL = 0, 16, 24, 32
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def program(machine: str, *, internet: bool, unix: bool) -> bytes | None:
    """The filter for a processor family; None when it is unknown here.

    Args:
        machine: as `os.uname().machine` names it.
        internet: whether TCP sockets may be made; others of the internet families never.
        unix: whether unix sockets may be made; pairs always.
    """
    number = _SOCKET.get(machine)
    if number is None:
        return None
    code = [_op(_LOAD, _NR), _op(_JUMP_EQUAL, number, if_true=1), _op(_RETURN, _ALLOW), _op(_LOAD, _FAMILY)]
    if not unix:
        code += [_op(_JUMP_EQUAL, _UNIX, if_false=1), _op(_RETURN, _REFUSE)]
    code += [_op(_JUMP_EQUAL, _INET, if_true=2), _op(_JUMP_EQUAL, _INET6, if_true=1), _op(_RETURN, _ALLOW)]
    if internet:
        code += [
            _op(_LOAD, _TYPE),
            _op(_AND, _TYPE_MASK),
            _op(_JUMP_EQUAL, _STREAM, if_true=1),
            _op(_RETURN, _REFUSE),
            _op(_LOAD, _PROTOCOL),
            _op(_JUMP_EQUAL, _ANY_PROTOCOL, if_true=1),
            _op(_JUMP_EQUAL, _TCP, if_false=1),
            _op(_RETURN, _ALLOW),
        ]
    code.append(_op(_RETURN, _REFUSE))
    return b"".join(code)
