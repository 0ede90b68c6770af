"""Relays of a plain user: the same servers in a user namespace, with slirp4netns as the way out.

The machine's /dev/net/tun may be root's alone; then the user gets one in a mount namespace made for him, as
distributions that open it to everybody have it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry.island.clock import SystemClock
from skerry.island.workers.vpn import Relay, Relays
from skerry.island.workers.vpn.records import Records
from tests.island.workers.vpn.vpn_lab import PATH, Lab, connected, lacking
from tests.plain_user import USER, python

KINDS = [("wg", None), ("openvpn", None), ("ss", None), ("v2ray", "trojan")]
ROOT = Path(__file__).parents[4]
SERVER = """
import asyncio, json, sys
from pathlib import Path
from skerry.island.clock import SystemClock
from skerry.island.workers.vpn import Relays, RelayError, subkinds

async def main() -> None:
    state, host, page = sys.argv[1:4]
    relays = Relays(Path(state), host, None, SystemClock(), egress_private=[page])
    print(json.dumps(subkinds()), flush=True)
    for line in sys.stdin:
        verb, *words = json.loads(line)
        try:
            if verb == "start":
                relay = await relays.start(words[0], subkind=words[1], protocol=words[2], label="octa-1")
                answer = {"config": relay.config}
            elif verb == "traffic":
                moved = await (await relays.find(words[0])).traffic()
                answer = {"received": moved.received, "sent": moved.sent}
            else:
                moved = await relays.stop(words[0])
                answer = {"received": moved.received, "sent": moved.sent}
        except RelayError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)

asyncio.run(main())
"""


class Server:
    """An island's relays, served to the test by a process of the plain user."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.kinds = self._hear()

    def __call__(self, *words: str | None) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.wait()
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def served(lab: Lab, directory: Path) -> Iterator[Server]:
    interpreter = python()
    if interpreter is None:
        pytest.skip("no Python of this version that a plain user may run")
    for program in ("slirp4netns", "setpriv", "mknod"):
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is not installed")
    directory.chmod(0o755)
    (directory / "tun").mkdir()
    state = directory / "state"
    state.mkdir(mode=0o700)
    os.chown(state, USER, USER)
    device = str(directory / "tun" / "tun")
    script = (
        f"mount -t tmpfs tmpfs {directory}/tun && mknod -m 666 {device} c 10 200"
        f" && mount --bind {device} /dev/net/tun"
        f' && exec setpriv --reuid {USER} --regid {USER} --clear-groups "$@"'
    )
    environment = {
        "PATH": PATH,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry.startswith(str(ROOT)))]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
    }
    words = [interpreter, "-c", SERVER, str(state), lab.host, f"{lab.page_host}/32"]
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script, "sh", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd="/",
    )
    try:
        yield Server(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(120)
        process.stdout.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to build networks around the plain user")
@pytest.mark.anyio
async def test_as_a_plain_user(lab: Lab) -> None:
    with tempfile.TemporaryDirectory(prefix="skerry-vpn-user-") as scratch, served(lab, Path(scratch)) as server:
        for subkind, protocol in KINDS:
            if lacking(subkind) is not None:
                continue
            assert server.kinds[subkind] is None
            answer = server("start", subkind, subkind, protocol)
            assert "error" not in answer
            records = Records(Path(scratch) / "state")
            spec = records.spec(subkind)
            assert spec is not None
            assert spec["plan"]["uplink"] == "slirp"
            relay = Relay(records, spec)
            keeper = records.pids(subkind)["keeper"]
            assert Path(f"/proc/{keeper}/root").stat().st_uid in (0, USER)
            assert f"Uid:\t{USER}\t{USER}" in Path(f"/proc/{keeper}/status").read_text()
            with connected(lab, relay) as socks:
                assert lab.fetch(socks=socks, size=200_000) == f"{lab.near} gave 0"
                moved = server("traffic", subkind)
                assert 200_000 < moved["sent"] < 300_000
                final = server("stop", subkind)
                assert final["sent"] >= moved["sent"]
                assert lab.fetch(socks=socks, timeout=0.5).startswith("failed: ")
            assert not records.home(subkind).exists()


@pytest.mark.anyio
async def test_without_a_device_that_the_user_may_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skerry.island.workers.vpn import RelayError, means

    monkeypatch.setattr(means.os, "access", lambda path, mode: False)
    relays = Relays(tmp_path, "127.0.0.1", None, SystemClock(), uplink="slirp")
    with pytest.raises(RelayError, match="/dev/net/tun") as caught:
        await relays.start("r1", subkind="ss", label="octa-1")
    assert caught.value.code == "unavailable"
