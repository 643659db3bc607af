# SPDX-License-Identifier: GPL-3.0-or-later
"""One reading of a host: kernel modules, rules of others, other owners, the way in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable

import pytest

from plugins.module_utils import _host, _kernel, _management, _module, _owners
from plugins.modules import ipvs_host_info

LINKS = [
    {"ifname": "lo", "mtu": 65536, "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {
        "ifname": "eth0",
        "mtu": 1500,
        "linkinfo": {"info_kind": "bond"},
        "ifalias": "uplink",
        "addr_info": [
            {"local": "192.0.2.1", "prefixlen": 24, "scope": "global"},
            {"local": "2001:db8::10", "prefixlen": 128, "scope": "global", "nodad": True},
            {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
        ],
    },
]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty host; tests fill the directories of the files they are about."""
    places = (
        (_host, "ROOT"),
        (_kernel, "SYS_MODULE"),
        (_host, "SYS_MODULE"),
        (_host, "LIB_MODULES"),
        (_host, "PROC"),
        (_host, "ETC"),
        (_owners, "PROC"),
        (_management, "PROC"),
    )
    for module, name in places:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        monkeypatch.setattr(module, name, str(directory))
    return tmp_path


@pytest.fixture
def read(
    host: Path, monkeypatch: pytest.MonkeyPatch, run_main: Callable[..., dict[str, Any]]
) -> Callable[..., dict[str, Any]]:
    """read(COMMAND=output, ...) -> the module's result on a host where these commands are installed."""

    def reading(ruleset: object = None, **outputs: str) -> dict[str, Any]:
        answers = {"ip": "[]", "ip -j -d address": json.dumps(LINKS), **outputs}
        if ruleset is not None:
            answers["nft"] = json.dumps({"nftables": ruleset})
            (host / "SYS_MODULE" / "nf_tables").mkdir(exist_ok=True)

        def told(argv: list[str]) -> str:
            return answers.get(" ".join(argv), answers[argv[0]])

        monkeypatch.setattr(_host.shutil, "which", lambda name: name if name in answers else None)
        monkeypatch.setattr(_module.Task, "run", lambda self, argv, data=None: (0, told(argv), ""))
        return run_main(ipvs_host_info.main, {}, check=True)

    return reading


def test_a_host_without_nft_is_read(read: Callable[..., dict[str, Any]]) -> None:
    found = read()
    assert found["changed"] is False
    assert found["tools"]["nft"] is False
    assert (found["firewall"], found["source_nat"], found["owners"]) == ([], [], [])
    assert found["interfaces"] == [
        {
            "name": "lo",
            "kind": "",
            "alias": "",
            "mtu": 65536,
            "addresses": [{"address": "127.0.0.1", "prefix": 8, "quiet": True}],
        },
        {
            "name": "eth0",
            "kind": "bond",
            "alias": "uplink",
            "mtu": 1500,
            "addresses": [
                {"address": "192.0.2.1", "prefix": 24, "quiet": False},
                {"address": "2001:db8::10", "prefix": 128, "quiet": True},
            ],
        },
    ]
    assert (found["gateways"], found["sysctls"], found["files"]) == ([], {}, [])


def test_default_routes_are_told_by_their_next_hops(read: Callable[..., dict[str, Any]]) -> None:
    four = [
        {"dst": "default", "gateway": "192.0.2.254", "dev": "eth0", "protocol": "static", "metric": 5},
        {"dst": "default", "via": {"family": "inet6", "host": "2001:db8::9"}, "dev": "eth0", "protocol": "bgp"},
        {"dst": "default", "dev": "ppp0", "scope": "link"},
    ]
    hops = [{"gateway": "2001:db8::8", "dev": "eth0", "weight": 1}, {"gateway": "2001:db8::9", "dev": "eth1"}]
    six = [{"dst": "default", "protocol": "ra", "nexthops": hops}]
    outputs = {"ip -j -4 route show default": json.dumps(four), "ip -j -6 route show default": json.dumps(six)}
    assert [tuple(gateway.values()) for gateway in read(**outputs)["gateways"]] == [
        ("ipv4", "192.0.2.254", "eth0", "static"),
        ("ipv4", "2001:db8::9", "eth0", "bgp"),
        ("ipv4", None, "ppp0", ""),
        ("ipv6", "2001:db8::8", "eth0", "ra"),
        ("ipv6", "2001:db8::9", "eth1", "ra"),
    ]


