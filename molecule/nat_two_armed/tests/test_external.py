# SPDX-License-Identifier: GPL-3.0-or-later
"""A VIP that something else places: the role builds all but it."""

import json

import nodes

VIP = "203.0.113.100"


def site(scenario, **variables):
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "-e", json.dumps(variables))
    assert run.status == 0, run.output
    return run.total("changed")


def test_an_external_vip_is_neither_taken_away_nor_placed(scenario):
    director = nodes.node(nodes.DIRECTOR)

    def has_vip():
        return f" {VIP}/32 " in director.check_output("ip -oneline address show dev eth1")

    try:
        assert has_vip()
        assert site(scenario, ipvs_director_vip="external") == 0
        assert has_vip()
        director.check_output(f"ip address del {VIP}/32 dev eth1")
        director.check_output("ipvsadm -C")
        assert site(scenario, ipvs_director_vip="external") == 1
        assert f"-A -t {VIP}:80 -s rr" in director.check_output("ipvsadm -Sn")
        assert not has_vip()
    finally:
        assert site(scenario) == 1
    assert has_vip()
    assert nodes.load(f"{VIP}:80", "--count 4")["failures"] == 0
