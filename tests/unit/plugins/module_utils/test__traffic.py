# SPDX-License-Identifier: GPL-3.0-or-later
"""_traffic: ranges, overlaps and what is kept beside them; the text of the tables, letter for letter."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils import _traffic
from plugins.module_utils._draft import Element, Elements
from plugins.module_utils._errors import Findings
from plugins.module_utils._nft import LiveTable
from plugins.module_utils._traffic import CONNECTIONS, MARKS, UNTRACKED, Use

MARK = {"fwmark": 7, "family": "ipv4", "addresses": ["192.0.2.10"]}


def parse(use: Use, *items: dict[str, Any]) -> list[_traffic.Traffic]:
    findings = Findings()
    parsed = _traffic.parse(use, list(items), use.option, findings)
    findings.raise_problems()
    return parsed


def elements(use: Use, *items: dict[str, Any], family: int = socket.AF_INET) -> Elements:
    return _traffic.elements_by_family(use, parse(use, *items))[family]


def body(use: Use, *items: dict[str, Any], family: int = socket.AF_INET) -> str:
    text = _traffic.draft(use, family, elements(use, *items, family=family)).body
    return re.sub(r"[0-9a-f]{32}", "DIGEST", text).expandtabs(2)


def test_the_text_of_marks() -> None:
    assert (
        body(
            MARKS,
            {**MARK, "ports": ["8000-8010", 443, 80]},
            {**MARK, "fwmark": 8, "addresses": ["192.0.2.11"], "protocols": ["udp", "tcp"], "ports": [53]},
            {**MARK, "fwmark": 9, "addresses": ["192.0.2.12"], "interfaces": ["eth0.100"]},
        )
        == """\
  map to_tcp {
    type ipv4_addr . inet_service : mark
    flags interval
    elements = {
      192.0.2.10 . 80 : 7,
      192.0.2.10 . 443 : 7,
      192.0.2.10 . 8000-8010 : 7,
      192.0.2.11 . 53 : 8
    }
  }
  map to_tcp_on_eth0.100 {
    type ipv4_addr . inet_service : mark
    flags interval
    elements = {
      192.0.2.12 . 1-65535 : 9
    }
  }
  map to_udp {
    type ipv4_addr . inet_service : mark
    flags interval
    elements = {
      192.0.2.11 . 53 : 8
    }
  }
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    meta mark set ip daddr . tcp dport map @to_tcp comment "l4lb.ipvs DIGEST"
    iifname "eth0.100" meta mark set ip daddr . tcp dport map @to_tcp_on_eth0.100
    meta mark set ip daddr . udp dport map @to_udp
  }
"""
    )


def test_the_text_of_connection_marks() -> None:
    connection = {**MARK, "addresses": ["2001:db8:1::11"], "family": "ipv6", "ports": [8443]}
    assert (
        body(
            CONNECTIONS,
            {**connection, "macs": ["00:00:5E:00:53:01"]},
            {**connection, "macs": ["00:00:5e:00:53:02"], "fwmark": 8},
            {**connection, "ports": [80], "interfaces": ["eth1"], "fwmark": 8},
            family=socket.AF_INET6,
        )
        == """\
  map to_tcp_from {
    type ether_addr . ipv6_addr . inet_service : mark
    flags interval
    elements = {
      00:00:5e:00:53:01 . 2001:db8:1::11 . 8443 : 7,
      00:00:5e:00:53:02 . 2001:db8:1::11 . 8443 : 8
    }
  }
  map to_tcp_on_eth1 {
    type ipv6_addr . inet_service : mark
    flags interval
    elements = {
      2001:db8:1::11 . 80 : 8
    }
  }
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    ct mark set ether saddr . ip6 daddr . tcp dport map @to_tcp_from comment "l4lb.ipvs DIGEST"
    iifname "eth1" ct mark set ip6 daddr . tcp dport map @to_tcp_on_eth1
  }
  chain output {
    type route hook output priority mangle; policy accept;
    ct mark 7 meta mark set 7
    ct mark 8 meta mark set 8
  }
"""
    )


def test_the_text_of_what_is_not_tracked() -> None:
    assert (
        body(UNTRACKED, {"addresses": ["192.0.2.10", "2001:db8::10"], "ports": [80]})
        == """\
  set to_tcp {
    type ipv4_addr . inet_service
    flags interval
    elements = {
      192.0.2.10 . 80
    }
  }
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    ip daddr . tcp dport @to_tcp notrack comment "l4lb.ipvs DIGEST"
  }
