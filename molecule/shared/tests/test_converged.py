# SPDX-License-Identifier: GPL-3.0-or-later
"""After the roles: nothing is left to do, and what others made is as it was."""

import nodes

#: How many modules a run that changes nothing may start on a node of each group.
MOST = {"ipvs_directors": 15, "ipvs_backends": 12}


def others(rules):
    """The nftables tables that are not the collection's."""
    return {name: table for name, table in nodes.nft_tables(rules).items() if " l4lb_" not in name}


def test_a_second_run_changes_nothing_and_asks_little(scenario, record_property):
    run, started = nodes.counted(scenario, "l4lb.ipvs.site")
    record_property("modules", str(started))
    assert run.status == 0, run.output
    assert run.total("changed") == 0, run.output
    for group, most in MOST.items():
        for name in nodes.hosts(group):
            assert 0 < started[name] <= most, (name, run.output)


def test_the_rules_of_others_are_the_same(now, pristine):
    before = {name: nodes.nft_tables(state["rules"]) for name, state in pristine.items()}
    assert all("inet site_filter" in tables for tables in before.values())
    assert {name: others(state["rules"]) for name, state in now.items()} == before


def test_check_mode_announces_no_change(scenario, now):
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "--check", "--diff")
    assert run.status == 0, run.output
    assert run.total("changed") == 0, run.output
    assert "\n+++ " not in run.output
    assert nodes.states() == now
