# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of datagrams: of one flow, of many, and at a rate."""

import pytest

import nodes

FLOWS = "198.51.100.100:53"
SERVERS = ("backend1", "backend2", "backend3")
ONE_PORT = "--first-source-port 30000 --source-ports 1"
RATE, SECONDS = 200, 10


def ask(target, options):
    report = nodes.load(target, "--udp", options)
    assert report["failures"] == 0, report["errors"]
    return report


def test_flows_take_turns():
    report = ask(FLOWS, "--count 90 --first-source-port 20000")
    assert report["answers"] == dict.fromkeys(SERVERS, 30)
    assert report["client_seen"] == {"198.51.100.200": 90}


def test_a_flow_keeps_its_server():
    report = ask(FLOWS, f"--count 30 {ONE_PORT}")
    assert list(report["answers"].values()) == [30]
    assert "198.51.100.10:30000 198.51.100.100:53" in connections()


@pytest.mark.parametrize("target", [FLOWS])
def test_nothing_is_lost_at_a_rate(target):
    report = ask(
        target, f"--rate {RATE} --duration {SECONDS} --first-source-port 40000 --source-ports {RATE * SECONDS}"
    )
    assert report["answers"].keys() == set(SERVERS)


def connections():
    """The connections that IPVS keeps, each as client and VIP."""
    listed = nodes.node(nodes.DIRECTOR).check_output("ipvsadm -Lnc")
    return {" ".join(line.split()[3:5]) for line in listed.splitlines()}
