# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on a director and its servers that the playbook verify.yml must notice.

They need a converged lab and leave it as it was. Alone: ``molecule converge -s nat``, this file by pytest, and
``molecule destroy``.
"""

import pytest

import nodes


def on_director(command):
    return lambda: nodes.node(nodes.DIRECTOR).check_output(command)


def cable(state):
    return lambda: nodes.lab("port", "backend2", "lan", state)


#: name -> what makes the fault, what takes it back, a word of what verify.yml has to say
FAULTS = {
    "source NAT off": (
        on_director("nft add table ip l4lb_snat '{ flags dormant; }'"),
        on_director("nft add table ip l4lb_snat"),
        "timed out",
    ),
    "conntrack off": (
        on_director("sysctl -w net.ipv4.vs.conntrack=0"),
        on_director("sysctl -w net.ipv4.vs.conntrack=1"),
        "timed out",
    ),
    "a backend unplugged": (cable("down"), cable("up"), "198.51.100.202:8443 never answered"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_verify_notices(scenario, name):
    make, take_back, word = FAULTS[name]
    make()
    try:
        run = nodes.playbook(scenario, "l4lb.ipvs.verify")
    finally:
        take_back()
    assert run.status != 0, run.output
    assert "FAIL -t 198.51.100.100:443" in run.output
    assert word in run.output


def test_verify_is_content_without_a_fault(scenario):
    run = nodes.playbook(scenario, "l4lb.ipvs.verify")
    assert run.status == 0, run.output
    assert run.output.count("PASS -t") == 2
