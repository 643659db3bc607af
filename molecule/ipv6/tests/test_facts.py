# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts."""

import nodes

VIP = "2001:db8:100::100"
#: What the roles installed. There was none of it.
PACKAGES = {
    "director1": {"conntrack", "ipvsadm", "nftables", "python3-pyroute2"},
    "backend1": {"nftables", "python3-pyroute2"},
}


def test_what_the_roles_use_was_installed_and_no_more():
    every = set.union(*PACKAGES.values())
    for name, wanted in PACKAGES.items():
        assert {package for package in every if nodes.node(name).package(package).is_installed} == wanted, name


def test_the_vip_is_never_the_source_of_the_directors_own_traffic(now):
    line = next(line for line in now[nodes.DIRECTOR]["addresses"].splitlines() if f" {VIP}/128 " in line)
    assert "preferred_lft 0sec" in line
    director = nodes.node(nodes.DIRECTOR)
    assert " src 2001:db8:100::200 " in director.check_output("ip -6 route get 2001:db8:100::10")


def test_the_director_forwards_at_once_and_after_a_boot(now):
    live = nodes.sysctls(now[nodes.DIRECTOR]["sysctls"])
    assert live["net.ipv6.conf.all.forwarding"] == "1"
    assert live["net.ipv4.ip_forward"] == "0", "nothing here is IPv4"
    text = nodes.node(nodes.DIRECTOR).file("/etc/sysctl.d/99-zz-l4lb-ipvs-director.conf").content_string
    assert "net.ipv6.conf.all.forwarding = 1\n" in text


def test_what_a_router_has_advertised_is_kept(now):
    """The kernel drops it when it begins to forward, unless it is told not to."""
    assert nodes.node(nodes.DIRECTOR).check_output("ip -6 route show default proto ra dev eth1")
    key = "net.ipv6.conf.eth1.accept_ra"
    assert nodes.sysctls(now[nodes.DIRECTOR]["sysctls"])[key] == "2"
    text = nodes.node(nodes.DIRECTOR).file("/etc/sysctl.d/99-zz-l4lb-ipvs-director.conf").content_string
    assert f"{key} = 2\n" in text


def test_source_nat_is_in_the_family_of_the_servers(now):
    tables = nodes.nft_tables(now[nodes.DIRECTOR]["rules"])
    assert "2001:db8:100::201" in tables["ip6 l4lb_snat"]
    assert "ip l4lb_snat" not in tables
