# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts, one by one."""

import nodes

VIPS = {"198.51.100.100", "2001:db8:100::100"}
PLACES = {"backend1": "lo", "backend2": "lo", "backend3": "vips"}


def test_direct_routing_sets_no_sysctl_on_the_director(now, pristine):
    live, before = (nodes.sysctls(state[nodes.DIRECTOR]["sysctls"]) for state in (now, pristine))
    assert {key for key in before if live[key] != before[key]} == set()


def test_the_director_has_the_vips_where_it_hears_of_them():
    assert set(nodes.node(nodes.DIRECTOR).interface("eth1").addresses) >= VIPS


def test_the_backends_have_the_vips_where_nobody_asks(now):
    for name in nodes.hosts("ipvs_backends"):
        lines = [line.split() for line in now[name]["addresses"].splitlines()]
        held = {words[3]: (words[1], words[5]) for words in lines}
        assert held["198.51.100.100/32"] == (PLACES[name], "host"), name
        assert held["2001:db8:100::100/128"][0] == PLACES[name], name


def test_the_backends_come_back_quiet():
    for name in nodes.hosts("ipvs_backends"):
        text = nodes.node(name).file("/etc/sysctl.d/99-zz-l4lb-ipvs-backend.conf").content_string
        for line in ("net.ipv4.conf.all.arp_ignore = 1\n", "net.ipv4.conf.all.arp_announce = 2\n"):
            assert line in text, name


def test_ipv6_clients_are_served_as_well():
    report = nodes.load("[2001:db8:100::100]:80", "--count 30 --first-source-port 20000")
    assert report["answers"] == {"backend1": 10, "backend2": 10, "backend3": 10}, report
    assert report["client_seen"] == {"2001:db8:100::10": 30}
