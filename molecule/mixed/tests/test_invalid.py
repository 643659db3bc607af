# SPDX-License-Identifier: GPL-3.0-or-later
"""A director that tracks connections for its source NAT does not take those of DR and TUN for invalid."""

import contextlib
import json

import pytest
import transfers
from transfers import MEGABYTE

import nodes

VIP, TUNNELLED, CLIENT = "198.51.100.100", "198.51.100.101", "198.51.100.10"
STRICT = """
table inet strict {
  chain input { type filter hook input priority filter; ct state invalid counter drop; }
  chain forward { type filter hook forward priority filter; ct state invalid counter drop; }
  chain output { type filter hook output priority filter; ct state invalid counter drop; }
}
"""


@pytest.fixture(scope="module")
def director():
    return nodes.node(nodes.DIRECTOR)


@contextlib.contextmanager
def strict(director):
    """Drop what is invalid, and count it."""
    director.check_output(f"echo '{STRICT}' | nft -f -")
    try:
        yield
    finally:
        director.check_output("nft delete table inet strict")


def dropped(director):
    listing = json.loads(director.check_output("nft -j list table inet strict"))["nftables"]
    expressions = [expression for item in listing if "rule" in item for expression in item["rule"]["expr"]]
    return sum(expression["counter"]["packets"] for expression in expressions if "counter" in expression)


def test_nothing_is_dropped(director):
    with strict(director):
        web = nodes.load(f"{VIP}:80", "--count 30")
        tls = nodes.load(f"{VIP}:443", "--count 30")
        dns = nodes.load(f"{TUNNELLED}:53", "--count 30 --udp")
        for vip in (VIP, f"{VIP}:443"):
            assert transfers.down(vip, MEGABYTE) == MEGABYTE
            assert transfers.up(vip, MEGABYTE)
        assert dropped(director) == 0
    assert [report["failures"] for report in (web, tls, dns)] == [0, 0, 0]
    assert web["answers"] == {"backend1": 10, "backend2": 10, "backend3": 10}
    # a source port that was used some minutes ago keeps its server
    assert dns["answers"].keys() == {"backend1", "backend2", "backend3"}
    assert (web["client_seen"], tls["client_seen"]) == ({CLIENT: 30}, {"198.51.100.200": 30})


def test_tracked_they_would_be_dropped(director):
    rules = director.check_output("nft --stateless list table ip l4lb_notrack")
    director.check_output("nft delete table ip l4lb_notrack")
    try:
        with strict(director):
            transfers.down(VIP, MEGABYTE, patience=5)
            assert dropped(director) > 0
    finally:
        director.check_output(f"nft -f - <<'END'\n{rules}\nEND")
