# SPDX-License-Identifier: GPL-3.0-or-later
"""_nft: what is run, in which order, and what is made of the answers."""

from __future__ import annotations

import json
from typing import Any, Optional

import pytest

from plugins.module_utils import _nft
from plugins.module_utils._errors import Forbidden, IpvsError, Unavailable
from plugins.module_utils._nft import LiveTable, TableName

NAME = TableName("ip", "l4lb_test")


class Runner:
    def __init__(self, *answers: tuple[int, str, str]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[list[str], Optional[str]]] = []

    def run(self, argv: list[str], data: Optional[str] = None) -> tuple[int, str, str]:
        self.calls.append((argv, data))
        return self.answers.pop(0) if self.answers else (0, "", "")


def answer(*objects: dict[str, Any]) -> tuple[int, str, str]:
    return 0, json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *objects]}), ""


def test_tables() -> None:
    runner = Runner(answer(), (0, "table ip nat\ntable inet x-1\n", ""))
    assert _nft.tables(runner) == {TableName("ip", "nat"), TableName("inet", "x-1")}
    assert runner.calls == [(["nft", "-j", "list", "tables"], None), (["nft", "list", "tables"], None)]


def test_a_dormant_table_of_others_does_not_matter() -> None:
    """nft 1.0.6, Debian 12: what it prints where a table is dormant."""
    broken = '{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, {"table": {"flags": \n'
    assert _nft.tables(Runner((0, broken, ""), (0, "table ip b\n", ""))) == {TableName("ip", "b")}


def test_read() -> None:
    runner = Runner(
        answer(
            {"table": {"family": "ip", "name": "l4lb_test", "handle": 77}},
            {"set": {"name": "s", "handle": 2}},
            {"map": {"name": "m", "handle": 3}},
            {"chain": {"name": "c", "handle": 1}},
            {"rule": {"handle": 4, "comment": "x"}},
        )
    )
    table = _nft.read(runner, NAME)
    assert runner.calls == [(["nft", "-j", "list", "table", "ip", "l4lb_test"], None)]
    assert sorted(table.sets) == ["m", "s"]
    assert [rule["comment"] for rule in table.rules] == ["x"]
    assert table.objects == 4
    assert table.untouched


@pytest.mark.parametrize(
    ("handles", "untouched"), [([1, 2, 3], True), ([3, 1, 2], True), ([], True), ([1, 3], False), ([2, 3], False)]
)
def test_a_gap_in_the_numbers_tells_a_change(handles: list[int], untouched: bool) -> None:
    assert LiveTable([{"rule": {"handle": handle}} for handle in handles]).untouched is untouched


def test_a_table_is_replaced_whole() -> None:
    assert _nft.replaced(NAME, "\tchain c {\n\t}\n") == (
        "table ip l4lb_test\ndelete table ip l4lb_test\ntable ip l4lb_test {\n\tchain c {\n\t}\n}\n"
    )
    assert _nft.replaced(NAME, "") == "table ip l4lb_test\ndelete table ip l4lb_test\n"


def test_apply_checks_before_it_writes() -> None:
    runner = Runner()
    _nft.apply(runner, ["a\n", "b\n"])
    assert runner.calls == [(["nft", "-c", "-f", "-"], "a\nb\n"), (["nft", "-f", "-"], "a\nb\n")]


def test_apply_writes_nothing_that_the_check_refused() -> None:
    runner = Runner((1, "", "/dev/stdin:3:1-2: Error: syntax error\na\n^\n"))
    with pytest.raises(IpvsError, match=r"^nft could not change the table: Error: syntax error$"):
        _nft.apply(runner, ["a\n"])
    assert len(runner.calls) == 1


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        ((1, "", "Operation not permitted (you must be root)"), Forbidden, "CAP_NET_ADMIN"),
        ((1, "", "Error: JSON support not compiled-in"), Unavailable, "without JSON support"),
        ((1, "", "Error: Could not process rule: Protocol not supported"), IpvsError, "Protocol not supported"),
        ((1, "", ""), IpvsError, "nft could not list tables: no reason given"),
        ((0, "table ip nat", ""), Unavailable, "not JSON"),
        ((0, "{}", ""), Unavailable, "not JSON"),
        ((0, '{"nftables": [{"metainfo": {"version": "0.9.8"}}]}', ""), Unavailable, "nft 0.9.8 is too old: 1.0.0"),
    ],
)
def test_answers_that_are_none(reply: tuple[int, str, str], error: type[IpvsError], message: str) -> None:
    with pytest.raises(error, match=message):
        _nft.tables(Runner(reply))


@pytest.mark.parametrize("version", ["1.0.0", "1.0.6", "1.1.1", "2.0"])
def test_versions_that_will_do(version: str) -> None:
    reply = (0, json.dumps({"nftables": [{"metainfo": {"version": version}}]}), "")
    assert _nft.tables(Runner(reply)) == set()
