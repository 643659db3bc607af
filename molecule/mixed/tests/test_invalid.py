# SPDX-License-Identifier: GPL-3.0-or-later
"""A director that tracks connections for its source NAT does not take those of DR and TUN for invalid."""

import pytest
import transfers
from firewall import dropped, strict
from transfers import MEGABYTE

import nodes

VIP, TUNNELLED, MARKED, CLIENT = "198.51.100.100", "198.51.100.101", "198.51.100.102", "198.51.100.10"


@pytest.fixture(scope="module")
def director():
    return nodes.node(nodes.DIRECTOR)


def test_a_client_has_one_server_on_every_port_of_a_mark():
    reports = [nodes.load(f"{MARKED}:{port}", "--count 10") for port in (80, 8443)]
    assert [report["failures"] for report in reports] == [0, 0]
    assert len({server for report in reports for server in report["answers"]}) == 1
    assert all(report["client_seen"] == {CLIENT: 10} for report in reports)


def test_nothing_is_dropped(director):
    with strict(director):
        web = nodes.load(f"{VIP}:80", "--count 30")
        tls = nodes.load(f"{VIP}:443", "--count 30")
        dns = nodes.load(f"{TUNNELLED}:53", "--count 30 --udp")
        for vip in (VIP, f"{VIP}:443", MARKED):
            assert transfers.down(vip, MEGABYTE) == MEGABYTE
            assert transfers.up(vip, MEGABYTE)
        assert dropped(director) == 0
    assert [report["failures"] for report in (web, tls, dns)] == [0, 0, 0]
    assert web["answers"] == {"backend1": 10, "backend2": 10, "backend3": 10}
    # a source port that was used some minutes ago keeps its server
    assert dns["answers"].keys() == {"backend1", "backend2", "backend3"}
    assert (web["client_seen"], tls["client_seen"]) == ({CLIENT: 30}, {"198.51.100.200": 30})


def test_tracked_they_would_be_dropped(director):
    rules = director.check_output("nft --stateless list table ip l4lb_notrack")
    director.check_output("nft delete table ip l4lb_notrack")
    try:
        with strict(director):
            transfers.down(VIP, MEGABYTE, patience=5)
            assert dropped(director) > 0
    finally:
        director.check_output(f"nft -f - <<'END'\n{rules}\nEND")
