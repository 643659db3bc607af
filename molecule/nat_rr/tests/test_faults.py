# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify.yml makes of a dead server by the counters alone, and of schedulers that look at open connections.

They need a converged lab and leave it as it was. Alone: ``molecule converge -s nat_rr``, this file by pytest, and
``molecule destroy``.
"""

import json

import pytest

import nodes

VIP = "192.168.81.100"
SERVERS = ("192.168.81.129:80", "192.168.81.130:80")


def verify(scenario, **variables):
    return nodes.playbook(scenario, "l4lb.ipvs.verify", "-e", json.dumps(variables))


# before a cable is pulled: connections that are being opened count as open for a minute
@pytest.mark.parametrize("scheduler", ["sed", "nq"])
def test_connections_held_open_reach_every_server(scenario, inventory, scheduler):
    web = next(service for service in inventory["ipvs_services"] if service["name"] == "web")
    nodes.module(scenario, "ipvs_service", address=VIP, port=80, scheduler=scheduler)
    try:
        run = verify(scenario, ipvs_services=[{**web, "scheduler": scheduler}])
    finally:
        nodes.module(scenario, "ipvs_service", address=VIP, port=80, scheduler="rr")
    assert run.status == 0, run.output
    assert f"PASS -t {VIP}:80 {scheduler} (by connections held open): 30 of 30 answered" in run.output


def test_the_counters_tell_who_answered(scenario):
    run = verify(scenario, ipvs_verify={})
    assert run.status == 0, run.output
    assert f"PASS -t {VIP}:80 rr (in turn): 30 of 30 answered" in run.output


def test_the_counters_tell_who_did_not_answer(scenario):
    nodes.lab("port", "backend2", "inside", "down")
    try:
        # nor is there an answer in the errors by which the director then tells that it does not find the server
        nodes.node(nodes.DIRECTOR).check_output("ip neighbour del 192.168.81.130 dev eth2")
        # so many time-outs are waited for that each should be short
        run = verify(scenario, ipvs_verify={"default": {"timeout": 1}})
    finally:
        nodes.lab("port", "backend2", "inside", "up")
    assert run.status != 0, run.output
    assert f"FAIL -t {VIP}:80" in run.output
    assert [server for server in SERVERS if f"{server} never answered" in run.output] == ["192.168.81.130:80"]
