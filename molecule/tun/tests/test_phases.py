# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnels that change: until the director is changed, backends receive what it sends as before.

It needs a converged lab and leaves it as it was.
"""

import json

import pytest

import nodes

VIPS = ("198.51.100.100", "[2001:db8:100::100]", "198.51.100.101", "198.51.100.102")
SERVERS = ("198.51.100.201", "198.51.100.202")
#: What becomes of the servers of a service: a VIP that moves to another device, and another port.
CHANGED = {"ipip": {"tunnel_type": "gre"}, "gue": {"tunnel_type": "gue", "tunnel_port": 6081}}


def with_changes(services):
    for service in services:
        more = CHANGED.get(service["name"])
        if more:
            kept = {name: value for name, value in service.items() if name != "servers_from"}
            yield {**kept, "servers": [{"address": address, **more} for address in SERVERS]}
        else:
            yield service


@pytest.fixture
def site(scenario, inventory):
    """site(words, changed): run site.yml with the services of the inventory or the changed ones."""

    def run(*words, changed):
        services = list(inventory["ipvs_services"])
        more = {"ipvs_services": list(with_changes(services)) if changed else services}
        done = nodes.playbook(scenario, "l4lb.ipvs.site", *words, "-e", json.dumps(more))
        assert done.status == 0, done.output
        return done

    return run


def check_all_answer():
    for vip in VIPS:
        report = nodes.load(f"{vip}:80", "--count 10")
        assert report["answers"] == {"backend1": 5, "backend2": 5}, (vip, report)


def places(name):
    """Where a backend holds the VIP that moves, and its ports of GUE."""
    found = nodes.state(name)
    held = [line.split() for line in found["addresses"].splitlines() if f" {VIPS[0]}/32 " in line]
    ports = [words[words.index("port") + 1] for words in map(str.split, found["tunnel_ports"].splitlines())]
    return {words[1] for words in held}, set(ports)


def lasting():
    """What lasts of the nodes; the order of addresses is that in which they came."""
    return {
        name: {part: sorted(text.splitlines()) for part, text in parts.items()}
        for name, parts in nodes.lasting().items()
    }


def test_nothing_is_taken_that_the_director_still_uses(site):
    before = lasting()
    try:
        # the first phase alone, and the last, which takes nothing before the directors are built
        site("--limit", "ipvs_backends", changed=True)
        for name in nodes.hosts("ipvs_backends"):
            assert places(name) == ({"l4lb-ipip4", "l4lb-gre4"}, {"6080", "6081"})
        check_all_answer()
        site(changed=True)
        for name in nodes.hosts("ipvs_backends"):
            assert places(name) == ({"l4lb-gre4"}, {"6081"})
        check_all_answer()
    finally:
        site(changed=False)
    check_all_answer()
    assert lasting() == before
