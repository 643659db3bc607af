# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody but the director ever claims a VIP: every frame is captured while backends come, work and go.

And the proof that the captures would show it: with a sysctl as it is by default, or the VIP before it, they do.
"""

import contextlib
import time
from pathlib import Path

import pytest

import captures
import nodes

VIP, VIP6 = "198.51.100.100", "2001:db8:100::100"
CLIENT, CLIENT6 = "198.51.100.10", "2001:db8:100::10"
ASK = (Path(nodes.__file__).parent / "ask.py").read_text()
RATES = {VIP: 1000, VIP6: 100}  # questions a second


@pytest.fixture(scope="module")
def backend():
    return nodes.node("backend1")


@pytest.fixture(scope="module")
def director_mac():
    return nodes.mac(nodes.DIRECTOR, "lan")


def forget(*names):
    """Flush the neighbour caches of nodes."""
    for name in names:
        nodes.node(name).check_output("ip neigh flush all; ip -6 neigh flush all")


def ask(address):
    """Let the client ask by ARP or neighbour discovery who has an address, which nobody answers but the director."""
    nodes.node(nodes.CLIENT).run(f"ip neigh flush all; ping -c 1 -W 1 {address}")


@contextlib.contextmanager
def asking():
    """Let the client ask for both VIPs without a pause until the block ends."""
    client = nodes.node(nodes.CLIENT)
    questions = " ".join(f"{vip}={rate}" for vip, rate in RATES.items())
    start = f"python3 -c %s eth1 {CLIENT} {questions} < /dev/null > /dev/null 2>&1 & echo $!"
    asker = client.check_output(start, ASK)
    try:
        yield
    finally:
        client.check_output(f"kill {asker}")


def strangers(file, director_mac):
    """Claims of the VIPs by others than the director."""
    found = {address: captures.claims(file, address) for address in (VIP, VIP6)}
    return {address: claim for address, counts in found.items() for claim in counts if claim[1] != director_mac}


def test_f19_nobody_else_claims_a_vip_while_backends_go_and_come(scenario, director_mac, record_property):
    with nodes.capturing(scenario, "lan") as files, asking():
        begin = time.monotonic()
        removal = nodes.playbook(
            scenario, "l4lb.ipvs.site", "-e", "ipvs_backend_state=absent", "--limit", "ipvs_backends"
        )
        for name in nodes.hosts("ipvs_backends"):
            # removal leaves the running values: with them nothing would tell in which order the next run goes on
            for key in ("arp_ignore", "arp_announce"):
                nodes.set_lan_sysctl(nodes.node(name), key, 0)
            forget(name)
        again = nodes.playbook(scenario, "l4lb.ipvs.site", "--limit", "ipvs_backends")
        seconds = time.monotonic() - begin
    asked = {address: captures.asked(files["lan"], address) for address in (VIP, VIP6)}
    record_property("asked", f"{asked} in {seconds:.0f} s")
    assert (removal.status, again.status) == (0, 0), removal.output + again.output
    assert removal.total("changed") > 0
    assert again.total("changed") > 0
    assert all(asked[vip] > 0.95 * rate * seconds for vip, rate in RATES.items()), asked
    assert strangers(files["lan"], director_mac) == {}
    for address in (VIP, VIP6):
        assert any(mac == director_mac for dummy, mac in captures.claims(files["lan"], address)), address


def test_nobody_else_claims_a_vip_that_it_sends_from(scenario, backend, director_mac):
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
    assert strangers(files["lan"], director_mac) == {}


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
