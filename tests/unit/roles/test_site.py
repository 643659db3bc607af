# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook site with canned modules: hosts that fail or are unreachable, and the order of the directors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.canned import Run, host_info, run

DATE = "2027-05-01"  # a date of YAML, once it is written without quotes
UNREACHABLE = {"ipvs_host_info": {"unreachable": True}}
FAILED = {"ipvs_host_info": {"failed": True, "msg": "cannot be read"}}


def director(last: int, *more: str, **variables: Any) -> dict[str, Any]:
    info = host_info(f"198.51.100.{last}/24", *more)
    return {"canned": {"ipvs_host_info": info}, **variables}


def backend(last: int) -> dict[str, Any]:
    vips = ["198.51.100.100/32", "198.51.100.101/32"]
    return {
        "ipvs_address": f"198.51.100.{last}",
        "canned": {"ipvs_host_info": host_info(f"198.51.100.{last}/24", vips=vips)},
    }


def service(number: int, **more: Any) -> dict[str, Any]:
    return {
        "name": f"service{number}",
        "address": f"198.51.100.{100 + number}",
        "port": 80,
        "forward": "dr",
        "servers_from": {"group": "ipvs_backends", "address": "ipvs_address"},
        **more,
    }


def site(
    directory: Path,
    directors: dict[str, dict[str, Any]],
    backends: dict[str, dict[str, Any]],
    *arguments: str,
    **variables: Any,
) -> Run:
    """A run of the playbook; groups of directors are named in their variable ``pair``."""
    pairs: dict[str, dict[str, Any]] = {}
    for name, one in directors.items():
        pairs.setdefault(one.pop("pair", "pair1"), {"hosts": {}})["hosts"][name] = one
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "canned": {},
                "ipvs_services": [service(0)],
                **variables,
                "due": DATE,
            },
            "children": {"ipvs_directors": {"children": pairs}, "ipvs_backends": {"hosts": backends}},
        }
    }
    (directory / "hosts.yml").write_text(json.dumps(inventory).replace(json.dumps(DATE), DATE))
    return run(directory, "l4lb.ipvs.site", "--tags", "ipvs_director_run,ipvs_backend_run", *arguments)


def built(done: Run) -> list[str]:
    """The directors in the order in which their tables were built."""
    return [call["host"] for call in done.calls if call["module"] == "ipvs_table" and not call["check"]]


def not_ready(done: Run) -> dict[str, list[str]]:
    return {
        host: [one["server"]["address"] for one in parameters["not_ready"]]
        for host, parameters in done.of("ipvs_table").items()
    }


def test_everything_is_built_and_reported(tmp_path: Path) -> None:
    done = site(tmp_path, {"director1": director(1)}, {"backend1": backend(11), "backend2": backend(12)})
    assert done.status == 0, done.output
    assert (built(done), not_ready(done)) == (["director1"], {"director1": []})
    assert "director1: done; 1 service with 2 servers" in done.output
    assert "backend1: done; server of 1 service" in done.output


def test_what_the_lint_warns_of_is_reported_once(tmp_path: Path) -> None:
    directors = {"director1": director(1), "director2": director(2, ipvs_director_vip="standby")}
    done = site(tmp_path, directors, {"backend1": backend(11), "backend2": backend(12)})
    report = done.output.split("TASK [Show what was done]")[1].split("TASK")[0]
    assert report.count("warning: not checked: off_subnet") == 1, report
    assert report.index("director2: done") < report.index("inventory:") < report.index("not checked: off_subnet")


def test_a_run_without_anything_special_shows_few_headings(tmp_path: Path) -> None:
    nat = service(0, forward="nat", servers_from={"group": "ipvs_backends", "address": "ipvs_address"})
    done = site(tmp_path, {"director1": director(1)}, {"backend1": backend(11)}, ipvs_services=[nat])
    assert done.status == 0, done.output
    shown = [one.split("PLAY")[0] for one in done.output.split("TASK [")[1:]]
    skipped = [one for one in shown if not any(word in one for word in ("ok:", "changed:", "included:"))]
    assert len(shown) <= 61, done.output
    assert len(skipped) <= 31, done.output


