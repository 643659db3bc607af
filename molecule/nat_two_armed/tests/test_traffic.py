# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of a director between it and the servers."""

import nodes


def test_the_servers_take_turns_and_see_the_client():
    report = nodes.load("203.0.113.100:80", "--count 40 --first-source-port 20000")
    assert report["answers"] == {"backend1": 20, "backend2": 20}, report
    assert report["client_seen"] == {"203.0.113.10": 40}


def test_there_is_no_source_nat(now):
    assert not [name for name in nodes.nft_tables(now[nodes.DIRECTOR]["rules"]) if "l4lb" in name]
