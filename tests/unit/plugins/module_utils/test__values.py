# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers of single values and of records."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils import _values
from plugins.module_utils._errors import BadValue, Findings, InvalidInput

NUMBER = _values.integer(0, 65535)
NOT_A_NUMBER = "must be a decimal integer 0..65535"
NOT_IN_RANGE = "must be an integer 0..65535"
WORDS = _values.words_of("a", "b", "c")

GOOD: list[tuple[_values.Parser, Any, Any]] = [
    (_values.text, "web 1", "web 1"),
    (_values.text, "größe", "größe"),
    (NUMBER, 0, 0),
    (NUMBER, 65535, 65535),
    (NUMBER, "0", 0),
    (NUMBER, "8080", 8080),
    (_values.integer(-20, 19), "-20", -20),
    (_values.boolean, True, True),
    (_values.boolean, "Yes", True),
    (_values.boolean, "on", True),
    (_values.boolean, 1, True),
    (_values.boolean, False, False),
    (_values.boolean, "no", False),
    (_values.boolean, 0, False),
    (_values.choice("tcp", "udp"), "udp", "udp"),
    (WORDS, [], ()),
    (WORDS, ["c", "a"], ("a", "c")),
    (_values.address, "192.0.2.10", bytes((192, 0, 2, 10))),
    (_values.address, "0.0.0.0", bytes(4)),
    (_values.address, "2001:DB8:0::10", bytes.fromhex("20010db8000000000000000000000010")),
    (_values.unicast, "127.0.0.1", bytes((127, 0, 0, 1))),
    (_values.unicast, "2001:db8::1", bytes.fromhex("20010db8000000000000000000000001")),
    (_values.unicast, "fec0::1", bytes.fromhex("fec00000000000000000000000000001")),
    (_values.interface, "eth0.100", "eth0.100"),
    (_values.interface, "a" * 15, "a" * 15),
    (_values.interface, "br-lan@if7:1", "br-lan@if7:1"),
]

