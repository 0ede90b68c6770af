"""`skerry doctor` on helpers: what they lack, and what brings it."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.cli import doctor
from skerry.island.workers.vpn import uplinks

KINDS = ["vpn wg", "vpn openvpn", "vpn ss", "vpn v2ray"]


def test_relays_that_lack_their_programs_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplinks, "PATH", str(tmp_path))
    checks = {check.name: check for check in doctor._relays()}
    assert list(checks) == KINDS
    assert {check.state for check in checks.values()} == {"missing"}
    assert "apt-get install" in checks["vpn ss"].detail
    assert "shadowsocks-libev" in checks["vpn ss"].detail


def test_a_directory_is_writable_where_something_can_be_made(tmp_path: Path) -> None:
    found = {check.name: check for check in doctor._machine(tmp_path / "data")}
    assert found["data directory"].state == "ok"
    assert not list(tmp_path.iterdir())
    found = {check.name: check for check in doctor._machine(Path("/proc/data"))}
    assert found["data directory"].state == "failed"


def test_relays_are_either_there_or_explained() -> None:
    checks = list(doctor._relays())
    assert [check.name for check in checks] == KINDS
    assert all(check.detail for check in checks)
