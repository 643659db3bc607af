# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves the list goes from the backends when no director sends to them any more, and not before.

Each test takes up what the one before has left.
"""

import json

import pytest
import transfers
from firewall import dropped, strict

import nodes

VIP, TUNNEL = "198.51.100.100", "l4lb-ipip4"
GONE = {"198.51.100.101/32", "198.51.100.102/32"}
ADDRESSES = "ip -oneline address show"
#: The services that go: of each way one, and with the last source NAT what connections are tracked for.
LEAVING = {"shop", "dns", "tls"}


def made():
    """The devices of each backend, with their addresses."""
    return {
        name: {tuple(line.split()[1:4:2]) for line in nodes.node(name).check_output(ADDRESSES).splitlines()}
        for name in nodes.hosts("ipvs_backends")
    }


def commands():
    return nodes.node(nodes.DIRECTOR).check_output("ipvsadm -Sn")


@pytest.fixture(scope="module")
def site(scenario, inventory):
    """site(names, *words, **variables): the playbook without the services of these names; at the end with all."""

    def run(names, *words, **variables):
        services = [service for service in inventory["ipvs_services"] if service["name"] not in names]
        more = json.dumps({"ipvs_services": services, **variables})
        return nodes.playbook(scenario, "l4lb.ipvs.site", "-e", more, *words)

    before = made()
    yield run
    back = run(set())
    assert back.status == 0, back.output
    assert made() == before


def test_backends_alone_lose_nothing(site):
    before = made()
    run = site(LEAVING, "--limit", "ipvs_backends")
    assert run.status == 0, run.output
    assert "nothing is removed, because director1 is not done" in run.output
    assert made() == before


def test_backends_lose_nothing_when_a_director_fails(site):
    before, table = made(), commands()
    run = site(LEAVING, ipvs_director_vip_prefix=99)
    assert run.status != 0, run.output
    assert "ipvs_director_vip_prefix" in run.output
    assert (made(), commands()) == (before, table)


def test_no_director_is_built_when_a_backend_fails_and_that_is_to_stop_the_run(site):
    table = commands()
    run = site(LEAVING, ipvs_backend_allow=["nothing"], ipvs_site_not_ready="stop")
    assert run.status != 0, run.output
    assert "ipvs_backend_allow" in run.output
    assert commands() == table


def test_what_no_director_uses_goes(site):
    run = site(LEAVING)
    assert run.status == 0, run.output
    for name, now in made().items():
        assert ("lo", f"{VIP}/32") in now, name
        assert not {place for place in now if TUNNEL in place or place[1] in GONE}, name
        assert TUNNEL not in nodes.node(name).check_output("ip -oneline link"), name


@pytest.mark.usefixtures("site")
def test_direct_routing_stays_untracked_when_the_last_source_nat_has_gone():
    director = nodes.node(nodes.DIRECTOR)
    assert len([line for line in commands().splitlines() if line.startswith("-A")]) == 1
    assert director.check_output("sysctl -n net.ipv4.vs.conntrack") == "1"
    with strict(director):
        assert nodes.load(f"{VIP}:80", "--count 30")["failures"] == 0
        assert transfers.down(VIP, transfers.MEGABYTE) == transfers.MEGABYTE
        assert dropped(director) == 0
