# SPDX-License-Identifier: GPL-3.0-or-later
"""What each host will really do: the variables that its role got, before those of the inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from plugins.filter.lint import lint
from plugins.plugin_utils._role_variables import KNOWN, PUBLISHED
from tests.unit.plugins.filter.test_lint import CLEAN, DR, LAN, SERVERS, fleet, host, only

ROOT = Path(__file__).resolve().parents[4]
WEB = {**DR, **SERVERS}
MAIL = {**WEB, "name": "mail", "port": 25}


def director(number: int, published: dict[str, Any] | None = None, **variables: Any) -> dict[str, Any]:
    """A host on the segment; ``published`` is what its role got, without the beginning of the names."""
    got = {f"ipvs_director_{name}": value for name, value in (published or {}).items()}
    facts = {"__ipvs_director_published": got} if published is not None else {}
    return host(f"198.51.100.{number}/24", **{f"ipvs_director_{name}": one for name, one in variables.items()}, **facts)


def two(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return fleet(director1=first, director2=second)


def test_the_variables_known_are_those_of_the_roles() -> None:
    for prefix, names in KNOWN.items():
        role = prefix.rstrip("_")
        specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
        assert {prefix + name for name in names} == {*specs["main"]["options"], f"{prefix}hosts"}
        assert f"__{prefix}published" in PUBLISHED
        assert f"__{prefix}published:" in (ROOT / "roles" / role / "tasks" / "preflight.yml").read_text()


def test_what_a_role_got_wins_over_the_inventory() -> None:
    assert "director1, director2 all hold the VIP" in only(lint([WEB], **two(director(1), director(2))), "problems")
    assert lint([WEB], **two(director(1), director(2, {"vip": "standby"}))) == CLEAN
    hosts = two(director(1), director(2, {"vip": "hold"}, vip="standby"))
    assert "all hold the VIP" in only(lint([WEB], **hosts), "problems")


@pytest.mark.parametrize("absent", [{"published": {"state": "absent"}}, {"state": "absent"}])
def test_a_director_that_is_to_be_absent_carries_nothing(absent: dict[str, Any]) -> None:
    assert lint([WEB], **two(director(1), director(2, **absent))) == CLEAN, "two_holders"
    served = {**DR, "servers": [{"address": "198.51.100.2"}]}
    verdict = lint([served], **two(director(1), director(2, **absent)))
    assert verdict["problems"] == [], "localnode"
    away = director(2, **absent)
    away["ipvs_networks"] = ["203.0.113.2/24"]
    assert lint([WEB], **two(director(1), away)) == CLEAN, "off_subnet"


def test_each_director_has_services_of_its_own() -> None:
    other = {**MAIL, "address": "198.51.100.101"}
    hosts = two(director(1, {"services": [WEB]}), director(2, {"services": [other]}))
    assert lint([WEB], **hosts) == CLEAN
    assert lint([other], **hosts) == CLEAN
    clash = two(director(1, {"services": [WEB]}), director(2, {"services": [MAIL]}))
    problem = only(lint([WEB], **clash), "problems")
    assert problem.startswith(
        "services web (-t 198.51.100.100:443), mail (-t 198.51.100.100:25): director1, director2 all hold the VIP"
    )


def test_in_a_run_a_director_that_is_still_to_come_has_the_services_of_its_inventory() -> None:
    other = {**MAIL, "address": "198.51.100.101"}
    hosts = two({**director(1), "ipvs_services": [WEB]}, {**director(2), "ipvs_services": [other]})
    for batch in (["backend1"], ["director1"]):
        assert verdict_for(batch, hosts) | {"known": {}, "repeated": False} == {**CLEAN, "known": {}, "repeated": False}
    assert "all hold the VIP" in only(lint([WEB], **hosts), "problems"), "of what the caller wants to know"
    hosts["hostvars"]["director2"]["ipvs_pools"] = {}
    assert lint([WEB], **hosts, batch=["backend2"])["problems"] == []


def test_a_service_in_the_lists_of_both_is_one() -> None:
    served = {**DR, "servers": [{"address": "198.51.100.2"}]}
    hosts = two(
        director(1, {"services": [served], "vip": "hold"}), director(2, {"services": [MAIL, served], "vip": "standby"})
    )
    assert "a director of the service (director2)" in only(lint([served], **hosts), "problems")


def test_bad_services_of_another_director_are_named_with_it() -> None:
    hosts = two(director(1), director(2, {"services": [{**WEB, "port": 99999}]}))
    with pytest.raises(AnsibleFilterError) as caught:
        lint([WEB], **hosts)
    assert str(caught.value) == (
        "hostvars.director2.ipvs_director_services: services[0].port: must be an integer 0..65535 (got 99999)"
    )


def test_pools_of_its_own_go_with_its_services() -> None:
    pooled = {**DR, "pool": "web"}
    hosts = two(
        director(1, {"pools": {"web": {"servers": [{"address": "198.51.100.11"}]}}}), director(2, vip="standby")
    )
    pools = {"web": {"servers": [{"address": "203.0.113.12"}]}}
    problems = lint([pooled], **hosts, pools=pools)["problems"]
    assert len(problems) == 1
    assert "203.0.113.12: in no network of director2" in problems[0]


def test_a_problem_is_accepted_by_every_director_that_it_is_about() -> None:
    allow = ["two_holders"]
    for first, second, kind in [(allow, allow, "warnings"), (allow, [], "problems"), ([], allow, "problems")]:
        hosts = two(director(1, {"lint_allow": first}), director(2, {"lint_allow": second}))
        assert "all hold the VIP" in only(lint([WEB], **hosts, allow=first), kind)


# names


def test_a_misspelt_variable_of_a_role_is_refused_with_the_one_that_was_meant() -> None:
    hosts = two(director(1, vip_iface="eth0"), director(2, vip="standby"))
    hosts["hostvars"]["backend1"]["ipvs_backend_zzz"] = 1
    hosts["hostvars"]["backend2"]["__ipvs_backend_published"] = {"ipvs_backend_vip_interfaces": "lo"}
    problems = lint([{**WEB, "port": 99999}], **hosts, invalid="return")["problems"]
    assert problems[0].startswith(
        "ipvs_backend_vip_interfaces: unknown variable of backend2; did you mean ipvs_backend_"
    )
    assert problems[1].startswith("ipvs_backend_zzz: unknown variable of backend1; known: ipvs_backend_addresses, ")
    assert problems[2] == (
        "ipvs_director_vip_iface: unknown variable of director1; did you mean ipvs_director_vip_interface?"
    )
    assert problems[3:] == ["services[0].port: must be an integer 0..65535 (got 99999)"]


def test_a_variable_of_all_hosts_is_named_once() -> None:
    hosts = fleet(**{f"backend{i}": host(ipvs_director_adress=1, rip=f"198.51.100.{i}") for i in range(1, 6)})
    problems = lint([WEB], **hosts, invalid="return")["problems"]
    assert [problem.split(";")[0] for problem in problems] == [
        "ipvs_director_adress: unknown variable of backend1, backend2, backend3 and 2 more"
    ]


def test_hosts_that_are_neither_director_nor_backend_may_have_any_variable() -> None:
    assert lint([WEB], **fleet(other={"ipvs_director_vip_iface": "eth0"})) == CLEAN


def test_a_source_that_is_no_address_is_refused_before_any_host_is_read() -> None:
    hosts = two(director(1, {"snat_source": ["lan"]}), director(2, vip="standby"))
    problems = lint([WEB], **hosts, invalid="return")["problems"]
    assert [problem.split(": ")[0] for problem in problems] == ["hostvars.director1.ipvs_director_snat_source[0]"]


# batches


def verdict_for(batch: list[str], hosts: dict[str, Any]) -> dict[str, Any]:
    """The verdict, which the hosts of the batch have as a fact afterwards."""
    verdict = lint([WEB], **hosts, batch=batch)
    for name in batch:
        hosts["hostvars"][name]["__ipvs_lint"] = verdict
    return verdict


DEFAULTS = {"state": "present", "services": [WEB], "pools": {}, "lint_allow": [], "snat_source": [], "vip": "hold"}


def test_a_later_batch_keeps_the_verdict_that_knew_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = two(director(1, DEFAULTS), director(2, vip="standby"))
    hosts["hostvars"]["director1"]["ipvs_networks"] = [LAN]
    tun = {"rip": "198.51.100.12"}
    hosts["hostvars"]["backend2"] = tun
    first = verdict_for(["director1"], hosts)
    assert first["known"].keys() == {"director1", "director2", "backend1", "backend2"}
    hosts["hostvars"]["director2"] |= director(2, {**DEFAULTS, "vip": "standby"})
    monkeypatch.setattr("plugins.plugin_utils._lint.resolve", lambda *dummy: pytest.fail("linted anew"))
    again = verdict_for(["director2"], hosts)
    assert again == {**first, "repeated": True}


def test_a_later_batch_that_does_something_else_is_checked_again() -> None:
    hosts = two(director(1, DEFAULTS), director(2, vip="standby"))
    assert verdict_for(["director1"], hosts)["problems"] == []
    hosts["hostvars"]["director2"] |= director(2, DEFAULTS)
    assert "all hold the VIP" in verdict_for(["director2"], hosts)["problems"][0]


def test_a_verdict_that_refused_goes_on_refusing() -> None:
    hosts = two(director(1, DEFAULTS), director(2))
    problems = verdict_for(["director1"], hosts)["problems"]
    assert problems
    assert verdict_for(["director2"], hosts)["problems"] == problems
