# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on a director with traffic: what the plan refuses does not pass, and what it advises does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from plugins.filter.director_plan import director_plan
from plugins.module_utils._ruleset import read_firewall, read_iptables
from tests.faults.director import Lab

TRACKING = "net.ipv4.vs.conntrack"
SETUP = """
modprobe -a ip_vs ip_vs_rr nf_conntrack nf_tables
for name in client server; do
  ip netns add $name
  ip link add to-$name type veth peer name eth0 netns $name
  ip link set to-$name up
  ip -n $name link set eth0 up
done
ip address add 203.0.113.1/24 dev to-client
ip address add 203.0.113.100/32 dev to-client
ip address add 192.0.2.1/24 dev to-server
ip -n client address add 203.0.113.10/24 dev eth0
ip -n server address add 192.0.2.11/24 dev eth0
ip -n server route add default via 192.0.2.1
sysctl -qw net.ipv4.ip_forward=1
ipvsadm -A -t 203.0.113.100:80 -s rr
ipvsadm -a -t 203.0.113.100:80 -r 192.0.2.11:8080 -m
cd /run/netns
ip netns exec server python3 -m http.server --directory /run/netns 8080 >/dev/null 2>&1 &
echo $! > /run/l4lb-server.pid
for turn in 1 2 3 4 5 6 7 8 9 10; do
  ip netns exec client python3 /run/l4lb-ask.py 192.0.2.11 8080 && exit 0
  ip -n client route replace 192.0.2.0/24 via 203.0.113.1
  sleep 1
done
exit 1
"""
ASK = """
import sys, urllib.request
urllib.request.urlopen(f"http://{sys.argv[1]}:{sys.argv[2]}/", timeout=3).read()
"""
# a link would go with its namespace, but some time later, when another test has begun
CLEAN = f"""
kill $(cat /run/l4lb-server.pid)
ipvsadm -C
ip link del to-client
ip link del to-server
ip netns del client
ip netns del server
sysctl -qw {TRACKING}=0 net.ipv4.ip_forward=0
"""
SERVICE = {
    "address": "203.0.113.100",
    "port": 80,
    "scheduler": "rr",
    "forward": "nat",
    "servers": [{"address": "192.0.2.11", "port": 8080}],
}
INTERFACES = {"lo": ("127.0.0.1", 8), "to-client": ("203.0.113.1", 24), "to-server": ("192.0.2.1", 24)}
STATES = "ct state established,related accept"
ANSWERS = "insert rule inet theirs way ip saddr 192.0.2.11 tcp sport 8080 accept"
#: Of the address of the VIP, for the test comes in by others.
HERE = "iifname != to-client accept"

#: hook and policy, rules, and what lets the traffic pass: a command of nft, or tracking
SHAPES = {
    "input that ends in a reject": (
        "input",
        "accept",
        [HERE, STATES, "reject with icmpx admin-prohibited"],
        "insert rule inet theirs way ip daddr 203.0.113.100 tcp dport 80 accept",
    ),
    "input by policy": (
        "input",
        "drop",
        [HERE, "tcp dport 22 accept"],
        "add rule inet theirs way ip daddr 203.0.113.100 tcp dport 80 accept",
    ),
    "forward for other interfaces": ("forward", "drop", ["oifname docker0 accept", "iifname docker0 accept"], ANSWERS),
    "forward by state, as firewalld": ("forward", "accept", [STATES, "ct state invalid drop", "reject"], None),
    "forward by state, with a rule": ("forward", "accept", [STATES, "ct state invalid drop", "reject"], ANSWERS),
    "forward by policy": ("forward", "drop", [STATES], None),
    "before routing, of requests": (
        "prerouting",
        "accept",
        [HERE, "tcp dport 80 drop"],
        "insert rule inet theirs way ip daddr 203.0.113.100 tcp dport 80 accept",
    ),
    "before routing, of answers": ("prerouting", "accept", ["iifname to-server drop"], ANSWERS),
    "output": (
        "output",
        "accept",
        ["ip daddr 192.0.2.0/24 drop"],
        "insert rule inet theirs way ip daddr 192.0.2.11 tcp dport 8080 accept",
    ),
}


@pytest.fixture(scope="module")
def balanced(lab: Lab) -> Iterator[Lab]:
    lab.ssh("cat > /run/l4lb-ask.py", data=ASK.encode())
    try:
        lab.ssh("cat > /run/l4lb-setup; sh /run/l4lb-setup", data=SETUP.encode())
        yield lab
    finally:
        lab.run("ssh", "director1", CLEAN)


def passes(lab: Lab) -> bool:
    return lab.run("ssh", "director1", "ip netns exec client python3 /run/l4lb-ask.py 203.0.113.100 80").returncode == 0


def refused(lab: Lab, tracks: int) -> list[str]:
    interfaces = [
        {"name": name, "kind": "", "alias": "", "addresses": [{"address": address, "prefix": prefix, "quiet": False}]}
        for name, (address, prefix) in INTERFACES.items()
    ]
    host: dict[str, Any] = {
        **dict.fromkeys(("source_nat", "owners", "forwards", "gateways"), ()),
        "modules": dict.fromkeys(("ip_vs", "ip_vs_rr"), "loaded"),
        "interfaces": interfaces,
        "firewall": [
            *read_firewall(json.loads(lab.ssh("nft -j list ruleset"))),
            *read_iptables("ip", lab.ssh("iptables-legacy -S")),
        ],
        "connection": None,
        "sysctls": {TRACKING: tracks},
    }
    return list(director_plan([SERVICE], flows=[], host=host)["problems"])


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_refused_does_not_pass_and_what_is_advised_does(balanced: Lab, shape: str) -> None:
    hook, policy, rules, advice = SHAPES[shape]
    assert passes(balanced)
    chain = f"type filter hook {hook} priority 0; policy {policy};"
    text = "table inet theirs {\nchain way {\n" + "\n".join([chain, *rules]) + "\n}\n}\n"
    balanced.ssh("nft -f -", data=text.encode())
    try:
        (problem,) = refused(balanced, 0)
        assert "the chain way of table inet theirs drops packet" in problem
        assert not passes(balanced)
        balanced.ssh(f"nft {advice}" if advice else f"sysctl -qw {TRACKING}=1")
        assert refused(balanced, 0 if advice else 1) == []
        assert passes(balanced)
    finally:
        balanced.ssh(f"nft delete table inet theirs; sysctl -qw {TRACKING}=0")


def test_the_older_iptables_drops_and_accepts_what_is_reported(balanced: Lab) -> None:
    assert passes(balanced)
    balanced.ssh("iptables-legacy -A INPUT -i to-client -j REJECT")
    try:
        (problem,) = refused(balanced, 0)
        assert "the chain INPUT of table ip filter (iptables-legacy) drops packet" in problem
        assert "(rule 1 of chain INPUT)" in problem
        assert not passes(balanced)
        balanced.ssh("iptables-legacy -I INPUT -d 203.0.113.100 -p tcp --dport 80 -j ACCEPT")
        assert refused(balanced, 0) == []
        assert passes(balanced)
    finally:
        balanced.ssh("iptables-legacy -F")
