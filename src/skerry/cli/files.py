"""Files between this machine and a sandbox, over the public client."""

from __future__ import annotations

import io
import os
import posixpath
import shlex
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.cli.output import note
from skerry.errors import InvalidRequestError, NotFoundError, ProtocolError, SkerryError
from skerry.ids import new_ulid

if TYPE_CHECKING:
    from skerry.networks.arker import Computer

HOME = "/home/user"


def remote_path(text: str) -> str:
    """An absolute path in a sandbox; a relative one starts at its home.

    Raises:
        InvalidRequestError: it is empty.
    """
    if not text:
        raise InvalidRequestError("the path in the sandbox is empty")
    return posixpath.normpath(posixpath.join(HOME, text))


def parse_file(spec: str) -> tuple[Path, str]:
    """`LOCAL[:REMOTE]` as a local path and an absolute remote one.

    Raises:
        NotFoundError: there is no such local file.
    """
    local, colon, remote = spec.partition(":")
    source = Path(local)
    if not source.exists():
        raise NotFoundError(f"no such file here: {source}")
    if colon and remote.endswith("/"):
        remote += source.absolute().name
    return source, remote_path(remote or source.absolute().name)


def put(vm: Computer, source: Path, target: str) -> None:
    """Copy a file or a directory into the sandbox, making parent directories; `-` is our standard input.

    Raises:
        NotFoundError: there is no such local file.
    """
    if str(source) == "-":
        _put_bytes(vm, sys.stdin.buffer.read(), 0o644, target)
        return
    if source.is_dir():
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(source, arcname=".")
        staged = staging()
        vm.sync.write_file(staged, archive.getvalue())
        place = shlex.quote(target)
        shell(
            vm, f"mkdir -p {place} && tar -xf {staged} -C {place} --no-same-owner; code=$?; rm -f {staged}; exit $code"
        )
        return
    if not source.is_file():
        raise NotFoundError(f"no such file here: {source}")
    _put_bytes(vm, source.read_bytes(), source.stat().st_mode & 0o777, target)


def _put_bytes(vm: Computer, data: bytes, mode: int, target: str) -> None:
    place = shlex.quote(target)
    if _at_home(target):
        vm.sync.write_file(target, data)
        if mode & 0o111:
            shell(vm, f"chmod {mode:o} {place}")
        return
    staged = staging()
    vm.sync.write_file(staged, data)
    parent = shlex.quote(posixpath.dirname(target))
    _staged(vm, staged, f"chmod {mode:o} {staged} && mkdir -p {parent} && mv -T {staged} {place}")


def get(vm: Computer, source: str, target: Path) -> None:
    """Copy a file or a directory out of the sandbox, into `target` if that is a directory; `-` is standard output.

    Raises:
        InvalidRequestError: it is a device or the like, or a directory for standard output.
        NotFoundError: there is no such file in the sandbox.
    """
    place = shlex.quote(source)
    kind = shell(
        vm, f"if [ -d {place} ]; then echo d; elif [ -f {place} ]; then echo f; elif [ -e {place} ]; then echo o; fi"
    ).strip()
    if not kind:
        raise NotFoundError(f"no such file in the sandbox: {source}")
    if kind == "o":
        # A device may never end, and a pipe never begin.
        raise InvalidRequestError(f"neither a file nor a directory: {source}")
    if target.is_dir():
        target = target / posixpath.basename(source)
    if kind == "d":
        if str(target) == "-":
            raise InvalidRequestError("a directory cannot go to standard output")
        staged = staging()
        _staged(vm, staged, f"tar -cf {staged} -C {place} .")
        archive = _take(vm, staged)
        unpack(archive, target)
        return
    if _at_home(source):
        data = vm.sync.read_file(source)
    else:
        staged = staging()
        _staged(vm, staged, f"cp -L {place} {staged}")
        data = _take(vm, staged)
    if str(target) == "-":
        sys.stdout.buffer.write(data)
    else:
        target.write_bytes(data)


def _staged(vm: Computer, staged: str, words: str) -> None:
    """Run words that make or move a staged file, of which nothing stays where they fail: it counts as disk."""
    shell(vm, f"{words} || {{ code=$?; rm -f {staged}; exit $code; }}")


def unpack(archive: bytes, target: Path) -> None:
    """Unpack a tar that a sandbox made: plain files, directories and links that stay inside `target`.

    Raises:
        ProtocolError: an entry reaches beyond `target`; what came before it is already there.
    """
    target.mkdir(parents=True, exist_ok=True)
    root = target.resolve()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for entry in tar:
            place = root / entry.name
            # Resolved anew for each entry: an earlier one may have been a link.
            inside = place.parent.resolve() / place.name if place.name not in {"", ".."} else place.resolve()
            if not (inside == root or inside.is_relative_to(root)):
                raise ProtocolError(f"the sandbox sent a path that leads outside: {entry.name}")
            if entry.isdir():
                inside.mkdir(parents=True, exist_ok=True)
            elif entry.isfile():
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.unlink(missing_ok=True)
                content = tar.extractfile(entry)
                inside.write_bytes(content.read() if content else b"")
                inside.chmod(entry.mode & 0o777 | 0o600)
            elif entry.issym():
                aim = Path(os.path.normpath(inside.parent / entry.linkname))
                if not aim.is_relative_to(root):
                    note(f"skerry: left out a link that leads outside: {entry.name} -> {entry.linkname}")
                    continue
                inside.unlink(missing_ok=True)
                inside.symlink_to(entry.linkname)


def staging() -> str:
    """A new path in a sandbox's home, for what is only passing through."""
    return f"{HOME}/.skerry-{new_ulid().lower()}"


def _at_home(path: str) -> bool:
    return path.startswith(f"{HOME}/")


def _take(vm: Computer, staged: str) -> bytes:
    data = vm.sync.read_file(staged)
    shell(vm, f"rm -f {staged}")
    return data


def shell(vm: Computer, script: str) -> str:
    """Output of a small script, run beside whatever the user does in the sandbox.

    Raises:
        SkerryError: it ended with another status than 0; the message is its standard error.
    """
    # A session of its own: the default one may be busy, and its directory and variables are the user's.
    session = vm.sessions.create()
    try:
        done = vm.run(script, session_id=session.session_id)
    finally:
        vm.sessions.delete(session.session_id)
    if done.type != "completed":
        raise ProtocolError("the island answered a foreground run with something else", network="arker")
    if done.exit_code != 0:
        raise SkerryError(done.stderr_text.strip() or f"status {done.exit_code} in the sandbox")
    return done.stdout_text
