# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of a director with rr over two servers that answer through it."""

import nodes

VIP = "192.168.81.100"
CLIENT = "203.0.113.10"


def test_the_servers_take_turns_and_see_the_client():
    report = nodes.load(f"{VIP}:80", "--count 100 --first-source-port 20000")
    assert report["answers"] == {"backend1": 50, "backend2": 50}
    assert report["client_seen"] == {CLIENT: 100}
    order = [next(iter(report["by_source_port"][port])) for port in sorted(report["by_source_port"], key=int)]
    assert all(one != other for one, other in zip(order, order[1:]))


def test_a_client_of_a_persistent_service_keeps_its_server():
    report = nodes.load(f"{VIP}:25", "--count 20 --first-source-port 20000")
    assert list(report["answers"].values()) == [20], report
    assert report["client_seen"] == {CLIENT: 20}


def test_what_is_merely_routed_keeps_its_source():
    report = nodes.load("192.168.81.129:80", "--count 5", nodes.UNUSED_PORTS)
    assert report["client_seen"] == {CLIENT: 5}
    assert report["answers"] == {"backend1": 5}
