# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts, one by one."""

import pytest

import nodes


@pytest.fixture(scope="module")
def director():
    return nodes.node(nodes.DIRECTOR)


def test_the_vip_is_on_the_interface_of_its_network(director):
    assert {"198.51.100.100", "198.51.100.200"} <= set(director.interface("eth1").addresses)


def test_nobody_listens_where_the_services_are(director):
    assert not director.socket("tcp://0.0.0.0:443").is_listening


def test_the_sysctls_come_back_at_boot(director):
    text = director.file("/etc/sysctl.d/99-zz-l4lb-ipvs-director.conf").content_string
    assert "net.ipv4.ip_forward = 1\n" in text
    assert "net.ipv4.vs.conntrack = 1\n" in text


def test_the_modules_come_back_at_boot(director):
    modules = director.file("/etc/modules-load.d/l4lb-ipvs-director.conf").content_string.splitlines()
    assert {"ip_vs", "ip_vs_mh"} <= set(modules)


def test_source_nat_names_each_service_and_server(now):
    rules = nodes.nft_tables(now[nodes.DIRECTOR]["rules"])["ip l4lb_snat"]
    for server in ("198.51.100.201", "198.51.100.202", "198.51.100.203"):
        assert server in rules
    assert {"198.51.100.100", "198.51.100.200"} <= set(rules.replace("}", " ").replace(",", " ").split())
    assert "masquerade" in rules
