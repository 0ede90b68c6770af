"""Reading the members of a JSON body: every mistake is noted, then all are told at once (protocol section 2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skerry.island.faces.dispersed.errors import Issue, invalid
from skerry.island.faces.dispersed.wire import LARGEST_INTEGER
from skerry.island.ground.texts import is_uuid

Path = tuple[str | int, ...]

LONGEST_TEXT = 65_536
MOST_ITEMS = 1_000


class Form:
    """One object of a body.

    A member that is missing or wrong is noted as an issue and read as an empty value, so that reading goes on;
    `check` raises once all has been read. Members nobody asks for are ignored (section 5.6).

    Args:
        value: what should be an object.
        path: how it is reached from the body.
        issues: where mistakes are noted; shared with the forms inside.
    """

    def __init__(self, value: Any, path: Path = (), issues: list[Issue] | None = None) -> None:
        self.path = path
        self.issues: list[Issue] = [] if issues is None else issues
        self.members: dict[str, Any] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self._note("invalid_type", path, f"must be an object, not {kind_of(value)}")

    def has(self, name: str) -> bool:
        """Whether a member is there, be it null."""
        return name in self.members

    def is_null(self, name: str) -> bool:
        """Whether a member is there and null."""
        return name in self.members and self.members[name] is None

    def issue(self, code: str, message: str, *names: str | int) -> None:
        """Note a mistake of the form, or of a member of it.

        Args:
            code: `invalid_type`, `too_small`, `too_big`, `invalid_format`, `invalid_value` or `custom`.
            message: what it should be.
            names: the member.
        """
        self._note(code, (*self.path, *names), message)

    def check(self) -> None:
        """Raises a `VALIDATION_ERROR` with every mistake noted so far, if there is one."""
        if self.issues:
            raise invalid(self.issues)

    def text(self, name: str, *, default: str | None = None, least: int = 0, most: int = LONGEST_TEXT) -> str:
        """A text; required without a default.

        Args:
            name: of the member.
            default: when it is missing.
            least: fewest characters.
            most: most characters.
        """
        if name not in self.members and default is not None:
            return default
        value = self._required(name, str, "text")
        return "" if value is None else self._sized(name, value, least, most)

    def optional_text(self, name: str, *, least: int = 0, most: int = LONGEST_TEXT) -> str | None:
        """A text, or None when it is missing, null or wrong."""
        if self.members.get(name) is None:
            return None
        text = self.text(name, least=least, most=most)
        return text if isinstance(self.members[name], str) else None

    def integer(self, name: str, *, default: int | None = None, least: int = 0, most: int = LARGEST_INTEGER) -> int:
        """A whole number (1.0 is one); required without a default.

        Args:
            name: of the member.
            default: when it is missing.
            least: smallest value.
            most: largest value.
        """
        if name not in self.members and default is not None:
            return default
        found = self._whole(self._required(name, (int, float), "an integer"), name)
        if found is None:
            return least
        if found < least:
            self.issue("too_small", f"must be at least {least}", name)
        elif found > most:
            self.issue("too_big", f"must be at most {most}", name)
        return min(max(found, least), most)

    def optional_integer(self, name: str, *, least: int = 0, most: int = LARGEST_INTEGER) -> int | None:
        """A whole number, or None when it is missing or null."""
        if self.members.get(name) is None:
            return None
        return self.integer(name, least=least, most=most)

    def boolean(self, name: str, *, default: bool | None = None) -> bool:
        """True or false; required without a default."""
        if name not in self.members and default is not None:
            return default
        value = self._required(name, bool, "true or false")
        return bool(value)

    def choice(self, name: str, choices: Sequence[str], *, default: str | None = None) -> str:
        """One of some words; required without a default."""
        if name not in self.members and default is not None:
            return default
        value = self._required(name, str, f"one of {', '.join(choices)}")
        if value is not None and value not in choices:
            self.issue("invalid_value", f"must be one of {', '.join(choices)}", name)
        return value if value in choices else choices[0]

    def optional_uuid(self, name: str) -> str | None:
        """A UUID in lower case, or None when it is missing or null."""
        value = self.optional_text(name, most=64)
        if value is not None and not is_uuid(value):
            self.issue("invalid_format", "must be a UUID", name)
            return None
        return None if value is None else value.lower()

    def texts(self, name: str, *, most: int = MOST_ITEMS, longest: int = LONGEST_TEXT) -> list[str]:
        """A list of texts; empty when it is missing.

        Args:
            name: of the member.
            most: most items.
            longest: most characters of one.
        """
        found: list[str] = []
        for position, item in enumerate(self._items(name, most)):
            if not isinstance(item, str):
                self.issue("invalid_type", f"must be text, not {kind_of(item)}", name, position)
            elif len(item) > longest:
                self.issue("too_big", f"must have at most {longest} characters", name, position)
            else:
                found.append(item)
        return found

    def integers(self, name: str, *, least: int, largest: int, most: int = MOST_ITEMS) -> list[int]:
        """A list of whole numbers, each from `least` to `largest`; empty when it is missing."""
        found: list[int] = []
        for position, item in enumerate(self._items(name, most)):
            number = self._whole(item, name, position)
            if number is None:
                continue
            if not least <= number <= largest:
                code = "too_small" if number < least else "too_big"
                self.issue(code, f"must be from {least} to {largest}", name, position)
            else:
                found.append(number)
        return found

    def mapping(self, name: str, *, most: int = MOST_ITEMS, longest: int = LONGEST_TEXT) -> dict[str, str]:
        """An object whose members are texts; empty when it is missing."""
        if name not in self.members:
            return {}
        value = self._required(name, dict, "an object")
        members: dict[str, Any] = value or {}
        if len(members) > most:
            self.issue("too_big", f"must have at most {most} members", name)
            return {}
        found: dict[str, str] = {}
        for key, item in members.items():
            if not isinstance(item, str):
                self.issue("invalid_type", f"must be text, not {kind_of(item)}", name, key)
            elif len(item) > longest:
                self.issue("too_big", f"must have at most {longest} characters", name, key)
            else:
                found[key] = item
        return found

    def form(self, name: str) -> Form:
        """An object inside; required."""
        if name not in self.members:
            self.issue("invalid_type", "is required", name)
            return Form({}, (*self.path, name), self.issues)
        return Form(self.members[name], (*self.path, name), self.issues)

    def forms(self, name: str, *, most: int = MOST_ITEMS) -> list[Form]:
        """A list of objects; empty when it is missing."""
        return [
            Form(item, (*self.path, name, position), self.issues)
            for position, item in enumerate(self._items(name, most))
        ]

    def _items(self, name: str, most: int) -> list[Any]:
        if name not in self.members:
            return []
        value = self._required(name, list, "a list")
        items: list[Any] = value or []
        if len(items) > most:
            self.issue("too_big", f"must have at most {most} items", name)
            return []
        return items

    def _required(self, name: str, kind: type | tuple[type, ...], words: str) -> Any:
        if name not in self.members:
            self.issue("invalid_type", "is required", name)
            return None
        value = self.members[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.issue("invalid_type", f"must be {words}, not {kind_of(value)}", name)
            return None
        return value

    def _whole(self, value: Any, *names: str | int) -> int | None:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None and self.issues and self.issues[-1].path == (*self.path, *names):
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.issue("invalid_type", f"must be an integer, not {kind_of(value)}", *names)
            return None
        return value

    def _sized(self, name: str, value: str, least: int, most: int) -> str:
        if len(value) < least:
            self.issue("too_small", f"must have at least {least} character{'s' if least > 1 else ''}", name)
        elif len(value) > most:
            self.issue("too_big", f"must have at most {most} characters", name)
        return value

    def _note(self, code: str, path: Path, message: str) -> None:
        # A body of a megabyte could hold as many mistakes; nobody reads them all.
        if len(self.issues) < MOST_ITEMS:
            self.issues.append(Issue(code, path, message))


def kind_of(value: Any) -> str:
    """What a JSON value is, for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"
