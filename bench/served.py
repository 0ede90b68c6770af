"""An island in a process of its own, as `skerry up` runs it: client and server share no interpreter lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from skerry import DC1, Arker, AsyncArker, AsyncDC1, AsyncDispersed, Dispersed, OctaSpace

START_SECONDS = 60


class Served:
    """Start with `with`; the data directory is temporary and removed at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="skerry-bench-")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Served:
        data = Path(self._folder.name)
        command = [sys.executable, "-m", "skerry.island.server", "--data-dir", str(data), "--port", "0"]
        # A client that is measured asks more often than anybody should be allowed to.
        unlimited = {"SKERRY_REQUESTS_PER_MINUTE": "off", "SKERRY_DC1_RATE_LIMITS": "off"}
        env = {**os.environ, **unlimited}
        self._process = subprocess.Popen([*command, "--log-level", "warning"], env=env)
        deadline = time.monotonic() + START_SECONDS
        while not (data / "server.json").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.02)
        self.url = json.loads((data / "server.json").read_text())["url"]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)
        self._folder.cleanup()

    def base_url(self, network: str) -> str:
        """Where a network's face answers."""
        return f"{self.url}/{network}"

    def key(self, network: str) -> str:
        """The first account's key."""
        credentials = json.loads((Path(self._folder.name) / "credentials.json").read_text())
        return str(credentials["keys"][network])

    def arker(self, **options: Any) -> Arker:
        """A client of this island."""
        return Arker(api_key=self.key("arker"), base_url=self.base_url("arker"), **options)

    def async_arker(self, **options: Any) -> AsyncArker:
        """A client of this island."""
        return AsyncArker(api_key=self.key("arker"), base_url=self.base_url("arker"), **options)

    def dispersed(self, **options: Any) -> Dispersed:
        """A client of this island."""
        return Dispersed(*self._pair(), self.base_url("dispersed"), **options)

    def async_dispersed(self, **options: Any) -> AsyncDispersed:
        """A client of this island."""
        return AsyncDispersed(*self._pair(), self.base_url("dispersed"), **options)

    def octaspace(self, **options: Any) -> OctaSpace:
        """A client of this island."""
        return OctaSpace(api_key=self.key("octaspace"), base_url=self.base_url("octaspace"), **options)

    def dc1(self, **options: Any) -> DC1:
        """A client of this island."""
        return DC1(self.key("dc1"), self.base_url("dc1"), environ={}, **options)

    def async_dc1(self, **options: Any) -> AsyncDC1:
        """A client of this island."""
        return AsyncDC1(self.key("dc1"), self.base_url("dc1"), environ={}, **options)

    @property
    def data_dir(self) -> Path:
        """Where it keeps everything."""
        return Path(self._folder.name)

    def owner_key(self) -> str:
        """The owner's key."""
        return (Path(self._folder.name) / "owner.key").read_text().strip()

    def _pair(self) -> tuple[str, str]:
        return self.key("dispersed"), self.key("dispersed_secret")
