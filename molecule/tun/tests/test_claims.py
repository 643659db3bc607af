# SPDX-License-Identifier: GPL-3.0-or-later
"""No backend says on any segment that a VIP is its own: when it comes, when it goes, and when it sends from one.

And the proof that the captures would show it: with a sysctl as it is by default, they do.
"""

import contextlib

import pytest

import captures
import nodes

VIPS = ("198.51.100.100", "198.51.100.101", "198.51.100.102", "2001:db8:100::100")
SEGMENTS = ("outside", "near", "far")
# What makes a node claim the first VIP, or ask who has it where the backends are, which nobody there may answer.
SEND_FROM_IT = f"ip neigh flush all; ping -c 1 -W 1 -I {VIPS[0]} 198.51.100.129"
ASK = f"ip neigh flush all; ping -c 1 -W 1 -I eth3 {VIPS[0]}"


@contextlib.contextmanager
def nobody_claims_but_the_director(scenario):
    """From flushed neighbour caches on; in the block the client has to ask for the first VIP."""
    with nodes.capturing(scenario, *SEGMENTS) as files:
        for name in (*nodes.hosts("ipvs_backends"), "router"):
            nodes.node(name).check_output("ip neigh flush all; ip -6 neigh flush all")
        yield
    holder = nodes.mac(nodes.DIRECTOR, "near")
    assert {segment: captures.strangers(file, VIPS, holder) for segment, file in files.items()} == {
        segment: {} for segment in SEGMENTS
    }
    assert {mac for dummy, mac in captures.claims(files["near"], VIPS[0])} == {holder}


def test_nobody_claims_a_vip_that_it_sends_from(scenario):
    with nobody_claims_but_the_director(scenario):
        for vip in VIPS:
            target = f"[{vip}]" if ":" in vip else vip
            assert nodes.load(f"{target}:80", "--count 6")["failures"] == 0
        nodes.node("router").run(ASK)
        for name in nodes.hosts("ipvs_backends"):
            # the first packet to a neighbour that is not known asks for it
            nodes.node(name).run(SEND_FROM_IT)
            nodes.node(name).run(f"ip -6 neigh flush all; ping -c 1 -W 1 -I {VIPS[-1]} 2001:db8:101::1")


def test_nobody_claims_a_vip_while_backends_go_and_come(scenario):
    words = ("l4lb.ipvs.site", "--limit", "ipvs_backends")
    with nobody_claims_but_the_director(scenario):
        gone = nodes.playbook(scenario, *words, "-e", "ipvs_backend_state=absent")
        for name in nodes.hosts("ipvs_backends"):
            # removal leaves the running values: with them nothing would tell in which order the next run goes on
            for key in ("arp_ignore", "arp_announce"):
                nodes.set_lan_sysctl(nodes.node(name), key, 0)
        back = nodes.playbook(scenario, *words)
        assert (gone.status, back.status) == (0, 0), gone.output + back.output
        assert gone.total("changed") > 0
        assert back.total("changed") > 0
        assert nodes.load(f"{VIPS[0]}:80", "--count 6")["failures"] == 0


@pytest.mark.parametrize(
    ("key", "node", "command", "kind"),
    [("arp_announce", "backend1", SEND_FROM_IT, "request"), ("arp_ignore", "router", ASK, "reply")],
    ids=["arp_announce", "arp_ignore"],
)
def test_a_backend_that_is_not_told_to_be_quiet_claims_the_vip(scenario, key, node, command, kind):
    with nodes.capturing(scenario, "far") as files, nodes.lan_sysctl(nodes.node("backend1"), key, 0):
        nodes.node(node).run(command)
    assert captures.claims(files["far"], VIPS[0])[kind, nodes.mac("backend1", "far")] > 0
