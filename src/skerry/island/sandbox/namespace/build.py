"""What stands on disk and in the kernel around an agent, before it starts and after it is gone. Synchronous."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from skerry.island.sandbox import gpu_devices
from skerry.island.sandbox.driver import ImageSource, SandboxError
from skerry.island.sandbox.handles.live import SOCKET, peer_pid
from skerry.island.sandbox.layers.store import LayerStore
from skerry.island.sandbox.limits.cgroups import Cgroup, Cgroups
from skerry.island.sandbox.limits.rlimits import rlimits
from skerry.island.sandbox.linux.powers import is_privileged, kernel_version, seccomp_ready
from skerry.island.sandbox.namespace import volumes
from skerry.island.sandbox.namespace.launcher import Launcher
from skerry.island.sandbox.space import space
from skerry.island.sandbox.spec import Barriers, Limits, NetworkPolicy, SandboxSpec

# The sandbox's ids 0 to 65535 are these on the machine, where nobody else uses them.
FIRST_ID, ID_COUNT = 100_000, 65_536
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SPEC = "spec.json"
_AGENT_FILES = 1024
_SHARED_MEMORY = 256 << 20
_WALLS = (
    "user-namespace",
    "pid-namespace",
    "mount-namespace",
    "network-namespace",
    "ipc-namespace",
    "uts-namespace",
    "cgroup-namespace",
    "overlay",
    "pivot-root",
    "capabilities",
    "no-new-privileges",
    "rlimits",
)


class Built:
    """What stands around one agent.

    Args:
        spec: the sandbox.
        runs: its directory of logs.
        cgroup: its control group, or None for an agent whose group is unknown.
    """

    def __init__(self, spec: SandboxSpec, runs: Path, cgroup: Cgroup | None) -> None:
        self.spec = spec
        self.runs = runs
        self.request: dict[str, Any] = {}
        self._cgroup = cgroup
        self._oom_kills = (cgroup.oom_kills() if cgroup is not None else None) or 0
        self._control: socket.socket | None = None
        self._given: list[socket.socket | int] = []

    def give(self, control: socket.socket, *given: socket.socket) -> None:
        """Our end of the control socket, and what the zygote gets."""
        self._control = control
        self._given = list(given)

    def give_fd(self, fd: int) -> None:
        """One more descriptor that the zygote gets."""
        self._given.append(fd)

    def drop(self) -> None:
        """Close everything: there will be no start."""
        if self._control is not None:
            self._control.close()
        self.close_fds()

    def take_control(self) -> socket.socket:
        """Our end of the control socket, which is the caller's from here on."""
        assert self._control is not None
        control, self._control = self._control, None
        return control

    def fds(self) -> list[int]:
        """Descriptors for the zygote."""
        return [item if isinstance(item, int) else item.fileno() for item in self._given]

    def close_fds(self) -> None:
        """Close our copies of what the zygote got."""
        for item in self._given:
            if isinstance(item, int):
                os.close(item)
            else:
                item.close()
        self._given = []

    def limit(self, limits: Limits) -> None:
        """Put new limits in force. Raises SandboxError `limits`."""
        if self._cgroup is not None:
            self._cgroup.update(limits)

    def freeze(self) -> bool:
        """Stop all its processes, the agent too; False where that cannot be done from outside."""
        return self._cgroup is not None and "freezer" in self._cgroup.active and self._cgroup.freeze()

    def thaw(self) -> None:
        """Let them go on."""
        if self._cgroup is not None and "freezer" in self._cgroup.active:
            self._cgroup.thaw()

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed anything here for lack of memory since the agent started or was found."""
        return self._cgroup is not None and (self._cgroup.oom_kills() or 0) > self._oom_kills

    def consumption(self) -> tuple[int | None, int | None]:
        """Memory in bytes and processor time in nanoseconds."""
        if self._cgroup is None:
            return None, None
        return self._cgroup.memory_bytes(), self._cgroup.cpu_ns()


class Builder:
    """Directories, sockets, layers and control groups of all sandboxes of one state directory.

    Args:
        state_dir: absolute and free of symbolic links.
        images: read-only roots.
    """

    def __init__(self, state_dir: Path, images: ImageSource) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state_dir = state_dir
        self._images = images
        self.privileged = is_privileged()
        owner = (FIRST_ID, FIRST_ID) if self.privileged else None
        self.layers = LayerStore(state_dir, images, userxattr=not self.privileged, owner=owner)
        self.cgroups = Cgroups.detect("d" + hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16])
        self.launcher = Launcher()

    def runs(self, sandbox_id: str) -> Path:
        """The directory of a sandbox's logs and records."""
        return self.state_dir / "sandboxes" / check_id(sandbox_id) / "runs"

    def with_socket(self) -> list[str]:
        """Ids of sandboxes that have, or had, an agent."""
        return [id for id in self.layers.ids() if (self.state_dir / "sandboxes" / id / SOCKET).exists()]

    def recover(self) -> list[str]:
        """Set right what a crash left; returns the ids in which an agent may still live."""
        for id in self.cgroups.ids():
            group = self.cgroups.find(id)
            if group is not None:
                group.thaw()
        self.layers.recover()
        known = set(self.layers.ids())
        for id in self.cgroups.ids():
            group = self.cgroups.find(id)
            if id not in known and group is not None:
                group.kill()
                group.remove()
        return sorted(id for id in known if id in self.with_socket() or self.layers.held(id))

    def clean(self, sandbox_id: str) -> None:
        """Drop what an agent that is gone leaves: socket, group and the hold on its layers."""
        group = self.cgroups.find(sandbox_id)
        if group is not None:
            group.kill()
            group.remove()
        if self.layers.exists(sandbox_id):
            (self.layers.directory(sandbox_id) / SOCKET).unlink(missing_ok=True)
            self.layers.release(sandbox_id)

    def close(self) -> None:
        """Let go of everything; what is on disk stays."""
        self.layers.close()
        self.cgroups.close()

    def create(self, spec: SandboxSpec) -> None:
        """A new sandbox on disk, whole or not at all.

        Raises:
            SandboxError: `exists`, `unknown_image`, `path` (id or volume), `unsupported` (a GPU).
        """
        volumes.check_volumes(spec.volumes, self._images.rootfs(spec.image), self._images)
        gpu_devices.discover(spec.gpus)
        self.layers.create(check_id(spec.id), spec.image, files={_SPEC: msgspec.json.encode(spec)})

    def child_files(self, parent_id: str, spec: SandboxSpec) -> dict[str, bytes]:
        """What a fork's directory holds from the start. Raises SandboxError `unknown_sandbox`, `path`."""
        check_id(spec.id)
        parent = self.read_spec(parent_id)
        return {_SPEC: msgspec.json.encode(replace(spec, image=self.layers.image(parent_id), volumes=parent.volumes))}

    def read_spec(self, sandbox_id: str) -> SandboxSpec:
        """What a sandbox was asked to be. Raises SandboxError `unknown_sandbox`, `start`."""
        path = self.layers.directory(check_id(sandbox_id)) / _SPEC
        try:
            return msgspec.json.decode(path.read_bytes(), type=SandboxSpec)
        except FileNotFoundError:
            raise SandboxError("unknown_sandbox", f"no sandbox {sandbox_id}") from None
        except msgspec.DecodeError as error:
            raise SandboxError("start", f"{path} cannot be read: {error}") from None

    def rewrite(self, sandbox_id: str, limits: Limits | None, network: NetworkPolicy | None) -> SandboxSpec:
        """Change what a sandbox is asked to be from its next start on."""
        old = self.read_spec(sandbox_id)
        spec = replace(old, limits=limits or old.limits, network=network or old.network)
        path = self.layers.directory(sandbox_id) / _SPEC
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(spec))
        fresh.replace(path)
        return spec

    @space()
    def prepare(self, sandbox_id: str) -> Built:
        """Everything the zygote needs to build a sandbox, and its control group.

        Raises:
            SandboxError: `unknown_sandbox`, `unknown_image`, `limits`, `disk_full`, `start`.
        """
        spec = self.read_spec(sandbox_id)
        directory = self.layers.directory(sandbox_id)
        root = self._images.rootfs(spec.image)
        binds = [*root.binds, *volumes.binds(spec.volumes, self._images)]
        means = gpu_devices.discover(spec.gpus)
        # Where the machine's own /usr is shown, the driver's files are in their place.
        shows_driver = any(target == "/usr" for _, target in root.binds)
        runs = directory / "runs"
        runs.mkdir(mode=0o700, exist_ok=True)
        group = self.cgroups.create(sandbox_id, spec.limits)
        built = Built(spec, runs, group)
        try:
            lowers = self.layers.hold(sandbox_id)
            built.request = {
                "id": sandbox_id,
                "home": spec.home,
                "state_dir": str(self.state_dir),
                "lowers": [str(path) for path in lowers],
                "upper": str(self.layers.upper(sandbox_id)),
                "work": str(self.layers.work(sandbox_id)),
                "scratch": str(runs),
                "binds": [[str(source), target] for source, target in binds],
                "devices": means.devices,
                "shelf": gpu_devices.PLACE,
                "shelved": () if shows_driver else means.files,
                "map": [FIRST_ID, ID_COUNT] if self.privileged else [os.getuid(), 1],
                "group": os.getgid(),
                "outer": self.privileged,
                "shm_bytes": (spec.limits.memory_bytes or 2 * _SHARED_MEMORY) // 2,
                "oom": group.oom_file is not None,
                "entries": len(group.entries),
                **self._bounds(spec.limits, group.active),
            }
            control, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            built.give(control, given, self._bind(directory))
            if group.oom_file is not None:
                built.give_fd(os.open(group.oom_file, os.O_RDONLY | os.O_CLOEXEC))
            for entry in group.entries:
                built.give_fd(os.open(entry, os.O_WRONLY | os.O_CLOEXEC))
        except BaseException:
            built.drop()
            self.clean(sandbox_id)
            raise
        return built

    def _bounds(self, limits: Limits, by_group: tuple[str, ...]) -> dict[str, Any]:
        # From 5.14 on processes are counted per user namespace, and so per sandbox.
        return self._bounds_for(limits, by_group, own_user=kernel_version() >= (5, 14))

    def _bounds_for(self, limits: Limits, by_group: tuple[str, ...], *, own_user: bool) -> dict[str, Any]:
        bounds = rlimits(limits, by_group, own_user=own_user)
        few = limits.open_files is not None and limits.open_files < _AGENT_FILES
        if few:
            bounds["RLIMIT_NOFILE"] = _AGENT_FILES
        return {
            "rlimits": bounds,
            "soft_files": limits.open_files if few else None,
            "rss_limit": None if "memory" in by_group else limits.memory_bytes,
        }

    def _bind(self, directory: Path) -> socket.socket:
        """The socket on which later servers find the agent; it listens once the agent does."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            (directory / SOCKET).unlink(missing_ok=True)
            with _short_name(directory) as name:
                listener.bind(name)
        except BaseException:
            listener.close()
            raise
        return listener

    def connect(self, sandbox_id: str) -> tuple[socket.socket, int, Built] | None:
        """A connection to an agent that runs already, its process id, and what stands around it; None if none does."""
        try:
            directory = self.layers.directory(check_id(sandbox_id))
        except SandboxError:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setblocking(False)
        try:
            with _short_name(directory) as name:
                connection.connect(name)
            pid = peer_pid(connection)
            built = Built(self.read_spec(sandbox_id), directory / "runs", self.cgroups.find(sandbox_id))
        except OSError as error:
            connection.close()
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET):
                return None
            raise SandboxError("start", f"the agent of {sandbox_id} cannot be reached: {error}") from None
        except BaseException:
            connection.close()
            raise
        return connection, pid, built

    def barriers(self) -> Barriers:
        """The walls around every sandbox made here."""
        active = list(_WALLS)
        missing = list(self.cgroups.missing)
        if seccomp_ready():
            active.append("seccomp")
        else:
            missing.append(("seccomp", "no filter is known for this processor"))
        if self.privileged:
            active.append("mapped-ids")
        else:
            missing.append(("mapped-ids", "only root can give sandboxes a range of user ids; theirs is ours"))
        if self.cgroups.backend != "none":
            active.append(f"cgroup-{self.cgroups.backend}")
        return Barriers(driver="namespace", active=tuple(active), missing=tuple(missing))


class _short_name(contextlib.AbstractContextManager[str]):
    """A path of the agent's socket that fits the 108 bytes of a socket address, however deep its directory is."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._fd}/{SOCKET}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def check_id(sandbox_id: str) -> str:
    """The id itself. Raises SandboxError `path` when it could be anything but a plain name."""
    if not _ID.match(sandbox_id):
        raise SandboxError("path", f"{sandbox_id!r} is no sandbox id")
    return sandbox_id
