# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the director."""

import nodes


def test_the_services_are_datagram_services(now):
    table = now[nodes.DIRECTOR]["table"]
    assert "-A -u 198.51.100.100:53 -s rr\n" in table
    assert " -t " not in table


def test_source_nat_is_for_datagrams_alone(now):
    rules = nodes.nft_tables(now[nodes.DIRECTOR]["rules"])["ip l4lb_snat"]
    assert "udp" in rules
    assert "tcp" not in rules
