# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_notrack: what it does not share with ipvs_mark."""

from __future__ import annotations

import copy
import re
from typing import Any, Callable

import pytest

from plugins.module_utils import _management
from plugins.modules import ipvs_notrack
from tests.unit.fake_nft import FakeNft


@pytest.fixture
def run(run_main: Callable[..., Any], fake_nft: FakeNft, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(_management, "management_connection", lambda: {"address": "192.0.2.22", "port": 22})

    def call(check: bool = False, **params: Any) -> Any:
        purge = {} if "state" in params else {"purge": "owned"}
        return run_main(ipvs_notrack.main, {**purge, **params}, check=check)

    return call


TRAFFIC = {"addresses": ["192.0.2.10", "2001:db8::10"], "ports": [80, "8000-8010"], "protocols": ["tcp", "udp"]}


def test_the_four_modes(fake_nft: FakeNft, run: Any) -> None:
    checked = run(check=True, traffic=[TRAFFIC])
    assert fake_nft.writes == []
    done = run(traffic=[TRAFFIC])
    assert done == checked
    assert done["diff"]["after"].splitlines() == [
        "table ip l4lb_notrack: tcp 192.0.2.10:80",
        "table ip l4lb_notrack: tcp 192.0.2.10:8000-8010",
        "table ip l4lb_notrack: udp 192.0.2.10:80",
        "table ip l4lb_notrack: udp 192.0.2.10:8000-8010",
        "table ip6 l4lb_notrack: tcp [2001:db8::10]:80",
        "table ip6 l4lb_notrack: tcp [2001:db8::10]:8000-8010",
        "table ip6 l4lb_notrack: udp [2001:db8::10]:80",
        "table ip6 l4lb_notrack: udp [2001:db8::10]:8000-8010",
    ]
    assert done["traffic"] == [TRAFFIC]
    for again in (run(traffic=[TRAFFIC]), run(traffic=done["traffic"], check=True)):
        assert not again["changed"]
    assert len(fake_nft.writes) == 1
    assert run(state="absent")["changed"]
    assert fake_nft.tables == {}


def test_errors_have_no_port(fake_nft: FakeNft, run: Any) -> None:
    errors = {**TRAFFIC, "protocols": ["tcp", "icmp"]}
    lines = run(traffic=[errors])["diff"]["after"].splitlines()
    assert lines[0] == "table ip l4lb_notrack: icmp 192.0.2.10"
    assert len(lines) == 6
    assert not run(traffic=[errors])["changed"]


def test_what_is_not_listed_is_kept_unless_it_is_purged(fake_nft: FakeNft, run: Any) -> None:
    run(traffic=[TRAFFIC])
    wanted = copy.deepcopy(fake_nft.tables)
    assert not run(traffic=[{"addresses": ["192.0.2.10"], "ports": [8001]}], purge="none")["changed"]
    assert run(traffic=[{"addresses": ["192.0.2.10"], "ports": [8001]}])["changed"]
    assert run(traffic=[TRAFFIC], purge="none")["changed"]
    assert fake_nft.tables == wanted


def test_purge_only_takes_away_and_adds_nothing(fake_nft: FakeNft, run: Any) -> None:
    run(traffic=[TRAFFIC])
    wanted = {"addresses": ["192.0.2.10", "192.0.2.11"], "ports": [80, 443, "8005-8020"], "protocols": ["tcp"]}
    checked = run(traffic=[wanted], purge="only", check=True)
    done = run(traffic=[wanted], purge="only")
    assert done == checked
    assert done["diff"]["after"].splitlines() == [
        "table ip l4lb_notrack: tcp 192.0.2.10:80",
        "table ip l4lb_notrack: tcp 192.0.2.10:8005-8010",
    ]
    assert set(fake_nft.tables) == {("ip", "l4lb_notrack")}
    assert not run(traffic=[wanted], purge="only")["changed"]
    assert run(traffic=[wanted])["changed"]
    assert run(traffic=[], purge="only")["changed"]
    assert fake_nft.tables == {}


def test_n15_the_connection_of_the_task_stays_tracked(fake_nft: FakeNft, run: Any) -> None:
    traffic = {"addresses": ["192.0.2.22"]}
    assert "force accepts it" in run(traffic=[traffic])["msg"]
    assert fake_nft.writes == []
    assert run(traffic=[traffic], force=True)["changed"]


BAD = {
    "C01-mark-of-another-module": ({"traffic": [{**TRAFFIC, "fwmark": 7}]}, r"traffic\[0\]\.fwmark: unknown key"),
    "N07-every-port": ({"traffic": [TRAFFIC, {"addresses": ["2001:db8::10"]}]}, r"traffic\[1\]: overlaps traffic\[0\]"),
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
