"""How a machine becomes a provider: scripts that install Skerry and run `skerry provider run` (section 3.7).

What is put into a script from outside, the key, the provider's name and the address by which the island was reached, is
quoted for the language that the script is in, and nothing of it stands in a comment.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence

from skerry.island.faces.dc1.access import ANYBODY, PROVIDER
from skerry.island.faces.dc1.authentication import presented
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers.heartbeats import LATEST_DAEMON

_KEY = re.compile(r"[A-Za-z0-9_-]{8,128}")
_SYSTEMS = ("linux", "mac", "darwin")
_SHELL = """\
#!/bin/sh
# Installs Skerry for this user alone, keeps the provider's key in a file that only the user can read, and takes jobs.
# SKERRY_DC1_PROVIDER_KEY, where it is set, counts in place of the key that is written here.
set -eu
umask 077
base_url={base_url}
provider_id={provider_id}
name={name}
key=${{SKERRY_DC1_PROVIDER_KEY:-{key}}}
home=${{SKERRY_PROVIDER_HOME:-"$HOME/.local/share/skerry-provider"}}
python=${{PYTHON:-python3}}
command -v "$python" >/dev/null || {{ echo "Python 3.11 or newer is needed" >&2; exit 1; }}
mkdir -p "$home"
[ -x "$home/venv/bin/python" ] || "$python" -m venv "$home/venv"
"$home/venv/bin/python" -m pip install --quiet --upgrade 'skerry[island]'
SKERRY_ACCOUNT_URL=$base_url SKERRY_ACCOUNT_ID=$provider_id SKERRY_ACCOUNT_NAME=$name SKERRY_ACCOUNT_KEY=$key \\
    "$home/venv/bin/python" - "$home/data" <<'PROGRAM'
{program}PROGRAM
[ "${{1:-}}" = --no-run ] && exit 0
exec "$home/venv/bin/skerry" provider run --data-dir "$home/data"
"""
_KEEP = """\
import os
import sys
from pathlib import Path

from skerry.island.provider.account import Account, keep

told = os.environ
keep(
    Path(sys.argv[1]),
    Account(
        base_url=told["SKERRY_ACCOUNT_URL"],
        provider_id=int(told["SKERRY_ACCOUNT_ID"]),
        api_key=told["SKERRY_ACCOUNT_KEY"],
        name=told["SKERRY_ACCOUNT_NAME"],
    ),
)
"""
_DAEMON = """\
#!/usr/bin/env python3
# Runs this machine as a provider, where Skerry is installed already: pip install 'skerry[island]'
import json
import os
import sys
from pathlib import Path

from skerry.cli.main import main
from skerry.island.provider.account import Account, keep

account = json.loads({account})
account["api_key"] = os.environ.get("SKERRY_DC1_PROVIDER_KEY") or account["api_key"]
home = Path(os.environ.get("SKERRY_PROVIDER_HOME", Path.home() / ".local/share/skerry-provider")) / "data"
keep(home, Account(**account))
sys.argv[1:] = ["provider", "run", "--data-dir", str(home), *sys.argv[1:]]
sys.exit(main())
"""


class Installers:
    """Hands out what makes a machine a provider."""

    def routes(self) -> Sequence[Route]:
        """Two scripts, by three names, and their version."""
        return [
            Route(method="GET", path="/api/providers/installer", handler=self.installer, access=PROVIDER),
            Route(method="GET", path="/api/providers/setup", handler=self.installer, access=PROVIDER),
            Route(method="GET", path="/api/providers/download/daemon", handler=self.daemon, access=PROVIDER),
            Route(method="GET", path="/api/daemon/latest-version", handler=self.version, access=ANYBODY),
        ]

    async def installer(self, call: Call) -> Answer:
        """A shell script for Linux and macOS, which installs, and then takes jobs."""
        system = call.query.get("os", "linux").lower()
        if system == "windows":
            raise Fault(400, "There is no installer for windows; run the one for linux inside WSL 2")
        if system not in _SYSTEMS:
            raise Fault(400, f"os must be one of: windows, {', '.join(_SYSTEMS)}")
        script = _SHELL.format(
            base_url=shlex.quote(call.root),
            provider_id=int(call.provider.id),
            name=shlex.quote(call.provider.name),
            key=_key(call),
            program=_KEEP,
        )
        return _file(script, "text/x-shellscript", "install-skerry-provider.sh")

    async def daemon(self, call: Call) -> Answer:
        """A Python program that takes jobs; with `check_only=true` only its version."""
        if call.query.get("check_only", "").lower() in ("true", "1"):
            return await self.version(call)
        account = {
            "base_url": call.root,
            "provider_id": int(call.provider.id),
            "api_key": _key(call),
            "name": call.provider.name,
        }
        # Twice: as the text of JSON, and that as a literal of Python, in which it is ASCII without quotes of its own.
        program = _DAEMON.replace("{account}", json.dumps(json.dumps(account)))
        return _file(program, "text/x-python", "skerry_provider.py")

    async def version(self, call: Call) -> Answer:
        """Which daemon is the latest, and the oldest that may work."""
        return Answer(
            {
                "version": LATEST_DAEMON,
                "latest_version": LATEST_DAEMON,
                "min_version": LATEST_DAEMON,
                "download_url": "/api/providers/download/daemon",
            }
        )


def _key(call: Call) -> str:
    """The key that was presented, which needs no quotes in any language.

    Raises:
        Fault: 400 for one that would.
    """
    found = presented(PROVIDER, call.headers, call.query, call.json)
    if not _KEY.fullmatch(found):
        raise Fault(400, "This key cannot be put into a script")
    return found


def _file(text: str, media: str, name: str) -> Answer:
    headers = (
        (b"cache-control", b"no-store"),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
    )
    return Answer(text.encode(), media=f"{media}; charset=utf-8", headers=headers)
