# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the role of a director places VIPs, and from where it takes them away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.canned import Run, host_info, run

ROLE = "l4lb.ipvs.ipvs_director"
VIP, STALE = "198.51.100.100", "198.51.100.99"
WEB = {"name": "web", "address": VIP, "port": 80, "scheduler": "rr", "servers": [{"address": "198.51.100.11"}]}
#: What ipvs_vip finds of this collection: of a director, and of a backend on the same host.
OURS = [
    {"address": STALE, "prefix": 32, "interface": "lo", "scope": "global"},
    {"address": "2001:db8::99", "prefix": 128, "interface": "old", "scope": "global", "preferred_lifetime": 0},
    {"address": "198.51.100.98", "prefix": 32, "interface": "lo", "scope": "host"},
    {"address": "2001:db8::98", "prefix": 128, "interface": "lo", "scope": "global", "nodad": True},
    {"address": VIP, "prefix": 32, "interface": "lo", "scope": "host"},
]


def play(directory: Path, *arguments: str, **variables: Any) -> Run:
    """The role on a director that has a dummy of an earlier run."""
    reading = host_info("198.51.100.1/24")
    dummy = {"name": "old", "kind": "dummy", "alias": "l4lb.ipvs", "mtu": 1500, "addresses": []}
    reading["interfaces"].append(dummy)
    reading["modules"]["dummy"] = "loaded"
    canned = {"ipvs_host_info": reading, "ipvs_vip": {"unlisted": OURS, "operations": ["something"]}}
    director = {"ansible_connection": "local", "ipvs_services": [WEB], "canned": canned, **variables}
    groups = {"ipvs_directors": {"hosts": {"director1": director}}}
    (directory / "hosts.yml").write_text(json.dumps({"all": {"children": groups}}))
    written = {"hosts": "ipvs_directors", "gather_facts": False, "roles": [{"role": ROLE}]}
    (directory / "play.yml").write_text(json.dumps([written]))
    done = run(directory, "play.yml", "--tags", "ipvs_director_run", *arguments)
    assert done.status == 0, done.output
    return done


def calls(done: Run, *modules: str) -> list[tuple[str, str, list[str]]]:
    """The calls of these modules: module, state, and the addresses or names."""
    return [
        (
            call["module"],
            call["parameters"].get("state", "present"),
            [
                one.get("address", one.get("name"))
                for one in call["parameters"]["vips" if call["module"] == "ipvs_vip" else "tunnels"]
            ],
        )
        for call in done.calls
        if call["module"] in modules
    ]


STALE_VIPS = ("ipvs_vip", "absent", [STALE, "2001:db8::99"])


@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_a_dummy_is_made_before_its_vip_and_removed_after_it(tmp_path: Path, check: bool) -> None:
    done = play(tmp_path, *(["--check"] if check else []), ipvs_director_vip_interface={"web": "vips"})
    assert calls(done, "ipvs_vip", "ipvs_tunnel") == [
        ("ipvs_tunnel", "present", ["vips"]),
        ("ipvs_vip", "present", [VIP]),
        STALE_VIPS,
        ("ipvs_vip", "present", [VIP]),
        ("ipvs_tunnel", "absent", ["old"]),
    ]
    assert done.of("ipvs_vip")["director1"]["assume_prepared"] == ["vips"]


def test_without_a_purge_nothing_is_removed(tmp_path: Path) -> None:
    done = play(tmp_path, ipvs_director_purge="none")
    assert calls(done, "ipvs_vip", "ipvs_tunnel") == [("ipvs_vip", "present", [VIP])] * 2


def test_absent_takes_vips_and_dummies_away(tmp_path: Path) -> None:
    done = play(tmp_path, ipvs_director_state="absent", ipvs_director_vip_interface="old")
    assert calls(done, "ipvs_vip", "ipvs_tunnel") == [
        ("ipvs_vip", "absent", [VIP]),
        STALE_VIPS,
        ("ipvs_tunnel", "absent", ["old"]),
    ]
