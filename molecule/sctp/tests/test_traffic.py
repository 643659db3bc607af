# SPDX-License-Identifier: GPL-3.0-or-later
"""SCTP associations through a director."""

import captures
import nodes

VIP, CLIENT, DIRECTOR = "198.51.100.100", "198.51.100.10", "198.51.100.200"
SERVERS = {"backend1": "198.51.100.201", "backend2": "198.51.100.202"}


def test_associations_take_turns_and_stay_on_their_path(scenario):
    with nodes.capturing(scenario, "lan") as files:
        report = nodes.load(f"{VIP}:3868", "--sctp --count 60 --first-source-port 20000")
    assert report["failures"] == 0, report["errors"]
    assert report["answers"] == dict.fromkeys(SERVERS, 30)
    assert report["client_seen"] == {DIRECTOR: 60}
    # an association knows all addresses of both ends: none but the VIP and the director may come of it
    for server in SERVERS.values():
        assert captures.carried(files["lan"], DIRECTOR, server)["sctp"] > 30
        assert not captures.carried(files["lan"], server, CLIENT)
        assert not captures.carried(files["lan"], CLIENT, server)
    assert captures.carried(files["lan"], VIP, CLIENT)["sctp"] > 60
