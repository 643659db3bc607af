# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers told otherwise than by address, protocol and port: each way replaces what the one before has made.

They need a converged lab and leave it as it was.
"""

import json

import pytest

import nodes

WEB, WEB6 = "198.51.100.100", "2001:db8:100::100"
CLIENT, CLIENT6 = "203.0.113.10", "2001:db8:113::10"
ROUTER, ROUTER6 = "198.51.100.1", "2001:db8:100::1"
DIRECTOR, DIRECTOR6 = "198.51.100.200", "2001:db8:100::200"
#: A host in each of the networks that stay direct.
DIRECT = {"192.0.2.0/24": "192.0.2.9", "2001:db8:ff::/64": "2001:db8:ff::9"}
NEAR, NEAR6 = DIRECT.values()
#: The first marks and tables of the collection: on backend1 for its IPv4 director, and for the IPv6 one.
MARK, MARK6 = 7600, 7601
#: How each backend tells the answers, where the inventory says nothing of it and both do by service.
MATCHES = {"backend1": "connection", "backend2": "address"}


def routing():
    """What leads the answers back, on each backend."""
    show = "; ".join(nodes.STATE[part] for part in ("routes", "rules"))
    return {name: sorted(nodes.node(name).check_output(show).splitlines()) for name in MATCHES}


@pytest.fixture(scope="module", autouse=True)
def _otherwise(scenario):
    """Both backends with another way, and afterwards what they had."""
    before = routing()
    more = {
        "ipvs_backend_return_match": f"{{{{ {MATCHES}[inventory_hostname] }}}}",
        "ipvs_backend_return_direct": list(DIRECT),
    }
    run = nodes.playbook(scenario, "l4lb.ipvs.site", "-e", json.dumps(more))
    assert run.status == 0, run.output
    yield
    run = nodes.playbook(scenario, "l4lb.ipvs.site")
    assert run.status == 0, run.output
    assert routing() == before


@pytest.mark.parametrize(("target", "client"), [(f"{WEB}:80", CLIENT), (f"[{WEB6}]:80", CLIENT6)])
def test_the_servers_still_take_turns_and_see_the_client(target, client):
    report = nodes.load(target, "--count 40 --first-source-port 31000")
    assert report["answers"] == {"backend1": 20, "backend2": 20}, report
    assert report["client_seen"] == {client: 40}


def test_what_told_them_before_is_gone():
    for name in MATCHES:
        assert " sport 8443 " not in nodes.node(name).check_output("ip rule; ip -6 rule"), name


@pytest.mark.parametrize(
    ("backend", "question", "via"),
    [
        ("backend1", f"{CLIENT} mark {MARK}", DIRECTOR),
        ("backend1", f"{NEAR} mark {MARK}", ROUTER),
        ("backend1", f"{CLIENT} from 198.51.100.201 ipproto tcp sport 8443", ROUTER),
        ("backend1", f"{CLIENT6} mark {MARK6}", DIRECTOR6),
        ("backend1", f"{NEAR6} mark {MARK6}", ROUTER6),
        ("backend2", f"{CLIENT6} from 2001:db8:100::202", DIRECTOR6),
        ("backend2", f"{NEAR6} from 2001:db8:100::202", ROUTER6),
    ],
)
def test_only_answers_go_by_the_director_and_some_stay_direct(backend, question, via):
    assert f" via {via} " in nodes.node(backend).check_output(f"ip route get {question}")


def test_only_marked_connections_need_marks():
    tables = {name: nodes.node(name).check_output("nft list tables").splitlines() for name in MATCHES}
    ours = {name: sorted(table for table in tables[name] if "l4lb" in table) for name in MATCHES}
    assert ours == {"backend1": ["table ip l4lb_connmark", "table ip6 l4lb_connmark"], "backend2": []}
