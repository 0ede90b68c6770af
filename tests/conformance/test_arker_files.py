"""Files through sync, on real sandboxes (protocol sections 3.5 and 5.5)."""

from __future__ import annotations

import base64
import hashlib
import http.client
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from skerry.island.island import Island

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def vm(island: Island) -> str:
    """One VM for the module."""

    async def make() -> str:
        engine = island.engine
        (account, *_) = await engine.accounts.list()
        record = await engine.sandboxes.create(account.id, id="vmh-files", network="arker", image="host")
        return str(record.id)

    return str(island.call(make()))


def entry(path: str, data: bytes, start: int = 0, end: int | None = None, **more: Any) -> dict[str, Any]:
    """A chunk."""
    last = len(data) if end is None else end
    return {
        "path": path,
        "size": len(data),
        "upload_id": secrets.token_hex(13),
        "content": base64.b64encode(data[start:last]).decode(),
        "start": start,
        "end": last,
        **more,
    }


def write(raw: Raw, vm: str, *entries: dict[str, Any]) -> list[dict[str, Any]]:
    answer = raw.sync(vm, op="write", writes=list(entries))
    assert set(answer) == {"ok", "op", "results"}
    return list(answer["results"])


def read(raw: Raw, vm: str, path: str) -> bytes:
    answer = raw.sync(vm, op="read", path=path)
    if "presigned_url" in answer:
        assert set(answer) == {"ok", "op", "path", "size", "presigned_url", "expires_in", "method"}
        got = raw.request("GET", answer["presigned_url"], key=None)
        assert (got.status, len(got.body)) == (200, answer["size"])
        return got.body
    assert set(answer) == {"ok", "op", "path", "size", "content", "encoding"}
    data = base64.b64decode(answer["content"]) if answer["encoding"] == "base64" else answer["content"].encode()
    assert len(data) == answer["size"]
    return data


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"", "utf-8"),
        (b"text\n", "utf-8"),
        ("grüße 🪨".encode(), "utf-8"),
        (b"\x00", "base64"),
        (b"\xff\xfe", "base64"),
    ],
)
def test_what_was_written_is_read(raw: Raw, vm: str, data: bytes, encoding: str) -> None:
    path = f"/home/user/{secrets.token_hex(4)}/deep er/ü.bin"
    (result,) = write(raw, vm, entry(path, data))
    assert (result["complete"], result["written"], result["received_bytes"]) == (True, True, len(data))
    assert result["ranges"] == ([{"start": 0, "end": len(data)}] if data else [])
    assert read(raw, vm, path) == data
    assert raw.sync(vm, op="read", path=path)["encoding"] == encoding
    assert raw.out(vm, f"sha256sum < '{path}'").split()[0] == hashlib.sha256(data).hexdigest()


def test_what_the_shell_wrote_is_read(raw: Raw, vm: str) -> None:
    raw.out(vm, "printf 'from the shell' > shell.txt; head -c 100 /dev/zero > zeros")
    assert read(raw, vm, "/home/user/shell.txt") == b"from the shell"
    assert read(raw, vm, "/home/user/zeros") == bytes(100)


def test_a_file_replaces_the_old_one_whole(raw: Raw, vm: str) -> None:
    path = "/home/user/again"
    write(raw, vm, entry(path, b"a long first version"))
    write(raw, vm, entry(path, b"short"))
    assert read(raw, vm, path) == b"short"


def test_readers_see_one_version_or_the_other(raw: Raw, vm: str) -> None:
    path = "/home/user/swap"
    versions = [bytes([letter]) * 200_000 for letter in b"ab"]
    write(raw, vm, entry(path, versions[0]))
    with ThreadPoolExecutor(2) as pool:
        writer = pool.submit(lambda: [write(raw, vm, entry(path, versions[n % 2])) for n in range(20)])
        while not writer.done():
            assert read(raw, vm, path) in versions
        writer.result()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "/etc/passwd",
        "/home/user",
        "/home/user/",
        "/home/user/file/",
        "/home/user/file/.",
        "/home/user/../root/x",
        "/home/user/a/../../b",
        "/home/other/x",
        "/home/user/" + "n" * 300,
        "/home/user/" + "d/" * 2100 + "f",
    ],
)
def test_paths_outside_home_are_refused(raw: Raw, vm: str, path: str) -> None:
    raw.fails(400, "bad_request", "POST", f"/v1/vms/{vm}/sync", {"op": "read", "path": path})
    for bad in (entry(path, b"x"), {"path": path, "size": 1, "presigned": True}):
        (result,) = write(raw, vm, bad)
        assert result["error"]["code"] == "bad_request"
        assert not result["written"]


