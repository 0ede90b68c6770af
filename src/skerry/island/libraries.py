"""The server's libraries, an extra of the package: whether they are here is asked without loading them."""

from __future__ import annotations

from importlib.util import find_spec

from skerry.errors import ConfigurationError

LIBRARIES = ("starlette", "uvicorn", "sqlalchemy", "alembic", "websockets")
"""Those that tell whether the extra is installed."""


def absent() -> list[str]:
    """The libraries that are not installed."""
    return [name for name in LIBRARIES if find_spec(name) is None]


def require() -> None:
    """Check that an island can be started.

    Raises:
        ConfigurationError: libraries are missing; the message has the line that installs them.
    """
    if missing := absent():
        raise ConfigurationError(f"the island needs {', '.join(missing)}; get it: pip install 'skerry[island]'")
