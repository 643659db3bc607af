# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight of the roles: one check of the topology, of what each host really got, and readable refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.roles.canned import Run, host_info, run

ROLE = "l4lb.ipvs.ipvs_director"
WEB = {
    "name": "web",
    "address": "198.51.100.100",
    "port": 80,
    "scheduler": "rr",
    "forward": "dr",
    "servers": [{"address": "198.51.100.11"}],
}
BY_NAME = "{{ 'hold' if inventory_hostname == 'director1' else 'standby' }}"


def play(directory: Path, variables: dict[str, Any] | None = None, **given: Any) -> Run:
    """A play of two directors; ``variables`` are those of the inventory."""
    directors = {f"director{i}": {"canned": {"ipvs_host_info": host_info(f"198.51.100.{i}/24")}} for i in (1, 2)}
    groups = {
        "ipvs_directors": {"hosts": directors, "vars": variables or {}},
        "ipvs_backends": {"hosts": {"backend1": {"ipvs_address": "198.51.100.11"}}},
    }
    inventory = {"all": {"vars": {"ansible_connection": "local", "ipvs_services": [WEB]}, "children": groups}}
    (directory / "hosts.yml").write_text(json.dumps(inventory))
    written = {"hosts": "ipvs_directors", "gather_facts": False, "roles": [{"role": ROLE}], **given}
    (directory / "play.yml").write_text(json.dumps([written]))
    return run(directory, "play.yml", "--tags", "ipvs_director_run")


def test_variables_beside_the_role_are_checked(tmp_path: Path) -> None:
    done = play(tmp_path, roles=[{"role": ROLE, "vars": {"ipvs_director_vip": BY_NAME}}])
    assert done.status == 0, done.output
    imported = {"ansible.builtin.import_role": {"name": ROLE}, "vars": {"ipvs_director_vip": "hold"}}
    done = play(tmp_path, {"ipvs_director_vip": BY_NAME}, roles=[], tasks=[imported])
    assert "director1, director2 all hold the VIP" in done.output
    assert not done.calls


def test_the_fleet_is_checked_once_however_many_batches(tmp_path: Path) -> None:
    done = play(tmp_path, {"ipvs_director_vip": BY_NAME}, serial=1)
    assert done.status == 0, done.output
    assert set(done.of("ipvs_table")) == {"director1", "director2"}
    assert done.output.count("not checked: off_subnet") == 1


def test_problems_are_one_per_line_and_without_a_chain_of_origins(tmp_path: Path) -> None:
    bad = {**WEB, "port": 99999, "scheduler": "fair"}
    done = play(tmp_path, {"ipvs_director_vip_iface": "eth0", "ipvs_services": [bad]})
    lines = [line.strip().strip('",') for line in done.output.splitlines()]
    for problem in (
        "ipvs_director_vip_iface: unknown variable of director1, director2; did you mean ipvs_director_vip_interface?",
        "services[0].port: must be an integer 0..65535 (got 99999)",
    ):
        assert lines.count(problem) == 1, done.output
    assert "caused by" not in done.output
    assert not done.calls


def test_an_option_that_a_host_refuses_is_a_problem_as_well(tmp_path: Path) -> None:
    for state in ("present", "absent"):
        variables = {"ipvs_director_vip": BY_NAME, "ipvs_director_vip_prefix": 99, "ipvs_director_state": state}
        done = play(tmp_path, variables)
        assert '"ipvs_director_vip_prefix: must be an integer 1..32, or host (got 99)"' in done.output
        assert "caused by" not in done.output
        assert set(done.of("ipvs_host_info")) == {"director1", "director2"}
        assert {call["module"] for call in done.calls} == {"ipvs_host_info"}
