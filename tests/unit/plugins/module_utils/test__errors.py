# SPDX-License-Identifier: GPL-3.0-or-later
"""The one form in which bad input is reported."""

from __future__ import annotations

import pytest

from plugins.module_utils._errors import Finding, Findings, InvalidInput, IpvsError, KernelRefused, Place, at
from plugins.module_utils._model import parse_services


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding(at("port"), "is required"), "port: is required"),
        (Finding(at("port"), "must be an integer 0..65535", -5), "port: must be an integer 0..65535 (got -5)"),
        (Finding(at("one_packet"), "is only for udp", False), "one_packet: is only for udp (got False)"),
        (Finding(at("address"), "must be a string", "a'b\n"), 'address: must be a string (got "a\'b\\n")'),
        (Finding(at("a"), "r", "x" * 78), f"a: r (got '{'x' * 78}')"),
        (Finding(at("a"), "r", "x" * 79), f"a: r (got '{'x' * 76}...)"),
    ],
)
def test_a_finding_names_path_rule_and_value(finding: Finding, text: str) -> None:
    assert str(finding) == text


@pytest.mark.parametrize(
    ("place", "parts", "path", "text"),
    [
        ("port", (), ("port",), "port"),
        ("services", (0, "servers", 1, "port"), ("services", 0, "servers", 1, "port"), "services[0].servers[1].port"),
        (at("services", 0), ("port",), ("services", 0, "port"), "services[0].port"),
        ("services", (0, "services[5]"), ("services", 0, "services[5]"), "services[0].services[5]"),
        ("", ("port",), ("port",), "port"),
        ("", (), (), ""),
    ],
)
def test_a_path_is_of_names_and_indexes(place: Place, parts: tuple[str | int, ...], path: object, text: str) -> None:
    found = at(place, *parts)
    assert (tuple(found), str(found)) == (path, text)


def test_what_is_below_a_path_is_known_by_its_parts() -> None:
    assert at("services", 1, "servers", 0).below(at("services", 1)) == at("servers", 0)
    assert at("services", 1).below(at("services", 1)) == ()
    assert at("services", 10, "port").below(at("services", 1)) is None
    assert at("services", "1", "port").below(at("services", 1)) is None
    assert at("services[1]", "port").below(at("services", 1)) is None


def test_every_finding_has_its_path_in_parts() -> None:
    findings = Findings()
    services = [{"address": "192.0.2.1", "port": 80, "scheduler_flags": ["no"], "services[5]": 1, "servers": [{}, 5]}]
    parse_services(services, "services", findings)
    parse_services([{"address": "192.0.2.1", "port": 80}], "services", findings)
    assert {tuple(one.path) for one in [*findings.problems, *findings.warnings]} == {
        ("services", 0, "scheduler_flags"),
        ("services", 0, "services[5]"),
        ("services", 0, "servers", 0, "address"),
        ("services", 0, "servers", 1),
        ("services", 0, "servers"),
    }


def test_all_problems_are_told_at_once() -> None:
    findings = Findings()
    findings.problem("a", "is required")
    findings.warning("b", "is unwise")
    findings.problem("c", "must be one of x, y", "z")
    with pytest.raises(InvalidInput) as caught:
        findings.raise_problems()
    assert str(caught.value) == "a: is required; c: must be one of x, y (got 'z')"
    assert caught.value.details == {"problems": ["a: is required", "c: must be one of x, y (got 'z')"]}


@pytest.mark.parametrize(("count", "tail"), [(20, "p19: r"), (21, "... and 1 more"), (500, "... and 480 more")])
def test_twenty_problems_are_listed_and_the_rest_counted(count: int, tail: str) -> None:
    findings = Findings()
    for index in range(count):
        findings.problem(f"p{index}", "r")
    with pytest.raises(InvalidInput) as caught:
        findings.raise_problems()
    listed = caught.value.details["problems"]
    assert listed[-1] == tail
    assert listed[:20] == [f"p{index}: r" for index in range(20)]
    assert str(caught.value) == "; ".join(listed)


def test_warnings_alone_raise_nothing() -> None:
    findings = Findings()
    findings.warning("a", "is unwise")
    findings.raise_problems()
    assert findings.settled(5) == 5


def test_a_settled_value_is_there_or_a_problem_says_why() -> None:
    findings = Findings()
    with pytest.raises(ValueError, match="without a problem"):
        findings.settled(None)
    findings.problem("a", "is required")
    with pytest.raises(InvalidInput, match="a: is required"):
        findings.settled(None)
    with pytest.raises(InvalidInput, match="a: is required"):
        findings.settled(5)


def test_errors_carry_details_beside_their_sentence() -> None:
    error = KernelRefused("the kernel refused", 17, applied=["x"])
    assert isinstance(error, IpvsError)
    assert (str(error), error.errno, error.details) == ("the kernel refused", 17, {"applied": ["x"]})