def test_a_file_that_is_no_text_takes_no_more_room_than_base64(raw: Raw, vm: str) -> None:
    raw.out(vm, "head -c 8388607 /dev/zero > zeroes")
    answer = raw.request("POST", f"/v1/vms/{vm}/sync", {"op": "read", "path": "/home/user/zeroes"})
    assert answer.json["encoding"] == "base64"
    assert len(answer.body) < 12 << 20


def test_no_half_written_file_reaches_a_child(raw: Raw) -> None:
    vm = raw.fork()
    data = bytes(3 << 20)
    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(write, raw, vm, entry("/home/user/file", data)) for _ in range(12)]
        children = [pool.submit(raw.fork, vm) for _ in range(12)]
        assert all(result["written"] for done in writes for result in done.result())
        for child in (vm, *(done.result() for done in children)):
            found = raw.out(child, "find /home/user -name '.skerry*' -o -name file -printf '%s\\n'")
            assert found in ("", f"{len(data)}\n")


def test_links_do_not_lead_out(raw: Raw, vm: str) -> None:
    raw.out(vm, "ln -sfn /etc out; ln -sf /etc/hostname out.txt; echo x > target; ln -sf target in.txt; ln -sfn . self")
    for path in ("/home/user/out/hostname", "/home/user/out.txt", "/home/user/out/new"):
        answer = raw.request("POST", f"/v1/vms/{vm}/sync", {"op": "read", "path": path})
        assert answer.status in (400, 404), path
    (result,) = write(raw, vm, entry("/home/user/out/planted", b"x"))
    assert result["error"] is not None
    # A link that is itself the target is replaced or refused, never written through.
    write(raw, vm, entry("/home/user/out.txt", b"x"))
    assert raw.run(vm, "ls /etc/planted")["exit_code"] != 0
    assert raw.out(vm, "cat /etc/hostname").strip() != "x"


def test_directories_and_devices_are_no_files(raw: Raw, vm: str) -> None:
    raw.out(vm, "mkdir -p dir; mkfifo -m 666 pipe 2>/dev/null || true")
    message = raw.fails(400, "bad_request", "POST", f"/v1/vms/{vm}/sync", {"op": "read", "path": "/home/user/dir"})
    assert "directory" in message
    assert write(raw, vm, entry("/home/user/dir", b"x"))[0]["error"]["code"] == "bad_request"
    if raw.run(vm, "test -p pipe")["exit_code"] == 0:
        raw.fails(400, "bad_request", "POST", f"/v1/vms/{vm}/sync", {"op": "read", "path": "/home/user/pipe"})
    raw.out(vm, "echo x > plain")
    assert write(raw, vm, entry("/home/user/plain/below", b"x"))[0]["error"] is not None


def test_a_missing_file(raw: Raw, vm: str) -> None:
    path = "/home/user/no such"
    message = raw.fails(404, "not_found", "POST", f"/v1/vms/{vm}/sync", {"op": "read", "path": path})
    assert message == f"file not found: {path}"


def test_several_entries_answer_in_order(raw: Raw, vm: str) -> None:
    presign = {"path": "/home/user/e3", "size": 1, "presigned": True}
    good, bad, last = write(raw, vm, entry("/home/user/e1", b"1"), entry("/tmp/e2", b"2"), presign)
    assert (good["written"], bad["error"]["code"], last["method"]) == (True, "bad_request", "PUT")
    assert write(raw, vm) == []


def test_four_mebibytes_inline(raw: Raw, vm: str) -> None:
    data = secrets.token_bytes(4 * MEBIBYTE)
    assert write(raw, vm, entry("/home/user/four", data))[0]["written"]
    assert read(raw, vm, "/home/user/four") == data


def test_eight_mebibytes_in_chunks_and_by_url(raw: Raw, vm: str) -> None:
    data = secrets.token_bytes(8 * MEBIBYTE)
    upload = secrets.token_hex(4)
    for start in (4 * MEBIBYTE, 0):
        (result,) = write(raw, vm, entry("/home/user/eight", data, start, start + 4 * MEBIBYTE, upload_id=upload))
    assert result["written"]
    assert raw.sync(vm, op="read", path="/home/user/eight")["method"] == "GET"
    assert read(raw, vm, "/home/user/eight") == data