def test_a_kernel_that_does_without_ipv6_is_not_asked_for_it(read: Callable[..., dict[str, Any]], host: Path) -> None:
    """Asked for rules, it refuses, and the command ip fails."""
    parameters = host / "SYS_MODULE" / "ipv6" / "parameters"
    parameters.mkdir(parents=True)
    (parameters / "disable").write_text("1\n")
    four = [{"dst": "default", "gateway": "192.0.2.254", "dev": "eth0", "protocol": "static"}]
    none = {f"ip -j -6 {what}": "no JSON" for what in ("route show default", "rule show")}
    found = read(**none, **{"ip -j -4 route show default": json.dumps(four)})
    assert [gateway["family"] for gateway in found["gateways"]] == ["ipv4"]


def test_rules_and_routes_of_this_collection_are_told(read: Callable[..., dict[str, Any]]) -> None:
    rules = [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 76, "src": "192.0.2.1", "table": "76", "protocol": "static"},
        {"priority": 7600, "src": "192.0.2.1", "ipproto": "tcp", "sport": 80, "table": "7600", "protocol": "76"},
        {"priority": 7600, "src": "192.0.2.2", "ipproto": "ipproto-17", "table": "7600", "protocol": "76"},
        {"priority": 7601, "src": "all", "fwmark": "0x1db0", "table": "7601", "protocol": "76"},
        {"priority": 7602, "src": "192.0.2.0", "srclen": 24, "table": "7600", "protocol": "76"},
    ]
    routes = [
        {"dst": "default", "gateway": "192.0.2.254", "dev": "eth0", "table": "7600", "flags": []},
        {"type": "throw", "dst": "203.0.113.0/24", "table": "7600", "flags": []},
        {"dst": "198.51.100.9", "gateway": "192.0.2.254", "dev": "eth0", "flags": []},
    ]
    outputs = {
        "ip -j -4 rule show": json.dumps(rules),
        "ip -j -4 route show table all proto 76": json.dumps(routes),
    }
    found = read(**outputs)
    assert [tuple(rule.values()) for rule in found["rules"]] == [
        ("ipv4", 7600, "7600", "192.0.2.1", "tcp", 80, 0),
        ("ipv4", 7600, "7600", "192.0.2.2", "udp", 0, 0),
        ("ipv4", 7601, "7601", "", "", 0, 7600),
        ("ipv4", 7602, "7600", "192.0.2.0/24", "", 0, 0),
    ]
    assert [tuple(route.values()) for route in found["routes"]] == [
        ("ipv4", "7600", "default", "unicast", "192.0.2.254"),
        ("ipv4", "7600", "203.0.113.0/24", "throw", ""),
        ("ipv4", "main", "198.51.100.9", "unicast", "192.0.2.254"),
    ]


def test_sysctls_of_every_interface_are_told(host: Path, read: Callable[..., dict[str, Any]]) -> None:
    for path, value in (
        ("ipv4/conf/all/arp_ignore", "1"),
        ("ipv4/conf/eth0.5/rp_filter", "2"),
        ("ipv4/conf/eth0.5/mc_forwarding", "0"),
        ("ipv6/conf/eth0.5/accept_ra", "1"),
        ("ipv4/vs/conntrack", "1"),
        ("ipv4/vs/conn_reuse_mode", "1"),
    ):
        file = host / "PROC" / "sys" / "net" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    assert read()["sysctls"] == {
        "net.ipv4.conf.all.arp_ignore": 1,
        "net.ipv4.conf.eth0/5.rp_filter": 2,
        "net.ipv6.conf.eth0/5.accept_ra": 1,
        "net.ipv4.vs.conntrack": 1,
    }


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, None),
        ({"etc/sysctl.d/10-x.conf": "net.ipv4.ip_forward = 1"}, None),
        ({"usr/lib/sysctl.d/50-default.conf": "net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter"}, None),
        (
            {
                "usr/lib/sysctl.d/50-default.conf": "net.ipv4.conf.all.rp_filter = 2",
                "etc/sysctl.d/99-x.conf": "net/ipv4/conf/all/rp_filter=1",
            },
            {"value": "1", "file": "/etc/sysctl.d/99-x.conf"},
        ),
    ],
)
def test_the_file_that_sets_the_filter_for_all_is_told(
    host: Path, read: Callable[..., dict[str, Any]], files: dict[str, str], told: object
) -> None:
    for path, content in files.items():
        (host / "ROOT" / path).parent.mkdir(parents=True)
        (host / "ROOT" / path).write_text(f"{content}\n")
    assert read()["boot"] == ({"net.ipv4.conf.all.rp_filter": told} if told else {})


