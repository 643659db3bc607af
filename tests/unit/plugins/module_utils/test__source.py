# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that lists services."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from plugins.module_utils._errors import Findings, InvalidInput, Unavailable
from plugins.module_utils._source import load

SERVICES = [
    {"address": "192.0.2.10", "port": 80, "servers": [{"address": "198.51.100.11", "weight": 2}]},
    {"fwmark": 7, "family": "ipv6", "servers": []},
]
YAML = """
---
# ours
- address: 192.0.2.10
  port: 80
  servers:
    - {address: 198.51.100.11, weight: 2}
- fwmark: 7
  family: ipv6
  servers: []
"""
INDENTED = "services:" + YAML.split("# ours")[1].replace("\n", "\n  ")


def read(path: Path, text: str) -> object:
    path.write_text(text, encoding="utf-8")
    findings = Findings()
    found = load(str(path), findings)
    findings.raise_problems()
    return found


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SERVICES),
        json.dumps(SERVICES, indent=2),
        json.dumps({"changed": False, "services": SERVICES}),
        YAML,
        INDENTED,
    ],
)
def test_yaml_and_json_hold_the_list_or_a_dict_of_it(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "services", text) == SERVICES


@pytest.mark.parametrize(
    "text",
    ["-A -t 192.0.2.10:80\n", "\n\n  --add-service -t 192.0.2.10:80\n", "# ours\n#\n\n# and\n-A -t 192.0.2.10:80\n"],
)
def test_commands_are_told_by_their_first_word(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "x", text) == [{"protocol": "tcp", "address": "192.0.2.10", "port": "80", "servers": []}]


def test_a_bad_command_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^src line 2: unknown option --no \(got '-A --no'\)$"):
        read(tmp_path / "x", "-A -t 192.0.2.10:80\n-A --no\n")


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "null"])
def test_an_empty_file_is_no_empty_list(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "x", text) is None


@pytest.mark.parametrize("text", ["a: [", "- a\nb: c", "a: 2026-13-45", "!!python/name:os.system "])
def test_what_is_none_of_the_three_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^src: is neither YAML nor JSON nor ipvsadm commands: .") as caught:
        read(tmp_path / "x", text)
    assert "\n" not in str(caught.value)


def test_a_file_without_end_of_nesting_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^src: is nested too deeply"):
        read(tmp_path / "x", "[" * 100_000)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, told in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "binary", "can't decode byte 0xff"),
        (f"{tmp_path}/\0", "null"),
    ):
        with pytest.raises(InvalidInput, match=f"^src: cannot be read: .*{told}"):
            load(str(path), Findings())


def test_yaml_needs_pyyaml_and_json_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert read(tmp_path / "x", json.dumps(SERVICES)) == SERVICES
    with pytest.raises(Unavailable, match="install the package python3-yaml, or write JSON"):
        read(tmp_path / "x", YAML)