def test_a_hundred_megabytes_through_a_url(raw: Raw, vm: str) -> None:
    size = 100_000_000
    path = "/home/user/huge"
    (begun,) = write(raw, vm, {"path": path, "size": size, "presigned": True})
    assert set(begun) == {
        "path",
        "size",
        "presigned_url",
        "upload_id",
        "expires_in",
        "method",
        "complete",
        "written",
        "error",
    }
    url = urlsplit(begun["presigned_url"])
    block = secrets.token_bytes(1_000_000)
    digest = hashlib.sha256()
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=60)
    connection.putrequest("PUT", url.path)
    connection.putheader("content-length", str(size))
    connection.endheaders()
    for _ in range(100):
        digest.update(block)
        connection.send(block)
    assert connection.getresponse().status == 200
    connection.close()
    commit = {"path": path, "size": size, "upload_id": begun["upload_id"], "sha256": digest.hexdigest()}
    assert write(raw, vm, commit)[0] == {"path": path, "size": size, "complete": True, "written": True, "error": None}
    assert raw.out(vm, f"sha256sum < {path}").split()[0] == digest.hexdigest()
    raw.out(vm, f"rm {path}")


def test_a_url_grants_one_thing_to_anybody_for_a_while(raw: Raw, vm: str, island: Island) -> None:
    (begun,) = write(raw, vm, {"path": "/home/user/g", "size": 3, "presigned": True})
    put = begun["presigned_url"]
    assert put.startswith(f"{island.url}/arker/_store/")
    for method in ("GET", "POST", "DELETE", "HEAD"):
        assert raw.request(method, put, key=None).status in (403, 405)
    for data in (b"ab", b"abcd"):
        assert raw.request("PUT", put, raw=data, key=None).json["code"] == "bad_request"
    forged = put[:-2] + ("AA" if put[-2:] != "AA" else "BB")
    assert raw.request("PUT", forged, raw=b"abc", key=None).status == 403
    assert raw.request("PUT", put, raw=b"abc", key="ark_live_wrong").status == 200
    commit = {"path": "/home/user/g", "size": 3, "upload_id": begun["upload_id"]}
    assert write(raw, vm, commit)[0]["written"]
    assert raw.request("PUT", put, raw=b"abc", key=None).status == 409
    raw.out(vm, "head -c 9000000 /dev/zero > big")
    get = raw.sync(vm, op="read", path="/home/user/big")["presigned_url"]
    assert raw.request("PUT", get, raw=b"abc", key=None).status == 403
    answer = raw.request("GET", get, key=None)
    assert (answer.status, answer.headers["content-length"], len(answer.body)) == (200, "9000000", 9_000_000)
    raw.out(vm, "rm big")
    assert raw.request("GET", get, key=None).status == 404


def test_urls_follow_the_host_they_were_asked_by(raw: Raw, vm: str, island: Island) -> None:
    body = {"op": "write", "writes": [{"path": "/home/user/h", "size": 0, "presigned": True}]}
    port = urlsplit(island.url).port
    answer = raw.ok("POST", f"{island.url}/v1/vms/{vm}/sync", body, headers={"host": f"arker.localhost:{port}"})
    assert answer["results"][0]["presigned_url"].startswith(f"http://arker.localhost:{port}/_store/")
    hostile = raw.ok("POST", f"/v1/vms/{vm}/sync", body, headers={"host": "evil/x?y"})
    assert hostile["results"][0]["presigned_url"].startswith(island.url)


def test_a_secret_file_is_closed_to_others(raw: Raw, vm: str) -> None:
    write(raw, vm, entry("/home/user/secret", b"x", is_secret=True), entry("/home/user/open", b"x"))
    assert raw.out(vm, "stat -c %a secret open") == "600\n644\n"


def test_children_have_the_files_too(raw: Raw, vm: str) -> None:
    write(raw, vm, entry("/home/user/for-children", b"here"))
    child = raw.fork(vm)
    assert read(raw, child, "/home/user/for-children") == b"here"
    write(raw, child, entry("/home/user/for-children", b"there"))
    assert read(raw, vm, "/home/user/for-children") == b"here"
