"""The filter program itself, executed here, so that the processor that tests do not run on is covered too."""

from __future__ import annotations

import errno
import struct

import pytest

from skerry.island.sandbox.linux import seccomp

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
PTRACE = {"x86_64": 101, "aarch64": 117}
IOCTL = {"x86_64": 16, "aarch64": 29}
MOUNT = {"x86_64": 165, "aarch64": 40}
BPF = {"x86_64": 321, "aarch64": 280}
EXECVE = {"x86_64": 59, "aarch64": 221}


def execute(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel's interpreter would return."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        operation, if_true, if_false, value = code[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            return value
        else:
            test = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[operation]
            position += if_true if test else if_false


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def verdict(machine: str, number: int, *arguments: int) -> int:
    program = seccomp.program(machine)
    assert program is not None
    return execute(program, ARCH[machine], number, *arguments)


def test_the_program_fits_the_kernel(machine: str) -> None:
    program = seccomp.program(machine)
    assert program is not None
    assert len(program) % 8 == 0
    assert len(program) // 8 <= 4096


def test_ordinary_calls_pass(machine: str) -> None:
    for number in (0, 1, 2, 3, EXECVE[machine], 437, 436):
        assert verdict(machine, number) == ALLOW, number


def test_administration_is_refused(machine: str) -> None:
    for number in (MOUNT[machine], BPF[machine], 425, 428, 432, 438, 442):
        assert verdict(machine, number) == ERRNO | errno.EPERM, number


def test_new_processes_but_no_new_namespaces(machine: str) -> None:
    assert verdict(machine, CLONE[machine], 17) == ALLOW
    assert verdict(machine, CLONE[machine], 0x3D0F00) == ALLOW
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, CLONE[machine], bit | 17) == ERRNO | errno.EPERM, hex(bit)
    assert verdict(machine, 435) == ERRNO | errno.ENOSYS


def test_arguments_that_matter(machine: str) -> None:
    for family in range(46):
        expected = ALLOW if family in (1, 2, 10, 16) else ERRNO | errno.EAFNOSUPPORT
        assert verdict(machine, SOCKET[machine], family) == expected, family
    assert verdict(machine, PTRACE[machine], 0) == ALLOW
    assert verdict(machine, PTRACE[machine], 16) == ERRNO | errno.EPERM
    assert verdict(machine, PTRACE[machine], 0x4206) == ERRNO | errno.EPERM
    assert verdict(machine, IOCTL[machine], 0, 0x5401) == ALLOW
    assert verdict(machine, IOCTL[machine], 0, 0x5412) == ERRNO | errno.EPERM
    # The kernel looks at the low half only, and so must the filter.
    assert verdict(machine, IOCTL[machine], 0, 0x1_0000_5412) == ERRNO | errno.EPERM


def test_foreign_calls(machine: str) -> None:
    program = seccomp.program(machine)
    assert program is not None
    for arch in (0x40000003, 0x40000028, ARCH["aarch64" if machine == "x86_64" else "x86_64"]):
        assert execute(program, arch, 1) == KILL
    if machine == "x86_64":
        assert verdict(machine, 0x40000000 | 1) == ERRNO | errno.ENOSYS


def test_other_processors_have_none() -> None:
    assert seccomp.program("riscv64") is None
