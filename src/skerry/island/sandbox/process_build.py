"""What stands around an agent of the process driver: its directory, its user id, its lock, its rules. Synchronous."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skerry.island.images import host_files
from skerry.island.sandbox import landlock
from skerry.island.sandbox.build import Builder, Built
from skerry.island.sandbox.cgroups import Cgroups
from skerry.island.sandbox.driver import ImageSource, RootFs, SandboxError
from skerry.island.sandbox.launcher import Launcher
from skerry.island.sandbox.layers import LayerStore
from skerry.island.sandbox.probe import seccomp_ready
from skerry.island.sandbox.space import space
from skerry.island.sandbox.spec import Barriers, Limits, NetworkMode, SandboxSpec

# One id per sandbox: beyond what distributions and subordinate ranges commonly use, or, inside a container that maps
# few ids, from what is set aside for passing users.
_IDS = (range(2_000_000_000, 2_000_100_000), range(61_184, 65_520))
_CAP_CHOWN, _CAP_KILL, _CAP_SETGID, _CAP_SETUID = 0, 5, 6, 7
_LOCK = "alive"
# Below the sandbox's root, for what programs would put into the machine's directory of that name.
TEMPORARY = "tmp"
_GONE_SECONDS = 30.0
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
# The machine's own, since none can be put in their place: who has which id, and how names are found.
_ETC_NEEDED = ("group", "hosts", "nsswitch.conf", "passwd", "profile", "resolv.conf")


class ProcessBuilder(Builder):
    """Puts sandboxes up without namespaces.

    The writable layer is a plain directory, `upper`, which commands see under its real path.

    Args:
        state_dir: absolute and free of symbolic links.
        images: read-only roots; only those that are shown in place (`host`) can be used.
    """

    def __init__(self, state_dir: Path, images: ImageSource) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state_dir = state_dir
        self._images = images
        self.abi = landlock.abi()
        self.privileged = os.geteuid() == 0
        self._uids = _free_ids() if self.privileged else range(0)
        self.own_ids = bool(self._uids) and _can_be_passed(state_dir)
        if self.own_ids:
            state_dir.chmod(0o711)
        owner = (os.geteuid(), os.getegid()) if self.own_ids else None
        self.layers = LayerStore(state_dir, images, userxattr=True, owner=owner)
        self.cgroups = Cgroups.detect("p" + hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16])
        self.launcher = Launcher("process_zygote")

    def create(self, spec: SandboxSpec) -> None:
        """As `Builder.create`; volumes, GPUs and images that need mounts are `unsupported`."""
        if spec.volumes or spec.gpus:
            what = "volumes need mounts" if spec.volumes else "GPUs need device nodes of their own"
            raise SandboxError(
                "unsupported", f"{what}, which this machine forbids; allow user namespaces, or run as root"
            )
        self._check_image(self._images.rootfs(spec.image), spec.image)
        super().create(spec)

    def root(self, sandbox_id: str) -> Path:
        """What stands for `/` of a sandbox: its writable directory."""
        return self.layers.upper(sandbox_id)

    @space()
    def prepare(self, sandbox_id: str) -> Built:
        """Everything the zygote needs to start an agent.

        Raises:
            SandboxError: `unknown_sandbox`, `unknown_image`, `unsupported` (an image or a network policy that this
                driver cannot give), `limits`, `disk_full`, `start`.
        """
        spec = self.read_spec(sandbox_id)
        directory = self.layers.directory(sandbox_id)
        image = self._images.rootfs(spec.image)
        self._check(spec.network.mode, image, spec.image)
        runs = directory / "runs"
        runs.mkdir(mode=0o700, exist_ok=True)
        lock = self._lock(directory)
        if lock is None:
            raise SandboxError("start", f"an earlier agent of {sandbox_id} does not end")
        built = Built(spec, runs, None)
        try:
            group = self.cgroups.create(sandbox_id, spec.limits)
            built = Built(spec, runs, group)
            control, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # The zygote wants them in this order: control, listener, lock, proxy, OOM count, group.
            built.give(control, given, self._bind(directory))
            built.give_fd(lock)
            lock = None
            upper = self.layers.upper(sandbox_id)
            uid = self._settle_owner(sandbox_id) if self.own_ids else None
            port = None
            if spec.network.mode != "none":
                egress = socket.create_server(("127.0.0.1", 0))
                port = egress.getsockname()[1]
                built.give_fd(egress.detach())
            if group.oom_file is not None:
                built.give_fd(os.open(group.oom_file, os.O_RDONLY | os.O_CLOEXEC))
            for entry in group.entries:
                built.give_fd(os.open(entry, os.O_WRONLY | os.O_CLOEXEC))
            built.request = {
                "paths": [[str(upper), "rw"], *_shown(image)],
                "port": port,
                "uid": uid,
                "directories": [f"{upper}{spec.home}", f"{upper}/{TEMPORARY}"],
                "internet": port is not None,
                "unix": uid is not None,
                "oom": group.oom_file is not None,
                "entries": len(group.entries),
                **self._bounds(spec.limits, group.active),
            }
        except BaseException:
            built.drop()
            if lock is not None:
                os.close(lock)
            self.clean(sandbox_id)
            raise
        return built

    def clean(self, sandbox_id: str) -> None:
        """End what an agent that is gone left behind, and drop what stood around it."""
        if self.layers.exists(sandbox_id):
            directory = self.layers.directory(sandbox_id)
            lock = self._lock(directory)
            if lock is not None:
                os.close(lock)
            owner = (directory / "upper").stat().st_uid
            if self.own_ids and owner in self._uids:
                # Should someone have killed the keeper, too, the id still tells whose they are.
                _kill_all_of(owner)
        super().clean(sandbox_id)

    def barriers(self) -> Barriers:
        """The walls around every sandbox made here, and those that namespaces would give."""
        active = ["landlock", "no-new-privileges", "rlimits"] if self.abi else ["no-new-privileges", "rlimits"]
        missing = [*self.cgroups.missing, *_NO_NAMESPACES]
        if not self.abi:
            missing.append(("landlock", "this kernel does not offer it, so no sandbox is started"))
        if seccomp_ready():
            active.append("seccomp")
        else:
            missing.append(("seccomp", "no filter is known for this processor"))
        if self.own_ids:
            active.append("own-user-id")
        elif self.privileged:
            missing.append(("own-user-id", "the data directory lies in one that is closed to other users"))
        else:
            missing.append(("own-user-id", "only root can give each sandbox a user of its own; theirs is ours"))
        if self.abi >= landlock.SCOPE_ABI:
            active.append("landlock-signals")
        else:
            missing.append(("landlock-signals", "Linux 6.12 is the first whose Landlock keeps signals inside"))
        if self.abi >= landlock.NET_ABI:
            active.append("landlock-tcp")
            missing.append(("egress-address", "one TCP port, its proxy's, is open at every address"))
        else:
            missing.append(("landlock-tcp", "before Linux 6.7 the egress proxy is only a suggestion"))
        if self.cgroups.backend != "none":
            active.append(f"cgroup-{self.cgroups.backend}")
        return Barriers(driver="process", active=tuple(active), missing=tuple(missing))

    def _check(self, mode: NetworkMode, image: RootFs, name: str) -> None:
        if not self.abi:
            raise SandboxError("unsupported", "this kernel offers neither user namespaces to us nor Landlock")
        self._check_image(image, name)
        if mode in ("allow", "block") and self.abi < landlock.NET_ABI:
            raise SandboxError("unsupported", f"network policy `{mode}` cannot be enforced before Linux 6.7")

    def _check_image(self, image: RootFs, name: str) -> None:
        host = self._images.rootfs("host")
        elsewhere = any(str(source) != target for source, target in image.binds if (source, target) not in host.binds)
        if not image.binds or image.directory != host.directory or elsewhere:
            raise SandboxError(
                "unsupported", f"image {name} needs mounts, which this machine forbids; only `host` can be used"
            )

    def _bounds(self, limits: Limits, by_group: tuple[str, ...]) -> dict[str, Any]:
        return self._bounds_for(limits, by_group, own_user=self.own_ids)

    def _settle_owner(self, sandbox_id: str) -> int:
        """The sandbox's own user id, which owns its files; a fresh fork still has its parent's."""
        upper = self.layers.upper(sandbox_id)
        mine = upper.stat().st_uid
        taken = set()
        for other in self.layers.ids():
            if other != sandbox_id:
                with contextlib.suppress(SandboxError, FileNotFoundError):
                    taken.add(self.layers.upper(other).stat().st_uid)
        if mine in self._uids and mine not in taken:
            return mine
        # Islands of one machine know nothing of each other, and ending a sandbox ends every process of its user: an id
        # taken by chance, and only while nobody uses it, keeps them apart.
        taken |= _users_alive()
        first = secrets.randbelow(len(self._uids))
        around: list[int] = [*self._uids[first:], *self._uids[:first]]
        uid = next((uid for uid in around if uid not in taken), None)
        if uid is None:
            raise SandboxError("limits", "there are more sandboxes than user ids for them")
        for _, directories, files, here in os.fwalk(upper, topdown=False, follow_symlinks=False):
            for name in (*directories, *files):
                os.chown(name, uid, uid, dir_fd=here, follow_symlinks=False)
        os.chown(upper, uid, uid)
        return uid

    def _lock(self, directory: Path) -> int | None:
        """The sandbox's lock, held; None if it cannot be had in time. Whoever holds it is the only one alive."""
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + _GONE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    return None
                time.sleep(0.005)
            else:
                return descriptor


