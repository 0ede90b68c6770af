"""Landlock's rules and the socket filter, each tried in a process of its own."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from skerry.island.sandbox.linux import landlock
from skerry.island.sandbox.process import socket_filter

needs_landlock = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel offers no Landlock")


def confined(body: str, *arguments: str) -> str:
    """Run a program that confines itself; its output."""
    program = "import ctypes, os, socket, sys\nfrom skerry.island.sandbox.linux import landlock\n"
    program += "from skerry.island.sandbox.linux import syscalls as sc\n"
    program += "from skerry.island.sandbox.process import socket_filter\n" + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_landlock
def test_files(tmp_path: Path) -> None:
    (tmp_path / "rw").mkdir()
    (tmp_path / "ro").mkdir()
    (tmp_path / "no").mkdir()
    for name in ("rw", "ro", "no"):
        (tmp_path / name / "file").write_text(name)
    body = """
        base = sys.argv[1]
        rules = landlock.ruleset(landlock.abi(), [(f"{base}/rw", "rw"), (f"{base}/ro", "ro"), (f"{base}/gone", "rw")])
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        landlock.restrict(rules)
        def attempt(what):
            try:
                what()
            except PermissionError:
                return "no"
            return "yes"
        for name in ("rw", "ro", "no"):
            print(name, attempt(lambda: open(f"{base}/{name}/file").read()),
                  attempt(lambda: open(f"{base}/{name}/file", "w")), attempt(lambda: os.listdir(f"{base}/{name}")),
                  attempt(lambda: os.mkdir(f"{base}/{name}/new")))
        print(attempt(lambda: os.mknod(f"{base}/rw/dev", 0o60666, os.makedev(7, 0))))
        link = f"{base}/rw/link"
        print(attempt(lambda: os.symlink(f"{base}/no/file", link)), attempt(lambda: open(link)))
    """
    assert confined(body, str(tmp_path)).split("\n")[:5] == [
        "rw yes yes yes yes",
        "ro yes no yes no",
        "no no no no no",
        "no",
        "yes no",
    ]


@pytest.mark.skipif(landlock.abi() < landlock.NET_ABI, reason="Landlock knows no TCP ports before Linux 6.7")
def test_ports() -> None:
    body = """
        open_, closed = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
        rules = landlock.ruleset(landlock.abi(), [("/", "rw")], [open_.getsockname()[1]])
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        landlock.restrict(rules)
        socket.create_connection(open_.getsockname())
        for attempt in (lambda: socket.create_connection(closed.getsockname()), lambda: socket.create_server(("", 0))):
            try:
                attempt()
            except PermissionError:
                print("refused")
    """
    assert confined(body) == "refused\nrefused\n"


@pytest.mark.skipif(landlock.abi() < landlock.SCOPE_ABI, reason="Landlock knows no signals before Linux 6.12")
def test_signals_stay_inside() -> None:
    body = """
        rules = landlock.ruleset(landlock.abi(), [("/", "rw")])
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        landlock.restrict(rules)
        try:
            os.kill(os.getppid(), 0)
        except PermissionError:
            print("refused")
    """
    assert confined(body) == "refused\n"


@pytest.mark.parametrize(
    ("internet", "unix", "expected"),
    [
        (False, False, "pair netlink"),
        (False, True, "unix pair netlink"),
        (True, False, "tcp tcp6 pair netlink"),
        (True, True, "tcp tcp6 unix pair netlink"),
    ],
)
def test_sockets(internet: bool, unix: bool, expected: str) -> None:
    if socket_filter.program(os.uname().machine, internet=True, unix=True) is None:
        pytest.skip("no filter for this processor")
    body = f"""
        sc.install_seccomp(socket_filter.program(sc.MACHINE, internet={internet}, unix={unix}))
        s = socket
        for name, make in (
            ("tcp", lambda: s.socket(s.AF_INET, s.SOCK_STREAM | s.SOCK_NONBLOCK)),
            ("tcp6", lambda: s.socket(s.AF_INET6, s.SOCK_STREAM, s.IPPROTO_TCP)),
            ("udp", lambda: s.socket(s.AF_INET, s.SOCK_DGRAM)),
            ("udp6", lambda: s.socket(s.AF_INET6, s.SOCK_DGRAM | s.SOCK_CLOEXEC)),
            ("raw", lambda: s.socket(s.AF_INET, s.SOCK_RAW, 1)),
            ("mptcp", lambda: s.socket(s.AF_INET, s.SOCK_STREAM, 262)),
            ("sctp", lambda: s.socket(s.AF_INET, s.SOCK_STREAM, 132)),
            ("unix", lambda: s.socket(s.AF_UNIX)),
            ("pair", lambda: s.socketpair()),
            ("netlink", lambda: s.socket(s.AF_NETLINK, s.SOCK_RAW)),
        ):
            try:
                make()
            except OSError:
                continue
            print(name, end=" ")
    """
    made = confined(body).split()
    wanted = [name for name in expected.split() if name in made or name != "tcp6"]
    assert made == wanted


def test_programs_are_well_formed() -> None:
    for machine in ("x86_64", "aarch64"):
        for internet in (False, True):
            for unix in (False, True):
                code = socket_filter.program(machine, internet=internet, unix=unix)
                assert code is not None
                lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
                assert lines[-1][0] == 0x06
                for at, (operation, if_true, if_false, _) in enumerate(lines):
                    if operation == 0x15:
                        assert at + 1 + max(if_true, if_false) < len(lines)
    assert socket_filter.program("sparc", internet=True, unix=True) is None
