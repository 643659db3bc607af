# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles of the directors are swapped by one variable while connections are made."""

import json

import pytest

import captures
import nodes

VIP = "198.51.100.100"
HOLDER, STANDBY = "director2", "director1"
RATE, SECONDS = 200, 5  # new connections a second, and the length of one piece of the load
PATIENCE = 60  # seconds that the VIP may be nobody's
WORD = "{{ (inventory_hostname == '%s') | ternary('hold', 'standby') }}"


def make():
    return nodes.steady_load(VIP, 80, RATE, SECONDS)


def test_one_variable_swaps_the_roles(scenario, record_property):
    with nodes.capturing(scenario, "lan") as files, nodes.under_load(make) as reports:
        # the part of the role that touches the running services
        words = ("--tags", "ipvs_director_run", "-e", f"active_director={STANDBY}")
        run = nodes.playbook(scenario, "l4lb.ipvs.site", *words)
    afterwards = make()
    lost, silence = sum(report.failures for report in reports), captures.longest_silence(files["lan"], VIP)
    begun = nodes.begun(reports)
    told = {"rate": begun, "lost": lost, "of": len(reports) * RATE * SECONDS, "silence": silence}
    for name, value in told.items():
        record_property(name, round(value, 1))
    assert run.status == 0, run.output
    assert run.total("changed") == 2, run.output
    assert begun > 0.95 * RATE, [report.output for report in reports]
    assert 0 < silence < PATIENCE
    # who asks while the VIP is nobody's may be lost, and what is under way then; nobody else
    assert lost < RATE * (silence + 1), [report.output for report in reports]
    assert (afterwards.failures, afterwards.answers) == (0, RATE * SECONDS), afterwards.output


def test_the_other_director_answers_alone(scenario):
    with nodes.capturing(scenario, "lan") as files:
        nodes.node(nodes.CLIENT).check_output("ip neigh flush all")
        report = nodes.load(f"{VIP}:80", "--count 20")
    assert report["failures"] == 0, report["errors"]
    assert report["client_seen"] == {"198.51.100.200": 20}
    assert {mac for dummy, mac in captures.claims(files["lan"], VIP)} == {nodes.mac(STANDBY, "lan")}


# From ports that the load before has not used: a director still knows the connections that it lost with the VIP, and
# sends a new one from such a port after them.
@pytest.mark.parametrize(
    ("web", "api", "first_port"),
    [(HOLDER, STANDBY, 20000), (STANDBY, HOLDER, 21000)],
    ids=["halves", "swapped"],
)
def test_each_holds_the_vip_of_a_service(scenario, web, api, first_port):
    words = json.dumps({"ipvs_director_vip": {"web": WORD % web, "default": WORD % api}})
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "--tags", "ipvs_director_run", "-e", words)
    assert run.status == 0, run.output
    for number, (vip, holder) in enumerate({VIP: web, "198.51.100.101": api}.items()):
        holding = [name for name in (HOLDER, STANDBY) if f" {vip}/32 " in nodes.state(name)["addresses"]]
        assert holding == [holder]
        report = nodes.load(f"{vip}:80", f"--count 20 --first-source-port {first_port + 100 * number}")
        assert report["failures"] == 0, report["errors"]
