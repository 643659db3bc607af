# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and services move while connections are made: not one fails."""

import concurrent.futures
import contextlib
import json

import pytest

import nodes

VIP, OTHER_VIP = "198.51.100.100", "198.51.100.101"
SERVERS = {"backend1": "198.51.100.201", "backend2": "198.51.100.202", "backend3": "198.51.100.203"}
LEAVING = SERVERS["backend3"]
SECONDS = 5  # of one piece of the load
# A closed connection stays tracked for two minutes. Of one that was sent on by DR, IPVS sees one end only, and for as
# long it sends a new one from the same port the same way, unless it is told to balance that anew.
SYSCTLS = {"net.netfilter.nf_conntrack_max": 65536, "net.ipv4.vs.conn_reuse_mode": 3}
# Connections that go on sending, so that after an edit a packet of theirs is likely the first that a server is sent.
# Some outlive their way and can only be reset: else IPVS would send what next comes from their ports the same dead way.
LASTING = f"""
import socket, struct, time
lasting = [socket.create_connection(("{VIP}", 80)) for _server in range({len(SERVERS)})]
for connection in lasting:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.sendall(b"POST / HTTP/1.1\\r\\nContent-Length: 1000000000\\r\\n\\r\\n")
while True:
    for connection in lasting:
        connection.send(b"x")
    time.sleep(0.01)
"""
ROUTES = "/run/l4lb-routes"
# What the director knows of the VIP among its neighbours, and then the routes of the collection, as last seen together.
WATCH = f"""
while sleep 0.2; do
    told=$(printf '%s\\n' 'neighbour show {VIP}' 'route show proto 76' | ip -batch -)
    case $told in *' via '*) echo "$told" > {ROUTES} ;; esac
done
"""
ATTEMPTS = 60  # readings of the table until a server has no connection left


def service(port, forward, weights, server_port=None, address=VIP):
    """A service: ``weights`` by backend."""
    servers = [
        {"address": SERVERS[name], "weight": weight, **({"port": server_port} if server_port else {})}
        for name, weight in weights.items()
    ]
    return {
        "name": f"{address} port {port}",
        "address": address,
        "port": port,
        "scheduler": "rr",
        "forward": forward,
        "servers": servers,
    }


def weights(*names, draining=()):
    return {**dict.fromkeys(names, 1), **dict.fromkeys(draining, 0)}


def web(*names, forward="dr", draining=()):
    return service(80, forward, weights(*names, draining=draining))


def tls(*names, draining=()):
    return service(443, "nat", weights(*names, draining=draining), 8443)


def other(*names, forward):
    return service(80, forward, weights(*names), address=OTHER_VIP)


#: New connections a second by service, 200 in all. What one emulated server can answer beside a playbook is half that.
WEB_AND_TLS = {(VIP, 80): 160, (VIP, 443): 40}
WEB_AND_OTHER = {(VIP, 80): 100, (OTHER_VIP, 80): 100}


def build(scenario, *services):
    more = {"ipvs_services": services, "ipvs_director_sysctls": SYSCTLS}
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "-e", json.dumps(more))
    assert run.status == 0, run.output


@pytest.fixture
def without_a_failure(record_property):
    """without_a_failure(targets): a block during which connections are begun as fast as asked for, and none fails."""

    @contextlib.contextmanager
    def load(targets):
        def make():
            """A piece of the load on all of them at once."""
            with concurrent.futures.ThreadPoolExecutor() as pool:
                return list(pool.map(lambda target: nodes.steady_load(*target, targets[target], SECONDS), targets))

        with nodes.under_load(make) as reports:
            yield
        told = [[(report.failures, report.answers) for report in both] for both in reports]
        failed = [report.output for both in reports for report in both if report.failures]
        assert told == [[(0, rate * SECONDS) for rate in targets.values()]] * len(reports), "\n".join(failed)
        begun = sum(nodes.begun(pieces) for pieces in zip(*reports, strict=True))
        record_property("rate", round(begun, 1))
        assert begun > 0.95 * sum(targets.values())

    return load


