# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which the directors of a fleet are built."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from plugins.filter.director_claim import director_claim
from plugins.filter.director_steps import director_steps
from tests.unit.roles.canned import host_info


def host(*vips: str, holds: bool = True, external: bool = False, live: tuple[str, ...] = ()) -> dict[str, Any]:
    claim = {"vips": vips, "holds": vips if holds and not external else (), "external": vips if external else ()}
    reading = host_info("198.51.100.1/24", *(f"{vip}/32" for vip in live))
    return {"__ipvs_site_claim": claim, "__ipvs_director_host": reading}


def order(hostvars: dict[str, Any], waves: object = "100%") -> list[list[str]]:
    return [list(step["build"]) for step in director_steps(list(hostvars), hostvars, waves)]


def pairs(count: int) -> dict[str, Any]:
    return {f"{side}{n}": host(f"192.0.2.{n}", holds=side == "a") for n in range(count) for side in "ab"}


def test_pairs_are_built_at_once_and_their_directors_one_after_the_other() -> None:
    assert order(pairs(3)) == [["b0", "b1", "b2"], ["a0", "a1", "a2"]]
    [dummy, second] = director_steps(list(pairs(1)), pairs(1), "100%")
    assert second["build"] == {"a0": ["b0"]}


@pytest.mark.parametrize(
    ("waves", "sizes"),
    [
        ([1, "25%", "100%"], [1, 2, 5]),
        ([1], [1] * 8),
        (3, [3, 3, 2]),
        ("1%", [1] * 8),
        ([100], [8]),
    ],
)
def test_waves_are_counted_in_pairs_and_the_last_repeats(waves: object, sizes: list[int]) -> None:
    steps = director_steps(list(pairs(8)), pairs(8), waves)
    assert [len(step["build"]) for step in steps[::2]] == sizes
    assert [len(step["earlier"]) for step in steps[::2]] == [2 * sum(sizes[:n]) for n in range(len(sizes))]


def test_many_directors_of_one_vip_are_built_one_after_the_other() -> None:
    hosts = {f"director{n}": host("192.0.2.1") for n in range(4)}
    assert order(hosts) == [[name] for name in hosts]


def test_a_director_that_shares_vips_with_two_others_joins_them() -> None:
    hosts = {"a": host("192.0.2.1"), "b": host("192.0.2.2"), "c": host("192.0.2.1", "192.0.2.2", holds=False)}
    assert order(hosts) == [["c"], ["a"], ["b"]]


def test_of_directors_with_external_vips_the_one_that_has_none_now_comes_first() -> None:
    hosts = {
        "a": host("192.0.2.1", external=True, live=("192.0.2.1",)),
        "b": host("192.0.2.1", external=True),
    }
    assert order(hosts) == [["b"], ["a"]]


@pytest.mark.parametrize("names", [("old", "new"), ("new", "old")])
def test_who_takes_a_vip_of_another_pair_comes_before_who_loses_it(names: tuple[str, str]) -> None:
    known = {"old": host("192.0.2.8", live=("192.0.2.9", "192.0.2.8")), "new": host("192.0.2.9")}
    steps = director_steps(names, known, "100%")
    assert [list(step["build"]) for step in steps] == [["new"], ["old"]]
    moved = [{"address": "192.0.2.9", "prefix": 32, "interface": "eth0"}]
    assert steps[0]["release"] == {"old": [{"taker": "new", "vips": moved}]}
    assert steps[1]["release"] == {}


def test_two_directors_that_swap_vips_release_right_before_each_is_taken() -> None:
    known = {
        "a": host("192.0.2.1", live=("192.0.2.2",)),
        "b": host("192.0.2.2", live=("192.0.2.1",)),
    }
    first, second = director_steps(list(known), known, "100%")
    assert (list(first["build"]), list(first["release"])) == (["a"], ["b"])
    assert (list(second["build"]), second["release"]) == (["b"], {})  # by then a has released it by itself


def test_a_director_that_was_not_read_stops_all_of_its_pair_and_no_other() -> None:
    hosts = pairs(2)
    del hosts["a0"]["__ipvs_director_host"]
    built = {name: before for step in director_steps(list(hosts), hosts, 1) for name, before in step["build"].items()}
    assert built == {"b0": ["a0"], "a0": ["b0"], "b1": [], "a1": ["b1"]}


def test_a_single_director_need_not_be_read() -> None:
    hosts = {"a": {"__ipvs_site_claim": host("192.0.2.1")["__ipvs_site_claim"]}}
    assert [step["build"] for step in director_steps(list(hosts), hosts, 1)] == [{"a": []}]


def test_vips_on_the_loopback_of_a_director_that_is_a_backend_too_are_left_alone() -> None:
    known = {"a": host("192.0.2.1"), "b": host("192.0.2.2")}
    known["b"]["__ipvs_director_host"] = host_info("198.51.100.2/24", vips=["192.0.2.1/32"])
    assert all(step["release"] == {} for step in director_steps(list(known), known, 1))


def test_a_thousand_directors_are_ordered_in_time_that_grows_with_their_number() -> None:
    hosts = pairs(500)
    assert len(order(hosts)) == 2


@pytest.mark.parametrize("waves", [[], [0], ["0%"], ["101%"], ["many"], {}, [True]])
def test_bad_waves_are_named(waves: object) -> None:
    with pytest.raises(AnsibleFilterError, match="ipvs_site_waves"):
        director_steps(list(pairs(1)), pairs(1), waves)


def test_a_claim_lists_what_a_director_carries_and_holds() -> None:
    services = [
        {"name": "web", "address": "192.0.2.1", "port": 80, "servers": []},
        {"name": "dns", "address": "192.0.2.2", "port": 53, "protocol": "udp", "servers": []},
        {"name": "ftp", "fwmark": 7, "family": "ipv4", "servers": []},
        {"name": "other", "address": "192.0.2.3", "port": 80, "directors": "others", "servers": []},
    ]
    claim = director_claim(
        services,
        director="a",
        hostvars={"a": {}, "b": {}},
        groups={"others": ["b"]},
        vip={"dns": "external", "other": "standby", "default": "hold"},
    )
    assert claim == {"vips": ["-f 7", "192.0.2.1", "192.0.2.2"], "holds": ["192.0.2.1"], "external": ["192.0.2.2"]}
