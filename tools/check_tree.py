"""Rules about the text of the tree that no linter knows: machine paths, registry hosts, unfinished work, size.

    python tools/check_tree.py

Prints each offence as `path:line: what`, and fails if there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 800
# `/home/user` is the home directory inside every sandbox, a word of Arker's protocol; tests name its neighbours.
RULES: list[tuple[str, re.Pattern[str], tuple[str, ...]]] = [
    (
        "a path of somebody's machine",
        re.compile(r"""(?:^|[\s"'`=(])/(?:work|root|home/(?!user|other)[a-z0-9]+)/"""),
        (".py", ".md", ".toml", ".sh", "run", "Makefile"),
    ),
    (
        "a package registry's host",
        re.compile(r"pypi[.](?:org|io)|pythonhosted[.]org|registry[.]npm|deb[.]debian[.]org"),
        (".py", ".md", ".toml", ".sh", "run", "Makefile"),
    ),
    ("unfinished work", re.compile(r"\b(?:TODO|FIXME|XXX)\b|NotImplementedError"), (".py", ".sh", "Makefile")),
    ("`type: ignore` that does not say what it ignores", re.compile(r"#\s*type:\s*ignore\s*(?:$|[^\[\s])"), (".py",)),
    ("an error swallowed whole", re.compile(r"except (?:Base)?Exception:\s*pass|except:\s*$"), (".py",)),
]


def tracked() -> list[Path]:
    """Files of the tree: what git knows, or everything beside the environment where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        paths = [ROOT / name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return sorted(path for path in paths if path.is_file())


def offences(path: Path) -> Iterator[str]:
    """What breaks a rule in one file."""
    name = path.relative_to(ROOT).as_posix()
    if name in {"uv.lock", "tools/check_tree.py"}:
        return
    rules = [(what, pattern) for what, pattern, suffixes in RULES if name.endswith(suffixes)]
    if not rules:
        return
    text = path.read_text(encoding="utf-8")
    rows = text.splitlines()
    for number, row in enumerate(rows, 1):
        for what, pattern in rules:
            if pattern.search(row):
                yield f"{name}:{number}: {what}: {row.strip()}"
    if name.endswith(".py"):
        if len(rows) > LONGEST and "/_sync/" not in name:
            yield f"{name}:{len(rows)}: longer than {LONGEST} lines"
        if (
            text.strip()
            and "from __future__ import annotations" not in text
            and re.search(r"^\s*(?:def|class) ", text, re.M)
        ):
            yield f"{name}:1: lacks `from __future__ import annotations`"


def main() -> int:
    """Print every offence; the exit status says whether there was one."""
    found = [offence for path in tracked() for offence in offences(path)]
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
