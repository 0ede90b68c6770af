"""Control groups that this machine really has; where it has none, that nothing is claimed."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.limits.cgroup_v1 import CgroupV1
from skerry.island.sandbox.limits.cgroup_v2 import CgroupV2
from skerry.island.sandbox.limits.cgroups import Cgroup, Cgroups
from skerry.island.sandbox.limits.rlimits import rlimits
from skerry.island.sandbox.spec import Limits

MIB = 1 << 20
PATIENCE = 60.0
SPIN = "while True: pass"


def only_v2(directory: Path) -> Path:
    """The kernel's table of mounts without version 1."""
    table = directory / "mounts"
    lines = Path("/proc/self/mountinfo").read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if " - cgroup " not in line))
    return table


def probed(backend: str, directory: Path) -> Cgroups:
    scope = f"test-{secrets.token_hex(4)}"
    mounts = only_v2(directory) if backend == "v2" else Path("/proc/self/mountinfo")
    found = Cgroups.detect(scope, "skerry-test", mounts=mounts)
    if backend != found.backend:
        found.close()
        pytest.skip(f"this machine and user have cgroup backend {found.backend}, not {backend}")
    return found


@pytest.fixture(params=["v1", "v2"])
def groups(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cgroups]:
    groups = probed(request.param, tmp_path)
    parents = groups._parents()
    yield groups
    for id in groups.ids():
        group = groups.find(id)
        assert group is not None
        assert group.kill()
        assert group.remove()
    groups.close()
    assert not any(parent.exists() for parent in parents)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a small program that waits for a line before it does anything."""
    started: list[subprocess.Popen[bytes]] = []

    def start(group: Cgroup, code: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", f"input()\n{code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        started.append(process)
        group.add(process.pid)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def needs(groups: Cgroups, *names: str) -> None:
    lacking = [reason for name, reason in groups.missing if name in names]
    if lacking:
        pytest.skip(f"no {' and '.join(names)} here: {lacking[0]}")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_made_found_and_removed(groups: Cgroups) -> None:
    group = groups.create("box", Limits(cpu_millis=500, memory_bytes=64 * MIB, pids=32))
    assert group.active == groups.active
    assert group.pids() == []
    assert groups.ids() == ["box"]
    found = groups.find("box")
    assert found is not None
    assert found.active == group.active
    assert group.oom_kills() == (0 if "memory" in group.active else None)
    assert group.cpu_ns() is not None
    assert group.remove()
    assert group.remove()
    assert groups.find("box") is None
    assert groups.ids() == []


def test_names_cannot_lead_elsewhere(groups: Cgroups) -> None:
    for name in ("..", "a/b", "", "x" * 65):
        with pytest.raises(SandboxError, match="not a name"):
            groups.create(name, Limits())
        assert groups.find(name) is None
        with pytest.raises(ValueError, match="not a name"):
            Cgroups.detect(name)


def test_two_islands_do_not_meet(groups: Cgroups, tmp_path: Path) -> None:
    other = probed(groups.backend, tmp_path)
    groups.create("box", Limits())
    try:
        assert other.ids() == []
        other.create("box", Limits())
        assert groups.find("box") is not None
    finally:
        group = other.find("box")
        assert group is not None
        assert group.remove()
        other.close()
    assert groups.ids() == ["box"]


def test_an_empty_leftover_is_replaced_and_a_used_one_is_not(
    groups: Cgroups, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    groups.create("box", Limits(pids=7))
    group = groups.create("box", Limits())
    start(group, "import time; time.sleep(60)")
    with pytest.raises(SandboxError) as caught:
        groups.create("box", Limits())
    assert caught.value.reason == "exists"
    assert group.pids()


def test_everything_is_killed_even_what_forks(groups: Cgroups, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    group = groups.create("box", Limits(pids=64))
    # Each of 16 processes keeps making a new one as its last ends; never more than 33 in all.
    bomb = (
        "import os\n"
        "for i in range(16):\n"
        " if os.fork() == 0:\n"
        "  while True:\n"
        "   if os.fork() == 0: os._exit(0)\n"
        "   os.wait()\n"
        "os.wait()"
    )
    process = start(group, bomb)
    until(lambda: len(group.pids()) > 8)
    assert not group.remove(timeout=0)
    assert group.kill()
    assert group.pids() == []
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert group.kill()
    assert group.remove()


def test_frozen_means_standing_still(groups: Cgroups, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    needs(groups, "freezer")
    group = groups.create("box", Limits())
    for _ in range(3):
        start(group, SPIN)
    until(lambda: (group.cpu_ns() or 0) > 20_000_000)
    assert group.freeze(PATIENCE)

    def still() -> bool:
        before = group.cpu_ns()
        time.sleep(0.05)
        return group.cpu_ns() == before

    # The last of them may be on its way to where it stands.
    until(still)
    before = group.cpu_ns()
    group.thaw()
    until(lambda: (group.cpu_ns() or 0) > (before or 0))
    group.thaw()
    assert group.freeze(PATIENCE)
    assert group.kill()


def test_an_empty_group_can_be_frozen_or_says_so(groups: Cgroups) -> None:
    group = groups.create("box", Limits())
    group.freeze(timeout=0.1)
    group.thaw()
    assert group.remove()


def test_a_process_can_enter_by_itself(groups: Cgroups) -> None:
    group = groups.create("box", Limits())
    assert len(group.entries) == len(groups._parents())
    enter = "import sys\nfor path in sys.argv[1:]: open(path, 'w').write('0')\nprint('in', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", enter, *group.entries], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        assert group.pids() == [process.pid]
        process.communicate(b"\n")
    assert group.pids() == []


def test_a_process_that_has_ended_cannot_be_added(groups: Cgroups) -> None:
    group = groups.create("box", Limits())
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    with pytest.raises(ProcessLookupError):
        group.add(process.pid)


def test_memory_ends_a_process_and_is_counted(groups: Cgroups, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    needs(groups, "memory")
    group = groups.create("box", Limits(memory_bytes=32 * MIB))
    process = start(group, f"b = bytearray({128 * MIB})\nfor i in range(0, len(b), 4096): b[i] = 1")
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert group.oom_kills() == 1
    group.update(Limits(memory_bytes=256 * MIB))
    process = start(group, f"b = bytearray({64 * MIB})\nfor i in range(0, len(b), 4096): b[i] = 1\nprint(1)\ninput()")
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    assert (group.memory_bytes() or 0) > 64 * MIB
    assert group.oom_kills() == 1


def test_processes_are_counted(groups: Cgroups, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    needs(groups, "pids")
    group = groups.create("box", Limits(pids=4))
    count = (
        "import os, time\nn = 0\n"
        "for i in range(10):\n"
        " try:\n  n += 1\n  if os.fork() == 0: time.sleep(60)\n"
        " except OSError: n -= 1\n"
        "print(n)"
    )
    process = start(group, count)
    assert process.stdout is not None
    assert process.stdout.readline() == b"3\n"


def test_processor_time_is_held_down(groups: Cgroups, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    needs(groups, "cpu")
    group = groups.create("box", Limits(cpu_millis=200))
    start(group, SPIN)
    until(lambda: (group.cpu_ns() or 0) > 0)
    # Whole periods are compared, whatever else the machine does: it can only get less.
    began = time.monotonic()
    used = group.cpu_ns() or 0
    time.sleep(0.5)
    share = ((group.cpu_ns() or 0) - used) / 1e9 / (time.monotonic() - began)
    assert share < 0.4
    group.update(Limits())
    used = group.cpu_ns() or 0
    until(lambda: (group.cpu_ns() or 0) > used + 200_000_000)


def test_limits_that_the_kernel_refuses_change_nothing(
    groups: Cgroups, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    if groups.backend != "v1":
        pytest.skip("version 2 kills instead of refusing")
    needs(groups, "memory")
    group = groups.create("box", Limits(memory_bytes=256 * MIB, pids=9))
    process = start(group, f"b = bytearray({64 * MIB})\nfor i in range(0, len(b), 4096): b[i] = 1\nprint(1)\ninput()")
    assert process.stdout is not None
    process.stdout.readline()
    assert isinstance(group, CgroupV1)
    memory = group._by_name["memory"]
    before = {name: (memory / name).read_text() for name in os.listdir(memory) if name.endswith("limit_in_bytes")}
    with pytest.raises(SandboxError) as caught:
        group.update(Limits(memory_bytes=2 * MIB, pids=3))
    assert caught.value.reason == "limits"
    assert {name: (memory / name).read_text() for name in before} == before
    with pytest.raises(SandboxError):
        groups.create("never", Limits(pids=-5))
    assert groups.ids() == ["box"]


def test_parents_that_another_island_removed_are_made_again(groups: Cgroups) -> None:
    groups.close()
    assert groups.ids() == []
    assert groups.create("box", Limits()).active == groups.active


def test_without_any_hierarchy_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text("22 1 0:21 / /proc rw - proc proc rw\n")
    groups = Cgroups.detect("scope", mounts=tmp_path / "mounts")
    assert groups.backend == "none"
    assert groups.active == ()
    assert dict(groups.missing).keys() == {"cpu", "memory", "pids", "freezer"}
    group = groups.create("box", Limits(memory_bytes=1, pids=1, cpu_millis=1))
    assert group.active == group.entries == ()
    group.add(os.getpid())
    group.update(Limits())
    assert not group.freeze()
    group.thaw()
    assert group.kill()
    assert group.pids() == []
    assert group.oom_kills() is group.memory_bytes() is group.cpu_ns() is None
    assert group.remove()
    assert groups.find("box") is None
    groups.close()


def test_detection_does_not_claim_what_this_user_may_not(tmp_path: Path) -> None:
    hierarchy = tmp_path / "closed"
    hierarchy.mkdir(mode=0o555)
    (tmp_path / "mounts").write_text(f"22 1 0:21 / {hierarchy}/missing rw - cgroup cgroup rw,memory\n")
    groups = Cgroups.detect("scope", mounts=tmp_path / "mounts")
    assert groups.backend == "none"
    assert dict(groups.missing)["memory"].startswith("no cgroup hierarchy lets")


CORE = {"cgroup.procs": "", "cgroup.freeze": "0", "cgroup.kill": "", "cgroup.events": "populated 0\nfrozen 0\n"}
BY_CONTROLLER = {
    "cpu": {"cpu.max": "max 100000"},
    "memory": {
        "memory.max": "max",
        "memory.swap.max": "max",
        "memory.current": "4096",
        "memory.events": "oom 0\noom_kill 0\n",
    },
    "pids": {"pids.max": "max"},
}


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that behaves as a version 2 hierarchy does when groups are made and removed in it."""
    root = tmp_path / "unified"
    real, remove = os.mkdir, os.rmdir

    def fill(directory: Path, controllers: list[str]) -> None:
        (directory / "cgroup.controllers").write_text(" ".join(controllers))
        (directory / "cgroup.subtree_control").write_text("")
        (directory / "cpu.stat").write_text("usage_usec 7\n")
        for files in (CORE, *(BY_CONTROLLER[name] for name in controllers)):
            for name, content in files.items():
                (directory / name).write_text(content)

    def mkdir(path: Path, *arguments: int, **options: int) -> None:
        real(path, *arguments, **options)
        if Path(path).is_relative_to(root):
            enabled = (Path(path).parent / "cgroup.subtree_control").read_text()
            fill(Path(path), [name for name in BY_CONTROLLER if name in enabled])

    def rmdir(path: Path, **options: int) -> None:
        if any(entry.is_dir() for entry in Path(path).iterdir()):
            raise OSError(39, "Directory not empty")
        for entry in Path(path).iterdir():
            entry.unlink()
        remove(path)

    def write(path: Path, value: str) -> None:
        if not path.exists():
            raise FileNotFoundError(path)
        path.write_text(path.read_text() + value.replace("+", " ") if path.name == "cgroup.subtree_control" else value)

    root.mkdir()
    fill(root, list(BY_CONTROLLER))
    (tmp_path / "mounts").write_text(f"22 1 0:21 / {root} rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "own").write_text("0::/\n")
    monkeypatch.setattr(os, "mkdir", mkdir)
    for module in ("cgroup", "cgroups", "cgroup_v2"):
        monkeypatch.setattr(f"skerry.island.sandbox.limits.{module}.write", write)
    monkeypatch.setattr("skerry.island.sandbox.limits.cgroups._can_move", lambda scope: True)
    monkeypatch.setattr("skerry.island.sandbox.limits.cgroup.os.rmdir", rmdir)
    return root


def detect(root: Path) -> Cgroups:
    return Cgroups.detect("scope", mounts=root.parent / "mounts", own=root.parent / "own")


def test_version_2_with_all_controllers(unified: Path) -> None:
    (unified / "cgroup.subtree_control").write_text("cpu memory pids io")
    groups = detect(unified)
    assert groups.backend == "v2"
    assert groups.active == ("cpu", "memory", "pids", "freezer")
    assert groups.missing == ()
    group = groups.create("box", Limits(cpu_millis=1500, memory_bytes=64 * MIB, pids=32))
    here = unified / "skerry" / "scope" / "box"
    assert (here / "cpu.max").read_text() == "150000 100000"
    assert (here / "memory.max").read_text() == str(64 * MIB)
    assert (here / "memory.swap.max").read_text() == "0"
    assert (here / "pids.max").read_text() == "32"
    assert group.oom_file == here / "memory.events"
    assert group.oom_kills() == 0
    assert group.memory_bytes() == 4096
    assert group.cpu_ns() == 7000
    group.update(Limits(pids=None))
    assert (here / "cpu.max").read_text() == "max 100000"
    assert [(here / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max")] == ["max"] * 3
    group.update(Limits(cpu_millis=1))
    assert (here / "cpu.max").read_text() == "1000 100000"
    group.add(4711)
    assert group.pids() == [4711]
    assert not group.freeze(timeout=0.01)
    assert (here / "cgroup.freeze").read_text() == "0"
    (here / "cgroup.events").write_text("populated 0\nfrozen 1\n")
    assert group.freeze()
    assert (here / "cgroup.freeze").read_text() == "1"
    assert group.kill()
    assert (here / "cgroup.kill").read_text() == "1"
    assert group.remove()
    groups.close()
    assert not (unified / "skerry").exists()


def test_version_2_is_not_helped_to_controllers(unified: Path) -> None:
    (unified / "cgroup.subtree_control").write_text("pids")
    groups = detect(unified)
    assert groups.active == ("pids", "freezer")
    assert dict(groups.missing) == {
        "cpu": f"not enabled in {unified}/cgroup.subtree_control",
        "memory": f"not enabled in {unified}/cgroup.subtree_control",
    }
    assert (unified / "cgroup.subtree_control").read_text() == "pids"
    group = groups.create("box", Limits(memory_bytes=MIB))
    assert group.oom_kills() is None
    assert group.oom_file is None


def test_an_island_that_ends_takes_nothing_from_one_that_begins(unified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (unified / "cgroup.subtree_control").write_text("cpu memory pids")
    make, gone = os.mkdir, []

    def mkdir(path: Path, *arguments: int, **options: int) -> None:
        # The other one has just removed its last group, and then what both have in common.
        if Path(path).name == "scope" and len(gone) < 3:
            gone.append(path)
            os.rmdir(Path(path).parent)
        make(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    groups = detect(unified)
    assert len(gone) == 3
    assert groups.backend == "v2"
    assert groups.active == ("cpu", "memory", "pids", "freezer")


def test_version_2_looks_for_the_group_with_most_controllers(unified: Path) -> None:
    os.mkdir(unified / "user.slice")
    os.mkdir(unified / "user.slice" / "app.slice")
    (unified / "user.slice" / "cgroup.subtree_control").write_text("memory pids cpu")
    (unified.parent / "own").write_text("3:pids:/elsewhere\n0::/user.slice/app.slice\n")
    groups = detect(unified)
    assert groups.active == ("cpu", "memory", "pids", "freezer")
    assert (unified / "user.slice" / "skerry" / "scope").is_dir()
    groups.close()
    assert sorted(path.name for path in (unified / "user.slice").iterdir() if path.is_dir()) == ["app.slice"]


def test_version_2_without_kill_file_signals_by_hand(unified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = detect(unified).create("box", Limits())
    assert isinstance(group, CgroupV2)
    (group.directory / "cgroup.kill").unlink()
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as process:
        (group.directory / "cgroup.procs").write_text(f"0\n{process.pid}\n")

        def signalled(self: CgroupV2) -> None:
            Cgroup._signal(self)
            (self.directory / "cgroup.procs").write_text("")

        monkeypatch.setattr(CgroupV2, "_signal", signalled)
        assert group.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL


def test_rlimits_take_what_groups_leave() -> None:
    limits = Limits(cpu_millis=1, memory_bytes=5, pids=6, disk_bytes=7, open_files=8)
    assert rlimits(limits) == {
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 8,
        "RLIMIT_FSIZE": 7,
        "RLIMIT_NPROC": 6,
        "RLIMIT_DATA": 5,
    }
    assert rlimits(limits, ("memory", "pids")) == {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": 8, "RLIMIT_FSIZE": 7}
    assert "RLIMIT_NPROC" not in rlimits(limits, own_user=False)
    assert rlimits(Limits(pids=None, open_files=None)) == {"RLIMIT_CORE": 0}
    assert all(hasattr(resource, name) for name in rlimits(limits))