def test_ways_of_forwarding_are_told(host: Path, read: Callable[..., dict[str, Any]]) -> None:
    assert read()["forwards"] == []
    (host / "PROC" / "net").mkdir()
    (host / "PROC" / "net" / "ip_vs").write_text(
        "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port Scheduler Flags\n"
        "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        "TCP  C000020A:01BB mh (mh-port)\n"
        "  -> C6336416:20FB      Masq    1      0          0         \n"
        "  -> C6336415:20FB      Tunnel  1      0          0         \n"
        "TCP  [2001:0db8:0000:0000:0000:0000:0000:000a]:0050 rr \n"
        "  -> [2001:0db8:0000:0000:0000:0000:0000:0001]:0050      Route   1      0          0         \n"
        "  -> [2001:0db8:0000:0000:0000:0000:0000:0002]:0050      Local   1      0          0         \n"
    )
    assert read()["forwards"] == ["dr", "nat", "tun"]


def test_files_of_the_roles_are_told(host: Path, read: Callable[..., dict[str, Any]]) -> None:
    for path in (
        "sysctl.d/99-zz-l4lb-ipvs-backend.conf",
        "sysctl.d/99-zz-other.conf",
        "modules-load.d/l4lb-ipvs-x.conf",
    ):
        (host / "ETC" / path).parent.mkdir(exist_ok=True)
        (host / "ETC" / path).touch()
    found = [Path(path).name for path in read()["files"]]
    assert found == ["99-zz-l4lb-ipvs-backend.conf", "l4lb-ipvs-x.conf"]


def test_nft_is_not_asked_where_it_would_load_its_module(read: Callable[..., dict[str, Any]]) -> None:
    found = read(nft="no JSON")
    assert (found["failed"], found["tools"]["nft"], found["firewall"]) == (False, True, [])


# nft 1.0.6 prints what happens to be in memory
@pytest.mark.parametrize("flags", ["dormant", ["dormant"], ["dormant", "owner"], "aaa", ["aaa"]])
def test_a_dormant_table_forwards_nothing(read: Callable[..., dict[str, Any]], flags: object) -> None:
    tables = [{"table": {"family": "ip", "name": name, **more}} for name, more in (("a", {"flags": flags}), ("b", {}))]
    chains = [chain("a", "FORWARD", **FORWARD), chain("b", "FORWARD", **FORWARD)]
    assert [one["table"] for one in read(ruleset=[*tables, *chains])["firewall"]] == ["ip b"]


@pytest.mark.parametrize("flags", ["owner", ["owner", "persist"], []])
def test_a_table_with_another_flag_is_at_work(read: Callable[..., dict[str, Any]], flags: object) -> None:
    table = {"table": {"family": "ip", "name": "a", "flags": flags}}
    assert [one["table"] for one in read(ruleset=[table, chain("a", "FORWARD", **FORWARD)])["firewall"]] == ["ip a"]


def test_a_dormant_table_for_which_nft_prints_no_json(read: Callable[..., dict[str, Any]]) -> None:
    """nft 1.0.6, Debian 12."""
    broken = (
        '{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "ip", "name": "l4lb_snat", "flags": \n'
    )
    outputs = {
        "nft list tables": "table ip l4lb_snat\ntable ip b\n",
        "nft -j list table ip b": json.dumps({"nftables": [chain("b", "FORWARD", **FORWARD)]}),
        **dict.fromkeys(("nft -j list ruleset", "nft -j list tables", "nft -j list table ip l4lb_snat"), broken),
    }
    found = read(ruleset=[], **outputs)
    assert ([one["table"] for one in found["firewall"]], found["tables"]) == (["ip b"], ["l4lb_snat"])


