# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.faults.director import Director, Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    held = os.environ.get("L4LB_FAULTS_LAB")
    one = Lab(held or f"faults-{os.getpid()}")
    if not held:
        one.do("up", "--topology", "faults")
    try:
        yield one
    finally:
        if not held:
            one.do("down")


@pytest.fixture(scope="session")
def director(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Director:
    return Director(lab, tmp_path_factory.mktemp("director"))
