"""What of a data directory nobody else on the machine may read, however an earlier release has left it."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

_CLOSED = ("farm", "images", "objects", "provider", "relays", "ssh", "trash")
# Sandboxes of another user id must get through these, without seeing what there is.
_PASSABLE = ("journal", "layers", "sandboxes")
_PUBLIC = "server.json"

log = logging.getLogger("skerry.store")


def close_to_others(data_dir: Path) -> list[str]:
    """Take from group and others what they have no business with: databases, keys, logs, and folders of such things.

    Returns:
        The names of what was open, which is logged.
    """
    changed = []
    for path in sorted(data_dir.iterdir()):
        try:
            mode = path.lstat().st_mode
            if (stat.S_ISREG(mode) and path.name != _PUBLIC) or (stat.S_ISDIR(mode) and path.name in _CLOSED):
                open_bits = mode & 0o077
            elif stat.S_ISDIR(mode) and path.name in _PASSABLE:
                open_bits = mode & 0o066
            else:
                continue
            if open_bits:
                path.chmod(stat.S_IMODE(mode) & ~open_bits)
                changed.append(path.name)
        except OSError as error:
            log.warning("%s cannot be closed to other users: %s", path, error.strerror)
    if changed:
        log.warning(
            "closed to other users of this machine what was open to them in %s: %s", data_dir, ", ".join(changed)
        )
    return changed
