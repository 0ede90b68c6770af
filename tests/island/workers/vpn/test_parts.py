"""The small parts: what programs and the kernel say, endpoints, means, and a program that is minded."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import ConfigurationError
from skerry.island.clock import SystemClock
from skerry.island.workers.vpn import RelayError, Relays, Traffic, endpoints, living, means, rules, subkinds, uplinks
from skerry.island.workers.vpn.gauges import listens, parse_interface, parse_load, parse_uapi
from skerry.island.workers.vpn.records import Records

DEV = """Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0
   up0: 4711000     100    0    0    0     0          0         0   815000      90    0    0    0     0       0
"""
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:20C4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:20C4 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
"""


def test_what_wireguard_says() -> None:
    said = "private_key=aa\nlisten_port=51820\npublic_key=bb\nrx_bytes=148\ntx_bytes=92\nerrno=0\n\n"
    assert {"rx_bytes": "148", "tx_bytes": "92", "errno": "0"}.items() <= parse_uapi(said).items()
    assert parse_uapi("") == {}


def test_what_openvpn_says() -> None:
    assert parse_load("SUCCESS: nclients=1,bytesin=4711,bytesout=815") == (4711, 815)
    assert parse_load("SUCCESS: real-time state notification set to ON") is None


def test_what_the_kernel_says_of_an_interface() -> None:
    # What leaves came from the user, and what arrives goes to the user.
    assert parse_interface(DEV, "up0") == (815000, 4711000)
    assert parse_interface(DEV, "up") is None


def test_what_the_kernel_says_of_a_port() -> None:
    assert listens(TCP, 8388, "0A")
    assert not listens(TCP, 8080, "0A")
    assert not listens(TCP, 443, "0A")


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_counts_are_read_back_as_written(tmp_path_factory: pytest.TempPathFactory, received: int, sent: int) -> None:
    records = Records(tmp_path_factory.getbasetemp() / "counts")
    records.home("x").mkdir(exist_ok=True)
    (records.home("x") / "traffic").write_bytes(received.to_bytes(8, "little") + sent.to_bytes(8, "little"))
    assert records.traffic("x") == Traffic(received, sent)


def test_a_relay_names_its_things_after_its_directory_and_id() -> None:
    marks = {uplinks.tag("/a", "x"), uplinks.tag("/a", "y"), uplinks.tag("/b", "x")}
    assert len(marks) == 3
    assert all(len(uplinks.link_name(mark)) < 16 for mark in marks)


def test_filters_name_what_is_closed_before_what_is_open() -> None:
    text = rules.inside(uplink="up0", port=1194, tunnel=("tun0", "10.77.0.0/24"), closed=["10.0.0.0/8"], allowed=[])
    leaving = text.partition("chain leaving {")[2].partition("}")[0].split("\n")
    assert [line.strip() for line in leaving if line.strip()][-2:] == [
        "ip daddr @closed reject with icmpx type admin-prohibited",
        "accept",
    ]
    assert "elements = { 10.0.0.0/8 }" in text
    assert text.count("policy drop") == 3


@pytest.mark.parametrize("host", ["example.com", "::1", "", "1.2.3"])
def test_endpoints_need_an_address(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError):
        Relays(tmp_path, host, None, SystemClock())


def test_blocks_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="egress_private"):
        Relays(tmp_path, "127.0.0.1", None, SystemClock(), egress_private=["home"])


def test_an_endpoint_has_one_number_for_both_transports() -> None:
    bound = endpoints.take("127.0.0.1", ("tcp", "udp"), None)
    try:
        assert bound["tcp"].getsockname() == bound["udp"].getsockname()
        number = bound["tcp"].getsockname()[1]
        with pytest.raises(RelayError) as caught:
            endpoints.take("127.0.0.1", ("udp",), range(number, number + 1))
        assert caught.value.code == "unavailable"
    finally:
        for one in bound.values():
            one.close()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(RelayError, match="no address of this machine"):
        endpoints.take("192.0.2.77", ("tcp",), None)


