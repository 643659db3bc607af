# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts, and what must not pass on the segments."""

import transfers
from transfers import MEGABYTE

import captures
import nodes

WEB, WEB6 = "198.51.100.100", "2001:db8:100::100"
SIZE = 50 * MEGABYTE


def test_ipv6_servers_take_turns_and_see_the_client():
    report = nodes.load(f"[{WEB6}]:80", "--count 40")
    assert report["answers"] == {"backend1": 20, "backend2": 20}, report
    assert report["client_seen"] == {"2001:db8:113::10": 40}


def test_only_the_answers_of_the_server_go_by_the_director():
    backend = nodes.node("backend1")
    ask = "ip route get 203.0.113.10 from 198.51.100.201 ipproto tcp"
    assert "via 198.51.100.200" in backend.check_output(f"{ask} sport 8443")
    assert "via 198.51.100.1 " in backend.check_output(f"{ask} sport 22")
    assert "via 198.51.100.1 " in backend.check_output("ip route get 203.0.113.10")


def test_the_route_is_to_the_clients_alone():
    backend = nodes.node("backend2")
    assert "via 198.51.100.200" in backend.check_output("ip route get 203.0.113.10")
    assert "via 198.51.100.1 " in backend.check_output("ip route get 192.0.2.1")


def test_there_is_no_source_nat(now):
    assert not [name for name in nodes.nft_tables(now[nodes.DIRECTOR]["rules"]) if "l4lb" in name]


def test_nobody_is_redirected(scenario):
    with nodes.capturing(scenario, "outside", "lan") as files:
        # one for each backend and family
        fetched = [transfers.down(host, SIZE // 2) for host in (WEB, WEB, f"[{WEB6}]", f"[{WEB6}]")]
    assert fetched == [SIZE // 2] * 4
    for segment, file in files.items():
        assert captures.redirects(file) == [], segment
