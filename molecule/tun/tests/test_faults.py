# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend whose filter would drop what a tunnel brings. It needs a converged lab and leaves it as it was."""

import json

import nodes

BACKEND = "backend1"
KEY = "net.ipv4.conf.all.rp_filter"
OTHER = "/etc/sysctl.d/50-somebody.conf"
#: One VIP by two tunnels: it can be on one of the devices only.
TWO_WAYS = [
    {
        "name": kind,
        "address": "198.51.100.100",
        "port": port,
        "scheduler": "rr",
        "forward": "tun",
        "servers": [{"address": "198.51.100.201", "tunnel_type": kind}],
    }
    for kind, port in (("ipip", 80), ("gre", 8443))
]


def test_a_filter_for_all_that_drops_what_a_tunnel_brings_is_refused(scenario):
    backend = nodes.node(BACKEND)
    held = backend.check_output(f"sysctl -n {KEY}")
    backend.check_output(f"echo '{KEY} = 1' > {OTHER}; sysctl -w {KEY}=1")
    try:
        before = nodes.lasting()
        words = ("--limit", BACKEND, "-e", json.dumps({"ipvs_services": TWO_WAYS}))
        run = nodes.playbook(scenario, "l4lb.ipvs.site", *words)
        assert nodes.lasting() == before
    finally:
        backend.check_output(f"rm {OTHER}; sysctl -w {KEY}={held}")
    assert run.status != 0, run.output
    told = f"{KEY} is 1 ({OTHER} sets it to 1 at boot), which drops what l4lb-ipip4 receives"
    assert told in run.output
