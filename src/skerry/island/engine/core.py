"""What every service of the engine stands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from skerry.island.clock import Clock
from skerry.island.engine.records import Image, Node
from skerry.island.sandbox.driver import Driver, ImageSource
from skerry.island.sandbox.spec import UserIds
from skerry.island.settings import Settings
from skerry.island.store.store import Store
from skerry.island.store.values import micros


class Images(ImageSource, Protocol):
    """What the engine asks of the images."""

    def resolve(self, name: str) -> str | None:
        """The id of an image by name or id, None when it is not here."""

    def user(self, image_id: str, text: str) -> UserIds:
        """The numeric ids of a user of an image, such as `name`, `uid` or `name:group`. Raises Invalid."""

    def list(self) -> list[Image]:
        """Every image."""


@dataclass(slots=True)
class Core:
    """Means shared by the services.

    Args:
        settings: the owner's choices.
        clock: the only source of time.
        store: the database.
        driver: makes and finds sandboxes.
        images: read-only roots.
        node: this machine.
        closing: nothing new is accepted.
    """

    settings: Settings
    clock: Clock
    store: Store
    driver: Driver
    images: Images
    node: Node
    closing: bool = False

    def now(self) -> int:
        """Microseconds since 1970, as the store keeps moments."""
        return micros(self.clock.now())
