"""The same tests as a plain user, who has no powers but those that every user of the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import plain_user

SUITES = (
    "exec",
    "warm",
    "users",
    "volumes",
    "gpus",
    "files",
    "life",
    "escape",
    "hostile",
    "survival",
    "network",
    "select",
)


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs these tests anyway")
def test_as_a_plain_user() -> None:
    plain_user.run_tests(*(Path(__file__).with_name(f"test_{name}.py") for name in SUITES))
