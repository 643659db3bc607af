# SPDX-License-Identifier: GPL-3.0-or-later
"""Only the director claims a VIP: every frame is captured while backends work.

And the proof that the captures would show it: with a sysctl as it is by default, or the VIP before it, they do.
"""

import pytest

import captures
import nodes

VIP, VIP6 = "198.51.100.100", "2001:db8:100::100"
CLIENT, CLIENT6 = "198.51.100.10", "2001:db8:100::10"


@pytest.fixture(scope="module")
def backend():
    return nodes.node("backend1")


def forget(*names):
    """Flush the neighbour caches of nodes."""
    for name in names:
        nodes.node(name).check_output("ip neigh flush all; ip -6 neigh flush all")


def ask(address):
    """Let the client ask by ARP or neighbour discovery who has an address, which nobody answers but the director."""
    nodes.node(nodes.CLIENT).run(f"ip neigh flush all; ping -c 1 -W 1 {address}")


def test_no_other_host_claims_a_vip_that_it_sends_from(scenario, backend):
    with nodes.capturing(scenario, "lan") as files:
        forget(nodes.CLIENT, "backend1", "backend2", "backend3")
        reports = [nodes.load(f"{VIP}:80", "--count 12"), nodes.load(f"[{VIP6}]:80", "--count 12")]
        # the first packet to a neighbour that is not known asks for it
        send_from_the_vip(backend)
        nodes.lab("port", "backend1", "lan", "down")
        nodes.lab("port", "backend1", "lan", "up")
        flap(backend)
        ask(VIP)
        ask(VIP6)
    assert [report["failures"] for report in reports] == [0, 0], reports
    assert captures.strangers(files["lan"], (VIP, VIP6), nodes.mac(nodes.DIRECTOR, "lan")) == {}


def send_from_the_vip(backend):
    backend.run(f"ip neigh flush all; ping -c 1 -W 1 -I {VIP} {CLIENT}")
    backend.run(f"ip -6 neigh flush all; ping -c 1 -W 1 -I {VIP6} {CLIENT6}")


def flap(backend):
    """Take the link down and up; the addresses that a link has in IPv6 leave with it unless it is told to keep them."""
    key = "net.ipv6.conf.eth1.keep_addr_on_down"
    backend.check_output(f"sysctl -w {key}=1; ip link set eth1 down; ip link set eth1 up; sysctl -w {key}=0")


def test_without_arp_announce_the_backend_claims_the_vip(scenario, backend):
    with nodes.capturing(scenario, "lan") as files, nodes.lan_sysctl(backend, "arp_announce", 0):
        send_from_the_vip(backend)
    assert captures.claims(files["lan"], VIP)["request", nodes.mac("backend1", "lan")] > 0


def test_a_vip_before_its_sysctls_is_claimed(scenario, backend):
    """The reverse order: a host that answers for addresses of other interfaces, as by default, and the VIP."""
    backend.check_output(f"ip addr del {VIP}/32 dev lo")
    try:
        with nodes.capturing(scenario, "lan") as files, nodes.lan_sysctl(backend, "arp_ignore", 0):
            backend.check_output(f"ip addr add {VIP}/32 dev lo")
            ask(VIP)
            backend.check_output(f"ip addr del {VIP}/32 dev lo")
    finally:
        run = nodes.playbook(scenario, "l4lb.ipvs.site", "--limit", "backend1")
    assert run.status == 0, run.output
    assert captures.claims(files["lan"], VIP)["reply", nodes.mac("backend1", "lan")] > 0
    forget(nodes.CLIENT)