def test_what_to_install_where_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplinks, "PATH", str(tmp_path))
    found = subkinds("slirp")
    assert set(found) == {"wg", "openvpn", "ss", "v2ray"}
    for kind, package in (
        ("wg", "wireguard-go"),
        ("openvpn", "openvpn"),
        ("ss", "shadowsocks-libev"),
        ("v2ray", "v2ray"),
    ):
        reason = found[kind]
        assert reason is not None
        assert reason.startswith("not installed: apt-get install ")
        assert {package, "iproute2", "nftables", "slirp4netns"} <= set(reason.partition(";")[0].split())


def test_only_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in means.PACKAGES:
        if name != "v2ray":
            (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr(uplinks, "PATH", str(tmp_path))
    missing = [kind for kind, reason in subkinds("slirp").items() if reason and "apt-get" in reason]
    assert missing == ["v2ray"]


@pytest.mark.anyio
async def test_a_kind_that_cannot_run_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplinks, "PATH", str(tmp_path))
    relays = Relays(tmp_path / "relays", "127.0.0.1", None, SystemClock())
    with pytest.raises(RelayError, match=r"apt-get install .*openvpn") as caught:
        await relays.start("r1", subkind="openvpn", label="octa-1")
    assert caught.value.code == "unavailable"
    assert await relays.stop("r1") == Traffic()
    assert [path.name for path in (tmp_path / "relays").iterdir()] == ["ended"]


def test_importing_the_keeper_loads_nothing_heavy() -> None:
    code = """
import sys, types
means = ["sandbox", "sandbox.linux", "sandbox.namespace", "workers", "workers.vpn"]
for name in ("skerry", "skerry.island", *("skerry.island." + name for name in means)):
    package = types.ModuleType(name)
    package.__path__ = [sys.argv[1] + "/" + name.replace(".", "/")]
    sys.modules[name] = package
import skerry.island.workers.vpn.build
print({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"__main__"})
"""
    source = str(Path(means.__file__).parents[4])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, source], capture_output=True, text=True, check=True, timeout=120
    )
    assert "'skerry'" in done.stdout
    assert done.stdout.count("'") == 2


MINDER = """
import sys, time
from skerry.island.workers.vpn import program, uplinks
from skerry.island.workers.vpn.loop import Loop

program._FIRST_PAUSE = 0.001
it = program.Program(sys.argv[1:], {"PATH": uplinks.PATH}, Loop())
it.start()
while not it.given_up:
    if it.ended() and not it.given_up and it.may_start(time.monotonic()):
        it.start()
print(it.restarts, it.cause())
"""


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (("/bin/sh", "-c", "echo why >&2; exit 3"), "ended with status 3: why"),
        (("/bin/sh", "-c", "kill -9 $$"), "was killed by signal 9"),
        (("/nonexistent/program",), "No such file or directory"),
    ],
)
def test_a_program_that_only_ends(argv: tuple[str, ...], cause: str) -> None:
    # It collects every child, as process 1 does; so it gets a process where there are no others.
    done = subprocess.run([sys.executable, "-c", MINDER, *argv], capture_output=True, text=True, check=True, timeout=99)
    assert done.stdout.startswith("5 ")
    assert cause in done.stdout


def test_the_exit_address_is_one_of_this_machine() -> None:
    address = endpoints.exit_address()
    if address is None:
        pytest.skip("this machine has no route to anywhere")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))


def test_a_relay_that_is_removed_meanwhile_is_at_rest(tmp_path: Path) -> None:
    records = Records(tmp_path)
    home = records.home("gone")
    home.mkdir(parents=True)

    class Quicker(Records):
        def acquire(self, id: str) -> int | None:
            self.remove(id)
            return super().acquire(id)

    living.rest(Quicker(tmp_path), "gone", veth=False)
    assert not home.exists()
    living.rest(records, "gone", veth=False)
