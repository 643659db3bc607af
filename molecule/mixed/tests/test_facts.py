# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts, one by one."""

import json

import pytest

import nodes


@pytest.mark.parametrize(
    ("vip", "device"),
    [("198.51.100.100/32", "lo"), ("198.51.100.101/32", "l4lb-ipip4"), ("198.51.100.102/32", "lo")],
)
def test_the_backends_have_each_vip_where_its_packets_arrive(now, vip, device):
    for name in nodes.hosts("ipvs_backends"):
        lines = [line.split() for line in now[name]["addresses"].splitlines()]
        assert [words[1] for words in lines if words[3] == vip] == [device], name


def test_the_director_tracks_connections(now):
    assert nodes.sysctls(now[nodes.DIRECTOR]["sysctls"])["net.ipv4.vs.conntrack"] == "1"


def test_only_what_servers_answer_themselves_is_not_tracked():
    listing = json.loads(nodes.node(nodes.DIRECTOR).check_output("nft -j list table ip l4lb_notrack"))["nftables"]
    sets = {item["set"]["name"]: item["set"]["elem"] for item in listing if "set" in item}
    assert sets == {
        "to_tcp": [
            {"concat": ["198.51.100.100", 80]},
            {"concat": ["198.51.100.102", 80]},
            {"concat": ["198.51.100.102", 8443]},
        ],
        "to_udp": [{"concat": ["198.51.100.101", 53]}],
        "to_icmp": ["198.51.100.101", "198.51.100.102"],
    }


def test_what_cannot_be_checked_is_told(scenario):
    unknown = ("-e", json.dumps({"ipvs_networks": []}))
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "--check", "--limit", nodes.DIRECTOR, *unknown)
    assert run.status == 0, run.output
    assert run.total("changed") == 0, run.output
    assert "not checked: off_subnet, for the networks of host director1 are not known: state them" in run.output
