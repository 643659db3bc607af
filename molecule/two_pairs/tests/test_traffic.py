# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of two pairs of directors."""

import captures
import nodes

CLIENT = "198.51.100.10"
WEB, DNS = "198.51.100.100", "198.51.100.101"


def test_each_service_is_answered_by_all_servers_through_its_holder_alone(scenario):
    with nodes.capturing(scenario, "lan") as files:
        nodes.node(nodes.CLIENT).check_output("ip neigh flush all")
        web = nodes.load(f"{WEB}:80", "--count 30 --first-source-port 20000")
        dns = nodes.load(f"{DNS}:53", "--udp --count 30 --first-source-port 20000")
    assert [web["failures"], dns["failures"]] == [0, 0], (web["errors"], dns["errors"])
    assert web["answers"].keys() == {"backend1", "backend2", "backend3"}
    assert dns["answers"] == {"backend1": 10, "backend2": 10, "backend3": 10}
    assert web["client_seen"] == dns["client_seen"] == {CLIENT: 30}
    for vip, holder in ((WEB, "director1"), (DNS, "director3")):
        told = {mac for dummy, mac in captures.claims(files["lan"], vip)}
        assert told == {nodes.mac(holder, "lan")}, vip
