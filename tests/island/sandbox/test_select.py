"""What a machine is told about itself, and the driver it gets."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.island.sandbox.handles.live import LiveAgent
from skerry.island.sandbox.namespace import trial
from skerry.island.sandbox.probe import findings
from skerry.island.sandbox.select import choose_driver
from skerry.island.settings import Settings
from tests.island.sandbox.sandbox_lab import HostImage, Lab, alive

pytestmark = pytest.mark.anyio


async def choose(driver: str, scratch: Path) -> str:
    chosen = choose_driver(
        Settings(data_dir=scratch, driver=driver), scratch / "state", HostImage(scratch / "image"), None
    )
    await chosen.start()
    await chosen.stop()
    return chosen.name


async def test_a_driver_that_was_asked_for(scratch: Path) -> None:
    assert await choose("namespace", scratch) == "namespace"
    assert await choose("process", scratch) == "process"
    with pytest.raises(ConfigurationError):
        await choose("magic", scratch)


async def test_automatic_choice(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await choose("auto", scratch) == "namespace"
    state = scratch / "state"
    assert not (state / "trial").exists()
    monkeypatch.setattr("skerry.island.sandbox.select.namespaces_fail", lambda directory: "clone: not permitted")
    assert await choose("auto", scratch) == "process"


async def test_a_trial_that_was_cut_off_is_cleaned_up(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Lab(scratch, state=scratch / "trial" / "state")
    await left.driver.start()
    await left.box("trial")
    agent = left.pid("trial")
    await left.driver.stop(kill=False)
    monkeypatch.setattr(trial, "_known", {})
    assert trial.namespaces_fail(scratch) is None
    assert not alive(agent)
    assert not (scratch / "trial").exists()


@pytest.mark.parametrize("known", ["while it lives", "once it is gone"])
def test_a_trial_that_fails_says_where(scratch: Path, monkeypatch: pytest.MonkeyPatch, known: str) -> None:
    own = LiveAgent.own

    def late(live: LiveAgent, pid: int) -> None:
        while alive(pid):
            time.sleep(0.001)
        own(live, pid)

    if known == "once it is gone":
        monkeypatch.setattr(LiveAgent, "own", late)
    monkeypatch.setattr(trial, "_known", {})
    monkeypatch.setattr(trial, "_PROGRAMS", ((Path("/no/such/tree"), "/usr"),))
    failure = trial.namespaces_fail(scratch)
    assert failure is not None
    assert "/no/such/tree" in failure


def test_findings_are_complete_and_come_with_remedies(scratch: Path) -> None:
    found = {finding.name: finding for finding in findings(scratch / "state")}
    assert found["namespaces"].ok
    assert {"kernel", "user-namespaces", "apparmor", "seccomp", "landlock", "cgroups", "reflink", "kvm"} <= set(found)
    for finding in found.values():
        assert finding.detail
        assert bool(finding.remedy) != finding.ok