def test_a_command_that_fails_fails_the_task(
    host: Path, monkeypatch: pytest.MonkeyPatch, run_main: Callable[..., dict[str, Any]]
) -> None:
    (host / "SYS_MODULE" / "nf_tables").mkdir()
    monkeypatch.setattr(_host.shutil, "which", lambda name: name)
    monkeypatch.setattr(_module.Task, "run", lambda self, argv, data=None: (1, "", "no way\n"))
    assert run_main(ipvs_host_info.main, {})["msg"] == "nft -j list ruleset failed: no way"


def test_modules_are_loaded_built_in_or_loadable(host: Path) -> None:
    directory = host / "LIB_MODULES" / os.uname().release
    directory.mkdir()
    (directory / "modules.dep").write_text(
        "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz\n"
        "kernel/net/netfilter/ipvs/ip_vs_mh.ko: kernel/net/netfilter/ipvs/ip_vs.ko\n"
        "kernel/net/netfilter/nft_chain_nat.ko:\nkernel/drivers/net/veth.ko:\n"
    )
    (directory / "modules.builtin").write_text("kernel/net/netfilter/nf_conntrack.ko\n")
    (host / "SYS_MODULE" / "ip_vs").mkdir()
    assert _host.kernel_modules() == {
        "ip_vs": "loaded",
        "ip_vs_mh": "loadable",
        "nf_conntrack": "loaded",
        "nft_chain_nat": "loadable",
    }


def chain(table: str, name: str, **base: Any) -> dict[str, Any]:
    return {"chain": {"family": "ip", "table": table, "name": name, **base}}


def rule(table: str, name: str, *expressions: Any) -> dict[str, Any]:
    return {"rule": {"family": "ip", "table": table, "chain": name, "expr": list(expressions)}}


FORWARD = {"type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}
POSTROUTING = {"type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"}


def test_a_filter_is_told_with_what_its_rules_ask(read: Callable[..., dict[str, Any]]) -> None:
    base = chain("filter", "FORWARD", **FORWARD)
    jump = rule("filter", "FORWARD", {"jump": {"target": "more"}})
    told = {"family": "ip", "table": "ip filter", "chain": "FORWARD", "hook": "forward", "policy": "drop"}
    assert read(ruleset=[base])["firewall"] == [{**told, "rules": [], "chains": {}}]
    state = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
    opened = [base, chain("filter", "more"), jump, rule("filter", "more", {"counter": {}}, state, {"accept": None})]
    (found,) = read(ruleset=opened)["firewall"]
    assert found["rules"] == [{"matches": [], "verdict": "jump", "target": "more", "handle": 0}]
    asked = {"what": "ct state", "op": "==", "values": ["established", "related"]}
    assert found["chains"] == {"more": [{"matches": [asked], "verdict": "accept", "target": "", "handle": 0}]}
    assert read(ruleset=[chain("filter", "FORWARD", **{**FORWARD, "policy": "accept"})])["firewall"] == []


def test_source_nat_is_found_behind_verdict_maps_and_in_chains_without_a_name(
    read: Callable[..., dict[str, Any]],
) -> None:
    vmap = {"vmap": {"key": {"meta": {"key": "oifname"}}, "data": {"set": [["eth0", {"goto": {"target": "out"}}]]}}}
    ruleset = [
        chain("nat", "POSTROUTING", **POSTROUTING),
        rule("nat", "POSTROUTING", vmap),
        rule("nat", "out", {"masquerade": None}),
        rule("nat", "POSTROUTING", "jump {\n\t\tmasquerade\n\t}"),
    ]
    assert [one["matches"] for one in read(ruleset=ruleset)["source_nat"]] == [
        [{"what": "", "op": "", "values": [None]}],
        [{"what": "", "op": "", "values": [None]}],  # the nameless chain may ask for more
    ]


def test_source_nat_is_told_with_what_it_matches(read: Callable[..., dict[str, Any]]) -> None:
    out = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "eth0"}}
    to = {"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": {"set": [1, 2]}}}
    state = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}
    found = read(
        ruleset=[
            chain("nat", "POSTROUTING", **POSTROUTING),
            chain("nat", "lan"),
            rule("nat", "POSTROUTING", out, {"counter": {"packets": 0, "bytes": 0}}, {"masquerade": None}),
            rule("nat", "POSTROUTING", to, {"goto": {"target": "lan"}}),
            rule("nat", "lan", state, {"snat": {"addr": "192.0.2.1"}}),
            rule("nat", "POSTROUTING", {"xt": {"type": "target", "name": "MASQUERADE"}}),
            rule("nat", "POSTROUTING", out, {"accept": None}),
        ]
    )["source_nat"]
    named = {"family": "ip", "table": "ip nat", "chain": "POSTROUTING"}
    assert found == [
        {**named, "matches": [{"what": "meta oifname", "op": "==", "values": ["eth0"]}]},
        {
            **named,
            "matches": [
                {"what": "ip daddr", "op": "!=", "values": [1, 2]},
                {"what": "ct state", "op": "==", "values": ["new"]},
            ],
        },
        {**named, "matches": []},
    ]


