"""Attempts to leave a sandbox or to learn about the machine, each of which must fail."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import textwrap
from pathlib import Path

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handles.sandbox import AgentSandbox
from tests.island.sandbox.sandbox_lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio

CALLS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*a):
    ctypes.set_errno(0)
    r = libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in a])
    return ctypes.get_errno() if r < 0 else 0
X86 = os.uname().machine == "x86_64"
def nr(x86, arm): return x86 if X86 else arm
"""


async def python(lab: Lab, box: AgentSandbox, code: str) -> str:
    return (await lab.output(box, ("python3", "-c", CALLS + textwrap.dedent(code)))).strip()


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /mnt",
        "mount --bind /usr /home",
        "mount -o remount,rw /usr",
        "umount /proc/sys",
        "umount -l /usr",
        "unshare -U true",
        "unshare -m true",
        "unshare -Ur mount -t proc proc /proc",
        "nsenter -t 1 -m true",
        "chroot /proc/1/root true",
        "mknod /tmp/disk b 254 0",
        "mknod /tmp/mem c 1 1",
        "touch /usr/bin/x",
        "echo 1 > /proc/sys/kernel/panic",
        "echo core > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "hostname other",
        "date -s 2000-01-01",
        "ip link add dummy0 type dummy",
        "cat /proc/1/environ",
        "ls /proc/1/fd",
        "ls /proc/1/root/",
        "cat /proc/1/mem",
        "cat /proc/1/maps",
        "readlink /proc/1/exe",
        "cat /proc/1/root/etc/shadow",
        "ls /dev/sda /dev/vda /dev/mem /dev/kmsg /dev/fuse /dev/kvm",
        "ls /sys/fs/cgroup/",
        "dmesg",
        "exec 3<>/dev/tcp/1.1.1.1/53",
    ],
)
async def test_what_the_shell_may_not(lab: Lab, box: AgentSandbox, command: str) -> None:
    shell = "bash" if "/dev/tcp" in command else "sh"
    result, out, err = await lab.run(box, (shell, "-c", command), timeout=PATIENCE / 2)
    assert result.exit_code != 0, (out, err)
    assert result.cause == "exited"


async def test_host_paths_do_not_exist(lab: Lab, box: AgentSandbox) -> None:
    here = Path(__file__).resolve()
    assert str(here).startswith(tuple("/" + name for name in os.listdir("/")))
    listing = set((await lab.output(box, "ls -A /")).split())
    assert listing <= {*os.listdir(lab.images.directory)}
    for path in (here, lab.state, lab.directory, Path("/etc/shadow")):
        assert (await lab.run(box, f"test -e '{path}'"))[0].exit_code == 1


async def test_no_path_of_the_machine_shows(lab: Lab, box: AgentSandbox) -> None:
    shown = await lab.output(box, "cat /proc/1/cmdline /proc/1/comm /proc/self/cgroup | tr '\\0' ' '; cat /proc/1/stat")
    for path in (str(lab.state), str(lab.directory), os.path.dirname(os.__file__), str(Path(__file__).parents[3])):
        assert path not in shown
    assert "skerry-agent" in shown
    groups = [line.split(":", 2)[2] for line in shown.splitlines() if line.count(":") == 2]
    assert set(groups) <= {"/"} or lab.driver._builder.cgroups.backend == "none"


async def test_only_its_own_processes_show(lab: Lab, box: AgentSandbox) -> None:
    pids = {int(name) for name in (await lab.output(box, "ls /proc")).split() if name.isdigit()}
    assert 1 in pids
    assert len(pids) <= 3
    result, _, _ = await lab.run(box, f"kill -0 {os.getpid()}")
    assert result.exit_code != 0 or os.getpid() in pids


async def test_masks(lab: Lab, box: AgentSandbox) -> None:
    for name in ("kcore", "keys", "sysrq-trigger", "timer_list", "sched_debug"):
        if Path(f"/proc/{name}").exists():
            assert await lab.output(box, f"cat /proc/{name}") == "", name
    shown = (await lab.output(box, "ls /dev")).split()
    assert " ".join(shown) == "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"


