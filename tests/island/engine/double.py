"""A driver that runs real processes in plain directories, without walls: for tests of the engine alone.

Each run has a small keeper process of its own, which outlives the driver as an agent does: it pumps the output into the
logs, ends the command in time and writes the record of its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from skerry.island.engine.errors import Invalid, NotFound
from skerry.island.engine.records import Image
from skerry.island.images.index import ImageConfig
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import (
    Barriers,
    ExecResult,
    ExecSpec,
    ForkReport,
    Limits,
    NetworkPolicy,
    RunFiles,
    SandboxSpec,
    Usage,
    UserIds,
)
from tests import processes

HOME = "/home/user"
KEEPER = Path(__file__).with_name("keeper.py")


class Root:
    """The machine itself as a root file system."""

    directory = Path("/")
    binds: tuple[tuple[Path, str], ...] = ()
    env: dict[str, str] = {}


class Images:
    """One image, `host`; another name for it is `ubuntu`."""

    def rootfs(self, image_id: str) -> Root:
        if image_id != "host":
            raise SandboxError("unknown_image", f"there is no image {image_id!r} here")
        return Root()

    def resolve(self, name: str) -> str | None:
        return "host" if name in ("host", "ubuntu") else None

    def list(self) -> list[Any]:
        return []

    def config(self, image_id: str) -> ImageConfig:
        return ImageConfig()

    async def fetch(self, reference: str) -> Image:
        if self.resolve(reference) is None and reference not in ("ubuntu:22.04", "ubuntu:24.04"):
            raise NotFound(f"there is no image {reference} at its registry")
        return Image(id="host", name=reference, source="test", size_bytes=0, created_at=datetime.now(UTC))

    def user(self, image_id: str, text: str) -> UserIds:
        if text not in ("root", "user"):
            raise Invalid(f"no user {text}")
        return UserIds(uid=0, gid=0) if text == "root" else UserIds(uid=1000, gid=1000)


class DoubleProcess:
    def __init__(self, driver: DoubleDriver, sandbox_id: str, run_id: str) -> None:
        self._driver = driver
        self._directory = driver.directory(sandbox_id)
        self.id = run_id
        self.files = driver.run_files(sandbox_id, run_id)

    def _path(self, suffix: str) -> Path:
        return self._directory / "runs" / f"{self.id}.{suffix}"

    async def wait(self) -> ExecResult:
        while True:
            result = read_record(self._path("json"))
            if result is not None:
                return result
            if not alive(self._path("pid")):
                result = read_record(self._path("json"))
                if result is not None:
                    return result
                return ExecResult(exit_code=-1, cause="lost")
            await asyncio.sleep(0.005)

    async def signal(self, number: int) -> None:
        pid = json.loads(self._path("pid").read_bytes())["command"]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)

    async def cancel(self, grace: float = 2.0) -> None:
        self._path("cancel").write_text(str(grace))

    async def follow(self, stream: str, offset: int = 0) -> AsyncIterator[bytes]:
        path = self.files.stdout if stream == "stdout" else self.files.stderr
        ended = False
        while True:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
            if data:
                offset += len(data)
                yield data
            elif ended:
                return
            ended = read_record(self._path("json")) is not None or not alive(self._path("pid"))
            if not data and not ended:
                await asyncio.sleep(0.005)


class DoubleSandbox:
    def __init__(self, driver: DoubleDriver, id: str) -> None:
        self._driver = driver
        self.id = id
        self.barriers = driver.barriers()
        self.files = driver.directory(id) / "files"

    async def exec(self, spec: ExecSpec) -> DoubleProcess:
        await self._driver.step("exec", self.id, spec.id)
        runs = self._driver.directory(self.id) / "runs"
        (runs / f"{spec.id}.out").touch()
        (runs / f"{spec.id}.err").touch()
        (runs / f"{spec.id}.json").touch()
        request = asdict(spec)
        request["stdin"] = spec.stdin.hex()
        request["state"] = None if spec.state is None else spec.state.hex()
        request["files"] = str(self.files)
        (runs / f"{spec.id}.request").write_text(json.dumps(request))
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), str(runs / spec.id)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._driver.keepers.append(keeper)
        pid = runs / f"{spec.id}.pid"
        if not pid.exists():
            pid.with_suffix(".pid-first").write_text(json.dumps({"keeper": keeper.pid, "command": None}))
            with contextlib.suppress(FileExistsError):
                os.link(pid.with_suffix(".pid-first"), pid)
        while keeper.poll() is None and json.loads(pid.read_bytes())["command"] is None:
            await asyncio.sleep(0.002)
        await self._driver.step("started", self.id, spec.id)
        return DoubleProcess(self._driver, self.id, spec.id)

    async def attach(self, run_id: str) -> DoubleProcess | None:
        runs = self._driver.directory(self.id) / "runs"
        if (runs / f"{run_id}.pid").exists() and alive(runs / f"{run_id}.pid"):
            return DoubleProcess(self._driver, self.id, run_id)
        return None

    async def begun(self, run_id: str) -> bool:
        # Its keeper is started in the same moment in which its files are made.
        return self._driver.run_files(self.id, run_id).record.exists()

    async def terminal(self, spec: ExecSpec, columns: int, rows: int) -> DoubleTerminal:
        terminal = DoubleTerminal(spec, self.files)
        self._driver.keepers.append(terminal.process)
        return terminal

    async def piped(self, spec: ExecSpec) -> DoublePiped:
        piped = DoublePiped(spec, self.files)
        self._driver.keepers.append(piped.process)
        return piped

    async def dial(self, port: int, host: str = "127.0.0.1", *, udp: bool = False) -> socket.socket:
        connection = socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except OSError:
            connection.close()
            raise SandboxError("refused", f"nothing listens on {port}") from None
        return connection

    async def open_read(self, path: str, *, beneath: str) -> tuple[BinaryIO, int]:
        try:
            file = (self.files / os.path.relpath(path, beneath)).open("rb")
        except FileNotFoundError:
            raise SandboxError("not_found", f"there is no file {path}") from None
        return file, os.fstat(file.fileno()).st_size

    async def write_file(self, path: str, source: BinaryIO, size: int, *, beneath: str, mode: int = 0o644) -> None:
        target = self.files / os.path.relpath(path, beneath)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read(size))

    async def usage(self) -> Usage:
        used = sum(path.stat().st_size for path in self.files.rglob("*") if path.is_file())
        return Usage(processes=0, memory_bytes=None, cpu_ns=None, disk_bytes=used)


class DoubleHeld:
    def __init__(self, spec: ExecSpec, directory: Path, near: list[int]) -> None:
        self.process = subprocess.Popen(
            [word.replace(HOME, str(directory)) for word in spec.argv],
            env={name: value.replace(HOME, str(directory)) for name, value in spec.env.items()},
            cwd=directory,
            stdin=near[0],
            stdout=near[1],
            stderr=near[2],
            start_new_session=True,
        )
        for fd in set(near):
            os.close(fd)

    async def wait(self) -> ExecResult:
        while self.process.poll() is None:
            await asyncio.sleep(0.005)
        code = self.process.returncode
        if code < 0:
            return ExecResult(exit_code=128 - code, cause="signaled")
        return ExecResult(exit_code=code, cause="exited")

    async def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    async def cancel(self) -> None:
        await self.signal(signal.SIGKILL)


class DoubleTerminal(DoubleHeld):
    def __init__(self, spec: ExecSpec, directory: Path) -> None:
        self.fd, slave = os.openpty()
        super().__init__(spec, directory, [slave, slave, slave])
        os.set_blocking(self.fd, False)

    async def resize(self, columns: int, rows: int) -> None:
        return None

    def close(self) -> None:
        os.close(self.fd)


class DoublePiped(DoubleHeld):
    def __init__(self, spec: ExecSpec, directory: Path) -> None:
        child_in, self.stdin = os.pipe()
        self.stdout, child_out = os.pipe()
        self.stderr, child_err = os.pipe()
        super().__init__(spec, directory, [child_in, child_out, child_err])
        for fd in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(fd, False)

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        self.close_stdin()
        os.close(self.stdout)
        os.close(self.stderr)


class DoubleDriver:
    """Implements `driver.Driver`.

    Args:
        state_dir: where sandboxes live.
        on_step: called with (step, sandbox, run) at each point where a crash could come in between.
    """

    name = "double"

    def __init__(self, state_dir: Path, on_step: Callable[[str, str, str], Awaitable[None]] | None = None) -> None:
        self._sandboxes = state_dir / "sandboxes"
        self._on_step = on_step
        self.keepers: list[subprocess.Popen[bytes]] = []
        self.awake: set[str] = set()
        self.suspended: list[str] = []
        self.reconfigured: list[tuple[str, Limits | None, NetworkPolicy | None]] = []

    async def step(self, name: str, sandbox_id: str, run_id: str) -> None:
        if self._on_step is not None:
            await self._on_step(name, sandbox_id, run_id)

    def directory(self, id: str) -> Path:
        return self._sandboxes / id

    def _known(self, id: str) -> Path:
        directory = self.directory(id)
        if not (directory / "spec").exists():
            raise SandboxError("unknown_sandbox", f"there is no sandbox {id}")
        return directory

    async def start(self) -> None:
        self._sandboxes.mkdir(parents=True, exist_ok=True)

    async def stop(self, *, kill: bool = True) -> None:
        if kill:
            for id in await self.ids():
                await self.kill(id)
        if kill:
            for keeper in self.keepers:
                keeper.kill()
                await asyncio.to_thread(keeper.wait)

    def barriers(self) -> Barriers:
        return Barriers(driver="double", active=())

    async def create(self, spec: SandboxSpec) -> None:
        directory = self.directory(spec.id)
        if directory.exists():
            raise SandboxError("exists", f"sandbox {spec.id} exists")
        (directory / "files").mkdir(parents=True)
        (directory / "runs").mkdir()
        (directory / "spec").write_text(spec.image)
        await self.step("created", spec.id, "")

    async def fork(self, parent_id: str, spec: SandboxSpec) -> ForkReport:
        parent = self._known(parent_id)
        await self.create(spec)
        shutil.copytree(parent / "files", self.directory(spec.id) / "files", dirs_exist_ok=True)
        return ForkReport(method="copy", frozen_ns=0, depth=0)

    async def open(self, sandbox_id: str) -> DoubleSandbox:
        self._known(sandbox_id)
        self.awake.add(sandbox_id)
        return DoubleSandbox(self, sandbox_id)

    async def find(self, sandbox_id: str) -> DoubleSandbox | None:
        directory = self._known(sandbox_id)
        if any(alive(path) for path in (directory / "runs").glob("*.pid")) or sandbox_id in self.awake:
            return DoubleSandbox(self, sandbox_id)
        return None

    async def result(self, sandbox_id: str, run_id: str) -> ExecResult | None:
        return read_record(self._known(sandbox_id) / "runs" / f"{run_id}.json")

    async def suspend(self, sandbox_id: str) -> bool:
        self.awake.discard(sandbox_id)
        self.suspended.append(sandbox_id)
        return True

    async def kill(self, sandbox_id: str) -> None:
        """As an agent's death does: the commands die with it, and nobody records how."""
        known = {json.loads(path.read_bytes())["keeper"] for path in self.directory(sandbox_id).glob("runs/*.pid")}
        # Those of ours alone: the number of another may be anybody's by now.
        for keeper in [keeper for keeper in self.keepers if keeper.pid in known]:
            await asyncio.to_thread(end, keeper)

    async def remove(self, sandbox_id: str) -> None:
        self._known(sandbox_id)
        await self.kill(sandbox_id)
        # Gone at once for everybody: whoever is given up while it removes one leaves a thread that goes on with it.
        gone = self._known(sandbox_id).rename(self._sandboxes.with_name(f"removed-{secrets.token_hex(8)}"))
        await asyncio.to_thread(shutil.rmtree, gone)

    async def reconfigure(
        self, sandbox_id: str, *, limits: Limits | None = None, network: NetworkPolicy | None = None
    ) -> None:
        self._known(sandbox_id)
        self.reconfigured.append((sandbox_id, limits, network))

    async def ids(self) -> list[str]:
        return sorted(path.name for path in self._sandboxes.iterdir())

    def run_files(self, sandbox_id: str, run_id: str) -> RunFiles:
        runs = self.directory(sandbox_id) / "runs"
        return RunFiles(runs, run_id)

    def on_lost(self, callback: Callable[[str, str], Awaitable[None]]) -> None:
        return None


def end(keeper: subprocess.Popen[bytes]) -> None:
    """End a keeper and what it keeps, wherever it has got to; returns once both are gone."""
    if keeper.poll() is not None:
        return
    keeper.send_signal(signal.SIGSTOP)
    # One that stands still starts nothing more, and what it was just starting has become a program.
    while keeper.poll() is None and processes.state(keeper.pid) != "T":
        time.sleep(0.0005)
    commands = processes.children(keeper.pid) if keeper.poll() is None else []
    keeper.kill()
    for command in commands:
        # What somebody holds keeps no group for its own.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(command, signal.SIGKILL)
    keeper.wait()
    while any(map(processes.alive, commands)):
        time.sleep(0.0005)


def read_record(path: Path) -> ExecResult | None:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    state = content.pop("state")
    return ExecResult(state=None if state is None else bytes.fromhex(state), **content)


def alive(path: Path) -> bool:
    """Whether the keeper named in a file lives (and is no zombie of ours)."""
    try:
        pid = json.loads(path.read_bytes())["keeper"]
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
