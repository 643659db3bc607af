# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of IPv6 services."""

import nodes

SERVERS = ("backend1", "backend2", "backend3")
CLIENT, DIRECTOR = "2001:db8:100::10", "2001:db8:100::200"


def test_nat_servers_take_turns_and_see_the_director():
    report = nodes.load("[2001:db8:100::100]:443", "--count 60 --first-source-port 20000")
    assert report["failures"] == 0, report["errors"]
    assert report["answers"] == dict.fromkeys(SERVERS, 20)
    assert report["client_seen"] == {DIRECTOR: 60}
