"""End to end as a stranger would: a program that signs by hand creates, follows, reaches, cancels and pays for jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from skerry.island.island import Island

SCRIPT = Path(__file__).with_name("dispersed_by_hand.py")


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    """One that may be asked as often as it takes."""
    with Island(requests_per_minute=None) as island:
        yield island


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A fresh key pair, made by OpenSSH itself."""
    if shutil.which("ssh") is None:
        pytest.skip("OpenSSH's client is not installed")
    path = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "by hand", "-f", path], check=True)
    return path


def test_a_strangers_program(island: Island, key_file: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DISPERSED_PUBLIC_KEY": island.key("dispersed"),
        "DISPERSED_SECRET_KEY": island.key("dispersed_secret"),
        "DISPERSED_API_BASE_URL": island.base_url("dispersed"),
    }
    done = subprocess.run(
        [sys.executable, "-I", SCRIPT, key_file], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout, parse_float=Decimal)

    batch = seen["batch"]
    assert batch["created"] == "PENDING"
    assert (batch["ended"], batch["exit_code"]) == ("COMPLETED", 0), batch
    assert batch["title"] == "by hand: größer als 6 × 7 🪨"
    assert batch["logs"] == "out\nerr\ntoken=given\n"
    assert not batch["listed_logs"]
    assert batch["total"] == 1
    assert batch["duration_ms"] >= 300
    assert batch["authorizations"] == [["CLOSED", True]]
    cost = batch["cost"]
    expected = (batch["hourly_rate_usd"] * cost["billable_ms"] / 3_600_000).quantize(Decimal("0.000001"))
    assert cost["is_final"]
    assert cost["total_cost_usd"] == cost["captured_usd"]
    assert abs(cost["total_cost_usd"] - expected) <= Decimal("0.000001")
    assert batch["transactions"] == ([["CAPTURE", cost["captured_usd"]]] if cost["captured_usd"] else [])

    served = seen["persistent"]
    assert (served["page"], served["ssh"]) == ("served\n", "served\nkey\n")
    assert served["cancelling"] in ("CANCELLING", "CANCELLED")
    assert (served["ended"], served["reason"], served["run"]) == ("CANCELLED", "seen enough", "CANCELLED")
    assert served["cost"]["is_final"]
    assert served["again"] == 200

    spent = cost["total_cost_usd"] + served["cost"]["total_cost_usd"]
    assert seen["before"]["balance_usd"] - seen["after"]["balance_usd"] == spent
    assert seen["after"]["authorized_usd"] == 0
    assert island.call(island.engine.ledger.audit()) == []
