# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of IPv6 services."""

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
