# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook verify with canned modules: which directors have the VIPs, and what they count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.roles.canned import Run, host_info, run

VIP, SERVER = "198.51.100.100", "198.51.100.11"
SERVICE = {"name": "web", "address": VIP, "port": 80, "scheduler": "rr", "servers": [{"address": SERVER}]}
PATTERN = {"default": {"pattern": ".+", "names": {"backend1": SERVER}}}


def director(last: int, *vips: str, connections: int = 0, **variables: Any) -> dict[str, Any]:
    info = host_info(f"198.51.100.{last}/24", *(f"{vip}/32" for vip in vips))
    counters = {"connections": connections, "packets_in": connections, "packets_out": 0, "bytes_in": 0, "bytes_out": 0}
    statistics = [
        {
            "service": {"address": VIP, "port": 80, "protocol": "tcp"},
            "servers": [{"address": SERVER, "port": 80, "counters": counters}],
        }
    ]
    return {"canned": {"ipvs_host_info": info, "ipvs_info": {"statistics": statistics}}, **variables}


def verify(directory: Path, directors: dict[str, dict[str, Any]], **variables: Any) -> tuple[Run, list[dict[str, Any]]]:
    given = {"ansible_connection": "local", "canned": {}, "canned_names": ["backend1"], "ipvs_services": [SERVICE]}
    inventory = {
        "all": {
            "vars": {**given, "ipvs_verify": PATTERN, **variables},
            "children": {"ipvs_directors": {"hosts": directors}},
        }
    }
    (directory / "hosts.yml").write_text(json.dumps(inventory))
    done = run(directory, "l4lb.ipvs.verify", "-e", f"ipvs_verify_report={directory / 'report'}")
    return done, json.loads((directory / "report").read_text())


def test_of_a_vrrp_pair_the_director_that_has_the_vip_is_verified(tmp_path: Path) -> None:
    directors = {"director1": director(1), "director2": director(2, VIP)}
    done, [verdict] = verify(tmp_path, directors, ipvs_director_vip="external", ipvs_verify={})
    assert [call["host"] for call in done.calls if call["module"] == "ipvs_info"][:1] == ["director2"], done.output
    assert "ipvs_info" not in [call["module"] for call in done.calls if call["host"] == "director1"]
    assert "no director has the VIP" not in verdict["line"]


def test_a_vip_that_no_director_has_fails(tmp_path: Path) -> None:
    done, [verdict] = verify(
        tmp_path, {"director1": director(1), "director2": director(2)}, ipvs_director_vip="external"
    )
    assert (done.status, verdict["line"]) == (2, f"FAIL -t {VIP}:80: no director has the VIP"), done.output


def test_a_service_is_asked_once_however_many_directors_have_its_vip(tmp_path: Path) -> None:
    directors = {name: director(last, VIP) for name, last in (("director1", 1), ("director2", 2))}
    done, [verdict] = verify(tmp_path, directors, ipvs_director_vip="external")
    assert done.status == 0, done.output
    assert [len(call["parameters"]["targets"]) for call in done.calls if call["module"] == "ipvs_probe"] == [1]
    assert verdict["passed"]


def test_a_standby_director_that_has_the_vip_is_verified(tmp_path: Path) -> None:
    directors = {"director1": director(1), "director2": director(2, VIP, ipvs_director_vip="standby")}
    done, [verdict] = verify(tmp_path, directors)
    assert (done.status, verdict["passed"]) == (0, True), done.output


def test_an_unreachable_director_leaves_the_others_verified(tmp_path: Path) -> None:
    dead = {"canned": {"ipvs_host_info": {"unreachable": True}}}
    done, [verdict] = verify(tmp_path, {"director1": dead, "director2": director(2, VIP)}, ipvs_director_vip="external")
    assert (done.status, verdict["passed"]) == (4, True), done.output


def test_a_director_reads_its_counters_until_they_explain_its_own_services(tmp_path: Path) -> None:
    other = {**SERVICE, "name": "other", "address": "198.51.100.101"}
    directors = {"director1": director(1, VIP), "director2": director(2, "198.51.100.101")}
    known = {"web": PATTERN["default"]}  # the counters here explain nothing
    done, dummy = verify(
        tmp_path, directors, ipvs_director_vip="external", ipvs_services=[SERVICE, other], ipvs_verify=known
    )
    assert "RETRYING: [director2]" in done.output
    assert "RETRYING: [director1]" not in done.output