"""
    )


def test_the_text_of_errors_that_are_not_tracked() -> None:
    errors = {"addresses": ["192.0.2.10", "2001:db8::10"], "ports": [80], "protocols": ["icmp"], "interfaces": ["eth1"]}
    assert (
        body(UNTRACKED, errors)
        == """\
  set to_icmp_on_eth1 {
    type ipv4_addr
    elements = {
      192.0.2.10
    }
  }
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    iifname "eth1" icmp type destination-unreachable ip daddr @to_icmp_on_eth1 notrack comment "l4lb.ipvs DIGEST"
    iifname "eth1" icmp type time-exceeded ip daddr @to_icmp_on_eth1 notrack
    iifname "eth1" icmp type parameter-problem ip daddr @to_icmp_on_eth1 notrack
  }
"""
    )
    assert "icmpv6 type packet-too-big ip6 daddr @to_icmp_on_eth1" in body(UNTRACKED, errors, family=socket.AF_INET6)
    live = LiveTable([{"set": {"name": "to_icmp_on_eth1", "handle": 1, "elem": ["192.0.2.10"]}}])
    assert _traffic.read(UNTRACKED, socket.AF_INET, live) == (elements(UNTRACKED, errors), True)


@pytest.mark.parametrize(
    ("ports", "joined"),
    [
        ([80], [80]),
        ([443, "80"], [80, 443]),
        ([80, 81], ["80-81"]),
        (["8000-8010", "8005-8020", 8021], ["8000-8021"]),
        (["8000-8020", "8005-8006"], ["8000-8020"]),
        (["80-80"], [80]),
    ],
)
def test_ranges_are_joined(ports: list[object], joined: list[object]) -> None:
    (traffic,) = parse(UNTRACKED, {"addresses": ["192.0.2.10"], "ports": ports})
    assert _traffic.params(UNTRACKED, traffic)["ports"] == joined


def test_what_is_not_given_is_any() -> None:
    (traffic,) = parse(UNTRACKED, {"addresses": ["192.0.2.10"]})
    assert _traffic.params(UNTRACKED, traffic) == {"addresses": ["192.0.2.10"], "protocols": ["tcp"]}
    assert list(elements(UNTRACKED, {"addresses": ["192.0.2.10"]})) == [Element("to_tcp", ("192.0.2.10", 1, 65535))]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ({"ports": [80]}, {"ports": [80]}, True),
        ({"ports": [80]}, {"ports": ["79-81"]}, True),
        ({"ports": ["80-90"]}, {"ports": ["90-99"]}, True),
        ({"ports": ["1-90"]}, {"ports": [5, 10]}, True),
        ({}, {"ports": [80]}, True),
        ({"ports": [80]}, {"ports": [81]}, False),
        ({"ports": [80]}, {"ports": [80], "protocols": ["udp"]}, False),
        ({"ports": [80]}, {"ports": [80], "addresses": ["192.0.2.11"]}, False),
        ({"interfaces": ["eth1"]}, {"interfaces": ["eth2"]}, False),
        ({"interfaces": ["eth1"]}, {"interfaces": ["eth2", "eth1"]}, True),
        ({"interfaces": ["eth1"]}, {}, True),
    ],
)
def test_overlaps(one: dict[str, Any], other: dict[str, Any], overlap: bool) -> None:
    for pair in ((one, other), (other, one)):
        findings = Findings()
        _traffic.parse(MARKS, [{**MARK, **item} for item in pair], "marks", findings)
        assert [(str(problem.path), problem.rule) for problem in findings.problems] == (
            [("marks[1]", "overlaps marks[0]")] if overlap else []
        )


def test_an_overlap_is_told_by_what_is_of_both() -> None:
    wide, narrow = {"ports": ["80-90"]}, {"ports": ["85-99", 443], "interfaces": ["eth1"], "protocols": ["udp", "tcp"]}
    for pair in ((wide, narrow), (narrow, wide)):
        listed = [parse(MARKS, {**MARK, **item})[0] for item in pair]
        assert _traffic.overlaps(listed) == {(0, 1): "tcp 192.0.2.10:85-90 on eth1"}


def test_senders_tell_connections_apart() -> None:
    macs = [{"macs": [f"00:00:5e:00:53:{number}"]} for number in ("01", "02")]
    assert len(parse(CONNECTIONS, *({**MARK, **mac} for mac in macs))) == 2
    findings = Findings()
    _traffic.parse(CONNECTIONS, [{**MARK, **macs[0]}, {**MARK, "interfaces": ["eth1"]}], "connections", findings)
    assert [problem.rule for problem in findings.problems] == ["overlaps connections[0]"]


def test_only_the_rest_of_what_is_there_is_kept() -> None:
    live = elements(MARKS, {**MARK, "ports": ["80-90"]}, {**MARK, "addresses": ["192.0.2.11"], "ports": [80]})
    wanted = elements(MARKS, {**MARK, "ports": [85, 91], "fwmark": 8})
    assert _traffic.lines(_traffic.merge(live, wanted)) == [
        "tcp 192.0.2.10:80-84 mark 7",
        "tcp 192.0.2.10:85 mark 8",
        "tcp 192.0.2.10:86-90 mark 7",
        "tcp 192.0.2.10:91 mark 8",
        "tcp 192.0.2.11:80 mark 7",
    ]


def test_what_is_wanted_goes_before_an_interface() -> None:
    live = elements(MARKS, {**MARK, "ports": [80], "interfaces": ["eth1"]})
    wanted = elements(MARKS, {**MARK, "ports": [80], "fwmark": 8})
    assert _traffic.merge(live, wanted) == wanted


RANGES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), min_size=1, max_size=4, unique=True)


@given(RANGES, RANGES)
def test_merging_is_what_the_ports_say(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    live, wanted = (
        elements(MARKS, {**MARK, "fwmark": mark, "ports": [f"{low}-{low + more}" for low, more in ranges]})
        for mark, ranges in ((1, first), (2, second))
    )

    def by_port(these: Elements) -> dict[int, int]:
        ports = [(port, mark) for element, mark in these.items() for port in range(element.key[1], element.key[2] + 1)]  # type: ignore[arg-type,operator]
        assert len(dict(ports)) == len(ports)
        return dict(ports)

    merged = _traffic.merge(live, wanted)
    assert by_port(merged) == {**by_port(live), **by_port(wanted)}
    assert _traffic.merge(merged, wanted) == merged


@pytest.mark.parametrize(
    ("use", "item"),
    [
        (MARKS, {**MARK, "ports": [80, "90-95"]}),
        (MARKS, {**MARK, "interfaces": ["eth1"]}),
        (CONNECTIONS, {**MARK, "macs": ["00:00:5e:00:53:01"], "interfaces": ["a_from_on_b"]}),
        (UNTRACKED, {"addresses": ["2001:db8::1"], "ports": [1], "protocols": ["sctp"]}),
    ],
)
def test_what_nft_tells_is_read(use: Use, item: dict[str, Any]) -> None:
    family = socket.AF_INET6 if ":" in item["addresses"][0] else socket.AF_INET
    wanted = elements(use, item, family=family)
    sets: dict[str, list[Any]] = {}
    for element, mark in wanted.items():
        *names, low, high = element.key
        key = {"concat": [*names, low if low == high else {"range": [low, high]}]}
        sets.setdefault(element.kind, []).append([key, mark] if use.marks else key)
    live = LiveTable([{"map": {"name": name, "handle": 1, "elem": listed}} for name, listed in sets.items()])
    assert _traffic.read(use, family, live) == (wanted, True)
    # a set of ours names what it is of
    assert _traffic.merge(wanted, {}) == wanted


def test_traffic_takes_a_port() -> None:
    (traffic,) = parse(UNTRACKED, {"addresses": ["192.0.2.10"], "ports": ["20-25"]})
    assert [traffic.takes(port, "tcp") for port in (19, 20, 25, 26)] == [False, True, True, False]
    assert not traffic.takes(22, "udp")


def test_elements_are_listed_as_traffic() -> None:
    items = [
        {"addresses": ["192.0.2.10"], "ports": [80, "90-95"], "protocols": ["tcp"]},
        {"addresses": ["192.0.2.10"], "protocols": ["udp"], "interfaces": ["eth1"]},
    ]
    found = _traffic.listed(elements(UNTRACKED, *items), 0)
    assert [_traffic.params(UNTRACKED, traffic) for traffic in found] == items
    assert _traffic.listed(elements(UNTRACKED, *items), 7) == []
