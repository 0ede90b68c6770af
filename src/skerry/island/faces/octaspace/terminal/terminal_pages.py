"""The page of a session's terminal, with all that it loads; nothing comes from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from skerry.island.faces.octaspace.call import Call, Place, Route
from skerry.island.faces.octaspace.errors import not_found
from skerry.island.ground.answers import Answer

_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "html": "text/html; charset=utf-8"}
_FILES = frozenset({"xterm.js", "xterm.css", "addon-fit.js", "terminal.js", "terminal.css"})
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class TerminalFiles:
    """Scripts and styles of the page."""

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/static/{name}",
                handler=self.get,
                summary="Scripts and styles of the terminal's page",
                access="public",
                faults=(404,),
            )
        ]

    async def get(self, call: Call, name: str) -> Answer:
        """GET /static/{name}."""
        if name not in _FILES:
            raise not_found("File")
        return Answer(content(name), media=_TYPES[name.rpartition(".")[2]], headers=(_NOSNIFF,))


def page(place: Place) -> Answer:
    """The page itself.

    Args:
        place: how the browser reached the island.
    """
    return Answer(content("terminal.html"), media=_TYPES["html"], headers=guards(place))


def refusal(status: int, text: str) -> Answer:
    """A page that says why there is no terminal, as text."""
    return Answer(
        f"{text}\n".encode(),
        status,
        media="text/plain; charset=utf-8",
        headers=(_NOSNIFF, (b"referrer-policy", b"no-referrer")),
    )


def guards(place: Place) -> tuple[tuple[bytes, bytes], ...]:
    """Headers by which a browser lets the page do no more than it must; its address holds a token."""
    socket = f"{'wss' if place.scheme == 'https' else 'ws'}://{place.host}"
    # The terminal draws by style rules of its own, which it adds to the page.
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; "
        f"connect-src 'self' {socket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        (b"content-security-policy", policy.encode("latin-1", "replace")),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
        (b"cross-origin-opener-policy", b"same-origin"),
        _NOSNIFF,
    )


@cache
def content(name: str) -> bytes:
    """A file that belongs to the page."""
    return (files("skerry.island.faces.octaspace.terminal") / "static" / name).read_bytes()
