# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees of a director in its own subnet."""

import nodes


def test_all_servers_answer_and_see_the_director():
    report = nodes.load("198.51.100.100:443", "--count 60 --first-source-port 20000")
    assert report["failures"] == 0, report["errors"]
    assert report["answers"].keys() == {"backend1", "backend2", "backend3"}
    assert report["client_seen"] == {"198.51.100.200": 60}
