# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench's own judgement: a bench that cannot find fault measures nothing."""

from __future__ import annotations

import copy
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._errors import Findings
from plugins.module_utils._model import parse_services
from plugins.module_utils._text import table_lines

BENCH = Path(__file__).resolve().parents[1] / "bench"


def loaded(name: str) -> Any:
    loader = importlib.machinery.SourceFileLoader(f"bench_{name}", str(BENCH / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield loaded("run")


RUN = {
    "start": 0.5,
    "whole": 2.0,
    "phases": {"read": 0.5, "write": 0.25},
    "counts": {"add_service": 1},
    "operations": ["-A"],
}
QUIET = {**RUN, "counts": {}, "operations": []}
MODULE = {
    "what": "module",
    "subject": "K",
    "table": "same",
    "save": 1.0,
    "check": RUN,
    "apply": RUN,
    "rules": RUN,
    "second": QUIET,
    "purge": QUIET,
    "edit": {**RUN, "counts": {"edit_server": 1}},
}
IPVSADM = {"what": "ipvsadm", "subject": "K", "table": "same", "save": 1.0, "restore": 1.0}
TRACE = {"what": "trace", "subject": "K", "check": 0, "second": 0, "purge": 0, "edit": 1}


def results(bench: Any, **changes: Any) -> Any:
    module, trace = copy.deepcopy(MODULE), dict(TRACE)
    for name, value in changes.items():
        (trace if name.startswith("trace_") else module)[name.removeprefix("trace_")] = value
    return bench.Results([IPVSADM, module, trace], {})


def test_both_tools_are_given_the_same_table(bench: Any) -> None:
    findings = Findings()
    table = parse_services(bench.tables.services("S"), "services", findings)
    findings.raise_problems()
    assert not findings.warnings
    assert sorted(table_lines(table)) == sorted(bench.tables.rules("S"))


def test_a_run_without_faults_has_none(bench: Any) -> None:
    assert results(bench).faults() == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"table": "another"}, "K: the tools made different tables"),
        ({"check": QUIET}, "K: check mode told other operations than the real run"),
        ({"rules": QUIET}, "K: the file of ipvsadm led to other operations than the services"),
        ({"second": RUN}, "K: the second run, the purge or the edit did something else than meant"),
        ({"purge": RUN}, "K: the second run, the purge or the edit did something else than meant"),
        ({"edit": QUIET}, "K: the second run, the purge or the edit did something else than meant"),
        ({"trace_second": 1}, "K: these runs sent so many messages that write: check 0, second 1, purge 0, edit 1"),
        ({"trace_purge": 1}, "K: these runs sent so many messages that write: check 0, second 0, purge 1, edit 1"),
        ({"trace_edit": 0}, "K: these runs sent so many messages that write: check 0, second 0, purge 0, edit 0"),
    ],
)
def test_a_fault_is_told(bench: Any, changes: dict[str, Any], fault: str) -> None:
    assert results(bench, **changes).faults() == [fault]


def test_ratios_are_held_to_their_bars(bench: Any) -> None:
    lines, missed = bench.report(results(bench), ["K"])
    assert next(line for line in lines if line.startswith("encode, send")).split()[-2:] == ["0.25", "0.30"]
    assert missed == [
        "K: whole module from empty / --restore: 2.00, the bar is 0.8",
        "K: whole module from empty, src as ipvsadm has it / --restore: 2.00, the bar is 0.8",
        "K: check mode / real run: 1.00, the bar is 0.6",
    ]


@pytest.mark.parametrize(("loop", "held"), [(29.0, False), (30.0, True)])
def test_some_bars_are_a_least(bench: Any, loop: float, held: bool) -> None:
    [plays] = [one for one in bench.OTHER_BARS if one.least]
    assert plays.holds(plays.value(bench.Results([], {"loop": loop, "bulk": 1.0}), "")) == held


def test_a_run_without_tables_is_judged_by_what_it_measured(bench: Any) -> None:
    runs = {name: {**RUN, "mebibytes": size} for name, size in (("apply", 390), ("second", 401), ("purge", 395))}
    starts = [("bench_empty", 1.0), ("ipvs_table", 1.2)]
    measured = [
        {"what": "memory", "subject": "W", **runs},
        *({"what": "start", "subject": f"{name}.payload", "seconds": seconds} for name, seconds in starts),
    ]
    dummy, missed = bench.report(bench.Results(measured, {"loop": 29.0, "bulk": 1.0}), ["W"])
    assert missed == [
        "200 items: play with a loop / with one task: 29.00, the bar is 30",
        "peak memory on W, MiB: 401.00, the bar is 400",
        "start to first netlink byte / an empty module's: 1.20, the bar is 1.15",
    ]


def test_commands_are_counted_in_a_trace() -> None:
    node = loaded("node.py")
    head = '[{nlmsg_len=20, nlmsg_type=0x1c /* NLMSG_??? */, nlmsg_flags=0x301, nlmsg_seq=2, nlmsg_pid=0}, "\\x'
    resolve = head.replace("0x1c /* NLMSG_??? */", "nlctrl")
    lines = [f'7 sendto(3, {resolve}03\\x01"], 20, 0) = 20', f'7 sendto(3, {head}04\\x01"], 20, 0) = 20']
    lines.append(f'7 sendto(3, [{head}06\\x01"], {head}05\\x01"]], 40, 0) = 40')
    assert list(node.commands("\n".join(lines))) == [4, 6, 5]
    assert {4, 6, 5} - node.READS == {6, 5}


def test_a_step_that_became_slower_is_told(bench: Any) -> None:
    found = dict(bench.native.BOUNDS)
    assert bench.native.slow(found) == []
    assert bench.native.slow({**found, "read": found["read"] + 0.1}) == ["read"]
