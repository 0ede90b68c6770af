"""What tests of relays share: a user's network, a page elsewhere, and the real client programs between them.

    user's namespace -- veth -- this machine -- veth -- page's namespace
                                 relay

The machine does not forward for the user, so the page is reached through a relay or not at all. Everything lives in
namespaces made here and dies with their first processes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from skerry.island.clock import SystemClock
from skerry.island.workers.vpn import Relay, Relays, Traffic, subkinds

PATIENCE = 60.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KINDS = [("wg", None), ("openvpn", None), ("ss", None), ("v2ray", "trojan"), ("v2ray", "vmess"), ("v2ray", "vless")]
CLIENTS = {"wg": "wg-quick", "openvpn": "openvpn", "ss": "ss-local", "v2ray": "v2ray"}
SOCKS = 1080
HERE = Path(__file__).parent


def lacking(subkind: str | None = None) -> str | None:
    """Why tests of real relays cannot run here, or None."""
    if os.geteuid() != 0:
        return "needs root, for namespaces with interfaces between them"
    for program in ("ip", "nft", "unshare", "nsenter", "sysctl", *([CLIENTS[subkind]] if subkind else [])):
        if shutil.which(program, path=PATH) is None:
            return f"{program} is not installed"
    for kind, reason in subkinds("veth").items():
        if reason is not None and kind == (subkind or kind):
            return f"{kind}: {reason}"
    return None


def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)


@dataclass
class Space:
    """One namespace of networks, mounts and processes; all in it dies with its first process."""

    holder: subprocess.Popen[bytes]
    pid: int

    def command(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "--", *words]

    def run(self, *words: str, check: bool = True, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={"PATH": f"/run/bin:{PATH}"},
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": f"/run/bin:{PATH}"},
        )

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()
        assert self.holder.stdout is not None
        self.holder.stdout.close()


def make_space() -> Space:
    """A fresh one, with its own /run."""
    script = (
        "mount -t proc proc /proc && mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec sleep inf"
    )
    holder = subprocess.Popen(
        ["unshare", "-n", "-m", "-p", "-f", "--kill-child", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={"PATH": PATH},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    return Space(holder, int(children[0]))


@dataclass
class Lab:
    """The user, the page, and the machine's addresses towards both."""

    user: Space
    page: Space
    host: str
    """The machine, as the user reaches it."""
    page_host: str
    near: str
    """The machine, as the page sees it."""
    scratch: Path
    relays: Relays

    @property
    def url(self) -> str:
        return f"http://{self.page_host}:8080/page"

    def another(self, state: Path | None = None, **options: object) -> Relays:
        """Relays of other options, or as the next life of the island sees them."""
        wanted: dict[str, object] = {"uplink": "veth", "egress_private": (f"{self.page_host}/32",), **options}
        return Relays(state or self.scratch / "relays", self.host, None, SystemClock(), **wanted)  # type: ignore[arg-type]

    def fetch(
        self, *, socks: bool, size: int = 0, upload: int = 0, timeout: float = PATIENCE, url: str | None = None
    ) -> str:
        """Fetch the page as the user; what it says, or `failed: ...`.

        Args:
            socks: through the client's SOCKS port, rather than through its tunnel.
            size: bytes to be sent down.
            upload: bytes to send up.
            timeout: seconds.
            url: another page.
        """
        words = [sys.executable, "-I", "-S", str(HERE / "fetch.py"), url or self.url, str(size), str(upload)]
        words += [str(timeout), str(SOCKS if socks else 0)]
        done = self.user.run(*words, check=False, timeout=timeout + PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def carried(self) -> tuple[int, int]:
        """Bytes that the page was sent and that it has sent, with all that networks add and repeat."""
        table = self.page.run("cat", "/proc/net/dev").stdout
        (row,) = (line.partition(":")[2].split() for line in table.splitlines() if line.strip().startswith("eth0:"))
        return int(row[0]), int(row[8])

    def quiet(self) -> None:
        """Wait until nobody talks to the page any more, so that counts stay as they are."""
        until(lambda: not re.search(r":1F90 \S+ 0(?![A6])", self.page.run("cat", "/proc/net/tcp").stdout))


async def counted(relay: Relay, enough: Callable[[Traffic], bool]) -> Traffic:
    """What a relay has moved, once that is enough: a program that is busy is asked again for its counts later."""
    async with asyncio.timeout(PATIENCE):
        while not enough(moved := await relay.traffic()):
            await asyncio.sleep(0.02)
    return moved


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """Build one, and take it all away."""
    with contextlib.ExitStack() as undo:
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="skerry-vpn-")))
        user = make_space()
        undo.callback(user.close)
        page = make_space()
        undo.callback(page.close)
        networks = []
        for name, space in (("u", user), ("p", page)):
            link = f"skt{name}{os.getpid()}"
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(space.pid))
            undo.callback(subprocess.run, ["ip", "link", "del", link], env={"PATH": PATH}, capture_output=True)
            _ip("link", "set", link, "up")
            network = _claim(link)
            networks.append(network)
            _ip("addr", "add", f"{network}.1/24", "dev", link, "noprefixroute")
            space.run("ip", "addr", "add", f"{network}.2/24", "dev", "eth0")
            space.run("ip", "link", "set", "eth0", "up")
        # The way back from the page; the user's own interface forwards nothing.
        Path(f"/proc/sys/net/ipv4/conf/sktp{os.getpid()}/forwarding").write_text("1")
        user.run("ip", "route", "add", "default", "via", f"{networks[0]}.1")
        _prepare_user(user)
        server = page.spawn(sys.executable, "-I", "-S", str(HERE / "page.py"), "8080")
        undo.callback(_end, server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        near, far = networks
        it = Lab(user, page, f"{near}.1", f"{far}.2", f"{far}.1", scratch, None)  # type: ignore[arg-type]
        it.relays = it.another()
        yield it


def _claim(link: str) -> str:
    """The first three numbers of a network of 256 that is ours alone: the kernel gives its route only once."""
    for _ in range(100):
        network = f"172.{random.randrange(18, 29)}.{random.randrange(256)}"
        if (
            subprocess.run(
                ["ip", "route", "add", f"{network}.0/24", "dev", link], env={"PATH": PATH}, capture_output=True
            ).returncode
            == 0
        ):
            return network
    raise AssertionError("no free network")


def _prepare_user(user: Space) -> None:
    # wg-quick hands the name server to this program, which few machines have; ours writes what it would.
    user.run("mkdir", "/run/bin")
    shim = '#!/bin/sh\\n[ "$1" = -a ] && cat >/run/resolv.conf\\nexit 0\\n'
    user.run("sh", "-c", f"printf '{shim}' >/run/bin/resolvconf && chmod 755 /run/bin/resolvconf")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, env={"PATH": PATH})


