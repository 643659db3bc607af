# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the hosts, and what passes the router on its way to the backends."""

import pytest

import captures
import nodes

DIRECTOR = "198.51.100.20"
BACKENDS = ("198.51.100.201", "198.51.100.202")
#: What carries the packets of each service.
CARRIERS = {
    "198.51.100.100": "ipip",
    "[2001:db8:100::100]": "ipv6",
    "198.51.100.101": "gre",
    "198.51.100.102": "udp 6080",
}


@pytest.mark.parametrize("vip", CARRIERS)
def test_the_service_is_carried_as_it_says(scenario, vip):
    with nodes.capturing(scenario, "far") as files:
        report = nodes.load(f"{vip}:80", "--count 10")
    assert report["answers"] == {"backend1": 5, "backend2": 5}, report
    client = "2001:db8:113::10" if vip.startswith("[") else "203.0.113.10"
    assert report["client_seen"] == {client: 10}
    for backend in BACKENDS:
        carried = captures.carried(files["far"], DIRECTOR, backend)
        assert carried.keys() == {CARRIERS[vip]}, backend
        assert carried[CARRIERS[vip]] >= 5 * 4, backend


def test_tunnelling_sets_no_sysctl_on_the_director(now, pristine):
    live, before = (nodes.sysctls(state[nodes.DIRECTOR]["sysctls"]) for state in (now, pristine))
    assert {key for key in before if live[key] != before[key]} == set()


def test_the_filters_of_the_backends_stay_save_on_the_tunnels(now, pristine):
    for name in nodes.hosts("ipvs_backends"):
        live, before = (nodes.sysctls(state[name]["sysctls"]) for state in (now, pristine))
        for device in ("l4lb-ipip4", "l4lb-gre4"):
            assert live[f"net.ipv4.conf.{device}.rp_filter"] == "2", name
        assert {key: live[key] for key in before if key.endswith("rp_filter")} == {
            key: value for key, value in before.items() if key.endswith("rp_filter")
        }


def test_the_vips_are_on_the_tunnels(now):
    for name in nodes.hosts("ipvs_backends"):
        lines = [line.split() for line in now[name]["addresses"].splitlines()]
        held = {words[3]: words[1] for words in lines}
        assert held["198.51.100.100/32"] == held["198.51.100.102/32"] == "l4lb-ipip4", name
        assert held["2001:db8:100::100/128"] == "l4lb-ipip4", name
        assert held["198.51.100.101/32"] == "l4lb-gre4", name
