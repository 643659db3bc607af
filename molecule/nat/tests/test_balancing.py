# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sees while servers come and go, and of what is not balanced."""

import json

import nodes

VIP = "198.51.100.100"
SERVICE = {"address": VIP, "port": 443}
SERVERS = {"backend1": "198.51.100.201", "backend2": "198.51.100.202", "backend3": "198.51.100.203"}
CLIENT = "198.51.100.10"

FOURTH = "198.51.100.204"
RATE = 200  # new connections a second
SECONDS = 10  # of one piece of the load


def test_losing_a_server_moves_few_other_flows(scenario, flows, ask):
    leaving = {"address": SERVERS["backend2"], "port": 8443}
    try:
        before = nodes.module(scenario, "ipvs_server", service=SERVICE, **leaving, state="absent")
        after = ask()
    finally:
        # what ipvs_server adds would be nobody's, and stay when the role's own is removed
        service = {**SERVICE, "scheduler": "mh", "scheduler_flags": ["mh-port"], "forward": "nat", "servers": [leaving]}
        nodes.module(scenario, "ipvs_table", services=[service])
    assert before["changed"]
    assert "backend2" not in after.values()
    others = [port for port, name in flows.items() if name != "backend2"]
    kept = [port for port in others if after[port] == flows[port]]
    assert len(kept) >= 0.8 * len(others), f"{len(kept)} of {len(others)}"


def test_a_server_joins_and_leaves_under_load(scenario, record_property):
    backend = nodes.node("backend3")
    backend.check_output(f"ip address add {FOURTH}/24 dev eth1")
    servers = [{"address": address} for address in (*SERVERS.values(), FOURTH)]
    with nodes.under_load(lambda: nodes.steady_load(VIP, 443, RATE, SECONDS)) as reports:
        # the part of the role that touches the running services
        more = ("--tags", "ipvs_director_run", "-e", json.dumps({"nat_servers": servers}))
        joined = nodes.playbook(scenario, "l4lb.ipvs.site", *more)
        counted = nodes.module(scenario, "ipvs_info")
        left = nodes.playbook(scenario, "molecule/nat/drain.yml", "-e", f"leaving={FOURTH}")
    backend.check_output(f"ip address del {FOURTH}/24 dev eth1")
    for run, tasks in ((joined, 2), (left, 4)):
        assert run.status == 0, run.output
        assert run.total("changed") == tasks, run.output
    assert connections_of(counted, FOURTH)[0] > 0, counted
    begun = nodes.begun(reports)
    record_property("rate", round(begun, 1))
    for report in reports:
        assert (report.failures, report.answers) == (0, RATE * SECONDS), report.output
    assert begun > 0.95 * RATE, [report.output for report in reports]


def connections_of(info, address):
    """How many connections a server has had, for each service of the VIP."""
    return [
        server["counters"]["connections"]
        for entry in info["statistics"]
        if entry["service"]["address"] == VIP
        for server in entry["servers"]
        if server["address"] == address
    ]


def test_what_is_merely_routed_keeps_its_source():
    """The very address and port of a server, through the director, but not through a service."""
    server = SERVERS["backend1"]
    client = nodes.node(nodes.CLIENT)
    client.check_output(f"ip route add {server}/32 via 198.51.100.200")
    try:
        report = nodes.load(f"{server}:8443", "--count 5", nodes.UNUSED_PORTS)
        path = client.check_output(f"ip route get {server}")
    finally:
        client.check_output(f"ip route del {server}/32 via 198.51.100.200")
    assert "via 198.51.100.200" in path
    assert report["client_seen"] == {CLIENT: 5}
    assert report["answers"] == {"backend1": 5}
