"""What a job says that nodes should do (protocol section 8): recognised by its known forms, never evaluated.

The work itself follows from `job_data`. Of the operations only one thing is taken: whether Blender is told to let the
file's own scripts run (`-y`). Their brace templates are programs for a node that evaluates them, which ours do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

KNOWN = ("exe", "stopwatch", "octa_analytics")
MOST = 64
_MOST_WORDS = 1024


class Unrecognised(Exception):
    """The list has no form that is known; the message is for who sent it."""


def wants_scripts(operations: Any) -> bool:
    """Whether a Blender among the operations is started with `-y`.

    Args:
        operations: as it came; None counts as none.

    Raises:
        Unrecognised: no list of operations, one that is not known, or too many.
    """
    if operations is None:
        return False
    if not isinstance(operations, list) or len(operations) > MOST:
        raise Unrecognised(f"operations is a list of at most {MOST}")
    found = False
    for operation in operations:
        if not isinstance(operation, dict) or operation.get("operation") not in KNOWN:
            raise Unrecognised(f"an operation is one of {', '.join(KNOWN)}")
        if operation["operation"] == "exe":
            words = list(_words(operation.get("arguments")))
            found = found or ("-b" in words and "-y" in words)
    return found


def _words(arguments: Any, depth: int = 0) -> Iterator[str]:
    """Words of a command line, given as a text, a list of words, or an object that holds one."""
    if isinstance(arguments, str):
        yield from arguments.split()[:_MOST_WORDS]
    elif isinstance(arguments, (list, dict)) and depth < 3:
        for inner in list(arguments.values() if isinstance(arguments, dict) else arguments)[:_MOST_WORDS]:
            yield from _words(inner, depth + 1)
