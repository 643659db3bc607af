# SPDX-License-Identifier: GPL-3.0-or-later
"""_snat: the text of the tables, letter for letter, and its comparison with a live one."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from plugins.module_utils import _snat
from plugins.module_utils._errors import Findings

SERVICE = {"address": "192.0.2.10", "port": 443}


def parse(*flows: dict[str, Any]) -> list[_snat.Flow]:
    findings = Findings()
    parsed = _snat.parse_flows(list(flows), "flows", findings)
    findings.raise_problems()
    return parsed


def body(family: int, *flows: dict[str, Any]) -> str:
    return _snat.draft(family, _snat.elements_by_family(parse(*flows))[family]).body


def test_the_text_of_a_table() -> None:
    text = body(
        socket.AF_INET,
        {"service": SERVICE, "server": {"address": "198.51.100.12", "port": 8443}},
        {"service": SERVICE, "server": {"address": "198.51.100.11", "port": 8443}},
        {"service": SERVICE, "server": {"address": "198.51.100.13", "port": 8443}, "source": "198.51.100.1"},
        {"service": {**SERVICE, "port": 0, "protocol": "udp"}, "server": {"address": "198.51.100.11"}},
        {"service": {"fwmark": 7, "family": "ipv4"}, "server": {"address": "198.51.100.11"}, "source": "198.51.100.1"},
    )
    digest = re.search(r"[0-9a-f]{32}", text)
    assert digest
    assert (
        text.replace(digest.group(0), "DIGEST").expandtabs(2)
        == """\
  map tcp_source {
    type ipv4_addr . inet_service . ipv4_addr . inet_service : ipv4_addr
    elements = {
      192.0.2.10 . 443 . 198.51.100.13 . 8443 : 198.51.100.1
    }
  }
  set tcp_plain {
    type ipv4_addr . inet_service . ipv4_addr . inet_service
    elements = {
      192.0.2.10 . 443 . 198.51.100.11 . 8443,
      192.0.2.10 . 443 . 198.51.100.12 . 8443
    }
  }
  set udp_any_plain {
    type ipv4_addr . ipv4_addr
    elements = {
      192.0.2.10 . 198.51.100.11
    }
  }
  map mark_source {
    type mark . ipv4_addr : ipv4_addr
    elements = {
      7 . 198.51.100.11 : 198.51.100.1
    }
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    meta l4proto tcp snat to ct original ip daddr . ct original proto-dst . ip daddr . tcp dport map @tcp_source \
comment "l4lb.ipvs DIGEST"
    meta l4proto tcp ct original ip daddr . ct original proto-dst . ip daddr . tcp dport @tcp_plain masquerade
    meta l4proto udp ct original ip daddr . ip daddr @udp_any_plain masquerade
    snat to meta mark . ip daddr map @mark_source
  }
"""
    )


def test_ipv6_has_its_own_words() -> None:
    text = body(
        socket.AF_INET6, {"service": {"address": "2001:db8::10", "port": 80}, "server": {"address": "2001:db8::11"}}
    )
    assert "type ipv6_addr . inet_service . ipv6_addr . inet_service\n" in text
    assert "ct original ip6 daddr . ct original proto-dst . ip6 daddr . tcp dport @tcp_plain masquerade" in text
    assert "ipv4" not in text


def test_no_flows_no_table() -> None:
    assert _snat.draft(socket.AF_INET, {}) == ({}, "", "", (), 0)


def test_every_rule_matches_the_original_destination_or_the_mark() -> None:
    # what is merely routed to a server keeps its source
    for kind in _snat.KINDS:
        assert kind.key.startswith(("ct original {ip} daddr . ", "meta mark . "))
        assert "{ip} daddr" in kind.key.split(" . ", 1)[1]
        assert len(kind.key.split(" . ")) == len(kind.types)


@pytest.mark.parametrize("change", [{"source": "198.51.100.1"}, {"server": {"address": "198.51.100.12"}}])
def test_the_digest_tells_every_change(change: dict[str, Any]) -> None:
    flow = {"service": SERVICE, "server": {"address": "198.51.100.11"}}
    drafts = [_snat.draft(2, _snat.elements_by_family(parse(each))[2]) for each in (flow, {**flow, **change})]
    assert drafts[0].comment != drafts[1].comment


def test_the_port_of_a_server_is_that_of_its_service() -> None:
    (flow,) = parse({"service": SERVICE, "server": {"address": "198.51.100.11"}})
    assert _snat.flow_params(flow)["server"] == {"address": "198.51.100.11", "port": 443}
    assert parse(_snat.flow_params(flow)) == [flow]


def test_servers_that_a_mark_cannot_tell_apart_share_an_element() -> None:
    mark = {"fwmark": 7, "family": "ipv4"}
    flows = parse(*({"service": mark, "server": {"address": "198.51.100.11", "port": port}} for port in (80, 81)))
    assert len(flows) == 2
    assert _snat.elements_by_family(flows)[socket.AF_INET] == {_snat.Element("mark", (7, "198.51.100.11")): ""}
