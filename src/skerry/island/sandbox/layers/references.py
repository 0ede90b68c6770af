"""Which frozen layers are still needed: by a chain, by a mounted overlay, or by work in progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from skerry.island.sandbox.layers.chains import Chain, UnreadableChain
from skerry.island.sandbox.layers.layout import CHAIN, HELD


class References:
    """Counts uses of layers, derived from the chain files and kept up to date from then on.

    Not locked: its owner calls it under one lock.

    Args:
        sandboxes: directory of all sandboxes.
        unused: called with a layer that nothing needs any more.
    """

    def __init__(self, sandboxes: Path, unused: Callable[[str], None]) -> None:
        self._sandboxes = sandboxes
        self._unused = unused
        self._uses: Counter[str] | None = None
        self._pins: Counter[str] = Counter()
        self.unreadable: set[str] = set()

    def scan(self) -> Counter[str]:
        """The counts, read from the chain files unless that was done."""
        if self._uses is None:
            self.unreadable.clear()
            uses: Counter[str] = Counter()
            for directory in self._sandboxes.iterdir():
                if directory.name.startswith("."):
                    continue
                for name in (CHAIN, HELD):
                    try:
                        uses.update(Chain.read(directory / name).layers)
                    except UnreadableChain:
                        self.unreadable.add(directory.name)
                    except (FileNotFoundError, NotADirectoryError):
                        continue
            self._uses = uses
        return self._uses

    def forget(self) -> None:
        """Read the chain files again before the next answer."""
        self._uses = None

    def add(self, layers: Iterable[str]) -> None:
        """One more user of each. The counts must have been read (`scan`) before the chain file was written."""
        self.scan().update(layers)

    def drop(self, layers: Iterable[str]) -> None:
        """One user of each less, told after `scan` and the change; those without any other are reported as unused."""
        layers = list(layers)
        self.scan().subtract(layers)
        self._report(layers)

    def pin(self, layers: Iterable[str]) -> None:
        """Keep layers although no chain may name them."""
        self._pins.update(layers)

    def unpin(self, layers: Iterable[str]) -> None:
        """End one `pin` of each."""
        layers = list(layers)
        self._pins.subtract(layers)
        self._report(layers)

    def needed(self, layer: str) -> bool:
        """Whether anything needs the layer; always, while some chain file cannot be read."""
        return self.scan()[layer] > 0 or self._pins[layer] > 0 or bool(self.unreadable)

    def _report(self, layers: Iterable[str]) -> None:
        for layer in set(layers):
            if not self.needed(layer):
                self.scan().pop(layer, None)
                self._pins.pop(layer, None)
                self._unused(layer)
