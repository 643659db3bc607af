# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of a director that translates, and whose servers have another gateway."""

import nodes

CLIENT = "203.0.113.10"


def test_the_servers_take_turns_and_see_the_client():
    report = nodes.load("198.51.100.100:80", "--count 40 --first-source-port 20000")
    assert report["answers"] == {"backend1": 20, "backend2": 20}, report
    assert report["client_seen"] == {CLIENT: 40}