def test_chains_that_jump_in_a_circle_end(read: Callable[..., dict[str, Any]]) -> None:
    circle = [rule("nat", name, {"jump": {"target": other}}) for name, other in (("a", "b"), ("b", "a"))]
    assert read(ruleset=[chain("nat", "a", **POSTROUTING), *circle])["source_nat"] == []


@pytest.mark.parametrize("more", [{}, {"flags": "dormant"}], ids=str)
def test_our_own_tables_are_left_out(read: Callable[..., dict[str, Any]], more: dict[str, str]) -> None:
    table = {"table": {"family": "ip", "name": "l4lb_snat", "handle": 1, **more}}
    ours = [table, chain("l4lb_snat", "out", **POSTROUTING), rule("l4lb_snat", "out", {"masquerade": None})]
    found = read(ruleset=ours)
    assert (found["source_nat"], found["tables"]) == ([], ["l4lb_snat"])


def test_the_older_iptables_is_asked_only_if_its_table_is_loaded(
    host: Path, read: Callable[..., dict[str, Any]]
) -> None:
    legacy = {"iptables-legacy": "-P FORWARD DROP\n-A FORWARD -p tcp -j ACCEPT\n"}
    assert read(**legacy)["firewall"] == []
    (host / "PROC" / "net").mkdir()
    (host / "PROC" / "net" / "ip_tables_names").write_text("nat\nfilter\n")
    (found,) = read(**legacy)["firewall"]
    assert (found["table"], found["chain"], found["hook"]) == ("ip filter (iptables-legacy)", "FORWARD", "forward")
    (rule,) = found["rules"]
    assert rule["matches"] == [{"what": "meta l4proto", "op": "==", "values": ["tcp"]}]
    assert read(**{"iptables-legacy": "-P FORWARD ACCEPT\n"})["firewall"] == []


def test_the_way_in_is_found_at_the_nearest_parent_that_knows_it(host: Path) -> None:
    assert _management.management_connection() is _management.management_client() is None
    for process, parent, environment in (
        (os.getpid(), 70, "PATH=/bin\0"),
        (70, 60, "A=b\0SSH_CONNECTION=203.0.113.9 50000 192.0.2.1 22\0"),
        (60, 1, "SSH_CONNECTION=203.0.113.9 50000 192.0.2.2 22\0"),
    ):
        directory = host / "PROC" / str(process)
        directory.mkdir()
        (directory / "environ").write_text(environment)
        (directory / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
    assert _management.management_connection() == {"address": "192.0.2.1", "port": 22}
    assert _management.management_client() == {"address": "203.0.113.9", "port": 50000}
    # as sshd writes it where it was started with a pipe
    (host / "PROC" / "70" / "environ").write_text("SSH_CONNECTION=UNKNOWN 65535 UNKNOWN 65535\0")
    assert _management.management_connection() is _management.management_client() is None
    assert _management.management_end(None) is None
