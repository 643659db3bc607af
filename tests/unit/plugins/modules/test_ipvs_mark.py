# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_mark: the whole module on an nft that keeps tables and numbers their objects as the real one does."""

from __future__ import annotations

import copy
import re
from typing import Any, Callable

import pytest

from plugins.module_utils import _kernel, _management, _traffic, _traffic_task
from plugins.modules import ipvs_mark
from tests.unit.fake_nft import FakeNft


@pytest.fixture
def run(run_main: Callable[..., Any], fake_nft: FakeNft, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(_management, "management_connection", lambda: {"address": "192.0.2.22", "port": 22})
    monkeypatch.setattr(_traffic_task, "interfaces", lambda: [(1, "lo"), (2, "eth0")])

    def call(check: bool = False, **params: Any) -> Any:
        purge = {} if "state" in params else {"purge": "owned"}
        return run_main(ipvs_mark.main, {**purge, **params}, check=check)

    return call


MARK = {"fwmark": 80, "family": "ipv4", "addresses": ["192.0.2.10"], "ports": [80, 443], "protocols": ["tcp"]}
MARK6 = {"fwmark": 80, "family": "ipv6", "addresses": ["2001:db8::10"], "ports": ["8000-8010"], "protocols": ["udp"]}
RANGE = {"fwmark": 2**32 - 1, "family": "ipv4", "addresses": ["192.0.2.11"], "interfaces": ["eth0"]}


def test_the_four_modes(fake_nft: FakeNft, run: Any) -> None:
    checked = run(check=True, marks=[MARK])
    assert checked["changed"]
    assert fake_nft.writes == []
    done = run(marks=[MARK])
    assert done == checked
    lines = "table ip l4lb_mark: tcp 192.0.2.10:80 mark 80\ntable ip l4lb_mark: tcp 192.0.2.10:443 mark 80\n"
    assert done["diff"] == {"before": "", "after": lines}
    assert done["marks"] == [MARK]
    assert list(fake_nft.tables) == [("ip", "l4lb_mark")]
    for again in (run(marks=[MARK]), run(check=True, marks=[MARK]), run(marks=done["marks"])):
        assert not again["changed"]
        assert again["diff"] == {"before": lines, "after": lines}
    assert len(fake_nft.writes) == 1


def test_every_kind_of_mark(fake_nft: FakeNft, run: Any) -> None:
    done = run(marks=[MARK, RANGE, MARK6])
    assert done["diff"]["after"].splitlines() == [
        "table ip l4lb_mark: tcp 192.0.2.10:80 mark 80",
        "table ip l4lb_mark: tcp 192.0.2.10:443 mark 80",
        "table ip l4lb_mark: tcp 192.0.2.11:* on eth0 mark 4294967295",
        "table ip6 l4lb_mark: udp [2001:db8::10]:8000-8010 mark 80",
    ]
    assert len(fake_nft.writes) == 1
    assert not run(marks=done["marks"][::-1])["changed"]


def test_what_is_not_listed_is_kept_unless_it_is_purged(fake_nft: FakeNft, run: Any) -> None:
    run(marks=[MARK, MARK6])
    kept = run(marks=[{**MARK, "fwmark": 81, "ports": [443, 444]}], purge="none")
    assert kept["diff"]["after"].splitlines() == [
        "table ip l4lb_mark: tcp 192.0.2.10:80 mark 80",
        "table ip l4lb_mark: tcp 192.0.2.10:443-444 mark 81",
        "table ip6 l4lb_mark: udp [2001:db8::10]:8000-8010 mark 80",
    ]
    assert (kept["unlisted"], kept["replaced"]) == (2, ["ip l4lb_mark"])
    left = run(marks=[], purge="none")
    assert (left["changed"], left["unlisted"], left["replaced"]) == (False, 3, [])
    gone = run(marks=[], purge="owned")
    assert (gone["unlisted"], gone["replaced"]) == (3, ["ip l4lb_mark", "ip6 l4lb_mark"])
    assert fake_nft.tables == {}


def test_removal(fake_nft: FakeNft, run: Any) -> None:
    run(marks=[MARK, MARK6])
    assert run(check=True, state="absent")["changed"]
    assert len(fake_nft.tables) == 2
    assert run(state="absent")["diff"]["after"] == ""
    assert fake_nft.tables == {}
    assert not run(state="absent")["changed"]


def test_n03_other_tables_stay_as_they_are(fake_nft: FakeNft, run: Any) -> None:
    foreign = {("ip", "mangle"): [{"chain": {"name": "PREROUTING", "handle": 1}}], ("inet", "l4lb_mark"): []}
    fake_nft.tables.update(copy.deepcopy(foreign))  # type: ignore[arg-type]
    for params in ({"marks": [MARK, MARK6]}, {"marks": [MARK]}, {"state": "absent"}):
        assert run(**params)["changed"]
        assert {name: fake_nft.tables[name] for name in foreign} == foreign
    assert fake_nft.tables == foreign


@pytest.mark.parametrize("how", ["element", "mark", "rule"])
def test_a_table_changed_by_another_hand_is_restored(fake_nft: FakeNft, run: Any, how: str) -> None:
    run(marks=[MARK])
    wanted = copy.deepcopy(fake_nft.tables)
    objects = fake_nft.tables[("ip", "l4lb_mark")]
    (content,) = [entry["map"] for entry in objects if "map" in entry]
    if how == "element":
        content["elem"].append([{"concat": ["192.0.2.99", 1]}, 80])
    elif how == "mark":
        content["elem"][0][1] = 81
    else:
        objects.append({"rule": {"handle": 99}})
    done = run(marks=[MARK])
    assert done["changed"]
    assert done["diff"]["before"] != done["diff"]["after"]
    assert fake_nft.tables == wanted


def test_check_mode_does_not_load_nf_tables(fake_nft: FakeNft, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernel, "module_loaded", lambda name: name != "nf_tables")
    monkeypatch.setattr(fake_nft, "run", lambda argv, data: pytest.fail(f"ran {argv}"))
    assert run(check=True, marks=[MARK])["changed"]


def test_what_the_kernel_does_not_hold_is_told(fake_nft: FakeNft, run: Any) -> None:
    fake_nft.deaf = True
    assert "the kernel does not hold it as written" in run(marks=[MARK])["msg"]


def test_c14_warns_of_an_interface_that_is_not_there(fake_nft: FakeNft, run: Any) -> None:
    for check in (True, False):
        done = run(marks=[RANGE, {**MARK, "interfaces": ["eth0", "eth9"]}], check=check)
        assert done["warnings"] == [
            "marks[1].interfaces: no such interface yet, so that nothing comes in by it; known: eth0, lo (got 'eth9')"
        ]
    assert fake_nft.writes != []


@pytest.mark.parametrize(
    ("changes", "captures"),
    [
        ({"ports": [22]}, True),
        ({"ports": ["1-1024"]}, True),
        ({"ports": None}, True),
        ({"ports": [23]}, False),
        ({"protocols": ["udp"], "ports": [22]}, False),
        ({"addresses": ["192.0.2.10"], "ports": [22]}, False),
    ],
)
def test_n15_the_connection_of_the_task_is_not_taken(fake_nft: FakeNft, run: Any, changes: Any, captures: bool) -> None:
    mark = {name: value for name, value in {**MARK, "addresses": ["192.0.2.22"], **changes}.items() if value}
    refused = run(marks=[mark])
    assert refused["failed"] == captures
    if captures:
        assert refused["msg"] == (
            "marks[0]: has the address and port through which this task is connected; force accepts it "
            "(got '192.0.2.22 port 22')"
        )
        assert fake_nft.writes == []
        assert run(check=True, marks=[mark])["msg"] == refused["msg"]
    assert not run(marks=[mark], force=True)["failed"]
    assert fake_nft.writes != []


def test_without_a_connection_there_is_none_to_take(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_management, "management_connection", lambda: None)
    assert not run(marks=[{**MARK, "addresses": ["192.0.2.22"], "ports": [22]}])["failed"]


def mark(**changes: Any) -> dict[str, Any]:
    return {"marks": [{**MARK, **changes}]}


INJECTION = "filter; flush ruleset"
BAD = {
    "C01-macs-of-another-module": (mark(macs=["00:00:5e:00:53:01"]), r"marks\[0\]\.macs: unknown key"),
    "C02-everything": ({"marks": [{}]}, r"\.fwmark: is required; .*\.family: is required; .*\.addresses: is required"),
    "C02-nothing": ({}, r"marks: is required with state present"),
    "C03-text-for-addresses": (mark(addresses="192.0.2.10"), r"marks\[0\]\.addresses: must be a list"),
    "C03-nested-list": (mark(addresses=[["192.0.2.10"]]), r"marks\[0\]\.addresses\[0\]: must be a string"),
    "C04-no-address": (mark(addresses=[]), r"marks\[0\]\.addresses: must not be empty"),
    "C04-no-port": (mark(ports=[]), r"marks\[0\]\.ports: must not be empty"),
    "C04-null-protocols": (mark(protocols=None), r"marks\[0\]\.protocols: must not be empty"),
    "C06-blank-in-a-port": (mark(ports=["80 "]), r"marks\[0\]\.ports\[0\]: must not begin or end with a blank"),
    "C06-wide-digits-in-a-port": (
        mark(ports=["\uff18\uff10"]),
        r"marks\[0\]\.ports\[0\]: must be a decimal integer 1\.\.65535",
    ),
    "C07-boolean-port": (mark(ports=[True]), r"marks\[0\]\.ports\[0\]: must be a decimal integer"),
    "C07-octal-port": (mark(ports=["080"]), r"marks\[0\]\.ports\[0\]: must be a decimal integer"),
    "C07-octal-range": (mark(ports=["080-90"]), r"marks\[0\]\.ports\[0\]: must be a decimal integer"),
    "C08-port-0": (mark(ports=[0]), r"marks\[0\]\.ports\[0\]: must be an integer 1\.\.65535"),
    "C08-port-65536": (mark(ports=["1-65536"]), r"marks\[0\]\.ports\[0\]: must be an integer 1\.\.65535"),
    "half-a-range": (mark(ports=["80-"]), r"marks\[0\]\.ports\[0\]: must be a decimal integer"),
    "range-with-a-colon": (mark(ports=["8000:8010"]), r"marks\[0\]\.ports\[0\]: must be a decimal integer"),
    "C08-mark-0": (mark(fwmark=0), r"marks\[0\]\.fwmark: must be an integer 1\.\.4294967295"),
    "C08-mark-too-large": (mark(fwmark=2**32), r"marks\[0\]\.fwmark: must be an integer 1\.\.4294967295"),
    "C07-hexadecimal-mark": (mark(fwmark="0x7"), r"marks\[0\]\.fwmark: must be a decimal integer"),
    "C14-alias": (mark(interfaces=["eth0:1"]), r"marks\[0\]\.interfaces\[0\]: must be the name of a device"),
    "C14-quote": (mark(interfaces=['eth0"']), r"marks\[0\]\.interfaces\[0\]: must be an interface name"),
    "C15-address": (
        mark(addresses=["192.0.2.10", "192.0.2.10"]),
        r"marks\[0\]\.addresses: must not name a thing twice",
    ),
    # what they inject by has no option here, and every value ends as a number, an address or a checked name
    "N01-table": ({"table": INJECTION, "marks": [MARK]}, r"Unsupported parameters.*table"),
    "N01-in-an-address": (
        mark(addresses=[INJECTION]),
        r"marks\[0\]\.addresses\[0\]: must be an IP address; host names are not resolved",
    ),
    "N01-in-an-interface": (mark(interfaces=[INJECTION]), r"marks\[0\]\.interfaces\[0\]: must be an interface name"),
    "N01-in-a-port": (mark(ports=[INJECTION]), r"marks\[0\]\.ports\[0\]: must be a decimal integer"),
    "N01-in-a-protocol": (mark(protocols=[INJECTION]), r"marks\[0\]\.protocols\[0\]: must be one of tcp, udp, sctp"),
    "N02-family-arp": (mark(family="arp"), r"marks\[0\]\.family: must be one of ipv4, ipv6"),
    "N04-priority": ({"priority": "mangle; drop", "marks": [MARK]}, r"Unsupported parameters.*priority"),
    "N06-address": (
        mark(addresses=["2001:db8::10"]),
        r"marks\[0\]\.addresses: must be of family ipv4 \(got '2001:db8::10'\)",
    ),
    "N07-ranges": (
        {"marks": [{**MARK, "ports": ["70-90"]}, {**MARK, "ports": ["90-99"], "fwmark": 81}]},
        r"marks\[1\]: overlaps marks\[0\] \(got 'tcp 192\.0\.2\.10:90'\)",
    ),
    "N08-unspecified": (
        mark(addresses=["0.0.0.0"]),
        r"marks\[0\]\.addresses\[0\]: must not be the unspecified address",
    ),
    "N08-everything": (
        mark(addresses=["0.0.0.0/0"]),
        r"marks\[0\]\.addresses\[0\]: must be an IP address without a prefix length",
    ),
    "N09-reversed": (mark(ports=["90-80"]), r"marks\[0\]\.ports\[0\]: must be a range from a lower to a higher port"),
    "N12-snippet": ({"snippet": "x" * 2**20, "marks": [MARK]}, r"Unsupported parameters.*snippet"),
    "all-at-once": (
        {"marks": [{**MARK, "ports": ["x"]}, {**MARK, "fwmark": -1}]},
        r"\[0\]\.ports\[0\]: .*\[1\]\.fwmark: ",
    ),
}


@pytest.mark.parametrize(("params", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_written(
    fake_nft: FakeNft, run: Any, params: Any, message: str
) -> None:
    refused = run(**params)
    assert refused["failed"]
    assert re.search(message, refused["msg"]), refused["msg"]
    assert fake_nft.writes == []
    assert run(check=True, **params)["msg"] == refused["msg"]


def test_c09_the_number_of_marks_is_limited(fake_nft: FakeNft, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_traffic, "MAX_ITEMS", 2)
    assert run(marks=[MARK] * 3)["msg"] == "marks: must have at most 2 items (has 3)"
    assert fake_nft.writes == []
