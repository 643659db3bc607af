# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvsadm's commands as services."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugins.module_utils._errors import Findings
from plugins.module_utils._ipvsadm import _COMMENT, _words, parse
from plugins.module_utils._model import Table, parse_services
from plugins.module_utils._text import table_lines
from tests.unit import strategies


def services(text: str) -> list[dict[str, Any]]:
    findings = Findings()
    found = parse(text, "src", findings)
    findings.raise_problems()
    return found


def table(lines: list[str]) -> Table:
    findings = Findings()
    found = parse_services(services("".join(f"{line}\n" for line in lines)), "src", findings)
    findings.raise_problems()
    return found


def problems(text: str) -> list[str]:
    findings = Findings()
    parse(text, "src", findings)
    return [str(one) for one in findings.problems]


@given(strategies.tables())
def test_what_is_printed_is_read_back(held: Table) -> None:
    assert table(table_lines(held)) == held


@given(strategies.tables())
def test_the_order_of_services_makes_no_difference(held: Table) -> None:
    newest_first = [line for key in sorted(held, reverse=True) for line in table_lines({key: held[key]})]
    assert table(newest_first) == held


def words(split: Callable[[str], list[str]], line: str) -> list[str] | str:
    try:
        return split(line)
    except ValueError as error:
        return str(error)


@given(st.text(st.one_of(st.sampled_from("-aA19:[].,'\"\\# \t\r\v\f\x1c\x1f\x85\xa0\u2028\u3000"), st.characters())))
@example("-a -t [2001:db8::10]:80  -r 198.51.100.11:80\t-m -w 1 ")
@example("-A -t '192.0.2.10':80 -s \"rr\" # the web")
@example("-A -t 192.0.2.10\\:80")
def test_words_are_those_of_a_shell(line: str) -> None:
    assert words(_words, line) == words(shlex.split, _COMMENT.sub("", line))


@pytest.mark.parametrize("program", ["", "ipvsadm ", "\tipvsadm\t", "/sbin/ipvsadm "])
def test_the_name_of_the_program_is_passed_over(program: str) -> None:
    assert services(f"#!/bin/sh\n{program}-A -t 192.0.2.10:80\n") == [{**WEB, "servers": []}]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("-A -t 192.0.2.10:80#x", "src[0].port: must be a decimal integer 0..65535 (got '80#x')"),
        ("-A -t 192.0.2.10:80 -s rr#x", "src[0].scheduler: unknown scheduler"),
    ],
)
def test_a_comment_begins_with_a_word(line: str, told: str) -> None:
    findings = Findings()
    parse_services(services(f"{line}\n"), "src", findings)
    assert [str(one)[: len(told)] for one in findings.problems] == [told]


@pytest.mark.parametrize(
    ("service", "again"),
    [
        ("-t [2001:DB8::A]:80", "-t [2001:db8::a]:80"),
        ("-t [2001:db8:0:0::a]:80", "-t [2001:db8::a]:80"),
        ("-t 192.0.2.10 -p", "-t 192.0.2.10:0"),
    ],
)
def test_services_are_compared_by_address(service: str, again: str) -> None:
    (found,) = services(f"-A {service}\n-a {again} -r 198.51.100.11:80 -i\n")
    assert len(found["servers"]) == 1
    assert "names a service a second time" in problems(f"-A {service}\n-A {again}\n")[0]


def test_a_plain_line_costs_no_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shlex, "split", None)
    assert services("-A -t 192.0.2.10:80\n") == [{**WEB, "servers": []}]


