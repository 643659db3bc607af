# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters of a host do to balanced packets. The rulesets are what ``nft -j list ruleset`` returned for ufw
0.36.2 and firewalld 1.3.3 with ports 22 and 80 open, and for the chains of Docker under iptables 1.8.9.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from plugins.filter.backend_plan import backend_plan
from plugins.filter.director_plan import director_plan
from plugins.module_utils._ruleset import MAX_RULES, UNCERTAIN, read_firewall, read_iptables
from plugins.plugin_utils._firewall import Packet, passage

from . import test_backend_plan, test_director_plan

RULESETS = Path(__file__).parents[1] / "rulesets"
INVALID = "net.ipv4.vs.conntrack"
WAY_OUT = [{"family": "ipv4", "address": "192.0.2.254", "interface": "eth0", "protocol": "static"}]


def ruleset(name: str) -> list[dict[str, Any]]:
    return read_firewall(json.loads((RULESETS / f"{name}.txt").read_text().partition("\n")[2]))


def base(
    *rules: Any, hook: str = "input", policy: str = "drop", more: tuple[Any, ...] = (), prio: int = 0
) -> list[dict[str, Any]]:
    """One chain of the hook with these rules, each a list of expressions."""
    where = {"family": "inet", "table": "filter"}
    chain = {**where, "name": hook, "type": "filter", "hook": hook, "prio": prio, "policy": policy}
    made = [{"rule": {**where, "chain": hook, "handle": 5 + i, "expr": rule}} for i, rule in enumerate(rules)]
    return read_firewall({"nftables": [{"chain": chain}, *more, *made]})


def asks(left: str, right: object, op: str = "==") -> dict[str, Any]:
    layer, field = left.split()
    told = {layer: {"key": field}} if layer in ("meta", "ct") else {"payload": {"protocol": layer, "field": field}}
    return {"match": {"op": op, "left": told, "right": right}}


ACCEPT, DROP, REJECT = {"accept": None}, {"drop": None}, {"reject": {"type": "tcp reset"}}
LIMIT = {"limit": {"rate": 5, "per": "second"}}
ESTABLISHED = [asks("ct state", ["established", "related"], "in"), ACCEPT]


def director(firewall: list[dict[str, Any]], tracks: int = 0, **more: Any) -> tuple[list[str], list[str]]:
    service = {**test_director_plan.WEB, **more}
    host = {**test_director_plan.HOST, "firewall": firewall, "gateways": WAY_OUT}
    found = director_plan([service], flows=[], host=host, sysctls={INVALID: tracks})
    return found["problems"], found["warnings"]


def backend(firewall: list[dict[str, Any]], **more: Any) -> tuple[list[str], list[str]]:
    service = {**test_backend_plan.WEB, **more}
    modules = dict.fromkeys(("ipip", "ip_gre", "fou", "sit", "ip6_tunnel"), "loaded")
    host = {**test_backend_plan.HOST, "firewall": firewall, "modules": modules}
    found = backend_plan([service], hostvars={}, groups={}, host=host)
    return found["problems"], found["warnings"]


# real rulesets


def test_docker_drops_the_answers_of_nat_servers_whatever_is_tracked() -> None:
    for tracks in (0, 1):
        problems, warnings = director(ruleset("docker"), tracks)
        (problem,) = problems
        assert problem.startswith(
            "the chain FORWARD of table ip filter drops packet tcp from 198.51.100.11 port 8443 (its policy): accept"
        )
        assert problem.endswith("(to accept it, name forward_drop in ipvs_director_allow)")
        assert warnings == []
    assert director(ruleset("docker"), forward="dr", servers=[{"address": "192.0.2.9"}]) == ([], [])


def test_ufw_accepts_answers_by_what_nft_does_not_show() -> None:
    problems, warnings = director(ruleset("ufw"), port=80)
    assert problems == []
    assert [one.partition(" (")[0] for one in warnings] == [
        "the chain FORWARD of table ip filter may drop packet tcp from 198.51.100.11 port 8443"
    ]
    dummy, warnings = director(ruleset("ufw"), port=443)
    assert any("INPUT of table ip filter may drop packet tcp to 192.0.2.10 port 443" in one for one in warnings)


