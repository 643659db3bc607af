# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of IPv6 services."""

import pytest
import transfers

import captures
import nodes

SERVERS = ("backend1", "backend2", "backend3")
SIZE = 10 * transfers.MEGABYTE
CLIENT, DIRECTOR = "2001:db8:100::10", "2001:db8:100::200"


def test_nat_servers_take_turns_and_see_the_director():
    report = nodes.load("[2001:db8:100::100]:443", "--count 60 --first-source-port 20000")
    assert report["failures"] == 0, report["errors"]
    assert report["answers"] == dict.fromkeys(SERVERS, 20)
    assert report["client_seen"] == {DIRECTOR: 60}


def test_dr_servers_take_turns_and_see_the_client(scenario):
    with nodes.capturing(scenario, "lan") as files:
        nodes.node(nodes.CLIENT).check_output("ip -6 neigh flush all")
        report = nodes.load("[2001:db8:100::101]:80", "--count 60 --first-source-port 20000")
    assert report["failures"] == 0, report["errors"]
    assert report["answers"] == dict.fromkeys(SERVERS, 20)
    assert report["client_seen"] == {CLIENT: 60}
    told = {mac for dummy, mac in captures.claims(files["lan"], "2001:db8:100::101")}
    assert told == {nodes.mac(nodes.DIRECTOR, "lan")}
    assert captures.redirects(files["lan"]) == []


@pytest.mark.parametrize(
    ("target", "client", "carried"),
    [("[2001:db8:100::102]:80", CLIENT, "ipv6"), ("198.51.100.102:80", "198.51.100.10", "ipip")],
)
def test_tun_servers_take_turns_and_see_the_client(scenario, target, client, carried):
    with nodes.capturing(scenario, "lan") as files:
        report = nodes.load(target, "--count 30 --first-source-port 20000")
    assert report["failures"] == 0, report["errors"]
    assert report["answers"] == dict.fromkeys(SERVERS, 10)
    assert report["client_seen"] == {client: 30}
    for backend in ("2001:db8:100::201", "2001:db8:100::202", "2001:db8:100::203"):
        sent = captures.carried(files["lan"], DIRECTOR, backend)
        assert sent[carried] >= 30, sent
        assert set(sent) <= {carried, "icmpv6"}, sent


@pytest.mark.parametrize("vip", ["[2001:db8:100::102]", "198.51.100.102"])
def test_large_transfers_fit_the_ipv6_tunnel(scenario, vip):
    """And no backend says that the VIP is its own, though it sends from it."""
    with nodes.capturing(scenario, "lan") as files:
        for name in SERVERS:
            nodes.node(name).check_output("ip neigh flush all; ip -6 neigh flush all")
        assert transfers.down(vip, SIZE) == SIZE
        assert transfers.up(vip, SIZE)
    told = {mac for dummy, mac in captures.claims(files["lan"], vip.strip("[]"))}
    assert told <= {nodes.mac(nodes.DIRECTOR, "lan")}
