"""Unpacking keeps to its root whatever the archive says, and applies layers as their format asks."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import EngineError, Invalid, TooLarge
from skerry.island.images.archive import Stopped
from skerry.island.images.unpack import Unpacker


class Target:
    """A root to unpack into, inside a directory where an escape would show."""

    def __init__(self, outside: Path, **limits: Any) -> None:
        self.outside = outside
        self.root = outside / "root"
        self.root.mkdir()
        self.unpacker = Unpacker(self.root, **limits)

    def apply(self, archive: bytes) -> str:
        path = self.outside / "archive"
        path.write_bytes(archive)
        try:
            return self.unpacker.apply(path)
        finally:
            path.unlink()

    def names(self) -> set[str]:
        return {
            os.path.relpath(os.path.join(base, name), self.root)
            for base, directories, files in os.walk(self.root)
            for name in directories + files
        }


def leads_into(fd: Path, directory: Path) -> bool:
    """Whether an open descriptor is of something in a directory; others may be closed by whom they belong to."""
    try:
        return os.readlink(fd).startswith(f"{directory}/")
    except FileNotFoundError:
        return False


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    (tmp_path / "outside").mkdir()
    made = Target(tmp_path / "outside")
    yield made
    made.unpacker.close()
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if leads_into(fd, tmp_path)], "unpacking leaks descriptors"
    assert set(os.listdir(made.outside)) == {"root"}, "something was written outside the root"


def test_ordinary_entries(target: Target, tar: Any) -> None:
    archive = tar.make(
        tar.directory("./"),
        tar.directory("etc/", 0o750),
        tar.file("etc/motd", b"hello\n", mode=0o4755, mtime=1234),
        tar.link("etc/alias", "motd"),
        tar.hard("etc/same", "etc/motd"),
        tar.file("deep/er/file", b"x"),
        ("etc/pipe", {"type": tarfile.FIFOTYPE}),
    )
    digest = target.apply(archive)
    assert digest == tar.digest_of(archive)
    motd = target.root / "etc/motd"
    assert motd.read_bytes() == b"hello\n"
    assert stat.S_IMODE(motd.stat().st_mode) == 0o755, "set-user-id is taken off"
    assert motd.stat().st_mtime == 1234
    assert os.readlink(target.root / "etc/alias") == "motd"
    assert (target.root / "etc/same").stat().st_ino == motd.stat().st_ino
    assert stat.S_ISFIFO((target.root / "etc/pipe").stat().st_mode)
    assert stat.S_IMODE((target.root / "deep/er").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a/..", "/../evil"])
def test_climbing_names_are_refused(target: Target, tar: Any, name: str) -> None:
    with pytest.raises(Invalid, match="outside itself"):
        target.apply(tar.make(tar.file(name, b"x")))


def test_absolute_names_belong_to_the_root(target: Target, tar: Any) -> None:
    target.apply(tar.make(tar.file("/etc/inside", b"x")))
    assert (target.root / "etc/inside").read_bytes() == b"x"


@pytest.mark.parametrize("where", ["absolute", "climbing"])
def test_links_never_lead_out(target: Target, tar: Any, where: str) -> None:
    goal = str(target.outside) if where == "absolute" else "../../../../../.."
    archive = tar.make(tar.link("door", goal), tar.file("door/evil", b"x"))
    target.apply(archive)
    assert not (target.outside / "evil").exists()
    inside = str(target.outside).lstrip("/") + "/evil" if where == "absolute" else "evil"
    assert (target.root / inside).read_bytes() == b"x"


def test_a_link_is_replaced_not_written_through(target: Target, tar: Any) -> None:
    victim = target.outside / "root-victim"
    victim.write_text("precious")
    target.apply(tar.make(tar.link("file", str(victim)), tar.file("file", b"new")))
    assert victim.read_text() == "precious"
    assert (target.root / "file").read_bytes() == b"new"
    victim.unlink()


def test_hard_links_stay_inside(target: Target, tar: Any) -> None:
    secret = target.outside / "secret"
    secret.write_text("secret")
    for goal in (str(secret), "../secret"):
        with pytest.raises(Invalid):
            target.apply(tar.make(tar.hard("stolen", goal)))
    target.apply(tar.make(tar.link("door", str(target.outside))))
    with pytest.raises(Invalid, match="not there"):
        target.apply(tar.make(tar.hard("stolen", "door/secret")))
    with pytest.raises(Invalid, match="directory"):
        target.apply(tar.make(tar.directory("d"), tar.hard("e", "d")))
    assert not (target.root / "stolen").exists()
    secret.unlink()


def test_layers_meet_links_of_earlier_layers(target: Target, tar: Any) -> None:
    target.apply(tar.make(tar.directory("usr/lib"), tar.link("lib", "usr/lib"), tar.link("abs", "/usr")))
    target.apply(tar.make(tar.file("lib/a.so", b"a"), tar.file("abs/lib/b.so", b"b"), tar.hard("lib/c.so", "lib/a.so")))
    assert {"usr/lib/a.so", "usr/lib/b.so", "usr/lib/c.so"} <= target.names()
    assert (target.root / "lib").is_symlink()


def test_kinds_replace_each_other(target: Target, tar: Any) -> None:
    target.apply(tar.make(tar.file("a/b/c", b"1"), tar.file("x", b"2"), tar.link("l", "a")))
    target.apply(tar.make(tar.file("a", b"now a file"), tar.directory("x"), tar.directory("l"), tar.file("l/in", b"")))
    assert (target.root / "a").read_bytes() == b"now a file"
    assert (target.root / "x").is_dir()
    assert not (target.root / "l").is_symlink()
    assert (target.root / "l/in").exists()


def test_a_file_in_the_way_is_an_error(target: Target, tar: Any) -> None:
    target.apply(tar.make(tar.file("a", b"")))
    with pytest.raises(Invalid, match="it is a file"):
        target.apply(tar.make(tar.file("a/b", b"")))


def test_circular_links_end(target: Target, tar: Any) -> None:
    with pytest.raises(Invalid, match="too many"):
        target.apply(tar.make(tar.link("a", "b"), tar.link("b", "a"), tar.file("a/x", b"")))


def test_whiteouts_hide_what_lay_below(target: Target, tar: Any) -> None:
    target.apply(
        tar.make(tar.file("d/old", b""), tar.file("d/sub/deep", b""), tar.file("kept", b""), tar.file("gone", b""))
    )
    target.apply(
        tar.make(
            tar.file(".wh.gone"),
            tar.file("d/new", b""),
            tar.file("d/sub/fresh", b""),
            tar.file("d/.wh..wh..opq"),
            tar.file("d/later", b""),
            tar.file(".wh..wh.plnk"),
            tar.file(".wh.missing"),
        )
    )
    assert target.names() == {"kept", "d", "d/new", "d/later", "d/sub", "d/sub/fresh"}


def test_a_whiteout_spares_what_its_own_layer_brought(target: Target, tar: Any) -> None:
    target.apply(tar.make(tar.file("d/old", b"")))
    target.apply(tar.make(tar.file("d/new", b""), tar.file(".wh.d")))
    assert target.names() == {"d", "d/new"}


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh.", "d/.wh..."])
def test_whiteouts_cannot_climb(target: Target, tar: Any, name: str) -> None:
    with pytest.raises(Invalid):
        target.apply(tar.make(tar.file("d/keep", b""), tar.file(name)))
    assert "d/keep" in target.names()


def test_devices_are_left_out(target: Target, tar: Any) -> None:
    target.apply(
        tar.make(
            ("dev/sda", {"type": tarfile.BLKTYPE, "devmajor": 8, "mode": 0o666}),
            ("dev/mem", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 1}),
            ("whiteout", {"type": tarfile.CHRTYPE}),
        )
    )
    assert target.names() == {"dev"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_are_kept_and_clamped(target: Target, tar: Any) -> None:
    target.apply(
        tar.make(tar.file("a", b"", uid=33, gid=42), tar.file("b", b"", uid=200_000, gid=5), tar.directory("c", uid=7))
    )
    assert [((target.root / name).stat().st_uid, (target.root / name).stat().st_gid) for name in "abc"] == [
        (33, 42),
        (65534, 5),
        (7, 0),
    ]


def test_closed_directories_do_not_stop_others(target: Target, tar: Any) -> None:
    target.apply(tar.make(tar.directory("closed", 0o000), tar.file("closed/in", b"x"), tar.file("none", b"y", mode=0)))
    assert (target.root / "closed/in").read_bytes() == b"x"
    assert (target.root / "none").read_bytes() == b"y"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_compressions(target: Target, tar: Any, compress: Any) -> None:
    archive = tar.make(tar.file("data", os.urandom(300_000)))
    assert target.apply(compress(archive)) == tar.digest_of(archive)
    half = len(archive) // 2
    if compress is not bytes:
        assert target.apply(compress(archive[:half]) + compress(archive[half:])) == tar.digest_of(archive)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_cut_compressed_archives_are_noticed(target: Target, tar: Any, compress: Any) -> None:
    with pytest.raises(Invalid):
        target.apply(compress(tar.make(tar.file("data", os.urandom(50_000))))[:-3000])


def test_cut_and_garbled_archives_are_noticed(target: Target, tar: Any) -> None:
    archive = tar.make(tar.file("a", b"x" * 5000), tar.file("b", b"y" * 5000))
    for broken in (archive[:3000], archive[:5800], archive[:6144] + b"rubbish" * 100, b"", b"rubbish" * 200):
        with pytest.raises(Invalid):
            target.apply(broken)


def test_ceilings(tmp_path: Path, tar: Any) -> None:
    (tmp_path / "o").mkdir()
    target = Target(tmp_path / "o", max_bytes=1 << 20, max_entries=10)
    with pytest.raises(TooLarge):
        target.apply(tar.make(*(tar.file(str(number), b"") for number in range(11))))
    with pytest.raises(TooLarge):
        target.apply(gzip.compress(tar.make(tar.file("zeros", bytes(2 << 20)))))
    with pytest.raises(TooLarge):
        target.apply(gzip.compress(tar.make(tar.file("a", b""))[:1024] + bytes(8 << 20)))
    target.unpacker.close()


def test_endless_headers_are_refused(target: Target, tar: Any) -> None:
    long = {"pax_headers": {"comment": "x" * (2 << 20)}}
    with pytest.raises(Invalid, match="absurdly long header"):
        target.apply(gzip.compress(tar.make(("a", long))))
    nested = io.BytesIO()
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 0
    nested.write(header.tobuf(format=tarfile.GNU_FORMAT) * 1500)
    with pytest.raises(Invalid):
        target.apply(nested.getvalue())


def test_negative_sizes_are_refused(target: Target) -> None:
    header = bytearray(tarfile.TarInfo("a").tobuf(format=tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(EngineError):
        target.apply(bytes(header) + bytes(1024))


def test_sparse_files_keep_their_holes(target: Target, tmp_path: Path) -> None:
    # GNU's old format: two runs of data in a file of 1 MiB, the second at its end.
    info = tarfile.TarInfo("sparse")
    info.type, info.size, info.mode = tarfile.GNUTYPE_SPARSE, 1024, 0o644
    header = bytearray(info.tobuf(format=tarfile.GNU_FORMAT))
    runs = ((0, 512), ((1 << 20) - 512, 512))
    for number, (offset, count) in enumerate(runs):
        at = 386 + 24 * number
        header[at : at + 24] = b"%011o\0%011o\0" % (offset, count)
    header[483:495] = b"%011o\0" % (1 << 20)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    target.apply(bytes(header) + b"a" * 512 + b"z" * 512 + bytes(1024))
    content = (target.root / "sparse").read_bytes()
    assert len(content) == 1 << 20
    assert content[:512] == b"a" * 512
    assert content[-512:] == b"z" * 512
    assert not content[512:-512].strip(b"\0")


def test_deep_nests_end(target: Target, tar: Any) -> None:
    with pytest.raises(Invalid, match="levels deep"):
        target.apply(tar.make(tar.file("d/" * 300 + "f", b"")))


def test_it_can_be_stopped(tmp_path: Path, tar: Any) -> None:
    (tmp_path / "o").mkdir()
    target = Target(tmp_path / "o", stopped=lambda: True)
    with pytest.raises(Stopped):
        target.apply(tar.make(tar.file("a", b"")))
    target.unpacker.close()
