"""Checks of a body's members, in the words that the network has for each mistake (section 2.3).

Every mistake of a body is told at once, in the order of the schema. A check returns the member's value, or None for one
that is missing or wrong; whether anything was wrong is asked once, at the end.

Example:
    >>> fields = Fields({"name": "x"})
    >>> fields.text("name", least=2), fields.text("email")
    (None, None)
    >>> [issue.field for issue in fields.issues]
    ['name', 'email']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from skerry.island.faces.dc1.errors import Issue, invalid

ROOT = "(root)"
_EMAIL = re.compile(r"[A-Za-z0-9_+'\-](?:[A-Za-z0-9_+'.\-]*[A-Za-z0-9_+'\-])?@(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,}")


class Fields:
    """The members of one object.

    Args:
        body: whatever was sent; anything but an object is one mistake.
        nulls: whether null counts as missing, rather than as a mistake.
    """

    def __init__(self, body: Any, *, nulls: bool = False) -> None:
        self.issues: list[Issue] = []
        self._nulls = nulls
        self._body: dict[str, Any] = body if isinstance(body, dict) else {}
        if not isinstance(body, dict):
            self.wrong(ROOT, f"Invalid input: expected object, received {kind(body)}")

    def text(
        self, name: str, *, least: int = 0, most: int | None = None, required: bool = True, email: bool = False
    ) -> str | None:
        """A string of so many characters."""
        found = self._member(name, required, "string")
        if found is None:
            return None
        if not isinstance(found, str):
            self.wrong(name, f"Invalid input: expected string, received {kind(found)}")
        elif len(found) < least:
            self.wrong(name, f"Too small: expected string to have >={least} characters")
        elif most is not None and len(found) > most:
            self.wrong(name, f"Too big: expected string to have <={most} characters")
        elif "\x00" in found:
            # Not every database has a place for it.
            self.wrong(name, "Invalid input: string must not contain NUL characters")
        elif email and not _EMAIL.fullmatch(found):
            self.wrong(name, "Invalid email address")
        else:
            return found
        return None

    def number(
        self,
        name: str,
        *,
        least: float | None = None,
        most: float | None = None,
        required: bool = True,
        whole: bool = False,
        above: float | None = None,
    ) -> int | float | None:
        """A number within bounds; more than `above`."""
        found = self._member(name, required, "number")
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float):
            self.wrong(name, f"Invalid input: expected number, received {kind(found)}")
        elif whole and found != int(found):
            self.wrong(name, "Invalid input: expected int, received number")
        elif least is not None and found < least:
            self.wrong(name, f"Too small: expected number to be >={_short(least)}")
        elif above is not None and found <= above:
            self.wrong(name, f"Too small: expected number to be >{_short(above)}")
        elif most is not None and found > most:
            self.wrong(name, f"Too big: expected number to be <={_short(most)}")
        else:
            return int(found) if whole else found
        return None

    def flag(self, name: str) -> bool | None:
        """A boolean, if it is there."""
        found = self._member(name, False, "boolean")
        if found is not None and not isinstance(found, bool):
            self.wrong(name, f"Invalid input: expected boolean, received {kind(found)}")
            return None
        return found

    def one_of(self, name: str, words: Sequence[str], *, required: bool = True, fold: bool = False) -> str | None:
        """One of some words; in any case if they are folded."""
        if not required and self._body.get(name) is None and (self._nulls or name not in self._body):
            return None
        found = self._body.get(name)
        said = found.lower() if fold and isinstance(found, str) else found
        if said not in words:
            known = "|".join(f'"{word}"' for word in words)
            self.wrong(name, f"Invalid option: expected one of {known}")
            return None
        return str(said)

    def object(self, name: str, *, required: bool = False, word: str = "object") -> dict[str, Any] | None:
        """An object; `record` is the network's word for one whose members may be anything."""
        found = self._member(name, required, word)
        if found is not None and not isinstance(found, dict):
            self.wrong(name, f"Invalid input: expected {word}, received {kind(found)}")
            return None
        return found

    def list(self, name: str, *, most: int, required: bool = False) -> list[Any] | None:
        """A list of at most so many items."""
        found = self._member(name, required, "array")
        if found is not None and not isinstance(found, list):
            self.wrong(name, f"Invalid input: expected array, received {kind(found)}")
            return None
        if found is not None and len(found) > most:
            self.wrong(name, f"Too big: expected array to have <={most} items")
            return None
        return found

    def only(self, known: Iterable[str]) -> None:
        """Nothing else is in the object."""
        strange = [name for name in self._body if name not in set(known)]
        if strange:
            names = ", ".join(f'"{name}"' for name in strange)
            self.wrong(ROOT, f"Unrecognized key{'s' if len(strange) > 1 else ''}: {names}")

    def wrong(self, field: str, message: str) -> None:
        """Note a mistake."""
        self.issues.append(Issue(field, message))

    def check(self) -> None:
        """Refuse the body if anything was wrong.

        Raises:
            Fault: 400 with every mistake.
        """
        if self.issues:
            raise invalid(self.issues)

    def _member(self, name: str, required: bool, expected: str) -> Any:
        found = self._body.get(name)
        if found is None and (name not in self._body or self._nulls):
            if required:
                self.wrong(name, f"Invalid input: expected {expected}, received undefined")
        elif found is None:
            self.wrong(name, f"Invalid input: expected {expected}, received null")
        return found


def kind(value: Any) -> str:
    """What a JSON value is, in the network's words."""
    names: tuple[tuple[type, str], ...] = (
        (bool, "boolean"),
        (int, "number"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
    )
    return "null" if value is None else next((word for known, word in names if isinstance(value, known)), "object")


def _short(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)