def test_firewalld_takes_answers_that_are_tracked_and_ports_that_are_open() -> None:
    assert director(ruleset("firewalld"), 1, port=80) == ([], [])
    (problem,), warnings = director(ruleset("firewalld"), 0, port=80)
    assert "drops packet tcp from 198.51.100.11 port 8443 (rule 39 of chain filter_FORWARD)" in problem
    assert INVALID in problem
    (warning,) = warnings  # the end of each connection
    assert "rule 29 of chain filter_INPUT" in warning
    assert INVALID in warning
    (problem,), warnings = director(ruleset("firewalld"), 1)
    assert "filter_INPUT of table inet firewalld drops packet tcp to 192.0.2.10 port 443 (rule 72" in problem
    assert problem.endswith("(to accept it, name input_drop in ipvs_director_allow)")


@pytest.mark.parametrize(
    ("service", "dropped"),
    [
        ({"port": 80}, []),
        ({"port": 81}, ["tcp to 192.0.2.10 port 81"]),
        ({"port": 81, "forward": "nat", "servers": [{"address": test_backend_plan.RIP, "port": 80}]}, []),
        (
            {"forward": "nat", "servers": [{"address": test_backend_plan.RIP, "port": 8080}]},
            ["tcp to 198.51.100.11 port 8080"],
        ),
        ({"forward": "tun"}, ["ipencap (IP protocol 4) to 198.51.100.11"]),
        (
            {"forward": "tun", "servers": [{"address": test_backend_plan.RIP, "tunnel_type": "gre"}]},
            ["gre (IP protocol 47) to 198.51.100.11"],
        ),
        (
            {
                "forward": "tun",
                "port": 81,
                "servers": [{"address": test_backend_plan.RIP, "tunnel_type": "gue", "tunnel_port": 6080}],
            },
            ["udp to 198.51.100.11 port 6080, tcp to 192.0.2.10 port 81"],
        ),
    ],
)
def test_a_backend_behind_firewalld_names_what_it_is_to_accept(service: dict[str, Any], dropped: list[str]) -> None:
    problems, warnings = backend(ruleset("firewalld"), **service)
    assert [one.partition(" drops packet")[2].lstrip("s ").partition(" (rule")[0] for one in problems] == dropped
    assert warnings == []


@pytest.mark.parametrize(("protocol", "way"), [("ipencap", []), (4, []), ("ipip", ["drops"]), (94, ["drops"])])
def test_ipip_tunnels_are_of_another_protocol_than_the_one_called_ipip(protocol: object, way: list[str]) -> None:
    firewall = base([asks("meta l4proto", protocol), ACCEPT], [asks("meta iifname", "l4lb-ipip4"), ACCEPT])
    problems, dummy = backend(firewall, forward="tun")
    assert [word for word in way if word in "".join(problems)] == way
    assert len(problems) == len(way)


# shapes of rules

OPEN = [asks("tcp dport", 443), ACCEPT]
JUMP = [{"jump": {"target": "more"}}]


