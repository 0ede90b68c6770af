"""The host image shows the machine's programs and none of its secrets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from skerry.island.images import host
from skerry.island.images.store import ImageStore
from skerry.island.sandbox.driver import SandboxError


def make_machine(root: Path, *, merged: bool = True) -> Path:
    """A small machine with programs, configuration and secrets."""
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/share/zoneinfo", "etc/skel", "etc/ssl/certs"):
        (root / name).mkdir(parents=True)
    (root / "usr/bin/bash").write_text("program")
    (root / "usr/lib/os-release").write_text("ID=test\n")
    for name in ("bin", "sbin", "lib", "lib64"):
        if merged:
            (root / name).symlink_to(f"usr/{name}")
        else:
            (root / name).mkdir()
    etc = root / "etc"
    for name, text, mode in (
        ("shadow", "root:secret", 0o640),
        ("passwd", "alice:x:1000:1000:Alice Example:/home/alice:/bin/zsh\n", 0o644),
        ("hosts", "10.1.2.3 internal-host\n", 0o644),
        ("resolv.conf", "nameserver 10.0.0.53\n", 0o644),
        ("pip.conf", "index-url = https://u:token@private\n", 0o644),
        ("environment", "API_TOKEN=abc\n", 0o644),
        ("ld.so.cache", "cache", 0o644),
        ("services", "http 80/tcp\n", 0o644),
        ("rpc", "private", 0o600),
        ("skel/.bashrc", "PS1='$ '\n", 0o644),
        ("ssl/certs/ca.pem", "-----BEGIN CERTIFICATE-----\n", 0o644),
        ("ssl/certs/careless.pem", "-----BEGIN PRIVATE KEY-----\n", 0o644),
        ("ssl/certs/host.key", "key", 0o644),
    ):
        (etc / name).write_text(text)
        (etc / name).chmod(mode)
    (etc / "ssl/private").mkdir(mode=0o700)
    (etc / "ssl/private/key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (etc / "os-release").symlink_to("../usr/lib/os-release")
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/UTC")
    elsewhere = root / "corp.pem"
    elsewhere.write_text("corporate certificate")
    elsewhere.chmod(0o644)
    (etc / "ssl/certs/corp.pem").symlink_to(elsewhere)
    (etc / "ssl/certs/stray.pem").symlink_to(root / "nowhere")
    return root


def contents(plan: host.Plan) -> dict[str, bytes]:
    return {path: content for path, content, _ in plan.files}


def test_only_the_whitelist_is_taken_and_nothing_secret(tmp_path: Path) -> None:
    plan = host.survey(make_machine(tmp_path / "m"))
    files = contents(plan)
    assert files["etc/services"] == b"http 80/tcp\n"
    assert files["etc/ld.so.cache"] == b"cache"
    assert files["etc/ssl/certs/ca.pem"].startswith(b"-----BEGIN CERT")
    for absent in ("shadow", "pip.conf", "environment", "rpc", "ssl/private/key.pem", "ssl/certs/host.key"):
        assert f"etc/{absent}" not in files
    everything = b"\n".join(files.values())
    for secret in (b"PRIVATE KEY", b"token", b"alice", b"internal-host", b"10.0.0.53"):
        assert secret not in everything


def test_links_stay_valid_or_become_files(tmp_path: Path) -> None:
    plan = host.survey(make_machine(tmp_path / "m"))
    links = dict(plan.links)
    assert links["etc/os-release"] == "../usr/lib/os-release"
    assert links["etc/localtime"] == "/usr/share/zoneinfo/UTC"
    assert contents(plan)["etc/ssl/certs/corp.pem"] == b"corporate certificate"
    assert "etc/ssl/certs/stray.pem" not in links


def test_merged_usr_gives_links_and_a_split_machine_gives_binds(tmp_path: Path) -> None:
    merged = host.survey(make_machine(tmp_path / "a"))
    assert dict(merged.links)["lib64"] == "usr/lib64"
    assert merged.binds == ((tmp_path / "a/usr", "/usr"),)
    split = host.survey(make_machine(tmp_path / "b", merged=False))
    assert {inside for _, inside in split.binds} == {"/usr", "/bin", "/sbin", "/lib", "/lib64"}
    assert "bin" not in dict(split.links)


def test_the_stamp_follows_content_not_time(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "m")
    before = host.survey(machine).stamp
    os.utime(machine / "etc/services", (1, 1))
    assert host.survey(machine).stamp == before
    (machine / "etc/services").write_text("http 8080/tcp\n")
    assert host.survey(machine).stamp != before


def test_the_store_always_has_host_and_renews_it(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "m")
    store = ImageStore(tmp_path / "images", machine=machine)
    first = store.rootfs("host")
    assert (first.directory / "etc/passwd").read_text().startswith("root:x:0:0:root:/root:/bin/bash\n")
    assert (first.directory / "home/user/.bashrc").read_text() == "PS1='$ '\n"
    assert stat.S_IMODE((first.directory / "tmp").stat().st_mode) == 0o1777
    assert {"dev", "proc", "sys", "run", "usr", "var"} <= set(os.listdir(first.directory))
    assert first.env["PATH"].endswith(":/bin")
    assert store.rootfs("host").directory == first.directory
    assert [image.id for image in store.list()] == ["host"]
    (machine / "etc/ld.so.cache").write_text("another")
    second = store.rootfs("host")
    assert second.directory != first.directory
    assert first.directory.is_dir(), "a live sandbox may still stand on it"
    assert store.get("host").source == "machine"


def test_a_damaged_host_tree_is_made_again(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "m")
    directory = ImageStore(tmp_path / "images", machine=machine).rootfs("host").directory
    (directory / "etc/passwd").write_text("")
    again = ImageStore(tmp_path / "images", machine=machine).rootfs("host").directory
    assert again == directory
    assert (again / "etc/passwd").stat().st_size > 0


def test_old_shapes_of_the_host_are_forgotten(tmp_path: Path) -> None:
    machine = make_machine(tmp_path / "m")
    for number in range(7):
        (machine / "etc/services").write_text(f"service{number} 1/tcp\n")
        ImageStore(tmp_path / "images", machine=machine).rootfs("host")
    assert len(os.listdir(tmp_path / "images/rootfs")) <= 5


def test_this_machine_can_be_shown(tmp_path: Path) -> None:
    root = ImageStore(tmp_path).rootfs("host")
    assert (root.directory / "usr").is_dir()
    shell = os.readlink(root.directory / "bin") if (root.directory / "bin").is_symlink() else None
    assert shell is None or shell.lstrip("/").startswith("usr/")
    assert not (root.directory / "etc/shadow").exists()
    assert not (root.directory / "etc/ssl/private").exists()


def test_unknown_images_are_refused_in_the_drivers_words(tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as caught:
        ImageStore(tmp_path).rootfs("nothing")
    assert caught.value.reason == "unknown_image"
