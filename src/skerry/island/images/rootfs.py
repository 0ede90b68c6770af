"""A root file system as the drivers take it, and the few things that every root must contain."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

# With no server named, libc asks 127.0.0.1, where nobody listens: a look-up fails at once instead of hanging.
# Names are resolved by the egress proxy, on the other side of the wall.
RESOLV_CONF = "# names are resolved by the proxy outside this sandbox\noptions timeout:1 attempts:1\n"

_MOUNT_POINTS = (("dev", 0o755), ("proc", 0o755), ("sys", 0o755), ("run", 0o755), ("tmp", 0o1777))
_COMMON = (("etc", 0o755), ("home", 0o755), ("opt", 0o755), ("usr", 0o755), ("var", 0o755))


@dataclass(slots=True, kw_only=True)
class LocalRootFs:
    """A root on this machine; satisfies `skerry.island.sandbox.driver.RootFs`.

    Args:
        directory: the tree to use as the lowest layer; never written to once published.
        binds: machine directories to show read-only, each with its absolute path inside.
        env: environment that every command in this root starts from.
    """

    directory: Path
    binds: tuple[tuple[Path, str], ...] = ()
    env: dict[str, str] = field(default_factory=dict)


def complete(root: Path) -> None:
    """Add what a driver mounts on where an image came without it, and say how names are found in a sandbox.

    Existing directories, or what stands in their place, are left alone; links are not followed. What the image says
    of hosts and name servers is replaced, as every container engine does: it is about the machine that made it.
    """
    for name, mode in _MOUNT_POINTS + _COMMON:
        path = root / name
        if not os.path.lexists(path):
            path.mkdir()
            path.chmod(mode)
    etc = root / "etc"
    if etc.is_symlink() or not etc.is_dir():
        return
    for name, text in (("hosts", HOSTS), ("resolv.conf", RESOLV_CONF), ("hostname", "sandbox\n")):
        path = etc / name
        if path.is_dir() and not path.is_symlink():
            continue
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o644)


def with_default_path(env: dict[str, str]) -> dict[str, str]:
    """The environment of an image, with a PATH in any case."""
    return {"PATH": DEFAULT_PATH, **env}
