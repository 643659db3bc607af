# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run may touch."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._errors import BadValue, Findings, InvalidInput, IpvsError
from plugins.module_utils._model import AF_INET, AF_INET6, ServiceKey, Table, key_text, parse_services, server_text
from plugins.module_utils._plan import plan
from plugins.module_utils._policy import (
    ACTION_WORDS,
    Limit,
    Network,
    Owned,
    Policy,
    Scope,
    check_scope,
    counts,
    keep_weights,
    kept_weights,
    limit,
    network,
    parse_scope,
    rerouted,
    unwanted,
)


def table(*services: dict[str, Any]) -> Table:
    findings = Findings()
    parsed = parse_services(list(services), "services", findings)
    findings.raise_problems()
    return parsed


def web(port: int = 80, *servers: int, weight: int = 1) -> dict[str, Any]:
    held = [{"address": f"198.51.100.{last}", "weight": weight} for last in servers]
    return {"address": "192.0.2.10", "port": port, "servers": held}


def owned(held: Table, services: bool = True) -> Owned:
    """Everything of ``held`` is ours, or its servers alone."""
    servers = frozenset((key, one) for key, entry in held.items() for one in entry.servers)
    return Owned(frozenset(held) if services else frozenset(), servers)


def shown(found: Any) -> tuple[list[str], list[str]]:
    services, servers = found
    return (
        sorted(key_text(key) for key in services),
        sorted(f"{key_text(key)} -r {server_text(one)}" for key, one in servers),
    )


# networks and scopes


@pytest.mark.parametrize(
    ("written", "inside", "outside"),
    [
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0", "2001:db8::1"]),
        ("192.0.2.10", ["192.0.2.10"], ["192.0.2.11"]),
        ("192.0.2.10/31", ["192.0.2.10", "192.0.2.11"], ["192.0.2.9", "192.0.2.12"]),
        ("0.0.0.0/0", ["192.0.2.10", "203.0.113.1"], ["2001:db8::1"]),
        ("2001:db8::/64", ["2001:db8::", "2001:db8::ffff"], ["2001:db8:0:1::", "192.0.2.10"]),
        ("2001:db8::1", ["2001:db8::1"], ["2001:db8::2"]),
        ("::/0", ["2001:db8::1"], ["192.0.2.10"]),
    ],
)
def test_a_network_covers_its_addresses(written: str, inside: list[str], outside: list[str]) -> None:
    found = network(written)
    assert [one for one in inside + outside if found.covers(network(one).address)] == inside


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("192.0.2.10/24", "has host bits set"),
        ("2001:db8::1/64", "has host bits set"),
        ("192.0.2.0/33", r"0\.\.32"),
        ("2001:db8::/129", r"0\.\.128"),
        ("192.0.2.0/", "must not be empty"),
        ("192.0.2.0/255.255.255.0", "decimal integer"),
        ("example.org/24", "must be an IP address"),
        (24, "must be a string"),
    ],
)
def test_a_bad_network_is_refused(written: object, rule: str) -> None:
    with pytest.raises(BadValue, match=rule):
        network(written)


V4 = ServiceKey(0, AF_INET, 6, network("192.0.2.10").address, 80)
V4_UDP = V4._replace(protocol=17)
V6 = ServiceKey(0, AF_INET6, 6, network("2001:db8::10").address, 80)
MARK = ServiceKey(7, AF_INET, 0, b"", 0)
KEYS = {"v4": V4, "udp": V4_UDP, "v6": V6, "mark": MARK}


