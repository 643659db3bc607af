# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the director."""

import re

import nodes


def test_the_table_has_the_marks_alone(now):
    table = now[nodes.DIRECTOR]["table"]
    services = [line for line in table.splitlines() if line.startswith("-A ")]
    assert sorted(services) == ["-A -f 53 -s rr", "-A -f 80 -6 -s rr", "-A -f 80 -s rr -p 300"]


def test_the_vips_are_those_of_the_marks(now):
    addresses = now[nodes.DIRECTOR]["addresses"]
    for vip in ("203.0.113.100/32", "203.0.113.101/32"):
        assert re.search(rf"eth1 +inet {re.escape(vip)} ", addresses), vip
    for vip in ("2001:db8:113::100/128", "2001:db8:113::101/128"):
        assert re.search(rf"eth1 +inet6 {re.escape(vip)} scope global deprecated", addresses), vip


def test_a_rule_for_each_family_protocol_and_interface(now):
    tables = nodes.nft_tables(now[nodes.DIRECTOR]["rules"])
    assert {name for name in tables if "l4lb" in name} == {"ip l4lb_mark", "ip6 l4lb_mark"}
    assert tables["ip l4lb_mark"].count("meta mark set") == 2
    assert 'iifname "eth1" meta mark set ip daddr . udp dport map @to_udp_on_eth1' in tables["ip l4lb_mark"]
    assert "203.0.113.101 . 8440-8450 : 0x00000050" in tables["ip l4lb_mark"]
    assert tables["ip6 l4lb_mark"].count("meta mark set") == 1
    assert "2001:db8:113::101 . 8443 : 0x00000050" in tables["ip6 l4lb_mark"]
