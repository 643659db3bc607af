# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of every key of ipvs_services has the keys, values and defaults that the code has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from plugins.filter.resolve_services import resolve_services
from plugins.module_utils import _model
from plugins.module_utils._errors import Findings
from plugins.plugin_utils._resolve import _SAID, PREPARED, RETURN_PATHS

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "docsite" / "rst" / "guide_services.rst"
INVENTORY = {
    "hostvars": {"web1": {"ipvs_address": "198.51.100.21"}},
    "groups": {"web": ["web1"], "pair1": ["director1"]},
    "pools": {"web": {"servers": [{"address": "198.51.100.31"}]}},
}
#: What an example needs beside itself.
NEEDS: dict[str, dict[str, Any]] = {
    "family": {"fwmark": 7},
    "fwmark": {"family": "ipv4"},
    "mark": {"fwmark": 7, "family": "ipv4"},
    "persistence_engine": {"protocol": "udp", "persistence_timeout": 300},
    "persistence_netmask": {"persistence_timeout": 300},
    "return_path": {"forward": "nat"},
    "scheduler_flags": {"scheduler": "mh"},
    "one_packet": {"protocol": "udp"},
    "lower_threshold": {"upper_threshold": 1000},
    "tunnel_type": {"forward": "tun"},
    "tunnel_port": {"forward": "tun", "tunnel_type": "gue"},
    "tunnel_checksum": {"forward": "tun", "tunnel_type": "gue", "tunnel_port": 6080},
}


class Row(NamedTuple):
    """One key as the page has it."""

    table: str
    key: str
    values: str
    default: str
    example: str


def rows() -> list[Row]:
    found = []
    for table, text in re.findall(
        r"^(The service|A server)\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", GUIDE.read_text(), re.M | re.S
    ):
        for cells in re.findall(r"   \* - (.*?)(?=\n   \* - |\Z)", text, re.S):
            key, values, default, example = (" ".join(cell.split()) for cell in re.split(r"\n     - ", cells))
            if key != "Key":
                found.append(Row(table, key.strip("`"), values, default, example.strip("`")))
    return found


ROWS = rows()


def resolved(row: Row, **given: Any) -> list[dict[str, Any]]:
    """The plain services of one that has what the key needs, and ``given``."""
    needs = {**NEEDS.get(row.key, {}), **given}
    if row.table == "A server":
        outer = {"forward": "nat"} if row.key in ("port", "return_path") else {}
        service = {"address": "192.0.2.10", "port": 80, **outer}
        return resolve_services([{**service, "servers": [{"address": "198.51.100.11", **needs}]}], **INVENTORY)
    keys = {*needs}
    identity: dict[str, Any] = {}
    if "fwmark" not in keys:
        identity = {} if "addresses" in keys else {"address": "192.0.2.10"}
        identity |= {} if "ports" in keys else {"port": 80}
    return resolve_services([{**identity, **needs}], **INVENTORY)


def name(row: Row) -> str:
    return f"{row.table} {row.key}"


def test_every_key_has_a_row() -> None:
    service = {field.name for field in _model.ENTRY_FIELDS} | {*_model.INVENTORY_KEYS}
    server = {field.name for field in _model.SERVER_FIELDS} | {*_SAID}
    listed = {table: [row.key for row in ROWS if row.table == table] for table in ("The service", "A server")}
    assert sorted(listed["The service"]) == sorted(service)
    assert sorted(listed["A server"]) == sorted(server)


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_every_example_is_accepted(row: Row) -> None:
    example = yaml.safe_load(row.example)
    assert [*example] == [row.key]
    assert resolved(row, **example)


@pytest.mark.parametrize("row", [row for row in ROWS if re.fullmatch(r"\d+|``[^`]+``", row.default)], ids=name)
def test_every_default_is_what_not_giving_the_key_means(row: Row) -> None:
    default = yaml.safe_load(row.default.strip("`"))

    def parsed(**given: Any) -> _model.Table:
        findings = Findings()
        table = _model.parse_services(resolved(row, **given), "services", findings)
        findings.raise_problems()
        return table

    assert parsed(**{row.key: default}) == parsed()


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        ("The service", "protocol", _model.PROTOCOLS),
        ("The service", "family", _model.FAMILIES),
        ("The service", "scheduler", _model.SCHEDULERS),
        ("The service", "persistence_engine", ["none", *_model.ENGINES]),
        ("The service", "forward", _model.FORWARDS),
        ("The service", "return_path", RETURN_PATHS),
        ("The service", "prepared", PREPARED),
        ("A server", "forward", _model.FORWARDS),
        ("A server", "tunnel_type", _model.TUNNEL_TYPES),
        ("A server", "tunnel_checksum", _model.TUNNEL_CHECKSUMS),
    ],
)
def test_every_word_that_a_key_takes_is_listed(table: str, key: str, words: Any) -> None:
    [row] = [row for row in ROWS if (row.table, row.key) == (table, key)]
    assert {*words} <= {*re.findall(r"``([^`]+)``", row.values)}