async def test_reduced_for_good(lab: Lab, box: AgentSandbox) -> None:
    status = dict(
        line.split(":\t", 1) for line in (await lab.output(box, "cat /proc/self/status")).splitlines() if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    dangerous = sum(1 << number for number in (2, 9, 12, 16, 17, 19, 21, 22, 23, 24, 25, 27, 34, 36, 37, 38, 39, 40))
    for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[field], 16) & dangerous == 0, field


async def test_what_root_of_a_container_expects(lab: Lab, box: AgentSandbox) -> None:
    await lab.output(box, "touch /home/user/f; chmod 0 /home/user/f; cat /home/user/f; ln -s /tmp /opt; mkdir /srv")
    await lab.output(box, "mkdir -p /tmp/r && cp -L /usr/bin/true /tmp/r/ && ! chroot /tmp/r /nothing 2>/dev/null")
    if os.geteuid() == 0:
        await lab.output(box, "chown 33:33 /home/user/f; stat -c %u:%g /home/user/f | grep 33:33")
        assert await lab.output(box, "setpriv --reuid 1000 --regid 1000 --clear-groups id -u") == "1000\n"
        result, _, _ = await lab.run(box, "setpriv --reuid 1000 --regid 1000 --clear-groups cat /home/user/f")
        assert result.exit_code != 0
    server = "import socket; s=socket.socket(); s.bind(('127.0.0.1', 80)); s.listen()"
    await lab.output(box, ("python3", "-c", server))


async def test_owners_on_the_machine(lab: Lab, box: AgentSandbox) -> None:
    await lab.output(box, "touch /home/user/f; cp /usr/bin/true /home/user/s; chmod 6755 /home/user/s")
    owner = (lab.state / "sandboxes/box/upper/home/user/f").stat().st_uid
    assert owner == (100_000 if os.geteuid() == 0 else os.getuid())
    assert Path(f"/proc/{lab.pid('box')}").exists()
    status = Path(f"/proc/{lab.pid('box')}/status").read_text()
    assert f"Uid:\t{owner}\t{owner}\t{owner}\t{owner}" in status


async def test_system_calls(lab: Lab, box: AgentSandbox) -> None:
    code = """
    EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
    import struct
    refused = {
        "mount": call(nr(165, 40), None, b"/", None, 0, None), "umount": call(nr(166, 39), b"/usr", 2),
        "pivot_root": call(nr(155, 41), b".", b"."), "unshare": call(nr(272, 97), 0x10000000),
        "setns": call(nr(308, 268), 0, 0), "bpf": call(nr(321, 280), 0, None, 0),
        "perf": call(nr(298, 241), None, 0, -1, -1, 0), "userfaultfd": call(nr(323, 282), 1),
        "keyctl": call(nr(250, 219), 0, 0), "add_key": call(nr(248, 217), b"user", b"x", b"y", 1, -1),
        "init_module": call(nr(175, 105), None, 0, b""), "kexec": call(nr(246, 104), 0, 0, None, 0),
        "reboot": call(nr(169, 142), 0, 0, 0, None), "open_tree": call(428, -100, b"/", 1),
        "fsopen": call(430, b"tmpfs", 0),
        "move_mount": call(429, -1, b"", -1, b"", 0), "mount_setattr": call(442, -100, b"/", 0, None, 0),
        "io_uring": call(425, 1, None), "by_handle": call(nr(304, 265), -1, None, 0),
        "vm_readv": call(nr(310, 270), 1, None, 0, None, 0, 0), "getfd": call(438, -1, 0, 0),
        "attach": call(nr(101, 117), 16, 1, 0, 0), "seize": call(nr(101, 117), 0x4206, 1, 0, 0),
        "clone_user": call(nr(56, 220), 0x10000000 | 17, 0, 0, 0, 0),
        "clone_net": call(nr(56, 220), 0x40000000 | 17, 0, 0, 0, 0),
        "clone_mnt": call(nr(56, 220), 0x20000 | 17, 0, 0, 0, 0), "sti": call(nr(16, 29), 0, 0x5412, b"x"),
    }
    for name, code in refused.items():
        assert code == EPERM, (name, code)
    assert call(435, struct.pack("8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64) == ENOSYS
    for family in (16, 2, 10, 1):
        assert call(nr(41, 198), family, 3 if family == 16 else 1, 0) == 0, family
    for family in (40, 38, 17, 21, 30):
        assert call(nr(41, 198), family, 1, 0) == EAFNOSUPPORT, family
    if X86:
        assert call(0x40000000 + 39) == ENOSYS
    print("all refused")
    """
    assert await python(lab, box, code) == "all refused"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is an entry of x86 only")
