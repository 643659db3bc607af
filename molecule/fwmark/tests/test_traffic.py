# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of services by mark."""

import pytest

import nodes

CLIENT, CLIENT6 = "203.0.113.10", "2001:db8:113::10"
SHOP = [f"203.0.113.{vip}:{port}" for vip in (100, 101) for port in (80, 8443)]
SHOP6 = [f"[2001:db8:113::{vip}]:{port}" for vip in (100, 101) for port in (80, 8443)]


def test_a_client_reaches_one_server_on_every_vip_and_port():
    reports = [nodes.load(target, "--count 10") for target in SHOP]
    assert [report["failures"] for report in reports] == [0, 0, 0, 0]
    assert {frozenset(report["answers"].items()) for report in reports} <= {
        frozenset({("backend1", 10)}),
        frozenset({("backend2", 10)}),
    }
    assert len({server for report in reports for server in report["answers"]}) == 1
    assert all(report["client_seen"] == {CLIENT: 10} for report in reports)


def test_without_persistence_the_vips_and_ports_take_turns_together():
    # an odd number of each, so that only the sum comes out even
    reports = [nodes.load(target, "--count 15") for target in SHOP6]
    assert [report["failures"] for report in reports] == [0, 0, 0, 0]
    total = {name: sum(report["answers"].get(name, 0) for report in reports) for name in ("backend1", "backend2")}
    assert total == {"backend1": 30, "backend2": 30}
    assert all(report["client_seen"] == {CLIENT6: 15} for report in reports)


def test_datagrams_have_a_mark_of_their_own():
    report = nodes.load("203.0.113.100:53", "--udp --count 20 --first-source-port 20000")
    assert report["answers"] == {"backend1": 10, "backend2": 10}


@pytest.mark.parametrize("target", ["203.0.113.100:443", "[2001:db8:113::100]:8440"])
def test_other_ports_are_the_directors_own(target):
    report = nodes.load(target, "--count 3")
    assert report["answers"] == {}
    assert report["errors"] == {"ECONNREFUSED": 3}


def test_datagrams_to_the_other_vip_have_no_mark():
    report = nodes.load("203.0.113.101:53", "--udp --count 3")
    assert report["answers"] == {}


def test_what_is_merely_routed_is_not_marked():
    report = nodes.load("198.51.100.201:80", "--count 5", nodes.UNUSED_PORTS)
    assert report["answers"] == {"backend1": 5}
    assert report["client_seen"] == {CLIENT: 5}