IPV4_MASK = "{} of an IPv4 service must be a dotted mask: for another one ipvsadm makes a wrong one"
WEB = {"protocol": "tcp", "address": "192.0.2.10", "port": "80"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-t 192.0.2.10:80", WEB),
        ("--tcp-service 192.0.2.10:80", WEB),
        ("-u 192.0.2.10:80", {**WEB, "protocol": "udp"}),
        ("--udp-service 192.0.2.10:80", {**WEB, "protocol": "udp"}),
        ("--sctp-service 192.0.2.10:80", {**WEB, "protocol": "sctp"}),
        ("-t [2001:db8::10]:80", {**WEB, "address": "2001:db8::10"}),
        ("-t 192.0.2.10", {**WEB, "port": "0"}),
        ("-f 7", {"fwmark": "7", "family": "ipv4"}),
        ("--fwmark-service 7", {"fwmark": "7", "family": "ipv4"}),
        ("-f 7 -6", {"fwmark": "7", "family": "ipv6"}),
        ("--fwmark-service 7 --ipv6", {"fwmark": "7", "family": "ipv6"}),
        ("-t 192.0.2.10:80 -s rr", {**WEB, "scheduler": "rr"}),
        ("--scheduler rr -t 192.0.2.10:80", {**WEB, "scheduler": "rr"}),
        ("-t 192.0.2.10:80 -p 60", {**WEB, "persistence_timeout": "60"}),
        ("-t 192.0.2.10:80 --persistent 60", {**WEB, "persistence_timeout": "60"}),
        ("-t 192.0.2.10:80 -p", {**WEB, "persistence_timeout": 360}),
        ("-t 192.0.2.10:80 -p -s rr", {**WEB, "persistence_timeout": 360, "scheduler": "rr"}),
        ("-t 192.0.2.10:80 -M 255.255.0.0", {**WEB, "persistence_netmask": "255.255.0.0"}),
        ("-t [2001:db8::10]:80 --netmask 64", {**WEB, "address": "2001:db8::10", "persistence_netmask": "64"}),
        ("-f 7 -6 -M 64", {"fwmark": "7", "family": "ipv6", "persistence_netmask": "64"}),
        ("-f 7 -M 255.0.255.0", {"fwmark": "7", "family": "ipv4", "persistence_netmask": "255.0.255.0"}),
        ("-t 192.0.2.10:80 --pe sip", {**WEB, "persistence_engine": "sip"}),
        ("-t 192.0.2.10:80 -o", {**WEB, "one_packet": True}),
        ("-t 192.0.2.10:80 --ops", {**WEB, "one_packet": True}),
        ("-t 192.0.2.10:80 -b mh-port,mh-fallback", {**WEB, "scheduler_flags": ["mh-port", "mh-fallback"]}),
        ("-t 192.0.2.10:80 --sched-flags flag-3", {**WEB, "scheduler_flags": ["flag-3"]}),
    ],
)
@pytest.mark.parametrize("command", ["-A", "--add-service"])
def test_every_option_of_a_service(command: str, options: str, expected: dict[str, Any]) -> None:
    assert services(f"{command} {options}\n") == [{**expected, "servers": []}]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-r 198.51.100.11:8080", {"address": "198.51.100.11", "port": "8080"}),
        ("--real-server 198.51.100.11:8080", {"address": "198.51.100.11", "port": "8080"}),
        ("-r 198.51.100.11", {"address": "198.51.100.11"}),
        ("-r [2001:db8::11]:8080", {"address": "2001:db8::11", "port": "8080"}),
        ("-m", {"forward": "nat"}),
        ("--masquerading", {"forward": "nat"}),
        ("-i", {"forward": "tun"}),
        ("--ipip", {"forward": "tun"}),
        ("-g", {"forward": "dr"}),
        ("--gatewaying", {"forward": "dr"}),
        ("-w 5", {"weight": "5"}),
        ("--weight 5", {"weight": "5"}),
        ("-x 9", {"upper_threshold": "9"}),
        ("--u-threshold 9", {"upper_threshold": "9"}),
        ("-y 3", {"lower_threshold": "3"}),
        ("--l-threshold 3", {"lower_threshold": "3"}),
        ("--tun-type gue", {"tunnel_type": "gue"}),
        ("--tun-port 6080", {"tunnel_port": "6080"}),
        ("--tun-nocsum", {"tunnel_checksum": "none"}),
        ("--tun-csum", {"tunnel_checksum": "csum"}),
        ("--tun-remcsum", {"tunnel_checksum": "remcsum"}),
    ],
)
@pytest.mark.parametrize("command", ["-a", "--add-server"])
def test_every_option_of_a_server(command: str, options: str, expected: dict[str, Any]) -> None:
    text = f"-A -t 192.0.2.10:80\n{command} -t 192.0.2.10:80 {options}\n"
    assert services(text) == [{**WEB, "servers": [expected]}]


def test_blank_lines_and_comments_are_passed_over() -> None:
    assert services("\n# ours\n\n  -A -t 192.0.2.10:80  # the web\n\t\n") == [{**WEB, "servers": []}]