async def test_the_old_entry_of_32_bit_programs(lab: Lab, box: AgentSandbox) -> None:
    # mov eax, 20 (getpid of i386); int 0x80; ret
    code = """
    import mmap
    memory = mmap.mmap(-1, 4096, prot=7)
    memory.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    print(ctypes.CFUNCTYPE(ctypes.c_long)(address)())
    """
    result, out, _ = await lab.run(box, ("python3", "-c", CALLS + textwrap.dedent(code)))
    assert result.exit_code in (128 + 31, 128 + 11), out


async def test_debugging_ones_own_children_works(lab: Lab, box: AgentSandbox) -> None:
    code = """
    import signal
    pid = os.fork()
    if pid == 0:
        libc.ptrace(0, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(3)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSTOPPED(status)
    assert libc.ptrace(7, pid, 0, 0) == 0
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert await python(lab, box, code) == "3"


async def test_namespaces_are_forbidden_by_the_kernel_too(lab: Lab, box: AgentSandbox) -> None:
    assert (await lab.output(box, "cat /proc/sys/user/max_user_namespaces")).strip() == "0"


async def test_abstract_sockets_and_shared_memory_are_private(lab: Lab, box: AgentSandbox) -> None:
    name = f"\0skerry-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})"
        assert (await lab.run(box, ("python3", "-c", code)))[0].exit_code == 1
    libc = ctypes.CDLL(None)
    segment = libc.shmget(os.getpid(), 4096, 0o1666)
    try:
        code = f"import ctypes; print(ctypes.CDLL(None).shmget({os.getpid()}, 4096, 0))"
        assert await lab.output(box, ("python3", "-c", code)) == "-1\n"
    finally:
        libc.shmctl(segment, 0, None)


async def test_no_network_but_its_own(lab: Lab, box: AgentSandbox) -> None:
    shown = await lab.output(box, "cat /proc/net/dev")
    assert [line.split(":")[0].strip() for line in shown.splitlines()[2:]] == ["lo"]
    other = await lab.box("other")
    server = (
        "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 7000)); s.listen(); "
        "print(1, flush=True); time.sleep(1000)"
    )
    process = await other.exec(lab.spec(("python3", "-c", server)))
    async for _ in process.follow("stdout"):
        break
    code = "import socket; socket.create_connection(('127.0.0.1',7000), 2)"
    assert (await lab.run(box, ("python3", "-c", code)))[0].exit_code == 1
    await process.cancel()
    await process.wait()


async def test_links_planted_where_the_driver_mounts(lab: Lab) -> None:
    await lab.box("a")
    await lab.driver.suspend("a")
    upper = lab.state / "sandboxes/a/upper"
    marker = lab.directory / "outside"
    marker.mkdir()
    (upper / "home").mkdir(exist_ok=True)
    for name in ("dev", "proc", "usr"):
        target = upper / name
        if target.is_dir():
            target.rmdir()
        target.symlink_to(marker)
        with pytest.raises(SandboxError) as caught:
            await lab.driver.open("a")
        assert caught.value.reason == "start"
        assert not list(marker.iterdir())
        target.unlink()
    assert await lab.output(await lab.driver.open("a"), "echo fine") == "fine\n"
