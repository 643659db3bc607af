# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the scenarios' tests. They run against a lab that is up: ``molecule converge -s SCENARIO`` makes one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "shared"))

import nodes  # noqa: E402


@pytest.fixture(scope="session")
def scenario(request: pytest.FixtureRequest) -> str:
    """The name of the scenario: of the directory that the tests are in, or for shared ones as molecule says."""
    name = Path(request.session.items[0].path).relative_to(HERE).parts[0]
    return os.environ["MOLECULE_SCENARIO_NAME"] if name == "shared" else name


@pytest.fixture(scope="session")
def pristine(scenario: str) -> nodes.States:
    """The states before the collection came."""
    return nodes.recorded(scenario, "pristine")


@pytest.fixture(scope="session")
def by_hand(scenario: str) -> nodes.States:
    """The states after the document's own commands."""
    return nodes.recorded(scenario, "by_hand")


@pytest.fixture(scope="session")
def now() -> nodes.States:
    """The states when the first test asks for them."""
    return nodes.states()


@pytest.fixture(scope="session")
def inventory(scenario: str) -> dict[str, Any]:
    """The variables of the scenario."""
    return yaml.safe_load((HERE / scenario / "inventory" / "group_vars" / "all.yml").read_text())
