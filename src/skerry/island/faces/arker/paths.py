"""Which paths files may be read from and written to (protocol section 3.5)."""

from __future__ import annotations

from skerry.island.faces.arker.errors import ArkerFault

HOME = "/home/user"
LONGEST_PATH = 4096
LONGEST_NAME = 255


def sync_path(path: str) -> str:
    """The path if it names something below the home directory, unchanged.

    Whether a symbolic link leads out again is not decided here but when the file is opened, beneath `HOME`.

    Raises:
        ArkerFault: `bad_request` for anything outside `/home/user/`, a `..` segment, NUL, too many bytes, or what can
            only be a directory.
    """
    if "\x00" in path:
        raise ArkerFault("bad_request", "the path contains a NUL character")
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        raise ArkerFault("bad_request", "the path is not valid Unicode") from None
    if len(raw) > LONGEST_PATH:
        raise ArkerFault("bad_request", f"the path is longer than {LONGEST_PATH} bytes")
    if not path.startswith(HOME + "/"):
        raise ArkerFault("bad_request", f"only paths below {HOME}/ are allowed, not {_short(path)}")
    segments = path[len(HOME) + 1 :].split("/")
    if ".." in segments:
        raise ArkerFault("bad_request", "the path contains a '..' segment")
    if any(len(segment.encode("utf-8")) > LONGEST_NAME for segment in segments):
        raise ArkerFault("bad_request", f"a name in the path is longer than {LONGEST_NAME} bytes")
    if segments[-1] in ("", "."):
        raise ArkerFault("bad_request", f"{_short(path)} is a directory")
    return path


def _short(path: str) -> str:
    return path if len(path) <= 200 else path[:200] + "..."
