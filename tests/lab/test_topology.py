# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.lab.ipvs_lab import cli, personal, topology
from tests.lab.ipvs_lab.common import LabError, runtime_directory
from tests.lab.ipvs_lab.inventory import inventory
from tests.lab.ipvs_lab.switch import port_socket

GOOD: dict[str, Any] = {
    "segments": ["outside", "inside"],
    "groups": {"ipvs_directors": ["director1"]},
    "nodes": {
        "director1": {
            "interfaces": {"outside": ["203.0.113.1/24", "2001:db8::1/64"], "inside": ["192.0.2.1/24"]},
            "sysctls": {"net.ipv4.ip_forward": 1},
        },
        "backend1": {
            "interfaces": {"inside": ["192.0.2.11/24"]},
            "gateway": "192.0.2.1",
            "routes": [{"to": "198.51.100.0/24", "via": "192.0.2.1"}],
            "serve": {"tcp": [80], "udp": [53]},
            "vars": {"ipvs_address": "192.0.2.11"},
        },
    },
}


def changed(path: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    place: Any = document
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("node", {}, "node: no such key"),
        ("nodes", {}, "nodes: at least one node is needed"),
        ("nodes", [1], "nodes: must be a mapping (got [1])"),
        ("nodes/Big", {}, "nodes.Big: must be 1 to 15 characters"),
        ("segments", ["inside", "inside", "outside"], "segments: names must differ"),
        ("segments", ["../x", "inside", "outside"], "segments[0]: must be 1 to 15 characters"),
        ("nodes/backend1/cpus", 1, "nodes.backend1.cpus: no such key"),
        ("nodes/backend1/memory", "1G", "nodes.backend1.memory: must be MiB, 128 to 16384 (got '1G')"),
        ("nodes/backend1/memory", 64, "nodes.backend1.memory: must be MiB, 128 to 16384 (got 64)"),
        ("nodes/backend1/interfaces", {"other": []}, "nodes.backend1.interfaces.other: no such segment"),
        (
            "nodes/backend1/interfaces/inside",
            ["192.0.2.11"],
            "interfaces.inside[0]: must be an address with its prefix",
        ),
        ("nodes/backend1/interfaces/inside", ["192.0.2.1/24"], "192.0.2.1 is the address of director1"),
        ("nodes/backend1/gateway", "198.51.100.1", "gateway: must lie in a network of the node"),
        ("nodes/backend1/gateway", 1, "gateway: must be an address (got 1)"),
        ("nodes/backend1/routes", [{"to": "198.51.100.1/24", "via": "192.0.2.1"}], "routes[0].to: must be a network"),
        ("nodes/backend1/routes", [{"to": "2001:db8::/64", "via": "192.0.2.1"}], "are of different families"),
        ("nodes/backend1/sysctls", {"net.ipv4.ip_forward": True}, "ip_forward: must be an integer or one line of text"),
        ("nodes/backend1/sysctls", {"a b": 1}, "sysctls.a b: must be the name of a sysctl"),
        ("nodes/backend1/serve", {"tcp": [0]}, "serve.tcp[0]: must be a port"),
        ("nodes/backend1/serve", {"tcp": [22]}, "port 22 is the node's ssh server"),
        ("nodes/backend1/serve", {"dccp": [80]}, "serve.dccp: no such key"),
        ("groups/all", ["backend1"], "groups.all: must be a name Ansible takes"),
        ("groups/ipvs_directors", ["director9"], "groups.ipvs_directors: no such node: 'director9'"),
    ],
)
def test_problem_is_named_with_its_path(path: str, value: object, problem: str) -> None:
    with pytest.raises(LabError) as caught:
        topology.parse(changed(path, value))
    assert problem in str(caught.value)


def test_more_segments_than_network_cards_are_refused() -> None:
    names = ["one", "two", "three", "four"]
    document = {"segments": names, "nodes": {"node": {"interfaces": {name: [] for name in names}}}}
    with pytest.raises(LabError, match="at most 3 segments"):
        topology.parse(document)


def test_all_problems_are_told_at_once() -> None:
    document = changed("nodes/backend1/gateway", "x")
    document["nodes"]["director1"]["interfaces"]["outside"] = ["y"]
    with pytest.raises(LabError) as caught:
        topology.parse(document)
    assert len(str(caught.value).splitlines()) == 3


def test_network_of_a_node() -> None:
    nodes = topology.parse(GOOD).nodes
    assert personal.network_batch(nodes["director1"]).splitlines() == [
        "link set eth1 address 52:54:00:4c:01:01",
        "link set eth1 up",
        "address replace 203.0.113.1/24 dev eth1",
        "address replace 2001:db8::1/64 dev eth1 nodad",
        "link set eth2 address 52:54:00:4c:02:01",
        "link set eth2 up",
        "address replace 192.0.2.1/24 dev eth2",
    ]
    assert personal.network_batch(nodes["backend1"]).splitlines()[-2:] == [
        "route replace 198.51.100.0/24 via 192.0.2.1",
        "route replace 0.0.0.0/0 via 192.0.2.1",
    ]


def test_files_of_a_node_last_over_a_reboot() -> None:
    parsed = topology.parse(GOOD)
    director = personal.files("one", parsed, parsed.nodes["director1"])
    backend = personal.files("one", parsed, parsed.nodes["backend1"])
    assert director["/etc/hostname"] == "director1\n"
    assert director[personal.SYSCTL_FILE] == "net.ipv4.ip_forward = 1\n"
    assert "/etc/l4lb-lab/serve" not in director
    assert backend["/etc/l4lb-lab/serve"] == 'PORTS="tcp:80 udp:53"\n'
    assert personal.SYSCTL_FILE not in backend
    assert "203.0.113.1 director1\n" in backend["/etc/hosts"]


def test_machine_ids_differ_by_node_and_by_lab() -> None:
    nodes = topology.parse(GOOD).nodes
    ids = {personal.machine_id(lab, node) for lab in ("one", "two") for node in nodes.values()}
    assert len(ids) == 4


def test_inventory() -> None:
    content = inventory(topology.parse(GOOD), {"director1": 22001, "backend1": 22002}, Path("/cache dir/key"))["all"]
    backend = content["hosts"]["backend1"]
    assert backend["ansible_host"] == "127.0.0.1"
    assert backend["ansible_port"] == 22002
    assert backend["ansible_ssh_common_args"].startswith("-i '/cache dir/key' ")
    assert backend["lab_devices"] == {"inside": "eth1"}
    assert backend["lab_addresses"] == {"inside": ["192.0.2.11"]}
    assert backend["ipvs_networks"] == ["192.0.2.11/24"]
    assert backend["ipvs_address"] == "192.0.2.11"
    assert content["hosts"]["director1"]["lab_devices"] == {"outside": "eth1", "inside": "eth2"}
    assert content["children"] == {"ipvs_directors": {"hosts": {"director1": {}}}}


@pytest.mark.parametrize("path", sorted(cli.TOPOLOGIES.glob("*.yml")), ids=lambda path: path.stem)
def test_shipped_topology_is_valid(path: Path) -> None:
    assert "director1" in topology.load(path).groups["ipvs_directors"]
    assert cli.topology_file(path.stem) == path


def test_longest_socket_path_fits() -> None:
    path = port_socket(Path("/tmp/l4lb-lab-4294967294") / ("n" * 15), "s" * 15, "n" * 15)
    assert len(str(path)) <= 107  # unix(7)
    assert runtime_directory().parent == Path("/tmp")
