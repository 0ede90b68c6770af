"""Exit statuses, and which error means which.

0    success
1    failure that fits nowhere else
2    usage: the command line or a setting is wrong
3    refused by balance, budget or policy
4    authentication or permission
5    not found
6    no capacity now
7    time-out of our own waiting
8    the network cannot be reached, or failed
9    conflict with the present state

`skerry run` and `skerry sandbox run` pass the remote status through: 124 for a time-out, 125 to 127 as in env(1),
128+n for signal n. 130 follows Ctrl-C, 141 a closed pipe.
"""

from __future__ import annotations

from skerry import errors

OK = 0
FAILURE = 1
USAGE = 2
REFUSED = 3
DENIED = 4
NOT_FOUND = 5
NO_CAPACITY = 6
TIMED_OUT = 7
UNREACHABLE = 8
CONFLICT = 9
INTERRUPTED = 130
BROKEN_PIPE = 141

_BY_ERROR: dict[type[BaseException], int] = {
    errors.ConfigurationError: USAGE,
    errors.InvalidRequestError: USAGE,
    errors.PaymentRequiredError: REFUSED,
    errors.UnsupportedError: REFUSED,
    errors.AuthenticationError: DENIED,
    errors.PermissionDeniedError: DENIED,
    errors.NotFoundError: NOT_FOUND,
    errors.NoCapacityError: NO_CAPACITY,
    errors.RateLimitedError: NO_CAPACITY,
    errors.DeadlineExceededError: TIMED_OUT,
    errors.ConnectionFailedError: UNREACHABLE,
    errors.ProtocolError: UNREACHABLE,
    errors.ServerError: UNREACHABLE,
    errors.ConflictError: CONFLICT,
}

_NEXT = {
    REFUSED: "see `skerry status` for the balance and `skerry doctor` for what this machine can do",
    DENIED: "see `skerry env` for the keys of this island; SKERRY_DATA_DIR decides which island it is",
    NOT_FOUND: "see `skerry sandbox ls` and `skerry image ls` for what there is; a sandbox is called by its ID",
    NO_CAPACITY: "try again in a moment, or ask for less",
    TIMED_OUT: "see `skerry status` and server.log in the data directory",
    UNREACHABLE: "see `skerry status`; `skerry up` starts an island",
    CONFLICT: "see `skerry status`",
}


def status_of(error: BaseException) -> int:
    """The exit status that an error stands for."""
    for kind in type(error).__mro__:
        if kind in _BY_ERROR:
            return _BY_ERROR[kind]
    return FAILURE


def suggest(error: errors.SkerryError, step: str) -> None:
    """Name another next step for an error that may mean that the wrong place was asked, and none for any other.

    For calls that went elsewhere than to the island of this machine, which all our own steps are about.
    """
    astray = isinstance(error, errors.ConfigurationError) or status_of(error) in {DENIED, NOT_FOUND, UNREACHABLE}
    vars(error)["_next_step"] = step if astray else None


def next_step(error: BaseException) -> str | None:
    """What a person would try after this error, where we know: what fails on our own side says it itself."""
    status = status_of(error)
    if "_next_step" in vars(error):
        step: str | None = vars(error)["_next_step"]
        return step
    if isinstance(error, errors.UnsupportedError):
        return "see `skerry doctor` for what this machine can do"
    # What names a command has said what to do.
    if status == NOT_FOUND and "`skerry " in str(error):
        return None
    # The lists that would be named hold what Arker and the owner's API can be asked for, and nothing else.
    if status == NOT_FOUND and getattr(error, "network", None) not in {"arker", "island"}:
        return None
    if isinstance(error, errors.PaymentRequiredError) and getattr(error, "network", None) == "dispersed":
        return "see `skerry status` for the balance; `skerry credit add` adds to it"
    if isinstance(error, errors.PaymentRequiredError) and getattr(error, "network", None) == "dc1":
        return "`skerry credit add 50 --network dc1` adds 50 riyals to the balance on an island of yours"
    # Something else than the island, such as a registry, may be what cannot be reached.
    if status == UNREACHABLE and not isinstance(error, errors.ConnectionFailedError | errors.ProtocolError):
        return None
    return _NEXT.get(status)
