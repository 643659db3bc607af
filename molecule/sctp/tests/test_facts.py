# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the director."""

import nodes


def test_the_service_is_an_sctp_service(now):
    assert "-A --sctp-service 198.51.100.100:3868 -s rr\n" in now[nodes.DIRECTOR]["table"]


def test_source_nat_is_for_associations_alone(now):
    rules = nodes.nft_tables(now[nodes.DIRECTOR]["rules"])["ip l4lb_snat"]
    assert "sctp" in rules
    assert "tcp" not in rules
