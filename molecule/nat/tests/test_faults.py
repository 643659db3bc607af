# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on a director and its servers that the playbook verify.yml must notice.

They need a converged lab and leave it as it was. Alone: ``molecule converge -s nat``, this file by pytest, and
``molecule destroy``.
"""

import json

import pytest

import nodes

DEAD = ["198.51.100.201", "198.51.100.202", "198.51.100.203"]


def on_director(command):
    nodes.node(nodes.DIRECTOR).check_output(command)


def set_cable(state):
    nodes.lab("port", "backend2", "lan", state)


#: name -> what makes the fault, what takes it back, which servers do not answer then
FAULTS = {
    "source NAT off": (
        lambda: on_director("nft add table ip l4lb_snat '{ flags dormant; }'"),
        lambda: on_director("nft add table ip l4lb_snat"),
        DEAD,
    ),
    "conntrack off": (
        lambda: on_director("sysctl -w net.ipv4.vs.conntrack=0"),
        lambda: on_director("sysctl -w net.ipv4.vs.conntrack=1"),
        DEAD,
    ),
    "a backend unplugged": (lambda: set_cable("down"), lambda: set_cable("up"), ["198.51.100.202"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_verify_notices(scenario, inventory, name):
    make, take_back, dead = FAULTS[name]
    # so many time-outs are waited for that each should be short
    verify = {"default": {**inventory["ipvs_verify"]["default"], "timeout": 1}}
    make()
    try:
        run = nodes.playbook(scenario, "l4lb.ipvs.verify", "-e", json.dumps({"ipvs_verify": verify}))
    finally:
        take_back()
    assert run.status != 0, run.output
    assert "FAIL -t 198.51.100.100:443" in run.output
    assert [server for server in DEAD if f"{server}:8443 never answered" in run.output] == dead


def test_verify_is_content_without_a_fault(scenario):
    run = nodes.playbook(scenario, "l4lb.ipvs.verify")
    assert run.status == 0, run.output
    assert run.output.count("PASS -") == 3 * run.output.count('"msg": [')
