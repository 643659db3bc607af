# SPDX-License-Identifier: GPL-3.0-or-later
"""After the roles: nothing is left to do, and what others made is as it was."""

import nodes


def others(rules):
    """The nftables tables that are not the collection's."""
    return {name: table for name, table in nodes.nft_tables(rules).items() if " l4lb_" not in name}


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
