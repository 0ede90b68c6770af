"""As whom an image's program runs: names looked up in the image's own files, which nobody vouches for."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from skerry.island.engine.errors import Invalid
from skerry.island.images.tree import Tree
from skerry.units import MIB

_LARGEST_FILE = MIB
# A sandbox has the ids 0 to 65535.
_LARGEST_ID = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of an image.

    Args:
        name: as the image knows it; the number as text where it has no name.
        uid, gid: numeric ids inside.
        groups: supplementary groups; none when the group was chosen by hand.
        home: home directory.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def find_user(root: Path, text: str) -> User:
    """The user that `name`, `uid`, `name:group`, `uid:gid` and the like mean in an image; none means root.

    Args:
        root: the image's root directory.
        text: as in an image's configuration.

    Raises:
        Invalid: the image has no such user or group, or the id is beyond what a sandbox has.
    """
    who, colon, which = text.partition(":")
    groups = _table(root, "group", 4)
    accounts = [fields for fields in _table(root, "passwd", 7) if _is_id(fields[2]) and _is_id(fields[3])]
    wanted = who or "0"
    found = next((fields for fields in accounts if fields[0] == wanted), None)
    if found is None and wanted.isdecimal():
        found = next((fields for fields in accounts if int(fields[2]) == int(wanted)), None)
    if found is None:
        if not wanted.isdecimal() and wanted != "root":
            raise Invalid(f"the image has no user {wanted!r} in its /etc/passwd")
        uid = 0 if wanted == "root" else int(wanted)
        found = ["root" if uid == 0 else wanted, "", str(uid), "0", "", "/root" if uid == 0 else "/", ""]
    name, _, uid_text, gid_text, _, home, _ = found
    gid = int(gid_text)
    others: tuple[int, ...] = ()
    if colon and which:
        gid = _group(groups, which)
    else:
        members = (int(fields[2]) for fields in groups if name in fields[3].split(",") and _is_id(fields[2]))
        others = tuple(sorted(set(members) - {gid}))
    for id in (int(uid_text), gid, *others):
        if id > _LARGEST_ID:
            raise Invalid(f"the image wants id {id}; a sandbox has 0 to {_LARGEST_ID}")
    return User(name=name, uid=int(uid_text), gid=gid, groups=others, home=home if home.startswith("/") else "/")


def _group(groups: list[list[str]], text: str) -> int:
    for fields in groups:
        if fields[0] == text and _is_id(fields[2]):
            return int(fields[2])
    if not _is_id(text):
        raise Invalid(f"the image has no group {text!r} in its /etc/group")
    return int(text)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _table(root: Path, name: str, width: int) -> list[list[str]]:
    """The well-formed lines of a file of the image's /etc; none when it is missing or no plain file."""
    try:
        tree = Tree(root)
    except OSError:
        return []
    try:
        directory, _ = tree.directory(("etc",), create=False)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return []
            text = file.read(_LARGEST_FILE).decode(errors="replace")
    except (OSError, Invalid):
        return []
    finally:
        tree.close()
    return [fields for line in text.splitlines() if len(fields := line.split(":")) == width]
