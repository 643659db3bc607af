# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of datagrams: of one flow, of many, and at a rate."""

import pytest

import nodes

#: target -> the source address that servers see
SEEN = {
    "198.51.100.100:53": "198.51.100.200",  # source NAT
    "198.51.100.101:53": "198.51.100.10",  # direct routing
}
FLOWS, EACH = SEEN
SERVERS = ("backend1", "backend2", "backend3")
MANY = 2000


def ask(target, options):
    report = nodes.load(target, "--udp", options)
    assert report["failures"] == 0, report["errors"]
    return report


@pytest.mark.parametrize("target", SEEN)
def test_new_flows_take_turns(target):
    report = ask(target, "--count 90 --first-source-port 20000")
    assert report["answers"] == dict.fromkeys(SERVERS, 30)
    assert report["client_seen"] == {SEEN[target]: 90}


def test_a_flow_keeps_its_server():
    report = ask(FLOWS, "--count 30 --first-source-port 30000 --source-ports 1")
    assert list(report["answers"].values()) == [30]
    assert f"198.51.100.10:30000 {FLOWS}" in connections()


def test_with_one_packet_scheduling_even_a_flow_takes_turns():
    report = ask(EACH, "--count 30 --first-source-port 30000 --source-ports 1")
    assert report["answers"] == dict.fromkeys(SERVERS, 10)
    assert not [connection for connection in connections() if EACH in connection]


@pytest.mark.parametrize("target", SEEN)
def test_nothing_is_lost_of_many(target):
    # as many a second as that, or as an emulated client can
    report = ask(target, f"--rate 200 --count {MANY} --first-source-port 40000")
    assert sum(report["answers"].values()) == MANY
    assert report["answers"].keys() == set(SERVERS)


def connections():
    """The connections that IPVS keeps, each as ``CLIENT VIP``."""
    listed = nodes.node(nodes.DIRECTOR).check_output("ipvsadm -Lnc").splitlines()
    return {" ".join(line.split()[3:5]) for line in listed if line.startswith("UDP")}
