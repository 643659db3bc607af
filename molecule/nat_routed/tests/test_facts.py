# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts, and what must not pass on the segments."""

import contextlib
import json

import transfers
from transfers import MEGABYTE

import captures
import nodes

WEB, WEB6 = "198.51.100.100", "2001:db8:100::100"
GATEWAY6 = "2001:db8:100::1"
SERVERS, SERVERS6 = ("198.51.100.201", "198.51.100.202"), ("2001:db8:100::201", "2001:db8:100::202")
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


def redirected(file):
    """Who was told of a shorter way."""
    return {told.partition(" -> ")[2] for told in captures.redirects(file)}


def test_nobody_is_redirected(scenario):
    with nodes.capturing(scenario, "outside", "lan") as files:
        # one for each backend
        fetched = [transfers.down(WEB, SIZE) for dummy in range(2)]
    assert fetched == [SIZE] * 2
    assert {segment: redirected(file) for segment, file in files.items()} == {"outside": set(), "lan": set()}


def test_a_director_that_may_redirect_does(scenario):
    """Or the test before would show nothing."""
    director = nodes.node(nodes.DIRECTOR)
    with nodes.capturing(scenario, "lan") as files, nodes.lan_sysctl(director, "send_redirects", 1):
        assert transfers.down(WEB, MEGABYTE) == MEGABYTE
    told = redirected(files["lan"])
    assert told
    assert told <= set(SERVERS)


@contextlib.contextmanager
def link_local_gateway(director):
    """Let the director know its gateway by the link-local address, without which there is no redirect of IPv6."""
    links = json.loads(nodes.node("router").check_output("ip -6 -j address"))
    (found,) = [
        {one["scope"]: one["local"] for one in link["addr_info"]}
        for link in links
        if any(one["local"] == GATEWAY6 for one in link["addr_info"])
    ]
    route = director.check_output("ip -6 route show default dev eth1")
    director.check_output(f"ip -6 route replace {route.replace(GATEWAY6, found['link'])} dev eth1")
    try:
        yield
    finally:
        director.check_output(f"ip -6 route replace {route} dev eth1")


def test_ipv6_redirects_go_to_the_servers_alone_which_do_not_heed_them(scenario, now):
    """The kernel has no sysctl to stop them."""
    with nodes.capturing(scenario, "outside", "lan") as files, link_local_gateway(nodes.node(nodes.DIRECTOR)):
        assert transfers.down(f"[{WEB6}]", MEGABYTE) == MEGABYTE
    told = redirected(files["lan"])
    assert told
    assert told <= set(SERVERS6)
    assert redirected(files["outside"]) == set()
    for name in nodes.hosts("ipvs_backends"):
        assert nodes.sysctls(now[name]["sysctls"])["net.ipv6.conf.eth1.accept_redirects"] == "0", name