@pytest.mark.parametrize(
    ("written", "covered"),
    [
        (None, ["v4", "udp", "v6", "mark"]),
        ({"networks": ["192.0.2.0/24"]}, ["v4", "udp"]),
        ({"networks": ["192.0.2.0/24", "2001:db8::/32"]}, ["v4", "udp", "v6"]),
        ({"networks": ["203.0.113.0/24"]}, []),
        ({"protocols": ["tcp"]}, ["v4", "v6"]),
        ({"networks": ["192.0.2.0/24"], "protocols": ["udp", "sctp"]}, ["udp"]),
        ({"marks": [7]}, ["mark"]),
        ({"marks": [8]}, []),
        ({"networks": ["2001:db8::/64"], "marks": [7]}, ["v6", "mark"]),
        ({"networks": []}, []),
    ],
)
def test_a_scope_covers_what_matches(written: object, covered: list[str]) -> None:
    findings = Findings()
    scope = parse_scope(written, findings)
    assert not findings.problems
    assert [name for name, key in KEYS.items() if scope.covers(key)] == covered


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({}, "scope: must name networks, protocols or marks"),
        ({"network": ["192.0.2.0/24"]}, "scope.network: unknown key; did you mean networks?"),
        (["192.0.2.0/24"], "scope: must be a dict (got ['192.0.2.0/24'])"),
        ({"networks": "192.0.2.0/24"}, "scope.networks: must be a list (got '192.0.2.0/24')"),
        (
            {"networks": ["192.0.2.0/24", "192.0.2.1/24"]},
            "scope.networks[1]: has host bits set (got '192.0.2.1/24')",
        ),
        ({"protocols": ["icmp"]}, "scope.protocols[0]: must be one of tcp, udp, sctp (got 'icmp')"),
        ({"marks": [0]}, "scope.marks[0]: must be an integer 1..4294967295 (got 0)"),
    ],
)
def test_a_bad_scope_is_refused(written: object, problem: str) -> None:
    findings = Findings()
    parse_scope(written, findings)
    assert [str(one) for one in findings.problems] == [problem]


def test_what_is_listed_outside_of_the_scope_is_a_mistake() -> None:
    findings = Findings()
    check_scope([V4, V6, MARK], Scope(networks=(network("192.0.2.0/24"),)), "services", findings)
    with pytest.raises(InvalidInput) as caught:
        findings.raise_problems()
    assert caught.value.details["problems"] == [
        "services: a listed service is outside of scope (got '-t [2001:db8::10]:80')",
        "services: a listed service is outside of scope (got '-f 7')",
    ]


# the limit


@pytest.mark.parametrize(
    ("written", "parsed"),
    [(0, Limit(0)), (7, Limit(7)), ("12", Limit(12)), ("25%", Limit(share=25)), ("0%", Limit(share=0))],
)
def test_a_limit_is_a_number_or_a_share(written: object, parsed: Limit) -> None:
    assert limit(written) == parsed


@pytest.mark.parametrize("written", [-1, "101%", "%", "a quarter", 2.5, True, "-5%", "2.5%", None, 2**31])
def test_a_bad_limit_is_refused(written: object) -> None:
    with pytest.raises(BadValue):
        limit(written)


@pytest.mark.parametrize(
    ("given", "live", "listed", "most"),
    [
        (Limit(), 1000, True, 250),
        (Limit(), 47, True, 11),
        (Limit(), 43, True, 10),
        (Limit(), 4, True, 10),
        (Limit(share=0), 1000, True, 0),
        (Limit(share=100), 1000, True, 1000),
        (Limit(3), 1000, True, 3),
        (Limit(0), 1000, True, 0),
        (Limit(), 1000, False, 0),
        (Limit(share=99), 1000, False, 0),
        (Limit(share=100), 1000, False, 1000),
        (Limit(3), 1000, False, 3),
    ],
)
def test_a_limit_of_a_table(given: Limit, live: int, listed: bool, most: int) -> None:
    assert given.of(live, listed) == most


# what a purge takes away

LIVE = table(web(80, 1, 2), web(81, 3), web(82))
LISTED = table(web(80, 1))
OURS = owned(LIVE)


@pytest.mark.parametrize(
    ("purge", "ours", "services", "servers"),
    [
        ("none", OURS, [], []),
        ("owned", Owned(), [], []),
        ("owned", OURS, ["-t 192.0.2.10:81", "-t 192.0.2.10:82"], ["-t 192.0.2.10:80 -r 198.51.100.2:80"]),
        (
            "owned",
            owned(LIVE, services=False),
            [],
            ["-t 192.0.2.10:80 -r 198.51.100.2:80", "-t 192.0.2.10:81 -r 198.51.100.3:81"],
        ),
        ("owned", Owned(OURS.services), ["-t 192.0.2.10:82"], []),
        ("all", Owned(), ["-t 192.0.2.10:81", "-t 192.0.2.10:82"], ["-t 192.0.2.10:80 -r 198.51.100.2:80"]),
    ],
)
def test_a_purge_takes_what_it_may(purge: str, ours: Owned, services: list[str], servers: list[str]) -> None:
    assert shown(unwanted(LIVE, LISTED, purge, ours, Scope())) == (services, servers)


