"""The island's SSH server and published ports, with OpenSSH's own programs over real sandboxes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.island.island import Island

PATIENCE = 60
NEEDED = ("ssh", "scp", "ssh-keygen")
pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in NEEDED),
    reason="OpenSSH's client is not installed; on Debian: apt-get install openssh-client",
)

SERVER = """
import contextlib, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"mine\\n")
        while data := connection.recv(65536):
            connection.sendall(data)
"""


class User:
    """Somebody with a key and OpenSSH."""

    def __init__(self, island: Island, directory: Path) -> None:
        self.island = island
        self.directory = directory
        self.key = self.new_key("id")
        self.sandboxes = 0

    @property
    def engine(self) -> Any:
        return self.island.engine

    def new_key(self, name: str) -> Path:
        path = self.directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return path

    def public(self, key: Path | None = None) -> str:
        return (key or self.key).with_suffix(".pub").read_text()

    def sandbox(self, *, key: Path | None = None) -> str:
        self.sandboxes += 1
        id = f"ssh-box-{self.sandboxes}"
        engine = self.engine
        self.island.call(engine.sandboxes.create(engine.account_id, id=id, network="arker", image="host"))
        self.island.call(engine.ssh.authorize(engine.account_id, id, [self.public(key)]))
        return id

    def publish(self, sandbox: str, port: int, **options: Any) -> int:
        published = self.island.call(self.engine.ports.publish(self.engine.account_id, sandbox, port, **options))
        return int(published.host_port)

    def start(self, sandbox: str, command: list[str]) -> None:
        """A background run that goes on until its sandbox ends, once it has said that it listens."""

        async def begun() -> None:
            run = await self.engine.runs.submit(
                self.engine.account_id, sandbox, command=command, id=os.urandom(8).hex(), background=True
            )
            async for data in self.engine.runs.follow(run.id, "stdout"):
                if b"listening" in data:
                    return
            raise AssertionError("it never listened")

        self.island.call(begun())

    def options(self, port: int | None = None, key: Path | None = None) -> list[str]:
        host, entrance = self.engine.ssh.address
        known = self.directory / f"known_{port or entrance}"
        known.write_text(f"[{host}]:{port or entrance} {self.island.call(self.engine.ssh.host_key())}\n")
        chosen = {
            "UserKnownHostsFile": known,
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "Port": port or entrance,
        }
        identity = ["-i", str(key or self.key)]
        return [
            "-F",
            "none",
            *identity,
            *(word for name, value in chosen.items() for word in ("-o", f"{name}={value}")),
        ]

    def command(self, user: str, *words: str, flags: tuple[str, ...] = (), **options: Any) -> list[str]:
        return ["ssh", *self.options(**options), *flags, f"{user}@127.0.0.1", *words]

    def ssh(
        self, user: str, *words: str, stdin: bytes = b"", flags: tuple[str, ...] = (), **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        command = self.command(user, *words, flags=flags, **options)
        return subprocess.run(command, input=stdin, capture_output=True, timeout=PATIENCE, check=False)

    def scp(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["scp", *self.options(), *words],
            capture_output=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            check=False,
        )


@pytest.fixture(scope="module")
def user(island: Island, tmp_path_factory: pytest.TempPathFactory) -> User:
    return User(island, tmp_path_factory.mktemp("ssh"))


@pytest.fixture(scope="module")
def box(user: User) -> str:
    return user.sandbox()


def denied(done: subprocess.CompletedProcess[bytes]) -> bool:
    return done.returncode == 255 and b"Permission denied (publickey)." in done.stderr


def test_a_command(user: User, box: str) -> None:
    done = user.ssh(box, "echo out; echo err >&2; exit 5")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 5)
    done = user.ssh(box, 'echo "$HOME $PWD"; command -v ls; echo again > /dev/stdout')
    assert done.stdout.startswith(b"/home/user /home/user\n/")
    assert done.stdout.endswith(b"/ls\nagain\n")
    assert user.ssh(box, "kill -TERM $$").returncode == 255
    assert user.ssh(box, stdin=b"echo typed; exit 4\n", flags=("-T",)).returncode == 4


def test_bytes_through_both_ends(user: User, box: str) -> None:
    data = os.urandom(1 << 20)
    done = user.ssh(box, "cat", stdin=data)
    assert (done.stdout == data, done.stderr, done.returncode) == (True, b"", 0)
    done = user.ssh(box, "sha256sum; head -c 20000000 /dev/zero", stdin=data)
    assert done.stdout.startswith(hashlib.sha256(data).hexdigest().encode())
    assert len(done.stdout) == 20_000_000 + len(done.stdout.partition(b"\n")[0]) + 1


def test_a_terminal_has_the_size_of_the_users(user: User, box: str) -> None:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    process = subprocess.Popen(
        user.command(box, "stty size; echo $TERM; tty", flags=("-t",)),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "TERM": "vt220"},
    )
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):
        while data := os.read(master, 4096):
            seen += data
    os.close(master)
    assert process.wait(PATIENCE) == 0
    assert seen.startswith(b"33 101\r\nvt220\r\n/dev/pts/")


def test_who_does_not_get_in(user: User, box: str) -> None:
    key = user.new_key("stranger")
    assert denied(user.ssh(box, "true", key=key))
    other = user.sandbox(key=key)
    assert denied(user.ssh(other, "true"))
    assert denied(user.ssh(box, "true", key=key))
    assert user.ssh(other, "true", key=key).returncode == 0
    assert denied(user.ssh("nobody", "true"))
    assert denied(user.ssh(box, "true", flags=("-o", "PubkeyAuthentication=no")))
    key.unlink()
    key.with_suffix(".pub").unlink()


def test_files_by_scp(user: User, box: str, tmp_path: Path) -> None:
    if user.ssh(box, "sftp-server", flags=("-s",)).returncode == 127:
        pytest.skip("the host image has no sftp-server; on Debian: apt-get install openssh-sftp-server")
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "data").write_bytes(os.urandom(3 << 20))
    (source / "run me").write_text("#!/bin/sh\necho ran\n")
    (source / "run me").chmod(0o755)
    done = user.scp("-r", str(source), f"{box}@127.0.0.1:there")
    assert (done.returncode, done.stderr) == (0, b"")
    assert user.ssh(box, "'there/run me'").stdout == b"ran\n"
    done = user.scp("-r", f"{box}@127.0.0.1:there", str(tmp_path / "back"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "back" / "deep" / "data").read_bytes() == (source / "deep" / "data").read_bytes()


def test_another_subsystem_is_refused(user: User, box: str) -> None:
    assert user.ssh(box, "netconf", flags=("-s",)).returncode == 255


@contextlib.contextmanager
def tunnel(user: User, sandbox: str, inside: int) -> Iterator[Path]:
    """`ssh -N -L`, from a socket that has a place among the files, where nobody else can come first."""
    path = user.directory / "tunnel"
    forward = ("-N", "-L", f"{path}:localhost:{inside}", "-o", "ExitOnForwardFailure=yes")
    process = subprocess.Popen(user.command(sandbox, flags=forward))
    try:
        yield path
    finally:
        process.terminate()
        process.wait(PATIENCE)


def connected(place: int | Path) -> socket.socket:
    """A connection to a port of this machine, or to a socket among the files once somebody listens there."""
    if isinstance(place, int):
        return socket.create_connection(("127.0.0.1", place), timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(place))
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            assert time.monotonic() < deadline, f"nobody listens at {place}"
            time.sleep(0.01)


def conversation(place: int | Path, data: bytes = b"") -> bytes:
    """What a server says, and what it says back to `data`, until it ends."""
    with connected(place) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        got = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 20):
                got += part
        sender.join()
    return got


def test_forwarding_and_a_servers_own_port(user: User) -> None:
    box = user.sandbox()
    data = os.urandom(1 << 20)
    port = user.publish(box, 2222, ssh=True)
    assert user.ssh("anybody", "echo the islands", port=port).stdout == b"the islands\n"
    user.start(box, ["python3", "-c", SERVER, "2222"])
    assert conversation(port, data) == b"mine\n" + data
    with tunnel(user, box, 2222) as local:
        assert conversation(local, data) == b"mine\n" + data


def test_restarts_and_kills(tmp_path: Path) -> None:
    with Island() as island:
        user = User(island, tmp_path)
        box = user.sandbox()
        fallback = user.publish(box, 22, ssh=True)
        own = user.publish(box, 2222, allowed=["127.0.0.0/8"])
        address, known = island.engine.ssh.address, island.call(island.engine.ssh.host_key())
        for end in (island.restart, island.kill):
            user.start(box, ["python3", "-c", SERVER, "2222"])
            assert conversation(own, b"x") == b"mine\nx"
            end()
            island.start()
            assert (island.engine.ssh.address, island.call(island.engine.ssh.host_key())) == (address, known)
            ports = island.call(island.engine.ports.of_sandbox(box))
            assert [(port.port, port.host_port, port.listening) for port in ports] == [
                (22, fallback, True),
                (2222, own, True),
            ]
            assert user.ssh(box, "echo by name").stdout == b"by name\n"
            assert user.ssh("x", "echo by port", port=fallback).stdout == b"by port\n"
        # The server was killed, its sandbox was not.
        assert conversation(own, b"x") == b"mine\nx"


def test_deletion_ends_it_all(user: User) -> None:
    box = user.sandbox()
    port = user.publish(box, 22, ssh=True)
    commands = [user.command(box, "echo on; exec sleep 1000"), user.command("x", "echo on; exec sleep 1000", port=port)]
    sessions = []
    for command in commands:
        session = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert session.stdout is not None
        assert session.stdout.readline() == b"on\n"
        sessions.append(session)
    user.island.call(user.engine.sandboxes.delete(user.engine.account_id, box))
    for session in sessions:
        with session:
            assert session.wait(PATIENCE) == 255
    assert denied(user.ssh(box, "true"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