def test_defaults_are_those_of_ipvsadm() -> None:
    assert table_lines(table(["-A -t 192.0.2.10:80", "-a -t 192.0.2.10:80 -r 198.51.100.11", "-A -f 7"])) == [
        "-A -t 192.0.2.10:80 -s wlc",
        "-a -t 192.0.2.10:80 -r 198.51.100.11:80 -g -w 1",
        "-A -f 7 -s wlc",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("-A -t 192.0.2.20:80 --color", "unknown option --color"),
        ("-A -t 192.0.2.20:80 rr", "unknown option rr"),
        ("-A -t 192.0.2.20:80 -s", "-s needs a value"),
        ("-A -t", "-t needs a value"),
        ("-A -t 192.0.2.20:80 -w 5", "has options of a server"),
        ("-A -t 192.0.2.10:80", "names a service a second time"),
        ("-A -t [2001:db8::10:80", "not an address with a port: [2001:db8::10:80"),
        ("-A -t '192.0.2.20:80", "No closing quotation"),
        ("-a -t 192.0.2.10:80 -r 198.51.100.11:80 -s rr", "has options of a service"),
        ("-a -t 192.0.2.20:80 -r 198.51.100.11:80", "its service does not stand before it"),
        ("-a -u 192.0.2.10:80 -r 198.51.100.11:80", "its service does not stand before it"),
        (
            "-C",
            "must begin with -A or -a: leave it out; purge decides what becomes of services that are not listed",
        ),
        ("-E -t 192.0.2.10:80 -s rr", "must begin with -A or -a: leave it out; -A and -a give the final values"),
        ("ipvsadm -D -t 192.0.2.10:80", "must begin with -A or -a: leave it and what it removes out"),
        ("sudo ipvsadm -A -t 192.0.2.20:80", "must begin with -A or -a"),
        # what ipvsadm makes something else of
        ("-A -t 192.0.2.20:80 -p -M 24", IPV4_MASK.format("-M")),
        ("-A -t 192.0.2.20:80 -p --netmask 255.255.0", IPV4_MASK.format("--netmask")),
        ("-A -t 192.0.2.20:80 -p -M 255.255.0.00", IPV4_MASK.format("-M")),
        ("-A -f 7 -p -M 64 -6", IPV4_MASK.format("-M")),
        ("-A -f 7 -p -M 255.255.0.0 -6", "-6 must stand before -M, or it sets the mask too"),
        ("-A -M 64 -t [2001:db8::20]:80 -p", "-M must stand after the service, whose family says what it means"),
        ("-A -M 255.255.0.0 -f 7 -p", "-M must stand after the service, whose family says what it means"),
        ("-A -6 -f 7", "-6 must stand after -f"),
        ("-A -t [2001:db8::20]:80 --ipv6", "--ipv6 must stand after -f"),
        (
            "-A -t 192.0.2.20:80 -p 0",
            "-p 0 is nothing that ipvsadm takes: leave it out for a service without persistence",
        ),
        ("-A -t [192.0.2.20]:80", "brackets are for an IPv6 address: [192.0.2.20]:80"),
        ("-a -t 192.0.2.10:80 -r [2001:db8::11] -i", "an IPv6 address needs a port here: [2001:db8::11]"),
        ("-a -r 198.51.100.11 -t 192.0.2.10:80 -m", "-r without a port must stand after the service"),
    ],
)
def test_a_bad_line_is_named(line: str, told: str) -> None:
    assert problems(f"-A -t 192.0.2.10:80\n\n{line}\n") == [f"src line 3: {told} (got {line!r})"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("-A -t 192.0.2.20:80 -u 192.0.2.30:53", ("-t", "-u")),
        ("-A -u 192.0.2.20:80 --sctp-service 192.0.2.20:80", ("-u", "--sctp-service")),
        ("-A -t 192.0.2.20:80 -f 7", ("-t", "-f")),
        ("-A -f 7 --fwmark-service 8", ("-f", "--fwmark-service")),
        ("-A -f 7 -6 -6", ("-6", "-6")),
        ("-A -t 192.0.2.20:80 -s rr --scheduler wrr", ("-s", "--scheduler")),
        ("-A -t 192.0.2.20:80 -p -p 60", ("-p", "-p")),
        ("-A -t 192.0.2.20:80 -b flag-1 -b flag-2", ("-b", "-b")),
        ("-A -t 192.0.2.20:80 -o --ops", ("-o", "--ops")),
        ("-a -t 192.0.2.10:80 -t 192.0.2.20:80 -r 198.51.100.11", ("-t", "-t")),
        ("-a -t 192.0.2.10:80 -r 198.51.100.11 -r 198.51.100.12", ("-r", "-r")),
        ("-a -t 192.0.2.10:80 -r 198.51.100.11 -m -g", ("-m", "-g")),
        ("-a -t 192.0.2.10:80 -r 198.51.100.11 -i -i", ("-i", "-i")),
        ("-a -t 192.0.2.10:80 -r 198.51.100.11 -w 1 --weight 0", ("-w", "--weight")),
        ("-a -t 192.0.2.10:80 -r 198.51.100.11 -i --tun-csum --tun-nocsum", ("--tun-csum", "--tun-nocsum")),
    ],
)
def test_an_option_is_given_once(line: str, told: tuple[str, str]) -> None:
    rule = f"has both {told[0]} and {told[1]}, where one is allowed"
    assert problems(f"-A -t 192.0.2.10:80\n{line}\n") == [f"src line 2: {rule} (got {line!r})"]


def test_every_bad_line_is_told() -> None:
    assert len(problems("-A --one\n-A --two\n")) == 2


def test_a_file_that_is_cut_off_is_refused() -> None:
    rule = "the last line is cut off: no newline at its end"
    whole = "-A -t 192.0.2.10:80\n-a -t 192.0.2.10:80 -r 198.51.100.11:80 -m -w 1\n"
    for cut in (whole[:-1], whole[:-15]):
        assert problems(cut) == [f"src line 2: {rule} (got {cut.splitlines()[1]!r})"]
    assert problems("-A --one\n-A") == [
        "src line 1: unknown option --one (got '-A --one')",
        f"src line 2: {rule} (got '-A')",
    ]
    assert problems(f"{whole}  ") == []


def test_a_bad_value_is_left_to_the_model() -> None:
    findings = Findings()
    found = services("-A -t web:http -s best\n-a -t web:http -r 198.51.100.11:80 -w many\n")
    parse_services(found, "src", findings)
    assert [str(one.path) for one in findings.problems] == [
        "src[0].address",
        "src[0].port",
        "src[0].servers[0].weight",
        "src[0].scheduler",
    ]
