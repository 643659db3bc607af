# SPDX-License-Identifier: GPL-3.0-or-later
"""Large transfers through tunnels, however narrow the path, and whether or not ICMP tells of it."""

import contextlib

import pytest
import transfers
from transfers import MEGABYTE

import nodes

SIZE = 10 * MEGABYTE
VIPS = {
    "ipip": "198.51.100.100",
    "ipip6": "[2001:db8:100::100]",
    "gre": "198.51.100.101",
    "gue": "198.51.100.102",
}
NO_ICMP = """
table inet no_icmp {
  chain forward {
    type filter hook forward priority filter;
    icmp type destination-unreachable drop
    icmpv6 type { destination-unreachable, packet-too-big } drop
  }
}
"""
SHORT = 6  # seconds after which a transfer that hangs is given up


@contextlib.contextmanager
def without_icmp():
    """Let the router between all of them drop what tells of too large packets."""
    router = nodes.node("router")
    router.check_output(f"echo '{NO_ICMP}' | nft -f -")
    try:
        yield
    finally:
        router.check_output("nft delete table inet no_icmp")


@contextlib.contextmanager
def narrow_client_path():
    """Let the client's segment take 1400 bytes."""
    ends = [(nodes.node("client"), "eth1"), (nodes.node("router"), "eth1")]
    for node, device in ends:
        node.check_output(f"ip link set {device} mtu 1400")
    try:
        yield
    finally:
        for node, device in ends:
            node.check_output(f"ip link set {device} mtu 1500")


@pytest.fixture(autouse=True)
def fresh_paths():
    """What a path has taught the nodes must not help the next test."""
    for name in ("client", nodes.DIRECTOR, "backend1", "backend2"):
        nodes.node(name).check_output("ip route flush cache; ip -6 route flush cache")


@pytest.mark.parametrize("path", [contextlib.nullcontext, without_icmp, narrow_client_path])
@pytest.mark.parametrize("kind", VIPS)
def test_ten_megabytes_each_way(kind, path):
    with path():
        assert transfers.down(VIPS[kind], SIZE) == SIZE
        assert transfers.up(VIPS[kind], SIZE)


@pytest.mark.parametrize("kind", VIPS)
def test_without_the_clamp_and_without_icmp_nothing_large_arrives(kind):
    """The proof that these paths are as narrow as the tests above mean them to be."""
    table = "ip6 l4lb_mss" if ":" in VIPS[kind] else "ip l4lb_mss"
    backends = [nodes.node(name) for name in nodes.hosts("ipvs_backends")]
    rules = backends[0].check_output(f"nft --stateless list table {table}")
    for backend in backends:
        backend.check_output(f"nft delete table {table}")
    try:
        with without_icmp():
            assert not transfers.up(VIPS[kind], SIZE, patience=SHORT)
    finally:
        for backend in backends:
            backend.check_output(f"nft -f - <<'END'\n{rules}\nEND")
