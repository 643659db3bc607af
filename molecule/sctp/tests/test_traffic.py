# SPDX-License-Identifier: GPL-3.0-or-later
"""SCTP associations through a director."""

import captures
import nodes

VIP, CLIENT, DIRECTOR = "198.51.100.100", "198.51.100.10", "198.51.100.200"
FIRST_HEARTBEAT = 4.5  # seconds: rto_initial and half of it, the most that it is put off at random
HELD = f"""
import select, socket
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as sock:
    sock.connect(("{VIP}", 3868))
    for patience in ({FIRST_HEARTBEAT}, 0):
        sock.send(b"\\n")
        print(sock.recv(64).decode().split()[0])
        select.select([sock], [], [], patience)
"""
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


def test_an_association_outlives_its_first_heartbeats(scenario):
    with nodes.capturing(scenario, "lan") as files:
        first, second = nodes.node(nodes.CLIENT).check_output("python3 -c %s", HELD).split()
    assert first in SERVERS
    assert second == first
    for server in SERVERS.values():
        assert not captures.carried(files["lan"], CLIENT, server)
