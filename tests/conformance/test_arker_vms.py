"""Goldens, forks, VMs (protocol sections 3.2, 3.3, 5.1, 5.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw

VM_KEYS = {
    "vm_id",
    "owner_id",
    "created_at",
    "state",
    "sessions",
    "name",
    "source_golden",
    "last_activity",
    "vcpu_count",
    "memory_mib",
    "disk_mib",
}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")
BURST = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}_skry")


def test_goldens(raw: Raw) -> None:
    goldens = raw.ok("GET", "/v1/goldens")["goldens"]
    names = {golden["name"] for golden in goldens}
    assert names >= {"ubuntu", "arkuntu"}
    for golden in goldens:
        assert set(golden) == {"vm_id", "name", "source_golden", "memory_mib", "vcpu_count", "disk_mib"}
    # Every one that is offered can be had.
    for name in sorted(names):
        vm = raw.fork(name.replace("/", "%2F"))
        assert raw.out(vm, "echo ok") == "ok\n"


def test_a_fork_answers_four_keys_and_the_vm_eleven(raw: Raw) -> None:
    answer = raw.ok("POST", "/v1/vms/ubuntu/fork", {"name": "x y"})
    raw.made.append(answer["vm_id"])
    assert set(answer) == {"vm_id", "owner_id", "created_at", "sessions"}
    assert re.fullmatch(r"vmh-[0-9a-z]{26}", answer["vm_id"])
    assert MOMENT.fullmatch(answer["created_at"])
    (session,) = answer["sessions"]
    assert set(session) == {"session_id", "state", "cwd"}
    assert (session["state"], session["cwd"]) == ("idle", "/home/user")
    vm = raw.ok("GET", f"/v1/vms/{answer['vm_id']}")
    assert set(vm) == VM_KEYS
    assert {key: vm[key] for key in answer} == answer
    assert (vm["name"], vm["source_golden"], vm["state"]) == ("x y", "ubuntu", "idle")
    assert raw.ok("GET", "/v1/vms")["vms"][0] == vm or vm in raw.ok("GET", "/v1/vms")["vms"]


def test_a_fork_without_a_body(raw: Raw) -> None:
    answer = raw.ok("POST", "/v1/vms/ubuntu/fork")
    raw.made.append(answer["vm_id"])
    assert raw.ok("GET", f"/v1/vms/{answer['vm_id']}")["name"] is None


def test_an_unknown_source_or_image(raw: Raw) -> None:
    raw.fails(404, "not_found", "POST", "/v1/vms/ubuntu/fork", {"image": ""})
    raw.fails(404, "not_found", "POST", "/v1/vms/no-such-golden/fork", {})
    raw.fails(404, "not_found", "POST", "/v1/vms/ubuntu/fork", {"image": "no/such:image"})


def test_burst_ids_come_from_arkuntu_and_stay_in_the_family(raw: Raw) -> None:
    for name in ("arkuntu", "ArkUntu"):
        vm = raw.fork(name)
        assert BURST.fullmatch(vm)
    child = raw.fork(vm)
    assert BURST.fullmatch(child)
    assert raw.out(child, "echo $HOME") == "/home/user\n"
    assert not BURST.fullmatch(raw.fork("ubuntu"))


def test_parent_and_child_go_their_own_ways(raw: Raw) -> None:
    parent = raw.fork()
    raw.out(parent, "echo before > file; mkdir d; echo x > d/y")
    child = raw.fork(parent)
    raw.out(parent, "echo parent > file; rm -r d")
    raw.out(child, "echo child >> file")
    assert raw.out(parent, "cat file; ls") == "parent\nfile\n"
    assert raw.out(child, "cat file d/y") == "before\nchild\nx\n"
    grandchild = raw.fork(child)
    assert raw.ok("DELETE", f"/v1/vms/{child}") == {"deleted": True}
    assert raw.ok("DELETE", f"/v1/vms/{parent}") == {"deleted": True}
    assert raw.out(grandchild, "cat file d/y") == "before\nchild\nx\n"
    assert raw.ok("GET", f"/v1/vms/{grandchild}")["source_golden"] == "ubuntu"


def test_a_child_takes_over_where_the_shell_stood(raw: Raw) -> None:
    parent = raw.fork()
    raw.out(parent, "mkdir -p work && cd work && export COLOUR=blue && shade=dark && greet() { echo hello $1; }")
    child = raw.fork(parent)
    assert raw.ok("GET", f"/v1/vms/{child}")["sessions"][0]["cwd"] == "/home/user/work"
    assert raw.out(child, "pwd; echo $COLOUR $shade; greet you") == "/home/user/work\nblue dark\nhello you\n"


def test_a_fork_during_a_run_leaves_the_run_alone(raw: Raw) -> None:
    parent = raw.fork()
    run = raw.run(
        parent, "echo started > .mark; mv .mark mark; while [ ! -e go ]; do sleep 0.05; done; cat go", background=True
    )
    raw.appears(parent, "mark")
    child = raw.fork(parent)
    assert raw.out(child, "cat mark; ls") == "started\nmark\n"
    session = raw.ok("POST", f"/v1/vms/{parent}/sessions", {})["session_id"]
    raw.out(parent, "echo now > .go; mv .go go", session_id=session)
    status = raw.ended(parent, run["run_id"])
    assert (status["exit_code"], status["stdout"]) == (0, "now\n")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"disk": False}, "disk"),
    ],
)
def test_what_cannot_be_honoured_is_said(raw: Raw, body: dict[str, object], word: str) -> None:
    assert word in raw.fails(422, "unsupported_operation", "POST", "/v1/vms/ubuntu/fork", body)


def test_sizes_are_kept_or_refused(raw: Raw) -> None:
    body = {"vcpu_count": 1, "memory_mib": 256, "disk_mib": 512, "max_memory_mib": 512}
    answer = raw.request("POST", "/v1/vms/ubuntu/fork", body)
    if answer.status == 422:
        assert "control groups" in answer.json["message"]
        return
    vm = answer.json["vm_id"]
    raw.made.append(vm)
    info = raw.ok("GET", f"/v1/vms/{vm}")
    assert (info["vcpu_count"], info["memory_mib"], info["disk_mib"]) == (1, 256, 512)
    assert raw.ok("POST", f"/v1/vms/{vm}/resize", {"memory_mib": 384}) == {"ok": True}
    assert raw.ok("GET", f"/v1/vms/{vm}")["memory_mib"] == 384
    assert "max_memory_mib" in raw.fails(400, "bad_request", "POST", f"/v1/vms/{vm}/resize", {"memory_mib": 513})
    child = raw.fork(vm)
    assert raw.ok("GET", f"/v1/vms/{child}")["memory_mib"] == 384
    ran = raw.run(vm, "python3 -c 'x = bytearray(1 << 30)'; echo survived")
    assert "survived" not in ran["stdout"] or ran["exit_code"] == 0
    raw.fails(400, "bad_request", "POST", "/v1/vms/ubuntu/fork", {"memory_mib": 1 << 40})
    raw.fails(400, "bad_request", "POST", "/v1/vms/ubuntu/fork", {"memory_mib": 600, "max_memory_mib": 500})
    raw.fails(400, "bad_request", "POST", "/v1/vms/ubuntu/fork", {"max_memory_mib": 1 << 40})


def test_more_disk_serves_what_lives(raw: Raw) -> None:
    vm = raw.fork(disk_mib=4)
    fill = "head -c 8000000 /dev/zero > /home/user/file; wc -c < /home/user/file"
    raw.run(vm, "sleep 600 & echo $! > /tmp/pid")
    assert raw.run(vm, "head -c 8000000 /dev/zero > /home/user/file")["exit_code"] != 0
    raw.ok("POST", f"/v1/vms/{vm}/resize", {"disk_mib": 64})
    # Without CAP_SYS_RESOURCE the island cannot raise the bound of what lives; it has it anew when that has ended.
    raw.out(vm, "kill $(cat /tmp/pid); while [ -e /proc/$(cat /tmp/pid) ]; do sleep 0.01; done")
    assert raw.out(vm, fill) == "8000000\n"


def test_activity_is_told_alike_everywhere(raw: Raw) -> None:
    vm = raw.fork()
    before = raw.ok("GET", f"/v1/vms/{vm}")["last_activity"]
    raw.out(vm, "sleep 0.01")
    after = raw.ok("GET", f"/v1/vms/{vm}")["last_activity"]
    assert after > before
    (listed,) = [info for info in raw.ok("GET", "/v1/vms")["vms"] if info["vm_id"] == vm]
    assert listed["last_activity"] == after


def test_a_blocked_vm_reaches_nothing(raw: Raw, island: object) -> None:
    probe = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://example.com\", timeout=5).status)'"
    for network in (False, "blocked", {"type": "blocked"}, {"type": "allow", "allow": ["nowhere.invalid"]}):
        vm = raw.fork(network=network)
        assert raw.run(vm, probe)["exit_code"] != 0
        child = raw.fork(vm)
        assert raw.run(child, probe)["exit_code"] != 0


def test_the_list_can_be_paged_and_searched(raw: Raw) -> None:
    word = raw.unique()
    made = [raw.fork(name=f"{word}-{number}") for number in range(3)]
    found = raw.ok("GET", f"/v1/vms?q={word}&sort=created_at")["vms"]
    assert [vm["vm_id"] for vm in found] == made
    page = raw.ok("GET", f"/v1/vms?q={word}&sort=-created_at&limit=1&offset=1")["vms"]
    assert [vm["vm_id"] for vm in page] == [made[1]]
    raw.fails(400, "bad_request", "GET", "/v1/vms?limit=0")
    assert {vm["vm_id"] for vm in raw.ok("GET", "/v1/vms")["vms"]} >= set(made)


def test_a_deleted_vm_is_gone_with_everything(raw: Raw) -> None:
    vm = raw.fork()
    run = raw.run(vm, "sleep 600", background=True)["run_id"]
    assert raw.ok("GET", f"/v1/vms/{vm}")["state"] == "running"
    assert raw.ok("DELETE", f"/v1/vms/{vm}") == {"deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", f"/runs/{run}"), ("GET", "/sessions")):
        raw.fails(404, "not_found", method, f"/v1/vms/{vm}{path}")
    assert vm not in {item["vm_id"] for item in raw.ok("GET", "/v1/vms")["vms"]}


def test_a_poor_account_gets_no_new_compute(raw: Raw, island: object) -> None:
    async def make() -> str:
        engine = island.engine  # type: ignore[attr-defined]
        account = await engine.accounts.create("poor")
        _, key = await engine.accounts.create_key(account.id, "arker")
        return str(key)

    key = island.call(make())  # type: ignore[attr-defined]
    raw.fails(402, "payment_required", "POST", "/v1/vms/ubuntu/fork", {}, key=key)
