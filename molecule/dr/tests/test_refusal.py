# SPDX-License-Identifier: GPL-3.0-or-later
"""The role of a backend on a host of the wrong kind changes nothing."""

import json

import pytest

import nodes


@pytest.mark.parametrize(
    ("groups", "reported"),
    [
        ({"ipvs_backend_hosts": "ipvs_directors"}, "this host is a director, and a server of no service"),
        ({"ipvs_backend_hosts": "ipvs_directors", "ipvs_director_hosts": "ipvs_backends"}, "all hold the VIP"),
    ],
)
def test_f31_the_role_of_a_backend_is_refused_on_a_director(scenario, groups, reported):
    before = nodes.lasting()
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "-e", json.dumps(groups))
    assert run.status != 0, run.output
    assert reported in run.output
    assert run.total("changed") == 0, run.output
    assert nodes.lasting() == before
