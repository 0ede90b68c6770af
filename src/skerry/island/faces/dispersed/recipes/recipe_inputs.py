"""The questions of a recipe: how they are kept, and how a cook's answers meet them (protocol section 3.4.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from skerry.island.faces.dispersed.account import openssh
from skerry.island.faces.dispersed.errors import Issue, invalid
from skerry.island.faces.dispersed.validation import Form

KINDS = ("string", "number", "boolean", "select", "ssh_key")
MOST_INPUTS = 100
LONGEST_KEY = 255

_DOCKER = frozenset(
    {"image", "tag", "host", "user", "secret", "imagesrc", "sshkey", "allowed_ips", "ports", "env", "volumes"}
)
_TEXTS = frozenset({"image", "tag", "host", "user", "secret", "imagesrc", "sshkey"})
_PLACE = ("parameters", "parameters")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,3})?")


def read(form: Form, name: str) -> list[dict[str, Any]] | None:
    """The checked questions of a body, None for null or none."""
    if not form.has(name) or form.is_null(name):
        return None
    found: list[dict[str, Any]] = []
    for item in form.forms(name, most=MOST_INPUTS):
        key = item.text("key", least=1, most=LONGEST_KEY)
        if key in {known["key"] for known in found}:
            item.issue("custom", "is the key of another input as well", "key")
        question = {
            "key": key,
            "type": item.choice("type", KINDS, default="string"),
            "label": item.optional_text("label", most=LONGEST_KEY),
            "required": item.boolean("required", default=False),
            "description": item.optional_text("description"),
            "placeholder": item.optional_text("placeholder"),
            "default_value": _default(item),
            "options": _options(item),
        }
        if question["type"] == "select" and not question["options"]:
            item.issue("custom", "a select needs options", "options")
        found.append(question)
    return found


def answered(merged: Mapping[str, Any], questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A job's body in which defaults fill the gaps and every answer is of its kind.

    An answer is the variable of that name in `env`, or the container's member of that name.

    Args:
        merged: the payload with the cook's changes.
        questions: as `read` gave them.

    Raises:
        Fault: `VALIDATION_ERROR` with what is missing or of another kind.
    """
    outer = merged.get("parameters")
    inner = outer.get("parameters") if isinstance(outer, dict) else None
    if not questions or not isinstance(outer, dict) or not isinstance(inner, dict):
        # The check of the whole job says what is wrong with it.
        return dict(merged)
    docker = dict(inner)
    env = dict(docker["env"]) if isinstance(docker.get("env"), dict) else {}
    issues: list[Issue] = []
    for question in questions:
        key = question["key"]
        value = env.get(key) or (docker.get(key) if key in _DOCKER else None)
        if not value and question["type"] == "ssh_key":
            value = docker.get("sshkey")
        if not value and question["default_value"] is not None:
            value = question["default_value"]
            if key in _DOCKER and key != "env":
                docker[key] = value if not isinstance(value, bool) and key not in _TEXTS else as_text(value)
            else:
                env[key] = as_text(value)
        if not value and value != 0:
            if question["required"]:
                label = question["label"] or key
                issues.append(Issue("invalid_type", (*_PLACE, "env", key), f"is required: {label}"))
            continue
        wrong = _mistake(question, value)
        if wrong is not None:
            issues.append(Issue("invalid_value", (*_PLACE, "env", key), wrong))
    if issues:
        raise invalid(issues)
    if env:
        docker["env"] = env
    return {**merged, "parameters": {**outer, "parameters": docker}}


def as_text(value: Any) -> str:
    """An answer as a variable has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _mistake(question: Mapping[str, Any], value: Any) -> str | None:
    if isinstance(value, list | dict):
        return None
    text = as_text(value)
    if question["type"] == "number":
        if not _NUMBER.fullmatch(text):
            return "must be a number"
    elif question["type"] == "boolean" and text.lower() not in ("true", "false", "0", "1"):
        return "must be true or false"
    elif question["type"] == "select":
        choices = [option["value"] for option in question["options"] or []]
        if text not in choices:
            return f"must be one of {', '.join(choices)}"
    elif question["type"] == "ssh_key":
        try:
            openssh.parse(text)
        except openssh.KeyRefused as error:
            return str(error)
    return None


def _default(item: Form) -> Any:
    value = item.members.get("default_value")
    if isinstance(value, list | dict):
        item.issue("invalid_type", "must be text, a number or true or false", "default_value")
        return None
    return value


def _options(item: Form) -> list[dict[str, str]]:
    if item.is_null("options"):
        return []
    found = []
    for option in item.forms("options", most=MOST_INPUTS):
        value = option.members.get("value")
        if value is None or isinstance(value, list | dict):
            option.issue("invalid_type", "must be text, a number or true or false", "value")
            continue
        text = as_text(value)
        found.append({"label": option.optional_text("label", most=LONGEST_KEY) or text, "value": text})
    return found