def test_a_service_of_ours_stays_for_the_servers_of_another() -> None:
    ours = owned(table(web(81, 3)))
    live = table(web(81, 3, 4))
    assert shown(unwanted(live, {}, "owned", ours, Scope())) == ([], ["-t 192.0.2.10:81 -r 198.51.100.3:81"])
    assert shown(unwanted(live, {}, "all", ours, Scope())) == (["-t 192.0.2.10:81"], [])


@pytest.mark.parametrize("purge", ["owned", "all"])
def test_a_purge_does_not_look_outside_of_the_scope(purge: str) -> None:
    assert shown(unwanted(LIVE, {}, purge, OURS, Scope(networks=(network("203.0.113.0/24"),)))) == ([], [])
    assert shown(unwanted(LIVE, {}, purge, OURS, Scope(protocols=(17,)))) == ([], [])
    assert len(unwanted(LIVE, {}, purge, OURS, Scope(protocols=(6,)))[0]) == 3


# weights that stay


def test_a_live_weight_is_kept_and_told() -> None:
    live = table(web(80, 1, 2, weight=0), web(81, 3, weight=9))
    listed = table(web(80, 1, 4, weight=5), web(81, 3, weight=9), web(82, 6, weight=2))
    assert keep_weights(live, listed) == {
        **table(web(81, 3, weight=9), web(82, 6, weight=2)),
        **table({**web(80), "servers": [{"address": "198.51.100.1", "weight": 0}, *web(80, 4, weight=5)["servers"]]}),
    }
    assert kept_weights(live, listed) == ["-t 192.0.2.10:80 -r 198.51.100.1:80 keeps weight 0 (listed: 5)"]
    assert listed == table(web(80, 1, 4, weight=5), web(81, 3, weight=9), web(82, 6, weight=2))


def test_only_the_weight_is_kept() -> None:
    live = table(web(80, 1, weight=3))
    listed = table({**web(80, 1), "forward": "nat"})
    assert [one.action for one in Policy(keep_weights=True).plan(live, listed, Owned()).operations] == ["edit_server"]
    [kept] = keep_weights(live, listed)[next(iter(listed))].servers.values()
    assert (kept.forward, kept.weight) == (0, 3)


# what a plan may hold


def refusal(policy: Policy, live: Table, listed: Table, ours: Owned = OURS) -> IpvsError:
    with pytest.raises(IpvsError) as caught:
        policy.checked(policy.plan(live, listed, ours), listed, ours)
    return caught.value


def test_every_action_is_counted_in_its_word() -> None:
    live = table(web(80, 1, 2, 3), web(81))
    listed = table({**web(80, 4), "scheduler": "rr"}, web(82))
    listed[V4].servers.update(table(web(80, 1, weight=0))[V4].servers)
    listed[V4].servers.update(table(web(80, 2, weight=4))[V4].servers)
    made = Policy("all", max_removals=Limit(share=100)).plan(live, listed, Owned())
    assert counts(made) == {
        "add_service": 1,
        "edit_service": 1,
        "remove_service": 1,
        "add_server": 1,
        "edit_server": 2,
        "remove_server": 1,
    }
    for word in ACTION_WORDS:
        others = tuple(one for one in ACTION_WORDS if one != word)
        error = refusal(Policy("all", allow_actions=others), live, listed)
        told = f"the plan needs what allow_actions does not name: {counts(made)[word]} x {word}"
        assert str(error) == told
        assert len(error.details["operations"]) == 7
        assert error.details["diff"] == made.diff()
    assert Policy("all").checked(made, listed, Owned()) is made


def test_servers_that_go_from_or_to_dr_are_told() -> None:
    before = [{**web(80, *range(1, 5)), "forward": "nat"}, {**web(81, 1, 5, 7), "forward": "tun"}, web(82, 6)]
    six = {"address": "2001:db8::10", "port": 80, "servers": [{"address": "2001:db8::1"}]}
    live = table(*before, {**six, "forward": "nat"})
    to_nat = {**web(81, 7), "forward": "nat"}
    listed = table(web(80, 1, 9), {**web(80, 2), "port": 83}, web(81, 1, 5), {**web(82, 6), "forward": "nat"}, six)
    listed[next(iter(table(to_nat)))].servers.update(next(iter(table(to_nat).values())).servers)
    made = Policy("all", max_removals=Limit(share=100)).plan(live, listed, Owned())
    assert rerouted(made) == ["198.51.100.1", "198.51.100.5", "198.51.100.6", "2001:db8::1"]
    assert rerouted(plan(listed, live)) == rerouted(made)
    assert rerouted(plan(listed, listed)) == []


