# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of a director that routes directly."""

import nodes

VIP = "198.51.100.100"
CLIENT = "198.51.100.10"


def test_the_servers_take_turns_and_see_the_client():
    report = nodes.load(f"{VIP}:80", "--count 90 --first-source-port 20000")
    assert report["answers"] == {"backend1": 30, "backend2": 30, "backend3": 30}, report
    assert report["client_seen"] == {CLIENT: 90}


def test_a_client_of_a_persistent_service_keeps_its_server():
    report = nodes.load(f"{VIP}:25", "--count 20 --first-source-port 20000")
    assert list(report["answers"].values()) == [20], report
    assert report["client_seen"] == {CLIENT: 20}


def test_answers_go_past_the_director():
    director = nodes.node(nodes.DIRECTOR)
    before = director.check_output("cat /sys/class/net/eth1/statistics/rx_bytes")
    size = 1_000_000
    fetched = nodes.node(nodes.CLIENT).check_output(
        f"curl -sS -o /dev/null -w '%{{size_download}}' http://{VIP}/bytes/{size}"
    )
    after = director.check_output("cat /sys/class/net/eth1/statistics/rx_bytes")
    assert fetched == str(size)
    assert int(after) - int(before) < size / 4