@pytest.mark.parametrize(
    ("rules", "policy", "verdict"),
    [
        ([], "accept", "passes"),
        ([], "drop", "drops"),
        ([OPEN], "drop", "passes"),
        ([OPEN, [REJECT]], "accept", "passes"),
        ([ESTABLISHED, [REJECT]], "accept", "drops"),
        ([[{"xt": {"type": "target", "name": "REJECT"}}]], "accept", "drops"),
        ([[{"xt": {"type": "target", "name": "LOG"}}]], "accept", "passes"),
        ([[asks("udp dport", 443), ACCEPT]], "drop", "drops"),
        ([[asks("th dport", {"set": [80, {"range": [440, 450]}]}), ACCEPT]], "drop", "passes"),
        ([[asks("tcp dport", 443, "!="), DROP]], "accept", "passes"),
        ([[asks("ip daddr", {"prefix": {"addr": "192.0.2.0", "len": 24}}), ACCEPT]], "drop", "passes"),
        ([[asks("ip daddr", "192.0.2.99"), ACCEPT]], "drop", "drops"),
        ([[asks("ip6 daddr", "2001:db8::1", "!="), ACCEPT]], "drop", "drops"),
        ([[asks("ip saddr", "203.0.113.1"), ACCEPT]], "drop", "may drop"),
        ([[asks("ip saddr", "203.0.113.1"), DROP]], "accept", "passes"),
        ([[LIMIT, *OPEN]], "drop", "may drop"),
        ([[{"counter": {}}, *OPEN]], "drop", "passes"),
        ([[asks("meta iifname", "eth0"), ACCEPT]], "drop", "passes"),
        ([[asks("meta iifname", "wg*"), ACCEPT]], "drop", "drops"),
        ([[asks("tcp dport", "@open"), ACCEPT]], "drop", "passes"),
        ([[asks("tcp dport", "@learned"), ACCEPT]], "drop", "may drop"),
        ([[asks("tcp dport", "@blocked"), ACCEPT]], "drop", "may drop"),
        (["jump {\n\t\taccept\n\t}"], "drop", "may drop"),
        ([[{"queue": {"num": 1}}]], "drop", "may drop"),
        ([[{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", ACCEPT]]}}}]], "drop", "passes"),
        (
            [[{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", JUMP[0]]]}}}], [DROP]],
            "accept",
            "drops",
        ),
        ([JUMP, OPEN], "drop", "passes"),
        ([[{"goto": {"target": "more"}}], OPEN], "drop", "drops"),
    ],
)
def test_what_a_chain_does_to_a_packet(rules: list[Any], policy: str, verdict: str) -> None:
    where = {"family": "inet", "table": "filter"}
    more = (
        {
            "set": {
                **where,
                "name": "open",
                "type": "inet_service",
                "elem": [80, {"elem": {"val": 443, "comment": "x"}}],
            }
        },
        {"set": {**where, "name": "learned", "flags": ["timeout"], "elem": [443]}},
        {"set": {**where, "name": "blocked", "flags": "dynamic", "elem": [443]}},
        {"chain": {**where, "name": "more"}},
        {"rule": {**where, "chain": "more", "handle": 3, "expr": [asks("tcp dport", 22), ACCEPT]}},
    )
    rules = [rule if isinstance(rule, list) else [rule] for rule in rules]
    problems, warnings = backend(base(*rules, policy=policy, more=more), port=443)
    assert [verdict in one for one in problems + warnings] == ([True] if verdict != "passes" else [])
    assert bool(problems) == (verdict == "drops")


IIFNAME, STATE = {"meta": {"key": "iifname"}}, {"ct": {"key": "state"}}
DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}
EXT = {"jump": {"target": "ext"}}


def vmap(key: dict[str, Any], *pairs: Any) -> dict[str, Any]:
    return {"vmap": {"key": key, "data": {"set": [list(pair) for pair in pairs]}}}


@pytest.mark.parametrize(
    ("rule", "way"),
    [
        ([vmap(IIFNAME, ("eth0", EXT), ("*", DROP))], "passes"),
        ([vmap(IIFNAME, ("*", DROP), ("eth0", EXT))], "passes"),
        ([vmap(IIFNAME, ("eth1", EXT), ("*", DROP))], "drops"),
        ([vmap(STATE, ("established", ACCEPT), ("related", ACCEPT), ("*", DROP))], "drops"),
        ([vmap(DPORT, (22, ACCEPT), ("*", DROP))], "drops"),
        ([vmap(DPORT, ({"range": [79, 81]}, ACCEPT), ("*", DROP))], "passes"),
        ([vmap(DPORT, ({"elem": {"val": 80, "counter": {}}}, ACCEPT), ({"elem": {"val": "*"}}, DROP))], "passes"),
        ([{"vmap": {"key": IIFNAME, "data": "@commented"}}], "drops"),
        ([{"vmap": {"key": IIFNAME, "data": "@counted"}}], "drops"),
        ([{"vmap": {"key": IIFNAME, "data": "@other"}}], "passes"),
        ([asks("tcp dport", "@all"), DROP], "drops"),
        ([asks("udp dport", "@all"), DROP], "passes"),
        ([asks("tcp dport", "@all", "!="), DROP], "passes"),
        ([asks("ct state", {"set": [{"elem": {"val": "new", "comment": "x"}}]}), DROP], "drops"),
    ],
)
def test_a_catch_all_takes_what_is_left_and_elements_may_say_more(rule: list[Any], way: str) -> None:
    where = {"family": "inet", "table": "filter"}
    said = {"commented": ("eth0", {"comment": "wan"}), "counted": ("eth0", {"counter": {}}), "other": ("eth1", {})}
    more = (
        *(
            {"map": {**where, "name": name, "map": "verdict", "elem": [[{"elem": {"val": value, **extra}}, DROP]]}}
            for name, (value, extra) in said.items()
        ),
        {"set": {**where, "name": "all", "elem": [22, {"elem": {"val": "*", "comment": "rest"}}]}},
        {"chain": {**where, "name": "ext"}},
        {"rule": {**where, "chain": "ext", "handle": 3, "expr": [asks("tcp dport", 22), ACCEPT]}},
    )
    last = [asks("udp dport", 9), DROP]  # without one that may drop, the chain would not be told of
    (chain,) = base(rule, last, policy="accept", more=more)
    packet = Packet(4, "tcp", iif="eth0", target_port=80, state="new")
    assert passage(chain, packet)[0] == way


@pytest.mark.parametrize(
    ("rules", "way"),
    [
        (["-P INPUT DROP"], "its policy"),
        (["-A INPUT -j REJECT --reject-with icmp-host-prohibited"], "rule 1 of chain INPUT"),
        (["-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT", "-A INPUT -j DROP"], "passes"),
        (["-A INPUT -p tcp -m multiport --dports 80,440:450 -j ACCEPT", "-A INPUT -j DROP"], "passes"),
        (["-A INPUT -p udp -m udp --dport 443 -j ACCEPT", "-A INPUT -j DROP"], "rule 2 of chain INPUT"),
        (["-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -j DROP"], "rule 2 of chain INPUT"),
        (["-A INPUT -m conntrack ! --ctstate ESTABLISHED -j DROP"], "rule 1 of chain INPUT"),
        (["-A INPUT ! -i eth+ -j DROP"], "passes"),
        (["-A INPUT -d 192.0.2.0/24 -i eth0 -j DROP"], "rule 1 of chain INPUT"),
        (["-A INPUT ! -d 192.0.2.10/32 -j DROP"], "passes"),
        (['-A INPUT -m comment --comment "not -j ACCEPT, \\"this\\"" -j DROP'], "rule 1 of chain INPUT"),
        (['-A INPUT -j LOG --log-prefix "-j ACCEPT"', "-A INPUT -j DROP"], "rule 2 of chain INPUT"),
        (["-A INPUT -m set --match-set good src -j ACCEPT", "-A INPUT -j DROP"], "uncertain"),
        (["-A INPUT -p tcp -m tcp --tcp-flags SYN,RST SYN -j ACCEPT", "-A INPUT -j DROP"], "uncertain"),
        (["-A INPUT -j NFQUEUE --queue-num 1", "-A INPUT -j DROP"], "uncertain"),
        (["-A INPUT -m limit --limit 5/sec -j DROP"], "passes"),
        (["-N more", "-A INPUT -j more", "-A INPUT -j DROP", "-A more -i eth0 -j ACCEPT"], "passes"),
        (["-N more", "-A INPUT -j more", "-A INPUT -j DROP", "-A more -i eth0 -j RETURN"], "rule 2 of chain INPUT"),
        (["-N more", "-A INPUT -g more", "-A INPUT -j DROP", "-A more -p tcp -j RETURN"], "passes"),
    ],
)
def test_the_older_iptables_is_read_as_nft_is(rules: list[str], way: str) -> None:
    policies = ["-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-P OUTPUT ACCEPT"]
    found = read_iptables("ip", "\n".join([*policies, *rules]))
    packet = Packet(4, "tcp", "eth0", target=ip_address("192.0.2.10"), target_port=443, state="new")
    verdict, by = passage(found[0], packet) if found else ("passes", "")
    assert (by if verdict == "drops" else verdict) == way


def test_a_chain_that_never_drops_is_left_out() -> None:
    assert base(OPEN, ESTABLISHED, policy="accept") == []
    assert base(*([OPEN] * (MAX_RULES + 1)))[0]["rules"] == [UNCERTAIN]


@pytest.mark.parametrize(("tracks", "known"), [(0, "untracked"), (1, "new")])
def test_what_goes_to_a_server_passes_the_output_chain(tracks: int, known: str) -> None:
    (problem,), dummy = director(base(hook="output"), tracks)
    assert "drops packet tcp to 198.51.100.11 port 8443 (its policy)" in problem
    assert director(base([asks("ct state", known), ACCEPT], hook="output"), tracks) == ([], [])


REQUEST, ANSWER = "packet tcp to 192.0.2.10 port 443", "packet tcp from 198.51.100.11 port 8443"


@pytest.mark.parametrize(
    ("rule", "prio", "dropped"),
    [
        ([asks("tcp dport", 443), DROP], -300, {REQUEST: "input_drop"}),
        ([asks("tcp sport", 8443), DROP], -300, {ANSWER: "forward_drop"}),
        ([asks("tcp dport", 8443), DROP], -300, {}),
        ([asks("ct state", "invalid"), DROP], -150, {ANSWER: "forward_drop"}),
        # here is no state yet, nor the way out
        ([asks("ct state", "invalid"), DROP], -300, {}),
        ([asks("meta oifname", "eth0"), DROP], -150, {}),
    ],
)
def test_what_arrives_passes_the_chains_before_routing(rule: list[Any], prio: int, dropped: dict[str, str]) -> None:
    problems, dummy = director(base(rule, hook="prerouting", policy="accept", prio=prio))
    assert len(problems) == len(dropped)
    for problem, (packet, allowance) in zip(problems, dropped.items()):
        assert f"the chain prerouting of table inet filter drops {packet} (rule 5" in problem
        assert problem.endswith(f"(to accept it, name {allowance} in ipvs_director_allow)")


@pytest.mark.parametrize(("prio", "drops"), [(-150, True), (-300, False)])
def test_the_end_of_a_connection_is_invalid_before_routing_too(prio: int, drops: bool) -> None:
    chains = base([asks("ct state", "invalid"), DROP], hook="prerouting", policy="accept", prio=prio)
    dummy, warnings = director(chains, forward="dr", servers=[{"address": "192.0.2.9"}])
    assert ["end a connection" in one for one in warnings] == [True] * drops


def test_a_backend_sees_what_is_dropped_before_routing() -> None:
    rule = [asks("meta l4proto", 4), DROP]
    (problem,), dummy = backend(base(rule, hook="prerouting", policy="accept", prio=-300), forward="tun")
    assert "the chain prerouting of table inet filter drops packet ipencap (IP protocol 4) to 198.51.100.11" in problem


def test_what_is_exempt_from_tracking_is_not_new() -> None:
    direct = {"forward": "dr", "servers": [{"address": "192.0.2.9"}]}
    new = base([asks("ct state", "new"), *OPEN])
    assert director(new, 0, **direct)[0] == []
    assert len(director(new, 1, **direct)[0]) == 1


def test_an_accepted_danger_is_no_doubt_either() -> None:
    allow = ["input_drop", "forward_drop"]
    host = {**test_director_plan.HOST, "gateways": WAY_OUT}
    for name, warnings in (("firewalld", 2), ("ufw", 0)):
        found = director_plan([test_director_plan.WEB], flows=[], host={**host, "firewall": ruleset(name)}, allow=allow)
        assert (found["problems"], len(found["warnings"])) == ([], warnings)
