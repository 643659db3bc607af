# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts, one by one."""

import pytest

import nodes


@pytest.fixture(scope="module")
def director():
    return nodes.node(nodes.DIRECTOR)


def test_the_vip_has_the_prefix_of_its_network(director):
    assert "inet 192.168.81.100/24 " in director.check_output("ip -oneline address show dev eth2")


def test_there_is_no_source_nat(now):
    assert not [name for name in nodes.nft_tables(now[nodes.DIRECTOR]["rules"]) if "l4lb" in name]


def test_the_sysctls_come_back_at_boot(director):
    text = director.file("/etc/sysctl.d/99-zz-l4lb-ipvs-director.conf").content_string
    assert "net.ipv4.ip_forward = 1\n" in text
    assert "net.ipv4.vs.conntrack = 1\n" in text


def test_the_modules_come_back_at_boot(director):
    modules = director.file("/etc/modules-load.d/l4lb-ipvs-director.conf").content_string.splitlines()
    assert {"ip_vs", "ip_vs_rr"} <= set(modules)


def test_the_servers_have_nothing_of_the_collection():
    for name in ("backend1", "backend2"):
        backend = nodes.node(name)
        assert backend.check_output("ip route show default").startswith("default via 192.168.81.128 ")
        assert "ip_vs" not in backend.check_output("lsmod")
