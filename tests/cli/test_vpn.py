"""`skerry vpn`, over a server that stands where a network would, and over an island whose machine can relay."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Skerry
from tests.cli.hosted import Hosted
from tests.cli.inside import Run, runner

ID = "c157efc5-cfc1-49b8-9e0e-837c9238405a"
CONFIG = "[Interface]\nPrivateKey = c2VjcmV0\n\n[Peer]\nEndpoint = 203.0.113.7:51820\n"
pytestmark = pytest.mark.usefixtures("quick")


def relay(node: int, price: float, country: str = "Nowhere", iso: str = "ZZ") -> dict[str, Any]:
    return {"node_id": node, "country": country, "country_iso": iso, "traffic_price_ether": price}


def session(**members: Any) -> dict[str, Any]:
    return {"uuid": ID, "service": "vpn", "kind": "wg", "is_ready": True, "node_id": 2, "ip": "203.0.113.7", **members}


@pytest.fixture
def network(hosted: Hosted) -> Hosted:
    """Three relays, and a VPN that is ready at once."""
    hosted.answers["GET /services/vpn"] = [relay(1, 0.5), relay(2, 0.05), relay(3, 0.9, "Iceland", "IS")]
    hosted.answers["POST /services/vpn"] = (201, {"uuid": ID})
    hosted.answers[f"GET /services/{ID}/info"] = session(config=CONFIG)
    hosted.answers["GET /sessions"] = [session(config=CONFIG, tx=5, rx="7")]
    hosted.answers[f"POST /services/{ID}/stop"] = {}
    return hosted


def stopped(network: Hosted) -> bool:
    return any(path == f"/services/{ID}/stop" for _, path, _ in network.asked)


def test_the_cheapest_relay_is_taken_and_its_configuration_printed(away: Run, network: Hosted) -> None:
    told = away("vpn", "up")
    assert (told.status, told.text) == (0, CONFIG)
    assert ID in told.stderr
    assert "203.0.113.7" in told.stderr
    assert CONFIG not in told.stderr
    assert ("POST", "/services/vpn", {"node_id": 2, "subkind": "wg"}) in network.asked
    assert not stopped(network)


def test_a_relay_by_country_node_and_kind(away: Run, network: Hosted) -> None:
    for words, sent in (
        (["--country", "is", "--subkind", "openvpn"], {"node_id": 3, "subkind": "openvpn"}),
        (["--country", "Now"], {"node_id": 2, "subkind": "wg"}),
        (["--node", "1", "--subkind", "v2ray"], {"node_id": 1, "subkind": "v2ray"}),
        (
            ["--node", "1", "--subkind", "v2ray", "--protocol", "vmess"],
            {"node_id": 1, "subkind": "v2ray", "protocol": "vmess"},
        ),
    ):
        assert away("vpn", "up", *words).status == 0
        assert ("POST", "/services/vpn", sent) in network.asked
    assert away("vpn", "up", "--country", "Atlantis").status == 6


def test_a_file_is_for_its_owner_alone(away: Run, network: Hosted, tmp_path: Path) -> None:
    path = tmp_path / "wg0.conf"
    path.write_text("old")
    path.chmod(0o666)
    before = os.umask(0)
    try:
        told = away("vpn", "up", "--file", str(path))
    finally:
        os.umask(before)
    assert told.text == f"{path}\n"
    assert path.read_text() == CONFIG
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir() if "wg0" in one.name] == ["wg0.conf"]
    path.unlink()
    assert away("vpn", "config", ID[:4], "--file", str(path), "-o", "json").json["file"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert away("vpn", "config", ID, "--file", str(tmp_path / "none" / "x")).status != 0


def test_a_vpn_that_is_not_ready_in_time_is_stopped(away: Run, network: Hosted) -> None:
    network.answers[f"GET /services/{ID}/info"] = session(is_ready=False, progress="configuring service")
    told = away("vpn", "up", "--timeout", "100ms")
    assert told.status == 7
    assert stopped(network)


def test_a_vpn_whose_configuration_cannot_be_written_is_stopped(away: Run, network: Hosted, tmp_path: Path) -> None:
    assert away("vpn", "up", "--file", str(tmp_path / "none" / "wg0.conf")).status == 2
    assert not network.asked
    assert away("vpn", "up", "--file", str(tmp_path / ("x" * 255))).status == 1
    assert stopped(network)


def test_a_vpn_that_ends_before_it_is_ready_says_why(away: Run, network: Hosted) -> None:
    gone = (404, {"message": "Service not found"})
    network.answers[f"GET /services/{ID}/info"] = network.answers[f"POST /services/{ID}/stop"] = gone
    ended = session(is_ready=False, termination_reason=4, finished_at=1776161866304)
    network.answers["GET /sessions?recent=true"] = [ended]
    told = away("vpn", "up")
    assert told.status == 9
    assert "before it was ready: start failed" in told.stderr


def test_vpns_are_listed_and_stopped(away: Run, network: Hosted) -> None:
    assert away("vpn", "ls").text.splitlines()[1].split()[:7] == [ID, "2", "wg", "ready", "203.0.113.7", "5", "7"]
    listed = away("vpn", "ls", "-o", "json")
    assert [one["uuid"] for one in listed.json["vpns"]] == [ID]
    assert "PrivateKey" not in listed.text
    assert away("vpn", "config", ID).text == CONFIG
    assert away("vpn", "ls", "--relays").text.splitlines()[1].split()[0] == "2"
    assert [one["node_id"] for one in away("vpn", "ls", "--relays", "-o", "json").json["relays"]] == [2, 1, 3]
    assert away("vpn", "down", ID[:6], "--score", "4").text == f"{ID}\n"
    assert network.asked[-1] == ("POST", f"/services/{ID}/stop", {"score": 4})
    network.answers["GET /sessions"] = []
    assert "skerry vpn up" in away("vpn", "ls").stderr
    assert away("vpn", "config", ID).status == 5


@pytest.mark.parametrize(
    "words",
    [
        ["up", "--subkind", "pptp"],
        ["up", "--protocol", "trojan"],
        ["up", "--node", "1", "--country", "is"],
        ["up", "--timeout", "0"],
        ["down"],
        ["config"],
    ],
)
def test_usage(away: Run, network: Hosted, words: list[str]) -> None:
    assert away("vpn", *words).status == 2
    assert network.asked == []


@pytest.fixture
def run(island: Skerry, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[Run]:
    """The command line over the module's island; no VPN is left."""
    it = runner(island.data_dir, monkeypatch, capsysbinary)
    yield it
    left = [one["uuid"] for one in it("vpn", "ls", "-o", "json").json["vpns"]]
    assert not left or it("vpn", "down", *left).status == 0


def test_a_vpn_of_the_island(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wg0.conf"
    told = run("vpn", "up", "--file", str(path))
    if not run("vpn", "ls", "--relays", "-o", "json").json["relays"]:
        assert (told.status, path.exists()) == (6, False)
        pytest.skip("this machine cannot relay; `skerry doctor` says what it lacks")
    if told.status == 8 and "has no wg" in told.stderr:
        pytest.skip("this machine has no WireGuard")
    assert told.status == 0, told.stderr
    assert path.read_text().startswith("[Interface]\nPrivateKey = ")
    (one,) = run("vpn", "ls", "-o", "json").json["vpns"]
    assert run("vpn", "config", one["uuid"][:8]).text == path.read_text()
    assert run("vpn", "down", one["uuid"]).text == f"{one['uuid']}\n"
    assert run("vpn", "ls", "-o", "json").json["vpns"] == []
