# SPDX-License-Identifier: GPL-3.0-or-later
"""The table as values: what users write, what operators read, and every rule between."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils import _model, _text
from plugins.module_utils._errors import Findings
from tests.unit import strategies
from tests.unit.fake_kernel import Kernel

VIP = {"address": "192.0.2.10", "port": 443}
VIP6 = {"address": "2001:db8::10", "port": 443}
DNS = {"address": "192.0.2.10", "port": 53, "protocol": "udp"}
MARK = {"fwmark": 7, "family": "ipv4"}
MARK6 = {"fwmark": 7, "family": "ipv6"}
RIP = {"address": "198.51.100.11"}
RIP6 = {"address": "2001:db8::11"}


def parse(services: Any) -> tuple[_model.Table, list[str], list[str]]:
    findings = Findings()
    table = _model.parse_services(services, "services", findings)
    return table, [str(found) for found in findings.problems], [str(found) for found in findings.warnings]


# what is written -> ipvsadm -Sn

SERVICES: list[tuple[dict[str, Any], str]] = [
    (VIP, "-A -t 192.0.2.10:443 -s wlc"),
    ({**VIP, "port": "443"}, "-A -t 192.0.2.10:443 -s wlc"),
    ({**VIP, "protocol": "tcp", "name": "web"}, "-A -t 192.0.2.10:443 -s wlc"),
    (DNS, "-A -u 192.0.2.10:53 -s wlc"),
    ({**VIP, "protocol": "sctp"}, "-A --sctp-service 192.0.2.10:443 -s wlc"),
    (VIP6, "-A -t [2001:db8::10]:443 -s wlc"),
    ({**VIP6, "address": "2001:DB8:0:0::0010"}, "-A -t [2001:db8::10]:443 -s wlc"),
    (MARK, "-A -f 7 -s wlc"),
    (MARK6, "-A -f 7 -6 -s wlc"),
    ({**MARK, "fwmark": 2**32 - 1}, "-A -f 4294967295 -s wlc"),
    *(({**VIP, "scheduler": name}, f"-A -t 192.0.2.10:443 -s {name}") for name in _model.SCHEDULERS),
    ({**VIP, "scheduler": "mh", "scheduler_flags": ["mh-port"]}, "-A -t 192.0.2.10:443 -s mh -b mh-port"),
    (
        {**VIP, "scheduler": "mh", "scheduler_flags": ["mh-port", "mh-fallback"]},
        "-A -t 192.0.2.10:443 -s mh -b mh-fallback,mh-port",
    ),
    ({**VIP, "scheduler": "sh", "scheduler_flags": ["sh-fallback"]}, "-A -t 192.0.2.10:443 -s sh -b sh-fallback"),
    ({**VIP, "scheduler": "sh", "scheduler_flags": ["sh-port"]}, "-A -t 192.0.2.10:443 -s sh -b sh-port"),
    ({**VIP, "scheduler": "sh", "scheduler_flags": ["flag-1"]}, "-A -t 192.0.2.10:443 -s sh -b sh-fallback"),
    ({**VIP, "scheduler": "sh", "scheduler_flags": ["flag-3"]}, "-A -t 192.0.2.10:443 -s sh -b flag-3"),
    (
        {**VIP, "scheduler": "rr", "scheduler_flags": ["flag-3", "flag-2", "flag-1"]},
        "-A -t 192.0.2.10:443 -s rr -b flag-1,flag-2,flag-3",
    ),
    ({**VIP, "scheduler_flags": []}, "-A -t 192.0.2.10:443 -s wlc"),
    ({**VIP, "persistence_timeout": 300}, "-A -t 192.0.2.10:443 -s wlc -p 300"),
    ({**VIP, "persistence_timeout": 2678400}, "-A -t 192.0.2.10:443 -s wlc -p 2678400"),
    ({**VIP, "persistence_timeout": 0}, "-A -t 192.0.2.10:443 -s wlc"),
    ({**VIP, "port": 0, "persistence_timeout": 1}, "-A -t 192.0.2.10:0 -s wlc -p 1"),
    (
        {**VIP, "persistence_timeout": 300, "persistence_netmask": 24},
        "-A -t 192.0.2.10:443 -s wlc -p 300 -M 255.255.255.0",
    ),
    (
        {**VIP, "persistence_timeout": 300, "persistence_netmask": "255.255.0.0"},
        "-A -t 192.0.2.10:443 -s wlc -p 300 -M 255.255.0.0",
    ),
    ({**VIP, "persistence_timeout": 300, "persistence_netmask": 32}, "-A -t 192.0.2.10:443 -s wlc -p 300"),
    ({**VIP, "persistence_timeout": 300, "persistence_netmask": 0}, "-A -t 192.0.2.10:443 -s wlc -p 300 -M 0.0.0.0"),
    ({**VIP6, "persistence_timeout": 300, "persistence_netmask": 64}, "-A -t [2001:db8::10]:443 -s wlc -p 300 -M 64"),
    ({**VIP6, "persistence_timeout": 300, "persistence_netmask": 128}, "-A -t [2001:db8::10]:443 -s wlc -p 300"),
    ({**MARK6, "persistence_timeout": 300, "persistence_netmask": 1}, "-A -f 7 -6 -s wlc -p 300 -M 1"),
    (
        {**DNS, "persistence_timeout": 300, "persistence_engine": "sip", "one_packet": True},
        "-A -u 192.0.2.10:53 -s wlc -p 300 --pe sip -o",
    ),
    ({**MARK, "persistence_timeout": 300, "persistence_engine": "sip"}, "-A -f 7 -s wlc -p 300 --pe sip"),
    ({**VIP, "persistence_engine": "none"}, "-A -t 192.0.2.10:443 -s wlc"),
    ({**DNS, "one_packet": "yes"}, "-A -u 192.0.2.10:53 -s wlc -o"),
    ({**MARK, "one_packet": True}, "-A -f 7 -s wlc -o"),
    ({**VIP, "one_packet": False}, "-A -t 192.0.2.10:443 -s wlc"),
]

TUN = {**RIP, "forward": "tun"}
SERVERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (VIP, RIP, "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -g -w 1"),
    (VIP, {**RIP, "port": 443, "forward": "dr"}, "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -g -w 1"),
    (VIP, {**RIP, "port": 8443, "forward": "nat"}, "-a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1"),
    ({**VIP, "forward": "nat"}, {**RIP, "port": 8443}, "-a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1"),
    ({**VIP, "forward": "nat"}, {**RIP, "forward": "dr"}, "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -g -w 1"),
    (
        {**VIP, "forward": "nat"},
        {"address": "192.0.2.10", "port": 8443},
        "-a -t 192.0.2.10:443 -r 192.0.2.10:8443 -m -w 1",
    ),
    (VIP6, RIP6, "-a -t [2001:db8::10]:443 -r [2001:db8::11]:443 -g -w 1"),
    (MARK, RIP, "-a -f 7 -r 198.51.100.11:0 -g -w 1"),
    (MARK, {**RIP, "port": 8080}, "-a -f 7 -r 198.51.100.11:8080 -g -w 1"),
    (VIP, {**RIP, "weight": 0}, "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -g -w 0"),
    (VIP, {**RIP, "weight": "2147483647"}, "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -g -w 2147483647"),
    (
        VIP,
        {**RIP, "upper_threshold": 100, "lower_threshold": 100},
        "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -g -w 1 -x 100 -y 100",
    ),
    (VIP, {**RIP, "upper_threshold": 100}, "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -g -w 1 -x 100 -y 0"),
    (VIP, TUN, "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -i -w 1 --tun-type ipip"),
    (
        VIP,
        {**TUN, "tunnel_type": "ipip", "tunnel_checksum": "none"},
        "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -i -w 1 --tun-type ipip",
    ),
    (VIP, {**RIP6, "forward": "tun"}, "-a -t 192.0.2.10:443 -r [2001:db8::11]:443 -i -w 1 --tun-type ipip"),
    *(
        (
            VIP,
            {**TUN, "tunnel_type": "gue", "tunnel_port": 6080, "tunnel_checksum": word},
            f"-a -t 192.0.2.10:443 -r 198.51.100.11:443 -i -w 1 --tun-type gue --tun-port 6080 {option}",
        )
        for word, option in (("none", "--tun-nocsum"), ("csum", "--tun-csum"), ("remcsum", "--tun-remcsum"))
    ),
    (
        VIP,
        {**TUN, "tunnel_type": "gre", "tunnel_checksum": "csum"},
        "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -i -w 1 --tun-type gre --tun-csum",
    ),
    (
        VIP,
        {**TUN, "tunnel_type": "gre"},
        "-a -t 192.0.2.10:443 -r 198.51.100.11:443 -i -w 1 --tun-type gre --tun-nocsum",
    ),
]


@pytest.mark.parametrize(("service", "line"), SERVICES)
def test_a_service_reads_as_ipvsadm_saves_it(service: dict[str, Any], line: str) -> None:
    table, problems, dummy = parse([service])
    assert problems == []
    assert _text.table_lines(table) == [line]


@pytest.mark.parametrize(("service", "server", "line"), SERVERS)
def test_a_server_reads_as_ipvsadm_saves_it(service: dict[str, Any], server: dict[str, Any], line: str) -> None:
    table, problems, dummy = parse([{**service, "servers": [server]}])
    assert problems == []
    assert _text.table_lines(table)[1:] == [line]


@pytest.mark.parametrize("service", [service for service, dummy in SERVICES])
def test_a_services_words_mean_the_same_again(service: dict[str, Any]) -> None:
    table, dummy, dummy = parse([service])
    [entry] = table.values()
    words = _text.service_params(entry.service)
    assert parse([words]) == (table, [], ["services[0].servers: no servers: connections will be refused"])
    assert {"scheduler", "scheduler_flags", "persistence_timeout", "persistence_engine", "one_packet"} <= words.keys()


def test_words_state_every_value() -> None:
    table, problems, dummy = parse(
        [
            {**DNS, "scheduler": "sh", "persistence_timeout": 60, "persistence_netmask": 24, "one_packet": True},
            {
                **MARK6,
                "servers": [
                    {**RIP6, "forward": "tun", "tunnel_type": "gue", "tunnel_port": 6080},
                    {"address": "2001:db8::12", "forward": "tun"},
                    {"address": "2001:db8::13", "forward": "nat", "port": 80},
                ],
            },
        ]
    )
    assert problems == []
    dns, mark = (_text.entry_params(table[key]) for key in sorted(table))
    assert dns == {
        **DNS,
        "scheduler": "sh",
        "scheduler_flags": [],
        "persistence_timeout": 60,
        "persistence_netmask": 24,
        "persistence_engine": "none",
        "one_packet": True,
        "servers": [],
    }
    common = {"weight": 1, "upper_threshold": 0, "lower_threshold": 0}
    gue = {"tunnel_type": "gue", "tunnel_port": 6080, "tunnel_checksum": "none"}
    assert mark["servers"] == [
        {**RIP6, "port": 0, "forward": "tun", **common, **gue},
        {"address": "2001:db8::12", "port": 0, "forward": "tun", **common, "tunnel_type": "ipip"},
        {"address": "2001:db8::13", "port": 80, "forward": "nat", **common},
    ]
    assert (mark["fwmark"], mark["family"]) == (7, "ipv6")
    assert "address" not in mark
    assert "persistence_netmask" not in mark


@given(strategies.tables())
def test_whatever_the_model_holds_survives_its_words(table: _model.Table) -> None:
    again, problems, dummy = parse([_text.entry_params(table[key]) for key in table])
    assert problems == []
    assert again == table


@given(strategies.tables())
def test_the_text_means_the_same_to_another_reader(table: _model.Table) -> None:
    other = Kernel()
    other.restore("\n".join(_text.table_lines(table)))
    assert other.save() == _text.table_lines(table)


def test_services_and_servers_are_shown_in_ipvsadms_order() -> None:
    """libipvs.c: ipvs_cmp_services (mark, family, protocol, address, port), ipvs_cmp_dests (family, address, port)"""
    tun = {"forward": "tun"}
    in_order = [
        {**VIP, "address": "192.0.2.9", "port": 8080},
        {
            **VIP,
            "servers": [
                {"address": "198.51.100.9", **tun},
                {"address": "198.51.100.10", "port": 80, "forward": "nat"},
                {"address": "198.51.100.10", "port": 8080, "forward": "nat"},
                {**RIP6, **tun},
            ],
        },
        DNS,
        {**VIP, "protocol": "sctp"},
        VIP6,
        MARK,
        MARK6,
        {**MARK, "fwmark": 8},
    ]
    shuffled = [{**service, "servers": service.get("servers", [])[::-1]} for service in reversed(in_order)]
    expected = [
        "-A -t 192.0.2.9:8080 -s wlc",
        "-A -t 192.0.2.10:443 -s wlc",
        "-a -t 192.0.2.10:443 -r 198.51.100.9:443 -i -w 1 --tun-type ipip",
        "-a -t 192.0.2.10:443 -r 198.51.100.10:80 -m -w 1",
        "-a -t 192.0.2.10:443 -r 198.51.100.10:8080 -m -w 1",
        "-a -t 192.0.2.10:443 -r [2001:db8::11]:443 -i -w 1 --tun-type ipip",
        "-A -u 192.0.2.10:53 -s wlc",
        "-A --sctp-service 192.0.2.10:443 -s wlc",
        "-A -t [2001:db8::10]:443 -s wlc",
        "-A -f 7 -s wlc",
        "-A -f 7 -6 -s wlc",
        "-A -f 8 -s wlc",
    ]
    assert _text.table_lines(parse(shuffled)[0]) == expected


# rules: what is written -> problems, below services[0] unless they say more

NOT_UNICAST = "address: must be a unicast address (got {!r})"
SCHEDULER = (
    "scheduler: unknown scheduler; known: rr, wrr, lc, wlc, fo, ovf, lblc, lblcr, sh, dh, sed, nq, mh, twos (got {!r})"
)
FAMILY_MISSING = "family: is required with fwmark (ipv4 or ipv6)"
NETMASK4 = "persistence_netmask: must be a prefix length 0..32 or a dotted mask for IPv4 (got {!r})"
NETMASK6 = "persistence_netmask: must be a prefix length 1..128 for IPv6 (got {!r})"
STICKY = {"persistence_timeout": 300}

BAD_SERVICES: list[tuple[dict[str, Any], list[str]]] = [
    # C01, C02, C04
    ({**VIP, "shceduler": "rr"}, ["shceduler: unknown key; did you mean scheduler?"]),
    ({}, ["address: is required (or fwmark with family)", "port: is required (or fwmark with family)"]),
    ({"port": 443}, ["address: is required (or fwmark with family)"]),
    ({"address": "192.0.2.10"}, ["port: is required (or fwmark with family)"]),
    ({**VIP, "scheduler": None, "name": ""}, ["scheduler: must not be empty", "name: must not be empty"]),
    ({"address": None, "port": 443}, ["address: must not be empty"]),
    # C05, C06, C07, C08, C10
    ({**VIP, "name": "a\u202eb"}, ["name: invalid character at offset 1 (got 'a\\u202eb')"]),
    ({**VIP, "name": "{{ name }}"}, ["name: looks like an unrendered template (got '{{ name }}')"]),
    ({**VIP, "address": " 192.0.2.10"}, ["address: must not begin or end with a blank (got ' 192.0.2.10')"]),
    ({**VIP, "port": True}, ["port: must be a decimal integer 0..65535 (got True)"]),
    ({**VIP, "port": "080"}, ["port: must be a decimal integer 0..65535 (got '080')"]),
    ({**VIP, "port": 443.0}, ["port: must be a decimal integer 0..65535 (got 443.0)"]),
    ({**VIP, "port": 10**20}, [f"port: must be an integer 0..65535 (got {10**20})"]),
    # I01 .. I08
    *(
        ({**VIP, "address": address}, [f"address: {rule} (got {address!r})"])
        for address, rule in (
            ("192.0.2.256", "must be an IPv4 address of four numbers 0..255"),
            ("192.0.2", "must be an IPv4 address of four numbers 0..255"),
            ("192.0.2.10/24", "must be an IP address without a prefix length"),
            ("192.000.2.10", "must be an IPv4 address without leading zeros, which are ambiguous"),
            ("web1", "must be an IP address; host names are not resolved"),
            ("fe80::1%eth0", "must be an IP address without a zone id"),
            ("fe80::1", "must not be a link-local address"),
            ("::ffff:192.0.2.10", "must be written as an IPv4 address"),
            ("0.0.0.0", "must not be the unspecified address"),
            ("::", "must not be the unspecified address"),
        )
    ),
    *(
        ({**VIP, "address": address}, [NOT_UNICAST.format(address)])
        for address in ("224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1")
    ),
    # I11, I12, I14
    ({**VIP, "port": 65536}, ["port: must be an integer 0..65535 (got 65536)"]),
    ({**VIP, "port": -1}, ["port: must be an integer 0..65535 (got -1)"]),
    ({**VIP, "port": 0}, ["port: 0 (every port) needs persistence_timeout (got 0)"]),
    ({**VIP, "port": 0, "persistence_timeout": 0}, ["port: 0 (every port) needs persistence_timeout (got 0)"]),
    *(
        ({**VIP, "protocol": word}, [f"protocol: must be one of tcp, udp, sctp (got {word!r})"])
        for word in ("icmp", "TCP", "TCP/UDP", 6)
    ),
    # I15, I16, I17
    *(
        ({**MARK, "fwmark": mark}, [f"fwmark: must be an integer 1..4294967295 (got {mark})"])
        for mark in (0, 2**32, -1)
    ),
    ({**MARK, **VIP}, ["fwmark: excludes address, port (got 7)"]),
    ({**MARK, "protocol": "tcp"}, ["fwmark: excludes protocol (got 7)"]),
    ({"fwmark": 7}, [FAMILY_MISSING]),
    ({"fwmark": 7, "port": 80}, ["fwmark: excludes port (got 7)", FAMILY_MISSING]),
    ({**MARK, "family": "inet6"}, ["family: must be one of ipv4, ipv6 (got 'inet6')"]),
    ({**VIP, "family": "ipv4"}, ["family: goes with fwmark; an address tells its own (got 'ipv4')"]),
    # I18, I20, I21
    *(({**VIP, "scheduler": word}, [SCHEDULER.format(word)]) for word in ("foo", "WRR", "s" * 17, "rr; reboot")),
    (
        {**VIP, "scheduler": "rr", "scheduler_flags": ["mh-port"]},
        ["scheduler_flags: mh-port is only for scheduler mh, not rr"],
    ),
    (
        {**VIP, "scheduler": "mh", "scheduler_flags": ["sh-fallback", "sh-port"]},
        [
            "scheduler_flags: sh-fallback is only for scheduler sh, not mh",
            "scheduler_flags: sh-port is only for scheduler sh, not mh",
        ],
    ),
    (
        {**VIP, "scheduler_flags": ["port"]},
        [
            "scheduler_flags: must be one of sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3"
            " (got ['port'])"
        ],
    ),
    (
        {**VIP, "scheduler_flags": ["flag-1", "flag-1"]},
        ["scheduler_flags: must not name a thing twice (got ['flag-1', 'flag-1'])"],
    ),
    ({**VIP, "one_packet": True}, ["one_packet: is only for udp (got True)"]),
    ({**VIP, "protocol": "sctp", "one_packet": True}, ["one_packet: is only for udp (got True)"]),
    ({**DNS, "one_packet": "maybe"}, ["one_packet: must be true or false (got 'maybe')"]),
    # I22, I23, I24
    ({**VIP, "persistence_timeout": -5}, ["persistence_timeout: must be an integer 0..2678400 (got -5)"]),
    ({**VIP, "persistence_timeout": 2678401}, ["persistence_timeout: must be an integer 0..2678400 (got 2678401)"]),
    ({**VIP, "persistence_netmask": 24}, ["persistence_netmask: needs persistence_timeout"]),
    ({**VIP, **STICKY, "persistence_netmask": 33}, [NETMASK4.format(33)]),
    ({**VIP, **STICKY, "persistence_netmask": "::1.2.3.4"}, [NETMASK4.format("::1.2.3.4")]),
    ({**VIP, **STICKY, "persistence_netmask": -1}, ["persistence_netmask: must be an integer 0..128 (got -1)"]),
    (
        {**VIP, **STICKY, "persistence_netmask": "/24"},
        ["persistence_netmask: must be a decimal integer 0..128 (got '/24')"],
    ),
    ({**VIP6, **STICKY, "persistence_netmask": 0}, [NETMASK6.format(0)]),
    ({**VIP6, **STICKY, "persistence_netmask": 129}, ["persistence_netmask: must be an integer 0..128 (got 129)"]),
    ({**VIP6, **STICKY, "persistence_netmask": "255.255.255.0"}, [NETMASK6.format("255.255.255.0")]),
    # I25
    (
        {**VIP, **STICKY, "persistence_engine": "sip"},
        ["persistence_engine: needs udp and persistence_timeout (got 'sip')"],
    ),
    ({**DNS, "persistence_engine": "sip"}, ["persistence_engine: needs udp and persistence_timeout (got 'sip')"]),
    ({**DNS, **STICKY, "persistence_engine": "http"}, ["persistence_engine: must be one of none, sip (got 'http')"]),
    # what only the inventory knows
    *(
        (
            {**VIP, name: {}},
            [f"{name}: is known to the inventory only: pass the services through l4lb.ipvs.resolve_services"],
        )
        for name in _model.INVENTORY_KEYS
    ),
    # C03
    ({**VIP, "servers": "198.51.100.11"}, ["servers: must be a list (got '198.51.100.11')"]),
    ({**VIP, "servers": RIP}, [f"servers: must be a list (got {RIP!r})"]),
    ({**VIP, "forward": "masq"}, ["forward: must be one of nat, tun, dr (got 'masq')"]),
]

PORT_KEPT = "port: must be the service's port 443 with forward {}, which does not rewrite it (got 8443)"
OTHER_FAMILY = "address: must be of its service's family; only forward tun mixes (got '[2001:db8::11]:443')"
THRESHOLD = "{}: must be an integer 0..2147483647 (got {})"

BAD_SERVERS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (VIP, {}, ["address: is required"]),
    (VIP, {**RIP, "wieght": 1}, ["wieght: unknown key; did you mean weight?"]),
    (VIP, {**RIP, "weight": None}, ["weight: must not be empty"]),
    # the kernel's rules about the address of a server
    (VIP, {"address": "0.0.0.0"}, ["address: must not be the unspecified address (got '0.0.0.0')"]),
    (VIP, {"address": "224.0.0.1"}, ["address: must be a unicast address (got '224.0.0.1')"]),
    (VIP, {"address": "web1"}, ["address: must be an IP address; host names are not resolved (got 'web1')"]),
    (VIP6, {"address": "fe80::1"}, ["address: must not be a link-local address (got 'fe80::1')"]),
    (VIP6, {"address": "::ffff:192.0.2.1"}, ["address: must be written as an IPv4 address (got '::ffff:192.0.2.1')"]),
    # I26, I27, I28
    (VIP, {**RIP, "weight": -5}, [THRESHOLD.format("weight", -5)]),
    (VIP, {**RIP, "weight": 2**31}, [THRESHOLD.format("weight", 2**31)]),
    (VIP, {**RIP, "weight": "heavy"}, ["weight: must be a decimal integer 0..2147483647 (got 'heavy')"]),
    (VIP, {**RIP, "upper_threshold": 2**31}, [THRESHOLD.format("upper_threshold", 2**31)]),
    (VIP, {**RIP, "lower_threshold": -1}, [THRESHOLD.format("lower_threshold", -1)]),
    (VIP, {**RIP, "lower_threshold": 5}, ["lower_threshold: must not be above upper_threshold (0) (got 5)"]),
    (
        VIP,
        {**RIP, "upper_threshold": 4, "lower_threshold": 5},
        ["lower_threshold: must not be above upper_threshold (4) (got 5)"],
    ),
    *(
        (VIP, {**RIP, "forward": word}, [f"forward: must be one of nat, tun, dr (got {word!r})"])
        for word in ("masq", "gatewaying", 3)
    ),
    # I29, I30
    (VIP, {**RIP, "port": 8443}, [PORT_KEPT.format("dr")]),
    (VIP, {**RIP, "port": 8443, "forward": "tun"}, [PORT_KEPT.format("tun")]),
    (VIP, {**RIP, "port": 65536}, ["port: must be an integer 0..65535 (got 65536)"]),
    (VIP, RIP6, [OTHER_FAMILY]),
    (VIP, {**RIP6, "forward": "nat"}, [OTHER_FAMILY]),
    (
        MARK6,
        RIP,
        ["address: must be of its service's family; only forward tun mixes (got '198.51.100.11:0')"],
    ),
    # I32
    (VIP, {**TUN, "tunnel_type": "gue"}, ["tunnel_port: is required with tunnel_type gue"]),
    (VIP, {**TUN, "tunnel_type": "vxlan"}, ["tunnel_type: must be one of ipip, gue, gre (got 'vxlan')"]),
    (
        VIP,
        {**TUN, "tunnel_type": "gue", "tunnel_port": 0},
        ["tunnel_port: must be an integer 1..65535 (got 0)"],
    ),
    (VIP, {**TUN, "tunnel_port": 6080}, ["tunnel_port: is only for tunnel_type gue (got 6080)"]),
    (VIP, {**TUN, "tunnel_type": "gre", "tunnel_port": 6080}, ["tunnel_port: is only for tunnel_type gue (got 6080)"]),
    (VIP, {**TUN, "tunnel_checksum": "remcsum"}, ["tunnel_checksum: remcsum is only for tunnel_type gue"]),
    (
        VIP,
        {**TUN, "tunnel_type": "gre", "tunnel_checksum": "remcsum"},
        ["tunnel_checksum: remcsum is only for tunnel_type gue"],
    ),
    (VIP, {**TUN, "tunnel_checksum": "csum"}, ["tunnel_checksum: csum is only for tunnel_type gue or gre"]),
    (
        VIP,
        {**RIP, "tunnel_type": "ipip", "tunnel_checksum": "none"},
        ["tunnel_type: is only for forward tun (got 'ipip')", "tunnel_checksum: is only for forward tun (got 'none')"],
    ),
    # I33
    (VIP, {"address": "192.0.2.10"}, ["address: is the service itself (got '192.0.2.10:443')"]),
    (
        VIP,
        {"address": "192.0.2.10", "forward": "nat", "port": 443},
        ["address: is the service itself (got '192.0.2.10:443')"],
    ),
]


@pytest.mark.parametrize(("service", "problems"), BAD_SERVICES)
def test_a_broken_rule_of_a_service_is_told(service: dict[str, Any], problems: list[str]) -> None:
    assert parse([service])[1] == [f"services[0].{problem}" for problem in problems]


@pytest.mark.parametrize(("service", "server", "problems"), BAD_SERVERS)
def test_a_broken_rule_of_a_server_is_told(
    service: dict[str, Any], server: dict[str, Any], problems: list[str]
) -> None:
    assert parse([{**service, "servers": [server]}])[1] == [f"services[0].servers[0].{problem}" for problem in problems]


@pytest.mark.parametrize(
    ("services", "problems"),
    [
        ("192.0.2.10", ["services: must be a list (got '192.0.2.10')"]),
        (VIP, [f"services: must be a list (got {VIP!r})"]),
        (None, ["services: must be a list"]),
        ([VIP, "x", [VIP]], ["services[1]: must be a dict (got 'x')", f"services[2]: must be a dict (got {[VIP]!r})"]),
        ([{**VIP, "servers": ["x"]}], ["services[0].servers[0]: must be a dict (got 'x')"]),
        ([VIP] * 200_000, ["services: must have at most 100000 items (has 200000)"]),
        ([{**VIP, "servers": [RIP] * 100_001}], ["services[0].servers: must have at most 100000 items (has 100001)"]),
        # I09, I10, I34
        ([VIP, DNS, VIP], ["services[2]: duplicate of services[0] (got '-t 192.0.2.10:443')"]),
        (
            [VIP6, {**VIP6, "address": "2001:DB8:0::0010"}],
            ["services[1]: duplicate of services[0] (got '-t [2001:db8::10]:443')"],
        ),
        (
            [VIP, {**VIP, "scheduler": "rr"}],
            ["services[1]: conflicting duplicate of services[0] (got '-t 192.0.2.10:443')"],
        ),
        (
            [MARK, {**MARK, "servers": [RIP]}],
            ["services[1]: conflicting duplicate of services[0] (got '-f 7')"],
        ),
        (
            [{**VIP, "servers": [RIP, {"address": "198.51.100.12"}, {**RIP, "weight": 2}]}],
            ["services[0].servers[2]: duplicate of services[0].servers[0] (got '198.51.100.11:443')"],
        ),
        (
            [{**VIP, "scheduler": "mh", "forward": "nat", "servers": [{**RIP, "port": port} for port in range(4094)]}],
            ["services[0].servers: scheduler mh takes at most 4093 servers (got 4094)"],
        ),
        # an option that is bad is told, and not what its default would break
        (
            [
                {
                    **VIP,
                    "scheduler": "foo",
                    "scheduler_flags": ["mh-port"],
                    "forward": "masq",
                    "servers": [{**RIP, "port": 80}],
                }
            ],
            ["services[0].forward: must be one of nat, tun, dr (got 'masq')", f"services[0].{SCHEDULER.format('foo')}"],
        ),
        (
            [{**VIP, "persistence_timeout": -1, "persistence_netmask": 24}],
            ["services[0].persistence_timeout: must be an integer 0..2678400 (got -1)"],
        ),
        # every problem at once
        (
            [
                {**VIP, "scheduler": "foo"},
                {**DNS, "port": "x", "servers": [{"address": "y", "weight": -1}]},
                {**VIP6, "servers": [{**RIP6, "port": 80, "upper_threshold": 1, "lower_threshold": 2}]},
            ],
            [
                f"services[0].{SCHEDULER.format('foo')}",
                "services[1].port: must be a decimal integer 0..65535 (got 'x')",
                "services[1].servers[0].address: must be an IP address; host names are not resolved (got 'y')",
                "services[1].servers[0].weight: must be an integer 0..2147483647 (got -1)",
                "services[2].servers[0].lower_threshold: must not be above upper_threshold (1) (got 2)",
                "services[2].servers[0].port: must be the service's port 443 with forward dr, which does not rewrite it"
                " (got 80)",
            ],
        ),
    ],
)
def test_broken_rules_of_lists_are_told(services: Any, problems: list[str]) -> None:
    assert parse(services)[1] == problems


@pytest.mark.parametrize(
    ("service", "warnings"),
    [
        ({**VIP, "servers": [RIP]}, []),
        (
            {**VIP, "address": "127.0.0.1", "servers": [RIP]},
            ["address: a loopback address serves this host alone (got '127.0.0.1')"],
        ),
        (
            {**VIP6, "address": "::1", "servers": [RIP6]},
            ["address: a loopback address serves this host alone (got '::1')"],
        ),
        (
            {**VIP, **STICKY, "persistence_netmask": "255.0.255.0", "servers": [RIP]},
            ["persistence_netmask: is not a contiguous mask (got '255.0.255.0')"],
        ),
        (
            {**VIP, "servers": [{**RIP, "weight": 65536}]},
            ["servers[0].weight: is above 65535, the most that ipvsadm restores except Debian's (got 65536)"],
        ),
        *(
            (
                {**service, "servers": [{"address": address, "forward": forward}]},
                [
                    f"servers[0].address: a loopback address is this host, which gets packets by forward {forward} as "
                    f"they are: a program here must listen on the service's address (got '{address}')"
                ]
                * (forward != "nat"),
            )
            for service, address in ((VIP, "127.0.0.2"), (VIP6, "::1"))
            for forward in ("dr", "tun", "nat")
        ),
        (VIP, ["servers: no servers: connections will be refused"]),
        ({**VIP, "servers": []}, ["servers: no servers: connections will be refused"]),
        ({**VIP, "servers": [{**RIP, "weight": 0}]}, ["servers: every weight is 0: new connections will be refused"]),
        ({**VIP, "scheduler": "sh", "servers": [{**RIP, "weight": 256}]}, []),
        *(
            ({**VIP, "scheduler": scheduler, "servers": [RIP, {"address": "198.51.100.99", "weight": 0}]}, warnings)
            for scheduler, warnings in (
                ("wlc", []),
                ("sh", [f"servers: {_model.REFUSES_WHEN_QUIESCED}"]),
                ("mh", [f"servers: {_model.REFUSES_WHEN_QUIESCED}"]),
            )
        ),
        (
            {
                **VIP,
                "scheduler": "mh",
                "scheduler_flags": ["mh-fallback"],
                "servers": [RIP, {"address": "198.51.100.99", "weight": 0}],
            },
            [],
        ),
        (
            {**VIP, "scheduler": "sh", "servers": [{**RIP, "weight": 257}]},
            ["servers: scheduler sh has 256 slots: weights above them in sum starve the last servers (got 257)"],
        ),
        (
            {**VIP, "protocol": "udp", "one_packet": True, "servers": [{**RIP, "forward": "nat"}]},
            [
                "servers: one_packet with forward nat: no connection is kept by which answers could be translated",
            ],
        ),
        (
            {
                **VIP,
                "protocol": "udp",
                "one_packet": True,
                "persistence_timeout": 60,
                "persistence_engine": "sip",
                "servers": [{**RIP, "forward": "nat"}],
            },
            [],
        ),
    ],
)
def test_what_is_legal_but_unwise_warns(service: dict[str, Any], warnings: list[str]) -> None:
    dummy, problems, told = parse([service])
    assert problems == []
    assert told == [f"services[0].{warning}" for warning in warnings]


# the same server under many services


@pytest.mark.parametrize(("first", "second", "bad"), [(1, True, 1), (True, 1, 0), (1, 1.0, 1), ("1", "1 ", 1)])
def test_what_only_looks_like_a_server_seen_before_is_judged(first: object, second: object, bad: int) -> None:
    services = [{**VIP, "port": port, "servers": [{**RIP, "weight": one}]} for port, one in ((1, first), (2, second))]
    [problem] = parse(services)[1]
    assert problem.startswith(f"services[{bad}].servers[0].weight: must")


def test_a_server_seen_before_has_the_port_and_method_of_its_service() -> None:
    services = [
        {"address": "192.0.2.10", "port": port, "forward": forward, "servers": [dict(RIP)]}
        for port, forward in ((1, "dr"), (2, "dr"), (3, "nat"))
    ]
    table, problems, dummy = parse(services)
    assert problems == []
    assert [line.split(" -r ")[1] for line in _text.table_lines(table) if " -r " in line] == [
        "198.51.100.11:1 -g -w 1",
        "198.51.100.11:2 -g -w 1",
        "198.51.100.11:3 -m -w 1",
    ]


def test_a_server_seen_before_has_to_fit_its_service() -> None:
    server = {"address": "192.0.2.20", "port": 80}
    services = [
        {"address": "192.0.2.10", "port": 80, "servers": [dict(server)]},
        {"address": "192.0.2.10", "port": 81, "servers": [dict(server)]},
        {"address": "192.0.2.20", "port": 80, "servers": [dict(server)]},
        {"address": "2001:db8::10", "port": 80, "servers": [dict(server)]},
        {"fwmark": 7, "family": "ipv4", "servers": [dict(server)]},
    ]
    assert [problem.split(": ")[0] for problem in parse(services)[1]] == [
        "services[1].servers[0].port",
        "services[2].servers[0].address",
        "services[3].servers[0].address",
    ]


def test_values_of_other_types_are_judged_as_well() -> None:
    class Text(str):
        pass

    table, problems, dummy = parse([{**VIP, "servers": [{"address": Text("198.51.100.11")}, {"address": Text("web")}]}])
    assert problems == [
        "services[0].servers[1].address: must be an IP address; host names are not resolved (got 'web')"
    ]
    table, problems, dummy = parse([{**VIP, "servers": [{"address": Text("198.51.100.11")}]}])
    assert (len(table), problems) == (1, [])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_is_written_gives_problems_and_no_traceback(services: Any) -> None:
    table, problems, dummy = parse(services)
    assert problems or isinstance(table, dict)


GIVEN = st.dictionaries(
    st.sampled_from([field.name for field in (*_model.SERVICE_FIELDS, *_model.SERVER_FIELDS)] + ["servers"]),
    st.sampled_from(
        ["192.0.2.10", "2001:db8::1", 0, 1, 443, "udp", "ipv6", "mh", "tun", "gue", ["mh-port"], True, None]
    ),
)


@given(GIVEN, st.lists(GIVEN, max_size=2))
def test_whatever_keys_are_combined_there_is_no_traceback(service: dict[str, Any], servers: list[Any]) -> None:
    findings = Findings()
    entry = _model.parse_entry({**service, "servers": servers}, "services[0]", findings)
    assert entry is not None or findings.problems


# single objects: what is not given comes from the live one


def edited_service(live: dict[str, Any], changes: dict[str, Any]) -> tuple[str, list[str]]:
    [entry] = parse([live])[0].values()
    findings = Findings()
    options = _model._values.record(_model.OPTION_FIELDS, changes, "", findings)
    service = _model.make_service(entry.service.key, options or {}, entry.service, "", findings)
    return _text.service_options(service), [str(problem) for problem in findings.problems]


FULL = {
    **DNS,
    "scheduler": "sh",
    "scheduler_flags": ["sh-port", "flag-3"],
    "persistence_timeout": 60,
    "persistence_netmask": 24,
    "persistence_engine": "sip",
    "one_packet": True,
}


@pytest.mark.parametrize(
    ("live", "changes", "options"),
    [
        (FULL, {}, "-s sh -p 60 -M 255.255.255.0 --pe sip -o -b sh-port,flag-3"),
        (FULL, {"scheduler": "sh"}, "-s sh -p 60 -M 255.255.255.0 --pe sip -o -b sh-port,flag-3"),
        (FULL, {"scheduler": "mh"}, "-s mh -p 60 -M 255.255.255.0 --pe sip -o"),
        (FULL, {"scheduler_flags": []}, "-s sh -p 60 -M 255.255.255.0 --pe sip -o"),
        (FULL, {"persistence_timeout": 90}, "-s sh -p 90 -M 255.255.255.0 --pe sip -o -b sh-port,flag-3"),
        (FULL, {"persistence_netmask": 16}, "-s sh -p 60 -M 255.255.0.0 --pe sip -o -b sh-port,flag-3"),
        (FULL, {"persistence_engine": "none"}, "-s sh -p 60 -M 255.255.255.0 -o -b sh-port,flag-3"),
        (FULL, {"one_packet": False}, "-s sh -p 60 -M 255.255.255.0 --pe sip -b sh-port,flag-3"),
        (FULL, {"persistence_timeout": 0, "persistence_engine": "none"}, "-s sh -o -b sh-port,flag-3"),
        (VIP, {"persistence_timeout": 60}, "-s wlc -p 60"),
        (VIP6, {"persistence_timeout": 60}, "-s wlc -p 60"),
    ],
)
def test_an_edit_of_a_service_keeps_what_is_not_given(
    live: dict[str, Any], changes: dict[str, Any], options: str
) -> None:
    assert edited_service(live, changes) == (options, [])


def test_an_edit_of_a_service_is_judged_with_what_it_keeps() -> None:
    assert edited_service(FULL, {"persistence_timeout": 0})[1] == [
        "persistence_engine: needs udp and persistence_timeout (got 'sip')"
    ]


def edited_server(live: dict[str, Any], changes: dict[str, Any]) -> tuple[str, list[str]]:
    [entry] = parse([{**VIP, "servers": [{**RIP, **live}]}])[0].values()
    [server] = entry.servers.values()
    findings = Findings()
    options = _model._values.record(_model.SERVER_FIELDS, {**RIP, **changes}, "", findings)
    found = _model.make_server(entry.service.key, options or {}, server, _model.DEFAULT_FORWARD, "", findings)
    return _text.server_options(found), [str(problem) for problem in findings.problems]


GUE = {
    "forward": "tun",
    "weight": 5,
    "upper_threshold": 9,
    "lower_threshold": 3,
    "tunnel_type": "gue",
    "tunnel_port": 6080,
    "tunnel_checksum": "csum",
}


@pytest.mark.parametrize(
    ("live", "changes", "options"),
    [
        (GUE, {}, "-i -w 5 --tun-type gue --tun-port 6080 --tun-csum -x 9 -y 3"),
        (GUE, {"weight": 0}, "-i -w 0 --tun-type gue --tun-port 6080 --tun-csum -x 9 -y 3"),
        (GUE, {"lower_threshold": 0}, "-i -w 5 --tun-type gue --tun-port 6080 --tun-csum -x 9 -y 0"),
        (GUE, {"upper_threshold": 4}, "-i -w 5 --tun-type gue --tun-port 6080 --tun-csum -x 4 -y 3"),
        (GUE, {"tunnel_port": 6081}, "-i -w 5 --tun-type gue --tun-port 6081 --tun-csum -x 9 -y 3"),
        (GUE, {"tunnel_checksum": "none"}, "-i -w 5 --tun-type gue --tun-port 6080 --tun-nocsum -x 9 -y 3"),
        (GUE, {"tunnel_type": "ipip"}, "-i -w 5 --tun-type ipip -x 9 -y 3"),
        (GUE, {"forward": "dr"}, "-g -w 5 -x 9 -y 3"),
        (GUE, {"forward": "nat"}, "-m -w 5 -x 9 -y 3"),
        ({"forward": "nat"}, {"weight": 2}, "-m -w 2"),
        ({}, {"forward": "tun"}, "-i -w 1 --tun-type ipip"),
    ],
)
def test_an_edit_of_a_server_keeps_what_is_not_given(
    live: dict[str, Any], changes: dict[str, Any], options: str
) -> None:
    assert edited_server(live, changes) == (options, [])


def test_an_edit_of_a_server_is_judged_with_what_it_keeps() -> None:
    assert edited_server(GUE, {"upper_threshold": 2})[1] == [
        "lower_threshold: must not be above upper_threshold (2) (got 3)"
    ]


# what a foreign hand may have put into a kernel


def test_the_kernels_own_mark_and_the_remains_of_persistence_make_no_difference() -> None:
    key = _model.ServiceKey(0, _model.AF_INET, 6, bytes((192, 0, 2, 10)), 80)
    live = _model.Service(key, "wlc", 0x2, 300, 0xFFFFFF00, "")
    assert _model.normal_service(live) == _model.Service(key, "wlc", 0, 0, 0xFFFFFFFF, "")
    sticky = live._replace(flags=0x2 | 0x1)
    assert _model.normal_service(sticky) == sticky._replace(flags=0x1)


def test_tunnel_attributes_without_a_tunnel_make_no_difference() -> None:
    key = _model.ServerKey(_model.AF_INET, bytes((192, 0, 2, 11)), 80)
    server = _model.Server(key, 3, 1, 0, 0, 1, 6080, 1)
    assert _model.normal_server(server) == _model.Server(key, 3, 1, 0, 0, 0, 0, 0)
    assert _model.normal_server(server._replace(forward=2)) == server._replace(forward=2)


def test_numbers_without_a_word_are_told_as_numbers() -> None:
    key = _model.ServiceKey(0, _model.AF_INET, 50, bytes((192, 0, 2, 10)), 80)
    service = _model.Service(key, "none", 0, 0, 0xFFFFFFFF, "")
    server = _model.Server(_model.ServerKey(socket.AF_INET, bytes((192, 0, 2, 11)), 80), 4, 1, 0, 0, 0, 0, 0)
    tunnelled = server._replace(forward=2, tunnel_type=7, tunnel_flags=9)
    assert _text.service_line(service) == "-A --protocol-50 192.0.2.10:80 -s none"
    assert _text.key_params(key)["protocol"] == "50"
    assert _text.server_options(server) == "--forward-4 -w 1"
    assert _text.server_params(server)["forward"] == "4"
    assert _text.server_options(tunnelled) == "-i -w 1 --tun-type 7 --tun-flags-9"
    assert _text.server_params(tunnelled)["tunnel_type"] == "7"
