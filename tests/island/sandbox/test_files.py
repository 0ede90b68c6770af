"""Reading and writing files of a sandbox from outside, which no trick inside may turn against the machine."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handles.sandbox import AgentSandbox
from skerry.island.sandbox.spec import Limits
from tests.island.sandbox.sandbox_lab import Lab

pytestmark = pytest.mark.anyio

HOME = "/home/user"


async def put(box: AgentSandbox, path: str, data: bytes, *, beneath: str = HOME, mode: int = 0o644) -> None:
    await box.write_file(path, io.BytesIO(data), len(data), beneath=beneath, mode=mode)


async def get(box: AgentSandbox, path: str, *, beneath: str = HOME) -> bytes:
    file, size = await box.open_read(path, beneath=beneath)
    with file:
        data = file.read()
    assert size == len(data)
    return data


async def refused(box: AgentSandbox, path: str, *, beneath: str = HOME, write: bool = False) -> str:
    with pytest.raises(SandboxError) as caught:
        await (put(box, path, b"x", beneath=beneath) if write else get(box, path, beneath=beneath))
    return caught.value.reason


async def test_a_file_comes_back_as_it_was_written(lab: Lab, box: AgentSandbox) -> None:
    await put(box, f"{HOME}/a/b c/ü.txt", b"content", mode=0o750)
    assert await get(box, f"{HOME}/a/b c/ü.txt") == b"content"
    assert await get(box, "a/b c/ü.txt") == b"content"
    assert await lab.output(box, "stat -c '%a %u %g' 'a/b c/ü.txt'; ls -A 'a/b c'", cwd=HOME) == "750 0 0\nü.txt\n"
    await put(box, "a/b c/ü.txt", b"")
    assert await get(box, "a/b c/ü.txt") == b""


async def test_a_large_file(lab: Lab, box: AgentSandbox, scratch: Path) -> None:
    data = os.urandom(5 << 20)
    (scratch / "source").write_bytes(data)
    with (scratch / "source").open("rb") as source:
        await box.write_file("big", source, len(data), beneath=HOME)
    assert await get(box, "big") == data


async def test_the_whole_sandbox_can_be_the_fence(lab: Lab, box: AgentSandbox) -> None:
    await put(box, "/opt/tool", b"1", beneath="/")
    assert await get(box, "/opt/tool", beneath="/") == b"1"
    assert b"root:x:0:0" in await get(box, "etc/passwd", beneath="/")
    await lab.output(box, "ln -s /opt /absolute; ln -s ../../../../../../opt /climbing")
    assert await get(box, "/absolute/tool", beneath="/") == b"1"
    assert await get(box, "/climbing/tool", beneath="/") == b"1"


async def test_commands_see_what_was_written_and_the_other_way_round(lab: Lab, box: AgentSandbox) -> None:
    await put(box, "in.txt", b"from outside")
    assert await lab.output(box, "cat in.txt; printf inside > out.txt", cwd=HOME) == "from outside"
    assert await get(box, "out.txt") == b"inside"


async def test_nothing_outside_the_fence(lab: Lab, box: AgentSandbox) -> None:
    await lab.output(
        box,
        "mkdir real; echo ok > real/file; ln -s real good; ln -s /etc bad; ln -s ../../etc worse;"
        "ln -s /etc/passwd direct; ln -s real/file near; ln -s loop loop",
        cwd=HOME,
    )
    assert await get(box, "good/file") == b"ok\n"
    assert await get(box, "near") == b"ok\n"
    for path in ("bad/passwd", "worse/passwd", "direct", "../../etc/passwd", f"{HOME}/../../etc/passwd", "loop"):
        assert await refused(box, path) == "path", path
    for path in ("bad/new", "worse/new", "../new", f"{HOME}/../new", "real/../../new"):
        assert await refused(box, path, write=True) == "path", path
    for path in ("/etc/passwd", f"{HOME}2/file", "/", ""):
        assert await refused(box, path) == "path", path
        assert await refused(box, path, write=True) == "path", path
    assert (await lab.run(box, "test -e /etc/new -o -e /home/new"))[0].exit_code == 1


async def test_a_link_at_the_end_is_replaced_not_followed(lab: Lab, box: AgentSandbox) -> None:
    await lab.output(box, "ln -s /etc/passwd link", cwd=HOME)
    await put(box, "link", b"mine")
    assert await lab.output(box, "test -L link || cat link", cwd=HOME) == "mine"
    assert b"root:x" in await get(box, "/etc/passwd", beneath="/")


async def test_only_regular_files(lab: Lab, box: AgentSandbox) -> None:
    await lab.output(box, "mkfifo pipe; mkdir dir; ln -s /proc/self/fd fds", cwd=HOME)
    assert await refused(box, "pipe") == "not_a_file"
    assert await refused(box, "pipe", write=True) == "not_a_file"
    assert await refused(box, "dir") == "is_a_directory"
    assert await refused(box, "dir", write=True) == "is_a_directory"
    assert await refused(box, ".") == "is_a_directory"
    assert await refused(box, "missing") == "not_found"
    assert await refused(box, "/dev/zero", beneath="/") == "not_a_file"
    for path in ("/proc/self/environ", "/proc/1/mem", "/proc/self/fd/3", "/proc/1/root/etc/passwd"):
        assert await refused(box, path, beneath="/") in ("not_a_file", "path", "not_found"), path
    assert await refused(box, "/proc/sys/kernel/x", beneath="/", write=True) in ("path", "not_found")
    assert await refused(box, "/usr/bin/new", beneath="/", write=True) == "path"


async def test_a_source_that_ends_early_leaves_nothing(lab: Lab, box: AgentSandbox) -> None:
    await put(box, "file", b"old")
    with pytest.raises(SandboxError):
        await box.write_file("file", io.BytesIO(b"short"), 100, beneath=HOME)
    assert await get(box, "file") == b"old"
    assert await lab.output(box, "ls -A", cwd=HOME) == "file\n"


async def test_a_file_larger_than_the_disk(lab: Lab) -> None:
    box = await lab.box(limits=Limits(disk_bytes=1 << 20))
    with pytest.raises(SandboxError) as caught:
        await put(box, "file", bytes(2 << 20))
    assert caught.value.reason == "limits"
    result, _, _ = await lab.run(box, "head -c 2000000 /dev/zero > big", cwd=HOME)
    assert result.exit_code != 0
    result, _, _ = await lab.run(box, ("dd", "if=/dev/zero", "of=big", "bs=2M", "count=1"), cwd=HOME)
    assert result.exit_code != 0
