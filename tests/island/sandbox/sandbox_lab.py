"""What tests of live sandboxes share: a tiny image over the machine's own programs, and a driver that cleans up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handle import AgentSandbox
from skerry.island.sandbox.namespace import NamespaceDriver
from skerry.island.sandbox.spec import ExecResult, ExecSpec, Limits, NetworkPolicy, SandboxSpec

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/home/user", "LANG": "C.UTF-8"}
PATIENCE = 60.0
_TREES = ("bin", "sbin", "lib", "lib32", "lib64")


@dataclass
class Root:
    directory: Path
    binds: tuple[tuple[Path, str], ...]
    env: dict[str, str] = field(default_factory=dict)


class HostImage:
    """An image `host`: the machine's /usr under an almost empty root."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._binds = [(Path("/usr"), "/usr")]
        if directory.exists():
            return
        for name in ("dev", "proc", "sys", "etc", "home", "root", "run", "var", "usr"):
            (directory / name).mkdir(parents=True)
        (directory / "tmp").mkdir()
        (directory / "tmp").chmod(0o1777)
        for name in _TREES:
            if (Path("/") / name).is_symlink():
                (directory / name).symlink_to(os.readlink(f"/{name}"))
        (directory / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")

    def rootfs(self, image_id: str) -> Root:
        if image_id != "host":
            raise SandboxError("unknown_image", f"no image {image_id}")
        return Root(self.directory, tuple(self._binds))


class Lab:
    """One driver over one directory, with the shortcuts that tests need."""

    def __init__(self, directory: Path, *, state: Path | None = None, **options: Any) -> None:
        self.directory = directory
        self.state = state or directory / "state"
        self.images = HostImage(directory / "image")
        self.driver = NamespaceDriver(self.state, self.images, **options)
        self._next = 0

    async def box(
        self, id: str = "box", *, limits: Limits | None = None, network: NetworkPolicy | None = None
    ) -> AgentSandbox:
        """A new live sandbox."""
        spec = SandboxSpec(id=id, image="host", limits=limits or Limits(), network=network or NetworkPolicy())
        await self.driver.create(spec)
        return await self.driver.open(id)

    def spec(self, command: str | tuple[str, ...], **fields: Any) -> ExecSpec:
        """A command for a shell, or a program with arguments, under a fresh run id."""
        self._next += 1
        argv = ("sh", "-c", command) if isinstance(command, str) else command
        return ExecSpec(**{"id": f"run{self._next}", "argv": argv, "env": ENV, **fields})

    async def run(
        self, box: AgentSandbox, command: str | tuple[str, ...], **fields: Any
    ) -> tuple[ExecResult, bytes, bytes]:
        """Run to the end; its result, output and errors."""
        async with asyncio.timeout(PATIENCE):
            process = await box.exec(self.spec(command, **fields))
            result = await process.wait()
        return result, process.files.stdout.read_bytes(), process.files.stderr.read_bytes()

    async def output(self, box: AgentSandbox, command: str | tuple[str, ...], **fields: Any) -> str:
        """The output of a command that must succeed."""
        result, out, err = await self.run(box, command, **fields)
        assert result.exit_code == 0, (result, out, err)
        return out.decode()

    def pid(self, id: str) -> int:
        """The agent's process id on the machine."""
        pid = self.driver._live[id].pid
        assert pid is not None
        return pid


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str = "") -> None:
    """Wait until something holds, at most `PATIENCE` seconds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            value = condition()
            if not isinstance(value, bool):
                value = await value
            if value:
                return
            await asyncio.sleep(0.01)
    raise AssertionError(what)


def alive(pid: int) -> bool:
    """Whether a process lives and is no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


@contextlib.contextmanager
def scratch() -> Any:
    """A directory that goes away even with overlay's closed work directories in it."""
    directory = Path(tempfile.mkdtemp(prefix="skerry-test-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        for path, directories, _ in os.walk(directory):
            for name in directories:
                inner = os.path.join(path, name)
                if not os.path.islink(inner) and os.stat(inner).st_mode & stat.S_IRWXU != stat.S_IRWXU:
                    os.chmod(inner, 0o700)
        shutil.rmtree(directory)


@contextlib.asynccontextmanager
async def lab(directory: Path, *, start: bool = True, **options: Any) -> AsyncIterator[Lab]:
    """A started lab; at the end nothing of it may be left."""
    it = Lab(directory, **options)
    if start:
        await it.driver.start()
    seen: set[int] = set()
    original = it.driver._bury

    async def bury(live: Any) -> None:
        seen.add(live.pid)
        await original(live)

    it.driver._bury = bury  # type: ignore[method-assign]
    zygote: int | None = None
    try:
        yield it
        zygote = it.driver._builder.launcher.pid
    finally:
        await it.driver.stop()
    assert not [pid for pid in seen if pid is not None and alive(pid)]
    assert zygote is None or not alive(zygote)
    assert it.driver._builder.cgroups.ids() == []
    assert str(it.state) not in Path("/proc/self/mountinfo").read_text()
    assert not list(it.state.glob("sandboxes/*/agent.sock"))
