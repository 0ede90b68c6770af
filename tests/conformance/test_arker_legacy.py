"""The 0.2.0 profile below `/api/v1` (protocol section 3.8)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from skerry.island.island import Island
from skerry.networks.arker.legacy import ArkerLegacy

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw


@pytest.fixture
def vm(raw: Raw) -> str:
    """A VM as a 0.2.0 client forks it."""
    answer = raw.ok("POST", "/api/v1/vms/ubuntu/fork", {"is_public": False, "name": raw.unique()})
    raw.made.append(answer["vm_id"])
    return str(answer["vm_id"])


def run(raw: Raw, vm: str, command: str, session: Any = 0, **more: Any) -> dict[str, Any]:
    body = {"command": command, "session_id": session, **more}
    return dict(raw.ok("POST", f"/api/v1/vms/{vm}/run", body))


def test_a_run_tells_where_its_session_stands(raw: Raw, vm: str) -> None:
    answer = run(raw, vm, "cd /tmp; echo hi; exit 3")
    assert set(answer) == {
        "stdout",
        "stdout_encoding",
        "stderr",
        "stderr_encoding",
        "exit_code",
        "completed",
        "duration_ms",
        "session_id",
        "cwd",
    }
    assert (answer["stdout"], answer["exit_code"], answer["session_id"], answer["cwd"]) == ("hi\n", 3, 0, "/tmp")
    assert isinstance(answer["duration_ms"], int)


def test_named_sessions_are_made_on_first_use(raw: Raw, vm: str) -> None:
    for name in ("repl1", 7):
        assert run(raw, vm, "export A=1; cd /usr", name)["session_id"] == name
        answer = run(raw, vm, "echo $A", name)
        assert (answer["stdout"], answer["cwd"]) == ("1\n", "/usr")
    assert run(raw, vm, "echo [$A]", "repl2")["stdout"] == "[]\n"
    assert run(raw, vm, "echo [$A]")["stdout"] == "[]\n"
    assert len(raw.ok("GET", f"/v1/vms/{vm}/sessions")) == 4
    child = raw.ok("POST", f"/api/v1/vms/{vm}/fork", {"is_public": False})["vm_id"]
    raw.made.append(child)
    assert run(raw, child, "echo hi", "repl1")["stdout"] == "hi\n"


def test_a_name_used_by_many_at_once_is_one_session(raw: Raw, vm: str) -> None:
    before = len(raw.ok("GET", f"/v1/vms/{vm}/sessions"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: run(raw, vm, "N=$((N + 1))", "crowd"), range(8)))
    assert run(raw, vm, "echo $N", "crowd")["stdout"] == "8\n"
    assert len(raw.ok("GET", f"/v1/vms/{vm}/sessions")) == before + 1


def test_the_new_wire_knows_no_names_on_either_mount(raw: Raw) -> None:
    vm = raw.fork()
    for prefix in ("/v1", "/api/v1"):
        answer = raw.request("POST", f"{prefix}/vms/{vm}/run", {"command": "true", "session_id": "repl1"})
        assert (answer.status, answer.json["code"]) == (404, "not_found")
    answer = raw.ok("POST", f"/api/v1/vms/{vm}/run", {"command": "true"})
    assert len(answer) == 6


def test_forks_by_id_and_by_name(raw: Raw) -> None:
    answer = raw.ok("POST", "/api/v1/vms/fork", {"from": "ubuntu", "is_public": False, "name": "x"})
    raw.made.append(answer["vm_id"])
    assert set(answer) == {"vm_id", "ok"}
    for path, body in (
        ("/api/v1/vms/fork", {"from": "nothing", "is_public": False}),
        ("/api/v1/vms/nothing/fork", {"is_public": False}),
    ):
        failed = raw.request("POST", path, body)
        assert (failed.status, failed.json["ok"], failed.json["error"]["code"]) == (404, False, "not_found")
    for body in ({"is_public": True}, {"is_public": False, "region": "aws-us-west-2"}):
        assert raw.request("POST", "/api/v1/vms/ubuntu/fork", body).status == 422
    raw.fails(405, "method_not_allowed", "POST", "/v1/vms/fork", {"from": "ubuntu"})


def test_the_list(raw: Raw) -> None:
    word = raw.unique()
    made = [raw.fork(name=f"{word} {number}") for number in range(3)]
    page = raw.ok("GET", f"/api/v1/vms/list?q={word}&limit=2&offset=0")
    assert (page["ok"], page["total"], [item["vm_id"] for item in page["items"]]) == (True, 3, [made[2], made[1]])
    assert set(page["items"][0]) == {"vm_id", "name", "base_image", "region", "created_at"}
    assert (page["items"][0]["base_image"], page["items"][0]["region"]) == ("ubuntu", "local")
    rest = raw.ok("GET", f"/api/v1/vms/list?q={word}&limit=2&offset=2&sort=-created_at")
    assert [item["vm_id"] for item in rest["items"]] == [made[0]]
    assert raw.request("GET", "/api/v1/vms/list?limit=1000").json["error"]["code"] == "bad_request"


def test_the_old_client_of_this_package(island: Island) -> None:
    base = island.base_url("arker")
    with ArkerLegacy(api_key=island.key("arker"), base_url=base, directory_url=base) as arker:
        assert arker.list().total == 0
        vm = arker.vm("ubuntu").fork(name="old")
        try:
            answer = vm.run("cd /tmp; echo hi")
            assert (answer.stdout, answer.exit_code, answer.cwd) == (b"hi\n", 0, "/tmp")
            vm.sync.write_file("/home/user/a", b"abc")
            assert vm.sync.read_file("/home/user/a") == b"abc"
        finally:
            vm.delete()