BAD: list[tuple[_values.Parser, Any, str]] = [
    (_values.text, 5, "must be a string"),
    (_values.text, None, "must be a string"),
    (_values.text, "", "must not be empty"),
    (_values.text, "a\nb", "invalid character at offset 1"),
    (_values.text, "\0", "invalid character at offset 0"),
    (_values.text, "ab\u2028", "invalid character at offset 2"),
    (_values.text, "a\u200eb", "invalid character at offset 1"),
    (_values.text, "{{ vip }}", "looks like an unrendered template"),
    (_values.text, "{% if x %}", "looks like an unrendered template"),
    (_values.text, " a", "must not begin or end with a blank"),
    (_values.text, "a ", "must not begin or end with a blank"),
    *(
        (NUMBER, value, NOT_A_NUMBER)
        for value in ("080", "0x50", "1e3", "1.0", "80.0", "+80", "- 1", "\uff18\uff10", "heavy")
    ),
    *((NUMBER, value, NOT_A_NUMBER) for value in (True, False, 1.0, 1e3, None, [80], {"port": 80}, "1" * 42)),
    *((NUMBER, value, NOT_IN_RANGE) for value in (-1, 65536, "-1", "65536", 10**20, "1" + "0" * 20)),
    (NUMBER, " 80", "must not begin or end with a blank"),
    (NUMBER, "80\n", "invalid character at offset 2"),
    (NUMBER, "", "must not be empty"),
    (NUMBER, "{{ port }}", "looks like an unrendered template"),
    *((_values.boolean, value, "must be true or false") for value in ("maybe", "", 2, None, 1.0, [])),
    (_values.boolean, "{{ x }}", "looks like an unrendered template"),
    (_values.choice("tcp", "udp"), "{{ x }}", "looks like an unrendered template"),
    (_values.text, "a" * 4097, "must have at most 4096 characters (has 4097)"),
    (_values.list_of(NUMBER), [1] * 10_001, "must have at most 10000 items (has 10001)"),
    (_values.list_of(NUMBER), [1, "x", 2, -1], f"[1]: {NOT_A_NUMBER}; [3]: {NOT_IN_RANGE}"),
    (_values.choice("tcp", "udp"), "TCP", "must be one of tcp, udp"),
    (_values.choice("tcp", "udp"), 6, "must be one of tcp, udp"),
    (_values.choice("tcp", "udp"), ["tcp"], "must be one of tcp, udp"),
    (_values.choice("rr", what="unknown scheduler; known:"), "foo", "unknown scheduler; known: rr"),
    (WORDS, "a", "must be a list of a, b, c"),
    (WORDS, {"a": 1}, "must be a list of a, b, c"),
    (WORDS, ["a", "d"], "must be one of a, b, c"),
    (WORDS, ["a", ["b"]], "must be one of a, b, c"),
    (WORDS, ["a", "a"], "must not name a thing twice"),
    (_values.address, 5, "must be a string"),
    (_values.address, "192.0.2.10 ", "must not begin or end with a blank"),
    (_values.address, "192.0.2.10/24", "must be an IP address without a prefix length"),
    (_values.address, "2001:db8::1/64", "must be an IP address without a prefix length"),
    (_values.address, "fe80::1%eth0", "must be an IP address without a zone id"),
    (_values.address, "192.0.2.256", "must be an IPv4 address of four numbers 0..255"),
    (_values.address, "192.0.2", "must be an IPv4 address of four numbers 0..255"),
    (_values.address, "3221225994", "must be an IPv4 address of four numbers 0..255"),
    (_values.address, "192.0.2.010", "must be an IPv4 address without leading zeros, which are ambiguous"),
    (_values.address, "010.0.0.1", "must be an IPv4 address without leading zeros, which are ambiguous"),
    (_values.address, "2001:db8::g", "must be an IPv6 address"),
    (_values.address, "2001:db8:::1", "must be an IPv6 address"),
    (_values.address, "192.0.2.10:80", "must be an IPv6 address"),
    (_values.address, "web1", "must be an IP address; host names are not resolved"),
    (_values.address, "example.com", "must be an IP address; host names are not resolved"),
    (_values.address, "\uff1192.0.2.10", "must be an IP address; host names are not resolved"),
    (_values.address, "::ffff:192.0.2.1", "must be written as an IPv4 address"),
    (_values.address, "{{ vip }}", "looks like an unrendered template"),
    (_values.unicast, "0.0.0.0", "must not be the unspecified address"),
    (_values.unicast, "::", "must not be the unspecified address"),
    *(
        (_values.unicast, a, "must be a unicast address")
        for a in ("224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1")
    ),
    (_values.unicast, "fe80::1", "must not be a link-local address"),
    (_values.unicast, "febf::1", "must not be a link-local address"),
    *(
        (_values.interface, name, "must be an interface name of 1..15 letters, digits, '_', '.', ':', '@' or '-'")
        for name in ("a" * 16, "a/b", "a b", "-x", ".", "..", "a;b", "é")
    ),
    (_values.interface, "", "must not be empty"),
]


@pytest.mark.parametrize(("parse", "value", "parsed"), GOOD)
def test_a_good_value_is_parsed(parse: _values.Parser, value: Any, parsed: Any) -> None:
    assert parse(value) == parsed
    assert type(parse(value)) is type(parsed)


@pytest.mark.parametrize(("parse", "value", "rule"), BAD)
def test_a_bad_value_is_told_by_its_rule(parse: _values.Parser, value: Any, rule: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse(value)
    assert str(caught.value) == rule


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text()), st.binary()))
def test_whatever_is_written_is_parsed_or_refused(value: Any) -> None:
    for parse in (_values.text, NUMBER, _values.boolean, WORDS, _values.address, _values.unicast, _values.interface):
        with contextlib.suppress(BadValue):
            parse(value)


