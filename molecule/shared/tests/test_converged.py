# SPDX-License-Identifier: GPL-3.0-or-later
"""After the role and before any traffic: the director is what the document's own commands make of it, and no more."""

import nodes

OWN_TABLES = ("ip l4lb_snat", "ip6 l4lb_snat")


def test_the_table_is_the_same(now, by_hand):
    assert "Masq" in now["table"]
    assert sorted(now["table"].splitlines()) == sorted(by_hand["table"].splitlines())


def test_the_addresses_are_the_same(now, by_hand):
    assert sorted(now["addresses"].splitlines()) == sorted(by_hand["addresses"].splitlines())


def test_the_routes_are_the_same(now, by_hand):
    assert sorted(now["routes"].splitlines()) == sorted(by_hand["routes"].splitlines())


def test_the_sysctls_are_the_same_save_for_redirects(now, by_hand, pristine, inventory):
    live, typed, before = (nodes.sysctls(one["sysctls"]) for one in (now, by_hand, pristine))
    assert typed["net.ipv4.ip_forward"] != before["net.ipv4.ip_forward"], "the commands have had an effect"
    different = {key: live.get(key) for key in live.keys() | typed.keys() if live.get(key) != typed.get(key)}
    redirects = {key: "0" for key in different if key.endswith(".send_redirects")}
    wishes = inventory.get("ipvs_director_sysctls", {})
    assert different == {**redirects, **{key: str(value) for key, value in wishes.items() if key in different}}
    assert "net.ipv4.conf.all.send_redirects" in redirects


def test_the_rules_of_others_are_the_same(now, pristine, by_hand):
    live, before = nodes.nft_tables(now["rules"]), nodes.nft_tables(pristine["rules"])
    assert {name: table for name, table in live.items() if name not in OWN_TABLES} == before
    assert set(before) == {"inet site_filter", "ip nat", "ip6 nat"}
    assert set(nodes.nft_tables(by_hand["rules"])) <= {"ip nat"}


def test_check_mode_announces_no_change(scenario, now):
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "--check", "--diff")
    assert run.status == 0, run.output
    assert run.total("changed") == 0, run.output
    assert "\n+++ " not in run.output
    assert nodes.state() == now
