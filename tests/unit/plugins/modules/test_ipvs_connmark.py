# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_connmark: what it does not share with ipvs_mark."""

from __future__ import annotations

import copy
import re
from typing import Any, Callable

import pytest

from plugins.module_utils import _management, _traffic_task
from plugins.modules import ipvs_connmark
from tests.unit.fake_nft import FakeNft


@pytest.fixture
def run(run_main: Callable[..., Any], fake_nft: FakeNft, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(_management, "management_connection", lambda: {"address": "198.51.100.11", "port": 22})
    monkeypatch.setattr(_traffic_task, "interfaces", lambda: [(1, "eth1")])

    def call(check: bool = False, **params: Any) -> Any:
        purge = {} if "state" in params else {"purge": "owned"}
        return run_main(ipvs_connmark.main, {**purge, **params}, check=check)

    return call


CONNECTION = {
    "fwmark": 101,
    "family": "ipv4",
    "addresses": ["198.51.100.11"],
    "ports": [8443],
    "protocols": ["tcp"],
    "macs": ["00:00:5e:00:53:01"],
}
OTHER = {**CONNECTION, "fwmark": 102, "macs": ["00:00:5e:00:53:02"]}
INTERFACE = {
    **{name: value for name, value in CONNECTION.items() if name != "macs"},
    "ports": [80],
    "interfaces": ["eth1"],
}


def test_the_four_modes(fake_nft: FakeNft, run: Any) -> None:
    connections = [CONNECTION, OTHER, INTERFACE]
    checked = run(check=True, connections=connections)
    assert fake_nft.writes == []
    done = run(connections=connections)
    assert done == checked
    assert done["diff"]["after"].splitlines() == [
        "table ip l4lb_connmark: tcp 198.51.100.11:80 on eth1 mark 101",
        "table ip l4lb_connmark: tcp 198.51.100.11:8443 from 00:00:5e:00:53:01 mark 101",
        "table ip l4lb_connmark: tcp 198.51.100.11:8443 from 00:00:5e:00:53:02 mark 102",
    ]
    assert done["connections"] == connections
    for again in (run(connections=connections[::-1]), run(connections=done["connections"], check=True)):
        assert not again["changed"]
    assert len(fake_nft.writes) == 1
    assert run(state="absent")["changed"]
    assert fake_nft.tables == {}


def test_a_mark_that_nothing_has_any_more_is_not_restored(fake_nft: FakeNft, run: Any) -> None:
    run(connections=[CONNECTION, OTHER])
    assert "ct mark 102 meta mark set 102" in fake_nft.writes[-1]
    run(connections=[CONNECTION])
    assert "ct mark 101 meta mark set 101" in fake_nft.writes[-1]
    assert "102" not in fake_nft.writes[-1]


def test_a_rule_added_by_another_hand_is_removed(fake_nft: FakeNft, run: Any) -> None:
    run(connections=[CONNECTION])
    wanted = copy.deepcopy(fake_nft.tables)
    fake_nft.tables[("ip", "l4lb_connmark")].append({"rule": {"handle": 99}})
    assert run(connections=[CONNECTION])["changed"]
    assert fake_nft.tables == wanted


def test_n15_r05_the_connection_of_the_task_is_not_rerouted(fake_nft: FakeNft, run: Any) -> None:
    connection = {**CONNECTION, "ports": ["1-1024"]}
    refused = run(connections=[connection])
    assert refused["msg"].startswith("connections[0]: has the address and port through which this task is connected")
    assert fake_nft.writes == []
    assert run(connections=[connection], force=True)["changed"]


def connection(**changes: Any) -> dict[str, Any]:
    return {"connections": [{**CONNECTION, **changes}]}


BAD = {
    "C04-no-mac": (connection(macs=[]), r"connections\[0\]\.macs: must not be empty"),
    "short-mac": (connection(macs=["00:00:5e:00:53"]), r"macs\[0\]: must be a hardware address of six pairs"),
    "mac-with-dashes": (connection(macs=["00-00-5e-00-53-01"]), r"macs\[0\]: must be a hardware address of six pairs"),
    "N01-in-a-mac": (connection(macs=["00:00:5e:00:53:01; accept"]), r"macs\[0\]: must be a hardware address"),
    "broadcast-mac": (connection(macs=["ff:ff:ff:ff:ff:ff"]), r"macs\[0\]: must be the hardware address of one device"),
    "zero-mac": (connection(macs=["00:00:00:00:00:00"]), r"macs\[0\]: must be the hardware address of one device"),
    "C15-mac": (connection(macs=["00:00:5e:00:53:01", "00:00:5E:00:53:01"]), r"macs: must not name a thing twice"),
    "N07-ranges": (
        {"connections": [CONNECTION, INTERFACE, {**INTERFACE, "ports": ["79-81"]}]},
        r"\[2\]: overlaps connections\[1\]",
    ),
    "N07-mac-and-interface": (
        {"connections": [CONNECTION, {**INTERFACE, "ports": [8443]}]},
        r"connections\[1\]: overlaps connections\[0\]",
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
