"""Reading bodies: every mistake is told, with its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.dispersed.errors import Fault
from skerry.island.faces.dispersed.validation import Form


def _told(form: Form) -> list[tuple[str, tuple[str | int, ...]]]:
    return [(issue.code, issue.path) for issue in form.issues]


def test_what_is_there_is_read() -> None:
    form = Form(
        {
            "text": "a",
            "null": None,
            "whole": 3,
            "float": 24.0,
            "flag": True,
            "word": "B",
            "list": ["x", "y"],
            "ports": [22, 80.0],
            "env": {"A": "1"},
            "inner": {"a": 1},
            "forms": [{"a": 1}, {"a": 2}],
            "uuid": "019582A6-27FC-731D-AF0A-594F04D6D0D5",
        }
    )
    assert form.text("text", least=1, most=1) == "a"
    assert form.optional_text("null") is form.optional_text("missing") is None
    assert (form.integer("whole"), form.integer("float")) == (3, 24)
    assert isinstance(form.integer("float"), int)
    assert form.optional_integer("null") is form.optional_uuid("missing") is None
    assert form.boolean("flag") is True
    assert form.choice("word", ("A", "B")) == "B"
    assert form.texts("list") == ["x", "y"]
    assert form.integers("ports", least=1, largest=65535) == [22, 80]
    assert form.mapping("env") == {"A": "1"}
    assert form.form("inner").integer("a") == 1
    assert [one.integer("a") for one in form.forms("forms")] == [1, 2]
    assert form.optional_uuid("uuid") == "019582a6-27fc-731d-af0a-594f04d6d0d5"
    assert (form.has("null"), form.is_null("null"), form.is_null("missing")) == (True, True, False)
    form.check()


def test_what_is_missing_has_its_default() -> None:
    form = Form({})
    assert form.text("a", default="x") == "x"
    assert form.integer("a", default=7) == 7
    assert form.boolean("a", default=False) is False
    assert form.choice("a", ("A", "B"), default="B") == "B"
    assert (form.texts("a"), form.integers("a", least=0, largest=1), form.mapping("a"), form.forms("a")) == (
        [],
        [],
        {},
        [],
    )
    form.check()


def test_every_mistake_is_told() -> None:
    form = Form(
        {
            "text": 1,
            "short": "",
            "long": "xx",
            "small": -1,
            "big": 11,
            "half": 1.5,
            "flag": 1,
            "number": True,
            "word": "C",
            "list": ["x", 1, "long"],
            "many": [1, 2, 3],
            "ports": [0, "x", 70000, None],
            "env": {"A": 1, "B": "long"},
            "forms": [1],
            "uuid": "x",
        }
    )
    form.text("missing")
    form.text("text")
    form.text("short", least=1)
    form.text("long", most=1)
    assert form.integer("small") == 0
    assert form.integer("big", most=10) == 10
    form.integer("half")
    form.boolean("flag")
    form.integer("number")
    assert form.choice("word", ("A", "B")) == "A"
    assert form.texts("list", longest=1) == ["x"]
    form.texts("many", most=2)
    form.integers("ports", least=1, largest=65535)
    form.mapping("env", longest=2)
    form.forms("forms")
    form.form("gone")
    form.optional_uuid("uuid")
    assert _told(form) == [
        ("invalid_type", ("missing",)),
        ("invalid_type", ("text",)),
        ("too_small", ("short",)),
        ("too_big", ("long",)),
        ("too_small", ("small",)),
        ("too_big", ("big",)),
        ("invalid_type", ("half",)),
        ("invalid_type", ("flag",)),
        ("invalid_type", ("number",)),
        ("invalid_value", ("word",)),
        ("invalid_type", ("list", 1)),
        ("too_big", ("list", 2)),
        ("too_big", ("many",)),
        ("too_small", ("ports", 0)),
        ("invalid_type", ("ports", 1)),
        ("too_big", ("ports", 2)),
        ("invalid_type", ("ports", 3)),
        ("invalid_type", ("env", "A")),
        ("too_big", ("env", "B")),
        ("invalid_type", ("forms", 0)),
        ("invalid_type", ("gone",)),
        ("invalid_format", ("uuid",)),
    ]
    with pytest.raises(Fault) as caught:
        form.check()
    assert (caught.value.status, caught.value.code, len(caught.value.details)) == (400, "VALIDATION_ERROR", 22)


_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON, st.dictionaries(st.sampled_from("abc"), _JSON))
def test_nothing_surprises_it(value: Any, members: dict[str, Any]) -> None:
    for form in (Form(value), Form(members, ("there", 1))):
        for name in "abc":
            assert isinstance(form.text(name), str)
            assert form.optional_text(name) is None or isinstance(form.optional_text(name), str)
            assert 0 <= form.integer(name, most=5) <= 5
            assert isinstance(form.boolean(name), bool)
            assert form.choice(name, ("A", "B")) in ("A", "B")
            assert all(isinstance(text, str) for text in form.texts(name))
            assert all(1 <= number <= 9 for number in form.integers(name, least=1, largest=9))
            assert all(isinstance(text, str) for text in form.mapping(name).values())
            form.optional_uuid(name)
            form.form(name).text("x", default="")
            for one in form.forms(name):
                one.integer("x", default=0)
        assert all(issue.path[: len(form.path)] == form.path for issue in form.issues)
