"""Commands that mean harm: bounded, ended at their limit, and the neighbour does not notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from skerry import Island

PATIENCE = 60.0


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    """One island for the module; nothing a test does may harm the next."""
    with Island() as island:
        yield island


@pytest.fixture
def pair(island: Island):  # type: ignore[no-untyped-def]
    """The attacker and its neighbour."""
    with island.arker(timeout=120) as arker:
        attacker = arker.vm("ubuntu").fork(memory_mib=256, disk_mib=64)
        neighbour = arker.vm("ubuntu").fork()
        yield attacker, neighbour
        attacker.delete()
        neighbour.delete()


def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.05)


def still_fine(vm) -> None:  # type: ignore[no-untyped-def]
    """A sandbox answers an ordinary command."""
    assert vm.run("echo fine").stdout == b"fine\n"


def test_output_without_end_is_cut_and_the_run_ended(pair) -> None:  # type: ignore[no-untyped-def]
    attacker, neighbour = pair
    # On a busy machine it may not get to say anything in so little time.
    for limit in (1500, 15_000):
        result = attacker.run("yes", timeout=limit)
        assert result.exit_code == 124
        if result.stdout:
            break
    assert 0 < len(result.stdout) <= 16 << 20
    still_fine(neighbour)
    still_fine(attacker)


def test_a_fork_bomb_stays_inside(pair) -> None:  # type: ignore[no-untyped-def]
    attacker, neighbour = pair
    stop = threading.Event()
    failures = []

    def keep_asking() -> None:
        while not stop.is_set():
            if neighbour.run("echo fine").stdout != b"fine\n":
                failures.append("the neighbour failed")

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        result = attacker.run("bomb() { bomb | bomb & }; bomb; sleep 30", timeout=2000)
    finally:
        stop.set()
        thread.join()
    assert result.exit_code != 0
    assert not failures
    still_fine(neighbour)


def test_a_memory_hog_is_ended_at_its_limit(pair) -> None:  # type: ignore[no-untyped-def]
    attacker, neighbour = pair
    result = attacker.run("exec python3 -c 'b = bytearray(1 << 30); print(len(b))'")
    assert result.exit_code != 0
    assert b"1073741824" not in result.stdout
    still_fine(neighbour)
    still_fine(attacker)


def test_a_disk_hog_is_stopped(pair) -> None:  # type: ignore[no-untyped-def]
    attacker, neighbour = pair
    result = attacker.run("head -c 300M /dev/zero > one; ls -l one")
    assert int(attacker.run("stat -c %s one").stdout) <= 64 << 20
    assert result.stderr
    # Not by its time limit: it waits for whoever measures the disk.
    many = attacker.run("for i in $(seq 30); do head -c 4M /dev/zero > part$i || exit 9; done; sleep 60", timeout=60000)
    assert many.exit_code not in (0, 124)
    still_fine(neighbour)


def test_a_command_deaf_to_sigterm_is_killed(pair) -> None:  # type: ignore[no-untyped-def]
    attacker, _ = pair
    result = attacker.run("trap '' TERM INT HUP; while :; do sleep 0.05; done", timeout=300)
    assert result.exit_code == 124
    # Not between two of its pauses.
    looks = "for i in 1 2 3 4 5; do ps -e -o args= | grep -c 'sleep 0.0[5]'; sleep 0.02; done | sort -u"
    until(lambda: attacker.run(looks).stdout == b"0\n")


def test_a_command_that_closes_its_outputs_ends_by_itself(pair) -> None:  # type: ignore[no-untyped-def]
    attacker, _ = pair
    result = attacker.run("exec >&- 2>&- <&-; sleep 0.1; exit 5")
    assert result.exit_code == 5


def test_a_zombie_storm_leaves_no_zombie(pair) -> None:  # type: ignore[no-untyped-def]
    attacker, _ = pair
    attacker.run("for i in $(seq 200); do (sleep 0.01 & exec true) & done; wait")
    until(lambda: attacker.run("ps -e -o stat= | grep -c '^Z' || true").stdout.strip() == b"0")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/home/user/../../etc/passwd",
        "home/user/x",
        "/home/user/../user2/x",
        "/home/user",
        "/home/user/",
        "/home/user/a\0b",
        "/home/userx/a",
        "/home/user/" + "n" * 5000,
        "",
    ],
)
def test_file_paths_outside_the_home_are_refused(pair, path: str) -> None:  # type: ignore[no-untyped-def]
    from skerry import InvalidRequestError, SkerryError

    attacker, _ = pair
    for act in (lambda: attacker.sync.read_file(path), lambda: attacker.sync.write_file(path, b"x")):
        with pytest.raises(SkerryError) as caught:
            act()
        assert isinstance(caught.value, InvalidRequestError), caught.value


def test_symlinks_never_lead_file_access_out(pair) -> None:  # type: ignore[no-untyped-def]
    from skerry import SkerryError

    attacker, _ = pair
    attacker.run(
        "ln -s /etc/passwd link; ln -s /etc dir; ln -s /proc/self/root/etc magic; echo mine > real; ln -s real ok"
    )
    for path in ("link", "dir/passwd", "magic/passwd", "dir/new"):
        with pytest.raises(SkerryError):
            attacker.sync.read_file(f"/home/user/{path}")
    for path in ("dir/new", "magic/new"):
        with pytest.raises(SkerryError):
            attacker.sync.write_file(f"/home/user/{path}", b"x")
    assert attacker.sync.read_file("/home/user/ok") == b"mine\n"


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs t /mnt",
        "unshare -U true",
        "unshare -m true",
        "kill -9 1 && sleep 0.2 && ls /proc/1/fd/ >/dev/null",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "echo b > /proc/sysrq-trigger",
        "echo 1 > /proc/sys/vm/drop_caches",
        "mknod /tmp/disk b 8 0 && cat /tmp/disk",
        "ls /proc/1/root/ >/dev/null && ls -l /proc/1/fd >/dev/null",
        "touch /usr/bin/skerry-was-here",
        "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 4242), 1)'",
    ],
)
def test_ways_out_are_closed(pair, command: str) -> None:  # type: ignore[no-untyped-def]
    attacker, _ = pair
    assert attacker.run(command, timeout=20000).exit_code != 0
    still_fine(attacker)


def test_host_processes_and_files_are_out_of_sight(pair, island: Island) -> None:  # type: ignore[no-untyped-def]
    attacker, _ = pair
    names = attacker.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert b"pytest" not in names
    data_dir = str(island.data_dir)
    assert attacker.run(f"ls {data_dir}").exit_code != 0
    assert data_dir.encode() not in attacker.run("cat /proc/self/mountinfo /proc/mounts").stdout