@contextlib.contextmanager
def connected(lab: Lab, relay: Relay) -> Iterator[bool]:
    """The real client program, given what the user was given; whether it offers SOCKS rather than a tunnel."""
    with contextlib.ExitStack() as undo:
        write = lab.scratch / f"client-{relay.id}"
        write.mkdir()
        undo.callback(shutil.rmtree, write)
        if relay.subkind == "wg":
            config = write / "octa1.conf"
            config.write_text(relay.config)
            config.chmod(0o600)
            said = lab.user.run("wg-quick", "up", str(config))
            undo.callback(lab.user.run, "wg-quick", "down", str(config), check=False)
            assert "[#] resolvconf" in said.stderr
            yield False
            return
        if relay.subkind == "openvpn":
            (write / "client.ovpn").write_text(relay.config)
            client = lab.user.spawn("openvpn", "--config", str(write / "client.ovpn"))
            undo.callback(_end, client)
            undo.callback(lab.user.run, "pkill", "-KILL", "-x", "openvpn", check=False)
            assert client.stdout is not None
            said = []
            for line in client.stdout:
                said.append(line)
                if "Initialization Sequence Completed" in line:
                    break
            else:
                raise AssertionError("".join(said))
            yield False
            return
        if relay.subkind == "ss":
            words = ss_local(relay.config)
        else:
            (write / "client.json").write_text(json.dumps(v2ray_client(relay.config)))
            words = ["v2ray", "-config", str(write / "client.json")]
        client = lab.user.spawn(*words)
        undo.callback(_end, client)
        undo.callback(lab.user.run, "pkill", "-KILL", "-x", words[0], check=False)
        # Not by connecting: the client would connect to the relay.
        until(lambda: f":{SOCKS:04X} 00000000:0000 0A" in lab.user.run("cat", "/proc/net/tcp").stdout)
        yield True


def ss_local(link: str) -> list[str]:
    """The command line of `ss-local` for a SIP002 link."""
    parts = urlsplit(link)
    assert parts.scheme == "ss"
    assert parts.username is not None
    user = base64.urlsafe_b64decode(parts.username + "=" * (-len(parts.username) % 4)).decode()
    method, password = user.split(":", 1)
    where = ["-s", str(parts.hostname), "-p", str(parts.port), "-b", "127.0.0.1", "-l", str(SOCKS)]
    return ["ss-local", *where, "-m", method, "-k", password, "-u"]


def v2ray_client(link: str) -> dict[str, object]:
    """V2Ray's configuration for a share link."""
    scheme, _, rest = link.partition("://")
    outbound: dict[str, object]
    if scheme == "vmess":
        given = json.loads(base64.b64decode(rest))
        user = {"id": given["id"], "alterId": int(given["aid"]), "security": given["scy"]}
        outbound = {"vnext": [{"address": given["add"], "port": int(given["port"]), "users": [user]}]}
        stream: dict[str, object] = {"network": given["net"]}
    else:
        parts = urlsplit(link)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        secret = unquote(parts.username or "")
        stream = {"network": query["type"]}
        if query["security"] == "tls":
            stream["security"] = "tls"
            stream["tlsSettings"] = {"serverName": query["sni"], "allowInsecure": query["allowInsecure"] == "1"}
        where = {"address": parts.hostname, "port": parts.port}
        outbound = (
            {"servers": [{**where, "password": secret}]}
            if scheme == "trojan"
            else {"vnext": [{**where, "users": [{"id": secret, "encryption": query["encryption"]}]}]}
        )
    return {
        "log": {"loglevel": "warning"},
        "inbounds": [{"listen": "127.0.0.1", "port": SOCKS, "protocol": "socks", "settings": {"udp": True}}],
        "outbounds": [{"protocol": scheme, "settings": outbound, "streamSettings": stream}],
    }