@contextlib.contextmanager
def lasting_connections():
    """A connection to each server goes on sending until the block ends."""
    client = nodes.node(nodes.CLIENT)
    client.check_output("systemd-run --quiet --unit=lasting --property=Restart=no python3 -c %s", LASTING)
    try:
        for dummy in range(ATTEMPTS):
            held = client.check_output(f"ss --no-header --numeric state established dst {VIP}:80").splitlines()
            if len(held) == len(SERVERS):
                break
        assert len(held) == len(SERVERS), client.run("systemctl status lasting").stdout
        yield
    finally:
        client.run("systemctl stop lasting; systemctl reset-failed lasting")


@contextlib.contextmanager
def routes_watched():
    """Watch the routes that the director has until the block ends -> how to read them as they were last."""
    director = nodes.node(nodes.DIRECTOR)
    director.check_output(f"ip neighbour flush to {VIP}; systemd-run --quiet --unit=watch sh -c %s", WATCH)
    try:
        yield lambda: director.check_output(f"cat {ROUTES}").splitlines()
    finally:
        director.check_output(f"systemctl stop watch; rm -f {ROUTES}")


def live_servers(scenario, port):
    """The servers of the service on this port, by their addresses, with their counters."""
    found = [
        entry for entry in nodes.module(scenario, "ipvs_info")["statistics"] if entry["service"].get("port") == port
    ]
    return {server["address"]: server for entry in found for server in entry["servers"]}


def wait_until_idle(scenario, port, address):
    for dummy in range(ATTEMPTS):
        if live_servers(scenario, port)[address]["connections"]["active"] == 0:
            return
    raise AssertionError(f"{address} still has connections on port {port}")


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(scenario):
    yield
    run = nodes.playbook(scenario, "l4lb.ipvs.site")
    assert run.status == 0, run.output


def has_vip(backend):
    return f" {VIP}/32 " in nodes.node(backend).check_output("ip -oneline address show dev lo")


def test_a_server_moves_from_one_service_to_another(scenario, without_a_failure):
    build(scenario, web("backend1", "backend2"), tls("backend2", "backend3"))
    assert not has_vip("backend3")
    with without_a_failure(WEB_AND_TLS):
        build(scenario, web("backend1", "backend2", "backend3"), tls("backend2", draining=["backend3"]))
        wait_until_idle(scenario, 443, LEAVING)
        build(scenario, web("backend1", "backend2", "backend3"), tls("backend2"))
    assert LEAVING not in live_servers(scenario, 443)
    assert live_servers(scenario, 80)[LEAVING]["counters"]["connections"] > 0


def test_a_backend_leaves(scenario, without_a_failure):
    build(scenario, web(*SERVERS), tls("backend2"))
    assert has_vip("backend3")
    with without_a_failure(WEB_AND_TLS):
        build(scenario, web("backend1", "backend2", draining=["backend3"]), tls("backend2"))
        wait_until_idle(scenario, 80, LEAVING)
        build(scenario, web("backend1", "backend2"), tls("backend2"))
    assert LEAVING not in live_servers(scenario, 80)
    assert not has_vip("backend3")


@pytest.mark.parametrize("forward", ["dr", "nat"])
def test_a_service_moves_to_another_way(scenario, without_a_failure, forward):
    before = {"dr": "nat", "nat": "dr"}[forward]
    build(scenario, web(*SERVERS, forward=before), tls(*SERVERS))
    with routes_watched() as routes:
        with lasting_connections(), without_a_failure(WEB_AND_TLS):
            build(scenario, web(*SERVERS, forward=forward), tls(*SERVERS))
        # nobody was asked for the VIP while there were connections of both ways
        assert sorted(line.strip() for line in routes()) == [f"{one} via {one} dev eth1" for one in SERVERS.values()]
    assert nodes.node(nodes.DIRECTOR).check_output("ip route show proto 76") == ""
    seen = nodes.load(f"{VIP}:80", "--count 4")["client_seen"]
    assert seen == {{"dr": "198.51.100.10", "nat": "198.51.100.200"}[forward]: 4}


def test_two_services_exchange_their_ways(scenario, without_a_failure):
    """Neither is without its source NAT or untracked before its turn."""
    build(scenario, web(*SERVERS, forward="dr"), other(*SERVERS, forward="nat"))
    with without_a_failure(WEB_AND_OTHER):
        build(scenario, web(*SERVERS, forward="nat"), other(*SERVERS, forward="dr"))
    for vip, client in ((VIP, "198.51.100.200"), (OTHER_VIP, "198.51.100.10")):
        assert nodes.load(f"{vip}:80", "--count 4")["client_seen"] == {client: 4}
