"""What the agent answers when it cannot do what was asked. Standard library only."""

from __future__ import annotations


class Refusal(Exception):
    """A request that cannot be done; `reason` is one of `driver.SandboxError`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
