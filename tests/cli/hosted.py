"""A server that stands where the hosted OctaSpace would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import Handler, serving


@dataclass
class Hosted:
    """What the hosted network answers, by method and path, and what it was asked."""

    url: str
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Hosted]:
    """Answer on a free port until the block ends."""
    known = Hosted("")

    class Answering(Handler):
        def _handle(self) -> None:
            body = self.content()
            known.asked.append((self.command, self.path, json.loads(body) if body else None))
            answer = known.answers.get(f"{self.command} {self.path}", (404, {"message": "Nothing here"}))
            status, value = answer if isinstance(answer, tuple) else (200, answer)
            self.answer(status, json.dumps(value).encode())

        do_GET = do_POST = do_PUT = _handle

    with serving(Answering) as known.url:
        yield known
