# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts."""

import nodes


def test_the_services_are_datagram_services(now):
    table = now[nodes.DIRECTOR]["table"]
    assert "-A -u 198.51.100.100:53 -s rr\n" in table
    assert "-A -u 198.51.100.101:53 -s rr -o\n" in table
    assert " -t " not in table


def test_source_nat_is_for_the_nat_service_alone(now):
    rules = nodes.nft_tables(now[nodes.DIRECTOR]["rules"])["ip l4lb_snat"]
    assert "udp" in rules
    assert "tcp" not in rules
    assert "198.51.100.100" in rules
    assert "198.51.100.101" not in rules


def test_the_backends_have_the_vip_that_is_routed_to_them(now):
    for name in nodes.hosts("ipvs_backends"):
        addresses = now[name]["addresses"]
        assert " inet 198.51.100.101/32 " in addresses, name
        assert " inet 198.51.100.100/" not in addresses, name