@pytest.mark.parametrize(("fault", "status"), [(UNREACHABLE, 4), (FAILED, 2)])
def test_a_backend_that_is_not_ready_gets_no_server(tmp_path: Path, fault: dict[str, Any], status: int) -> None:
    backends = {"backend1": {**backend(11), "canned": fault}, "backend2": backend(12)}
    done = site(tmp_path, {"director1": director(1)}, backends)
    assert done.status == status, done.output
    assert not_ready(done) == {"director1": ["198.51.100.11"]}


def test_a_nat_server_whose_host_needs_nothing_is_added(tmp_path: Path) -> None:
    backends = {"backend1": {**backend(11), "canned": UNREACHABLE}, "backend2": backend(12)}
    services = [service(0, forward="nat"), service(1, forward="nat", return_path="gateway")]
    done = site(tmp_path, {"director1": director(1)}, backends, ipvs_services=services)
    held = done.of("ipvs_table")["director1"]["not_ready"]
    assert {one["service"]["address"] for one in held} == {"198.51.100.101"}


def test_with_no_backend_left_the_directors_are_built_all_the_same(tmp_path: Path) -> None:
    done = site(tmp_path, {"director1": director(1)}, {"backend1": {**backend(11), "canned": UNREACHABLE}})
    assert (done.status, not_ready(done)) == (4, {"director1": ["198.51.100.11"]}), done.output
    assert "backend1: not done: unreachable" in done.output


def test_a_run_can_be_stopped_where_a_backend_is_not_ready(tmp_path: Path) -> None:
    backends = {"backend1": {**backend(11), "canned": UNREACHABLE}, "backend2": backend(12)}
    done = site(tmp_path, {"director1": director(1)}, backends, "-e", "ipvs_site_not_ready=stop")
    assert (done.status, built(done)) == (4, []), done.output
    assert "director1: skipped, because backend1 is not ready" in done.output


