# SPDX-License-Identifier: GPL-3.0-or-later
"""Two holders of one VIP on one segment are refused before anything is changed."""

import nodes


def test_both_cannot_hold_the_vip(scenario):
    before = nodes.lasting()
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "-e", "ipvs_director_vip=hold", "--limit", "ipvs_directors")
    assert run.status != 0, run.output
    assert "director1, director2 all hold the VIP 198.51.100.100 in 198.51.100.0/24" in run.output
    assert run.total("changed") == 0, run.output
    assert nodes.lasting() == before
