# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of a director with mh over three servers, whether set up by hand or by the role."""

import collections

import nodes

VIP = "198.51.100.100"


def test_each_server_has_its_share_of_the_source_ports(flows):
    assert len(flows) == 300
    shares = {name: 100 * count / len(flows) for name, count in collections.Counter(flows.values()).items()}
    assert shares.keys() == {"backend1", "backend2", "backend3"}
    assert all(abs(share - 100 / len(shares)) <= 10 for share in shares.values()), shares


def test_a_source_port_keeps_its_server():
    report = nodes.load(f"{VIP}:443", "--count 50 --first-source-port 30000 --source-ports 1")
    assert report["failures"] == 0, report["errors"]
    assert list(report["answers"].values()) == [50]


def test_what_is_balanced_comes_from_the_director():
    report = nodes.load(f"{VIP}:443", "--count 9")
    assert report["client_seen"] == {"198.51.100.200": 9}
