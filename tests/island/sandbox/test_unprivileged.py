"""The same tests as a plain user, who has no powers but those that every user of the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import plain_user

# About as long each, so that workers can share them.
SUITES = (
    ("exec", "warm", "files"),
    ("hostile", "survival", "select"),
    ("life", "volumes", "users"),
    ("escape", "network", "gpus"),
)


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs these tests anyway")
@pytest.mark.parametrize("names", SUITES, ids="-".join)
def test_as_a_plain_user(names: tuple[str, ...]) -> None:
    plain_user.run_tests(*(Path(__file__).with_name(f"test_{name}.py") for name in names))