def test_the_two_kinds_are_limited_apart() -> None:
    live = table(*(web(port, *range(1, 5)) for port in range(1, 12)))
    for most, what in ((43, "would remove 44 of 44 servers; max_removals allows 43"), (44, None)):
        policy = Policy("all", max_removals=Limit(most))
        gone = table(web(99, 1))
        if what is None:
            assert len(policy.checked(policy.plan(live, gone, Owned()), gone, Owned()).operations) == 13
        else:
            assert what in str(refusal(policy, live, gone))
    error = refusal(Policy("all", max_removals=Limit(10)), live, table(web(99, 1)))
    assert "would remove 11 of 11 services; max_removals allows 10: look at the plan" in str(error)


def test_servers_of_services_that_stay_count() -> None:
    live = table(web(80, *range(1, 13)))
    error = refusal(Policy("all"), live, table(web(80, 1)))
    assert "would remove 11 of 12 servers; max_removals allows 10" in str(error)
    listed = table(web(80, 1, 2))
    assert len(Policy("all").checked(Policy("all").plan(live, listed, Owned()), listed, Owned()).operations) == 10


def test_what_is_out_of_scope_does_not_make_a_share_larger() -> None:
    outside = [{**web(port, 1), "address": "203.0.113.10"} for port in range(1, 101)]
    live = table(*(web(port, 1) for port in range(1, 13)), *outside)
    scope = Scope(networks=(network("192.0.2.0/24"),))
    error = refusal(Policy("all", scope), live, table(web(1, 1)))
    assert "would remove 11 of 12 services" in str(error)


def test_what_is_foreign_does_not_make_a_share_larger() -> None:
    foreign = [{**web(port, 1), "address": "203.0.113.10"} for port in range(1, 101)]
    ours, listed = table(*(web(port, 1) for port in range(1, 13))), table(web(1, 1))
    live = {**ours, **table(*foreign)}
    for services in (True, False):
        what = "services" if services else "servers"
        error = refusal(Policy("owned"), live, listed, owned(ours, services))
        assert f"would remove 11 of 12 {what}; max_removals allows 10" in str(error)


def test_a_purge_with_nothing_listed_is_a_mistake() -> None:
    live = table(web(80, 1))
    error = refusal(Policy("all"), live, {})
    assert "would remove 1 of 1 services, and none is listed; max_removals allows 0" in str(error)
    for meant in (Limit(share=100), Limit(1)):
        policy = Policy("all", max_removals=meant)
        assert len(policy.checked(policy.plan(live, {}, Owned()), {}, Owned()).operations) == 1
    for policy in (Policy("none"), Policy("owned")):
        assert not policy.checked(policy.plan(live, {}, Owned()), {}, Owned()).operations


def test_a_purge_with_no_server_listed_is_a_mistake() -> None:
    live = table(web(80, 1, 2), web(81, 3))
    listed = table(web(80), web(81))
    error = refusal(Policy("all"), live, listed)
    assert "would remove 3 of 3 servers, and none is listed; max_removals allows 0" in str(error)
    for meant in (Limit(share=100), Limit(3)):
        policy = Policy("all", max_removals=meant)
        assert len(policy.checked(policy.plan(live, listed, Owned()), listed, Owned()).operations) == 3


def test_the_last_server_of_a_service_that_stays_does_not_go_by_mistake() -> None:
    live = table(web(80, 1, 2), web(81, 3), web(82, 4), web(83))
    listed = table(web(80), web(81), web(82, 4), web(83))
    error = refusal(Policy("all", max_removals=Limit(share=99)), live, listed)
    assert str(error) == (
        "would leave 2 of 4 listed services without a server, -t 192.0.2.10:80 (and 1 more): "
        "look at the plan, and give max_removals as a number if this is meant"
    )
    for meant in (Limit(share=100), Limit(3)):
        policy = Policy("all", max_removals=meant)
        assert len(policy.checked(policy.plan(live, listed, Owned()), listed, Owned()).operations) == 3


def test_a_server_may_take_the_place_of_the_last_one() -> None:
    live, listed = table(web(80, 1), web(81, 1)), table(web(80, 2), web(81, 1))
    assert len(Policy("all").checked(Policy("all").plan(live, listed, Owned()), listed, Owned()).operations) == 2


def test_a_network_is_a_value() -> None:
    assert network("192.0.2.0/24") == Network(bytes((192, 0, 2, 0)), 24)