@given(st.ip_addresses())
def test_addresses_are_read_and_shown_as_the_standard_library_does(address: Any) -> None:
    shown = _values.show_address(address.packed)
    assert ipaddress.ip_address(shown) == address
    if address.version == 4 or not address.ipv4_mapped:
        assert _values.address(str(address)) == _values.address(shown) == address.packed


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.255.0.3", True), ("::1", True), ("192.0.2.1", False), ("2001:db8::1", False)],
)
def test_loopback_addresses(address: str, loopback: bool) -> None:
    assert _values.is_loopback(_values.address(address)) is loopback


FIELDS = (
    _values.Field("address", _values.address, required=True),
    _values.Field("port", NUMBER),
    _values.Field("weight", NUMBER),
)


@pytest.mark.parametrize(
    ("value", "path", "problems"),
    [
        ({"adress": "192.0.2.1"}, "s", ["s.adress: unknown key; did you mean address?", "s.address: is required"]),
        (
            {"address": "192.0.2.1", "colour": 1},
            "s[1]",
            ["s[1].colour: unknown key; known: address, port, weight"],
        ),
        ({"address": "192.0.2.1", 7: 1}, "s", ["s.7: unknown key; known: address, port, weight"]),
        ({"address": None, "port": ""}, "", ["address: must not be empty", "port: must not be empty"]),
        (
            {"address": "x", "port": -5, "weight": "heavy"},
            "services[3].servers[1]",
            [
                "services[3].servers[1].address: must be an IP address; host names are not resolved (got 'x')",
                "services[3].servers[1].port: must be an integer 0..65535 (got -5)",
                "services[3].servers[1].weight: must be a decimal integer 0..65535 (got 'heavy')",
            ],
        ),
        ("x", "s", ["s: must be a dict (got 'x')"]),
        ([], "s", ["s: must be a dict (got [])"]),
    ],
)
def test_every_problem_of_a_record_is_found(value: Any, path: str, problems: list[str]) -> None:
    findings = Findings()
    _values.record(FIELDS, value, path, findings)
    assert [str(problem) for problem in findings.problems] == problems


def test_a_record_holds_what_is_given_and_good_and_no_defaults() -> None:
    findings = Findings()
    assert _values.record(FIELDS, {"address": "192.0.2.1", "port": "x"}, "", findings) == {
        "address": bytes((192, 0, 2, 1))
    }
    assert _values.record(FIELDS, "x", "", findings) is None


@pytest.mark.parametrize("value", ["a", {"a": 1}, None, 5])
def test_a_list_option_must_be_a_list(value: Any) -> None:
    findings = Findings()
    assert list(_values.records(value, "services", findings, 3)) == []
    with pytest.raises(InvalidInput, match="services: must be a list"):
        findings.raise_problems()


def test_a_list_has_a_limit() -> None:
    findings = Findings()
    assert list(_values.records([{}] * 3, "services", findings, 3)) == [{}] * 3
    assert list(_values.records([{}] * 200_000, "services", findings, 100_000)) == []
    assert [str(p) for p in findings.problems] == ["services: must have at most 100000 items (has 200000)"]


def test_options_not_given_are_left_out() -> None:
    params = {"address": "192.0.2.1", "port": None, "one_packet": False, "state": "present"}
    assert _values.given(params, ("address", "port", "one_packet")) == {"address": "192.0.2.1", "one_packet": False}


@pytest.mark.parametrize(
    "value", [{"address": "192.0.2.1"}, {"address": "192.0.2.1", "port": 80}, {"port": "80", "address": "2001:db8::1"}]
)
def test_a_good_record_is_parsed_as_any_other(value: dict[str, Any]) -> None:
    findings = Findings()
    good = _values.good_record(FIELDS)(value)
    assert good == _values.record(FIELDS, value, "", findings)
    assert not findings.problems


@pytest.mark.parametrize(
    "value",
    [None, [], "x", {}, {"port": 80}, {"address": "192.0.2.1", "x": 1}, {"address": "192.0.2.1", "port": None}],
)
def test_any_other_record_is_left_to_the_one_that_tells(value: object) -> None:
    findings = Findings()
    _values.record(FIELDS, value, "", findings)
    assert findings.problems
    assert _values.good_record(FIELDS)(value) is None
