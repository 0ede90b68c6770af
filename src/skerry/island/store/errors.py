"""A database or data directory that cannot be used, and what its owner can do about it."""

from __future__ import annotations

from typing import Literal

from skerry.errors import ConfigurationError

StoreReason = Literal["locked", "read_only", "full", "newer", "damaged", "unreachable"]


class StoreError(ConfigurationError):
    """The data directory or database cannot be used; the message says what to do.

    Attributes:
        reason: `locked` (another program holds it), `read_only`, `full`, `newer` (made by a later Skerry),
            `damaged`, `unreachable`.
    """

    def __init__(self, reason: StoreReason, message: str) -> None:
        super().__init__(message)
        self.reason: StoreReason = reason
