"""The same sandboxes for a plain user, who can give them no user of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import plain_user


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs these tests anyway")
def test_as_a_plain_user() -> None:
    plain_user.run_tests(Path(__file__).with_name("test_driver.py"))
