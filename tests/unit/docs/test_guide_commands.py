# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of commands claims no more than the scenarios type."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"   \* - ``(?P<command>.+)``\n     - .+\n     - (?P<scenario>.+)\n")
ROWS = [
    (row["command"], row["scenario"])
    for row in ROW.finditer((ROOT / "docs" / "docsite" / "rst" / "guide_commands.rst").read_text())
]
NAMES = re.compile(r"\b(?:VIP|RIP|DIP|CIP|DEV)\b")


def typed(scenario: str) -> list[str]:
    """The lines of a scenario's own commands, on any of its nodes."""
    files = [path for path in (ROOT / "molecule" / scenario).glob("by_hand*/**/*") if path.is_file()]
    files += (ROOT / "molecule" / scenario).glob("by_hand.sh")
    return [" ".join(line.split()) for path in files for line in path.read_text().splitlines()]


def test_every_command_has_its_row() -> None:
    page = (ROOT / "docs" / "docsite" / "rst" / "guide_commands.rst").read_text()
    tables = [part for part in page.split(".. list-table::") if "   * - Command\n" in part]
    assert len(ROWS) == sum(part.count("   * - ") - 1 for part in tables) == 31


@pytest.mark.parametrize(("command", "told"), ROWS)
def test_a_scenario_types_the_commands_that_the_page_gives_it(command: str, told: str) -> None:
    scenario, otherwise = re.fullmatch(r"``(\w+)``(?:, as ``(.+)``)?", told).groups()
    words = NAMES.split(otherwise or command)
    pattern = re.compile(r"[^\s:/]+".join(map(re.escape, words)) + r"(?:\s+#.*)?$")
    assert any(pattern.match(line) for line in typed(scenario))
