# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the playbook site: what it says of each host."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.filter.site_report import site_report

SERVICES = [{"servers": [{}, {}]}]
DONE = {"__ipvs_director_plan": {}, "__ipvs_site_done": True, "__ipvs_director_services": SERVICES}


@pytest.mark.parametrize(
    ("known", "line"),
    [
        (DONE, "done; 1 service with 2 servers"),
        ({}, "nothing was run"),
        ({"__ipvs_backend_plan": {"services": []}}, "done; server of 0 services"),
        ({"__ipvs_site_kept": ["director1"]}, "done; nothing is removed, because director1 is not done"),
        ({**DONE, "__ipvs_site_failed": "why"}, "failed: why"),
        ({**DONE, "__ipvs_site_skipped": "why"}, "skipped, because why"),
        (
            {**DONE, "__ipvs_director_table": {"changed": True, "not_added": ["-t 192.0.2.1:80 -r 192.0.2.2:80"]}},
            "done; 1 service with 1 server; changed: table; "
            "not added, because their hosts are not ready: -t 192.0.2.1:80 -r 192.0.2.2:80",
        ),
    ],
)
def test_each_host_has_a_line(known: dict[str, Any], line: str) -> None:
    assert site_report(["host1"], {"host1": known}, ["host1"]) == [f"host1: {line}"]


def test_a_run_in_check_mode_has_done_nothing() -> None:
    [line] = site_report(["host1"], {"host1": DONE}, ["host1"], checked=True)
    assert line == "host1: checked; 1 service with 2 servers"


def test_what_the_lint_found_is_listed_once_and_stops_its_hosts() -> None:
    verdict = {"problems": ["bad"], "warnings": ["odd"], "not_checked": ["unknown"]}
    hosts = {"host1": {"__ipvs_lint": verdict, "__ipvs_site_failed": "bad"}, "host2": {"__ipvs_lint": verdict}}
    assert site_report(["host1", "host2"], hosts, ["host1"]) == [
        "host1: not done, because the inventory has problems",
        "host2: not done, because the inventory has problems",
        "inventory:",
        "  problem: bad",
        "  warning: odd",
        "  warning: unknown",
    ]


def test_a_host_that_is_gone_is_not_done() -> None:
    assert site_report(["host1"], {"host1": DONE}, [])[0].startswith("host1: not done: unreachable")
