# SPDX-License-Identifier: GPL-3.0-or-later
"""_vip: plans over any host and any wish keep their promises."""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils import _vip
from plugins.module_utils._errors import Findings
from plugins.module_utils._rtnl import FOREVER, IFA_F_SECONDARY, IFF_LOOPBACK, IFF_UP, Address, Link
from plugins.module_utils._vip import Live, Plan, Request, Wish

# a busy machine is slow, not wrong
any_machine = settings(deadline=None, max_examples=300)

LINKS = {"lo": Link(1, "lo", IFF_UP | IFF_LOOPBACK, 772), "eth0": Link(2, "eth0"), "eth1": Link(3, "eth1")}
PACKED = [socket.inet_aton(f"192.0.2.{last}") for last in range(1, 6)] + [
    socket.inet_pton(socket.AF_INET6, f"2001:db8::{last}") for last in range(1, 4)
]

addresses = st.builds(
    lambda packed, interface, short, lifetime, protocol, secondary: Address(
        packed,
        interface,
        (24 if len(packed) == 4 else 64) if short else len(packed) * 8,
        preferred_lifetime=lifetime,
        protocol=protocol,
        flags=IFA_F_SECONDARY if secondary and len(packed) == 4 else 0,
    ),
    st.sampled_from(PACKED),
    st.sampled_from(["eth0", "eth1"]),
    st.booleans(),
    st.sampled_from([0, FOREVER]),
    st.sampled_from([76, 0]),
    st.booleans(),
)
hosts = st.lists(addresses, max_size=8, unique_by=lambda a: (a.address, a.interface))
wishes = st.lists(addresses, max_size=5, unique_by=lambda a: a.address)


def plan(wanted: list[Address], held: list[Address], **options: Any) -> tuple[Plan, Findings]:
    findings = Findings()
    targets = [address._replace(protocol=76, flags=0) for address in wanted]
    request = Request(
        tuple(Wish(f"vips[{i}]", target) for i, target in enumerate(targets)),
        options.get("absent", False),
        options.get("purge", False),
        True,
        True,
    )
    live = Live(LINKS, held, promotes=frozenset(LINKS), marks=options.get("marks", True))
    return _vip.make_plan(request, live, findings), findings


def carried_out(made: Plan, held: list[Address]) -> list[Address]:
    after = list(held)
    for step in made.steps:
        same = [a for a in after if (a.address, a.interface, a.prefix) == step.address[:3]]
        if step.verb == "add":
            assert not same
            after.append(step.address)
        else:
            assert len(same) == 1
            after.remove(same[0])
            if step.verb == "replace":
                after.append(step.address)
    return after


modes = st.fixed_dictionaries({"absent": st.booleans(), "purge": st.booleans(), "marks": st.booleans()})


@any_machine
@given(wishes, hosts, modes)
def test_what_is_foreign_is_never_touched(wanted: list[Address], held: list[Address], mode: dict[str, bool]) -> None:
    if not mode["marks"]:
        held = [address._replace(protocol=0) for address in held]
    made, dummy = plan(wanted, held, **mode)
    foreign = [address for address in held if not address.ours]
    left = [address for address in carried_out(made, held) if address in foreign]
    if mode["marks"] or not mode["absent"]:
        assert left == foreign
    else:
        named = [address[:3] for address in wanted]
        assert [address for address in foreign if address not in left] == [a for a in foreign if a[:3] in named]


@any_machine
@given(wishes, hosts, st.booleans())
def test_a_second_plan_is_empty(wanted: list[Address], held: list[Address], purge: bool) -> None:
    made, findings = plan(wanted, held, purge=purge)
    if findings.problems:
        return
    after = carried_out(made, held)
    again, findings = plan(wanted, after, purge=purge)
    assert again.steps == ()
    assert [line(a) for a in made.after] == [line(a) for a in again.before] == [line(a) for a in again.after]


@any_machine
@given(wishes, hosts, modes)
def test_no_address_is_ever_missing(wanted: list[Address], held: list[Address], mode: dict[str, bool]) -> None:
    made, dummy = plan(wanted, held, **mode)
    verbs = [step.verb for step in made.steps]
    assert verbs == sorted(verbs, key=["add", "replace", "remove"].index)
    if not mode["absent"]:
        wished = {address.address for address in wanted}
        assert {a.address for a in held} & wished <= {a.address for a in carried_out(made, held)}


@any_machine
@given(wishes, hosts)
def test_absent_leaves_none_of_ours(wanted: list[Address], held: list[Address]) -> None:
    made, dummy = plan(wanted, held, absent=True, purge=True)
    named = {address[:2] for address in wanted}
    left = [address for address in carried_out(made, held) if address.ours]
    # one that is listed for another interface is not what the task named
    assert all((a.address in {x.address for x in wanted}) and a[:2] not in named for a in left)


def line(address: Address) -> str:
    return _vip.address_line(address)


def test_the_line_of_an_address() -> None:
    full = Address(PACKED[0], "eth0", 24, "link", PACKED[1], "eth0:x", False, True, 0)
    assert line(full) == (
        "192.0.2.1/24 broadcast 192.0.2.2 dev eth0 scope link label eth0:x preferred_lft 0 noprefixroute"
    )
    assert line(Address(PACKED[-1], "lo", 128, nodad=True)) == "2001:db8::3/128 dev lo scope global nodad"


def test_an_address_that_stays_elsewhere_does_not_cut_the_connection() -> None:
    held = [Address(PACKED[0], "eth0", 32), Address(PACKED[0], "eth1", 32, protocol=0)]
    findings = Findings()
    request = Request((Wish("", held[0]),), True, False, True, True)
    _vip.make_plan(request, Live(LINKS, held, management=PACKED[0]), findings)
    assert findings.problems == []
    _vip.make_plan(request, Live(LINKS, held[:1], management=PACKED[0]), findings)
    assert len(findings.problems) == 1