def four(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Two pairs, of which director2 and director4 stand by."""
    directors = {
        f"director{n}": director(n, pair=f"pair{(n + 1) // 2}", **({} if n % 2 else {"ipvs_director_vip": "standby"}))
        for n in (1, 2, 3, 4)
    }
    return {name: {**one, **changes.get(name, {})} for name, one in directors.items()}


PAIRED = [service(0, directors="pair1"), service(1, directors="pair2")]


def test_the_standby_director_of_each_pair_comes_first(tmp_path: Path) -> None:
    done = site(tmp_path, four(), {"backend1": backend(11)}, ipvs_services=PAIRED)
    assert done.status == 0, done.output
    assert built(done) == ["director2", "director1", "director4", "director3"]


def test_an_unreachable_director_stops_its_own_pair_alone(tmp_path: Path) -> None:
    directors = four(director2={"canned": UNREACHABLE})
    done = site(tmp_path, directors, {"backend1": backend(11)}, ipvs_services=PAIRED)
    assert (done.status, built(done)) == (4, ["director4", "director3"]), done.output
    for line in (
        "director1: skipped, because director2 is not done",
        "director2: not done: unreachable",
        "director3: done; 1 service with 1 server",
    ):
        assert line in done.output


def test_a_failed_director_stops_the_waves_that_follow(tmp_path: Path) -> None:
    directors = four()
    directors["director2"]["canned"]["ipvs_table"] = {"failed": True, "msg": "refused"}
    done = site(tmp_path, directors, {"backend1": backend(11)}, ipvs_services=PAIRED)
    assert (done.status, built(done)) == (2, ["director2"]), done.output
    for name in ("director1", "director3", "director4"):
        assert f"{name}: skipped, because director2 is not done" in done.output


def test_a_vip_that_moves_between_pairs_is_released_right_before_it_is_taken(tmp_path: Path) -> None:
    directors = four()
    directors["director3"]["canned"]["ipvs_host_info"] = host_info("198.51.100.3/24", "198.51.100.100/32")
    done = site(tmp_path, directors, {"backend1": backend(11)}, ipvs_services=PAIRED)
    assert done.status == 0, done.output
    steps = [
        (call["host"], call["module"], call["parameters"].get("state", "present"))
        for call in done.calls
        if call["module"] in ("ipvs_vip", "ipvs_table") and not call["check"] and "director" in call["host"]
    ]
    release = steps.index(("director3", "ipvs_vip", "absent"))
    assert steps[release + 1] == ("director1", "ipvs_table", "present")
    assert built(done).index("director1") < built(done).index("director3")
    [released] = [call["parameters"]["vips"] for call in done.calls if call["parameters"].get("state") == "absent"]
    assert released == [{"address": "198.51.100.100", "prefix": 32, "interface": "eth0"}]


LACKING = {"ipvs_host_info": {**host_info("198.51.100.1/24"), "modules": {}}}


@pytest.mark.parametrize("fault", [UNREACHABLE, LACKING], ids=["unreachable", "refused"])
def test_no_vip_is_released_to_a_director_that_is_not_built(tmp_path: Path, fault: dict[str, Any]) -> None:
    directors = four(director1={"canned": fault})
    directors["director3"]["canned"]["ipvs_host_info"] = host_info("198.51.100.3/24", "198.51.100.100/32")
    done = site(tmp_path, directors, {"backend1": backend(11)}, ipvs_services=PAIRED)
    assert done.status in (2, 4), done.output
    assert [call for call in done.calls if call["parameters"].get("state") == "absent"] == []


def test_a_failed_release_is_reported_by_its_reason(tmp_path: Path) -> None:
    directors = four()
    directors["director3"]["canned"]["ipvs_host_info"] = host_info("198.51.100.3/24", "198.51.100.100/32")
    directors["director3"]["canned"]["ipvs_vip"] = {"failed": True, "msg": "refused"}
    done = site(tmp_path, directors, {"backend1": backend(11)}, ipvs_services=PAIRED)
    assert "director3: failed: Release VIPs that another director takes over: refused" in done.output


def test_a_backend_that_leaves_keeps_everything_until_its_directors_are_done(tmp_path: Path) -> None:
    """Whatever patterns choose the hosts, all of them are in the report."""
    broken = director(1)
    broken["canned"]["ipvs_table"] = {"failed": True, "msg": "refused"}
    backends = {"backend1": backend(11), "backend2": {**backend(12), "ipvs_backend_state": "absent"}}
    patterns = ("-e", "ipvs_backend_hosts=all:!ipvs_directors")
    done = site(tmp_path, {"director1": broken}, backends, *patterns)
    assert done.status == 2, done.output
    assert "backend2" not in [call["host"] for call in done.calls if call["module"] == "ipvs_vip"]
    for line in (
        "director1: failed: Run | Build the table: refused",
        "nothing is removed, because director1 is not done",
    ):
        assert line in done.output


def test_a_limit_and_invalid_input_of_a_backend_leave_the_rest_to_be_done(tmp_path: Path) -> None:
    backends = {"backend1": {**backend(11), "ipvs_backend_sysctls": {"net.ipv4.conf.all.arp_ignore": "one"}}}
    directors = {"director1": director(1), "director2": director(2, ipvs_director_vip="standby")}
    done = site(tmp_path, directors, backends, "--limit", "!director1")
    assert (done.status, built(done)) == (2, ["director2"]), done.output
    assert "backend1: failed: " in done.output


def test_what_a_director_is_told_itself_is_not_ready_either(tmp_path: Path) -> None:
    backends = {"backend1": backend(11), "backend2": backend(12)}
    done = site(tmp_path, {"director1": director(1, ipvs_director_not_ready=["backend2"])}, backends)
    assert not_ready(done) == {"director1": ["198.51.100.12"]}, done.output


def test_a_misspelt_word_is_refused_before_anything(tmp_path: Path) -> None:
    done = site(tmp_path, {"director1": director(1)}, {"backend1": backend(11)}, "-e", "ipvs_site_not_ready=halt")
    assert (done.status, done.calls) == (2, []), done.output
    assert "ipvs_site_not_ready: must be one of skip, stop (got halt)" in done.output