_NO_NAMESPACES = (
    ("mount-namespace", "files keep their real paths; /home/user and /tmp are not where they seem"),
    ("pid-namespace", "the names and arguments of all processes of this machine can be read"),
    ("network-namespace", "no ports can be opened inside, and none dialled"),
    ("user-namespace", "commands are an ordinary user, not root"),
)


def _shown(image: RootFs) -> Iterator[list[str]]:
    """Paths outside the sandbox's own directory, with what may be done there."""
    for source, _ in image.binds:
        yield [str(source), "rx"]
    etc = Path("/etc")
    for pattern in (*host_files.ETC_SHOWN, *_ETC_NEEDED):
        for path in etc.glob(pattern):
            yield [str(path), "ro"]
    yield ["/proc", "ro"]
    yield ["/sys/devices/system/cpu", "ro"]
    for device in _DEVICES:
        yield [f"/dev/{device}", "dev"]


def _can_be_passed(directory: Path) -> bool:
    """Whether other users may go through every directory above one of ours."""
    return all(above.stat().st_mode & stat.S_IXOTH for above in directory.parents)


def _free_ids() -> range:
    """The first of our ranges that this user namespace maps; empty if it maps none, or we may not become others."""
    with open("/proc/self/status") as file:
        capabilities = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    needed = sum(1 << number for number in (_CAP_CHOWN, _CAP_KILL, _CAP_SETGID, _CAP_SETUID))
    if capabilities & needed == needed:
        for wanted in _IDS:
            if all(_maps(Path(f"/proc/self/{kind}_map").read_text(), wanted) for kind in ("uid", "gid")):
                return wanted
    return range(0)


def _maps(table: str, wanted: range) -> bool:
    rows = [[int(field) for field in line.split()] for line in table.splitlines()]
    return any(first <= wanted.start and wanted.stop <= first + count for first, _, count in rows)


def _users_alive() -> set[int]:
    """Users that own a process of this machine."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                found.add(os.stat(f"/proc/{name}").st_uid)
    return found


def _kill_all_of(uid: int) -> None:
    """SIGKILL to every process of a user, until there is none."""
    deadline = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < deadline:
        alive = False
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    alive = True
                    os.kill(int(name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue
        if not alive:
            return
        time.sleep(0.005)
