# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of IPv6 services."""

import pytest

import captures
import nodes

SERVERS = ("backend1", "backend2", "backend3")
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
