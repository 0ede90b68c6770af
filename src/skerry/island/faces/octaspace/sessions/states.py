"""The life of a session (protocol section 1.1): its states, the words for them, and why it ends."""

from __future__ import annotations

PENDING = "pending"
PREPARING = "preparing"
PULLING = "pulling"
CREATING = "creating"
STARTING = "starting"
CONFIGURING = "configuring"
READY = "ready"
STOPPING = "stopping"
FINISHED = "finished"

ORDER = (PENDING, PREPARING, PULLING, CREATING, STARTING, CONFIGURING, READY, STOPPING, FINISHED)

PROGRESS = {
    PENDING: "pending",
    PREPARING: "preparing node",
    PULLING: "pulling image",
    CREATING: "creating container",
    STARTING: "starting container",
    CONFIGURING: "configuring service",
    READY: "service configured",
    STOPPING: "stopping",
}
"""What `progress` says; a finished session has none."""

NORMAL = 0
IDLE_LIMIT = 1
NODE_LOST = 2
BALANCE_EXHAUSTED = 3
START_FAILED = 4
PROGRAM_FAILED = 5
"""Beyond the protocol's suggestions: what the session ran ended by itself, and not well."""

FAULTS = frozenset({NODE_LOST, START_FAILED})
"""Reasons that are the node's fault."""

REASONS = {
    NORMAL: "Stopped",
    IDLE_LIMIT: "Stopped: nothing was moved for as long as the idle limit allows",
    NODE_LOST: "The node was lost",
    BALANCE_EXHAUSTED: "Stopped: the balance does not cover what comes next",
    START_FAILED: "The start has failed",
    PROGRAM_FAILED: "The program has failed",
}
"""For the system log."""


def may(before: str, after: str) -> bool:
    """Whether a session may go from one state to another: forwards only, and never from the end.

    Example:
        >>> may("pending", "pulling"), may("ready", "pulling"), may("stopping", "ready"), may("starting", "finished")
        (True, False, False, True)
    """
    return before != FINISHED and ORDER.index(after) > ORDER.index(before)
