"""What can be installed, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A program that can be installed.

    Args:
        name: of its directory and its image.
        title: as people call it.
        size: what it takes, for people.
        port: where it listens inside.
        make: makes it in a fresh, empty directory that will be shown at `inside`, with the interpreter that is named or
            one that fits; returns the program's version and directories that it needs besides, at their own paths.
    """

    name: str
    title: str
    size: str
    port: int
    make: Callable[[Path, str | None, Say], tuple[str, list[Path]]]

    @property
    def inside(self) -> str:
        """Where a sandbox has it."""
        return inside(self.name)

    @property
    def image(self) -> str:
        """What its image is called; names below `localhost` are in nobody's registry."""
        return f"localhost/{self.name}"

    @property
    def start(self) -> str:
        """The program that starts it, in a sandbox's PATH."""
        return f"start-{self.name}"

    @property
    def how(self) -> str:
        """What to do where it is missing."""
        return f"`skerry machine app install {self.name}` installs it ({self.size})"


def inside(name: str) -> str:
    """Where sandboxes have a program's directory."""
    return f"/opt/{name}"


def write_program(path: Path, text: str) -> None:
    """A script that everybody may run, whatever our umask is."""
    path.write_text(text)
    path.chmod(0o755)


def first_secret(variable: str, word: str) -> str:
    """Lines of a shell script: a secret for this start unless there is one, told where only the owner reads it.

    Args:
        variable: holds it.
        word: what the program calls it.
    """
    return f"""\
if [ -z "${{{variable}:-}}" ]; then
    {variable}=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')
    echo "Log in with this {word}: ${variable}"
else
    echo "Log in with the {word} in {variable}"
fi
export {variable}
"""
