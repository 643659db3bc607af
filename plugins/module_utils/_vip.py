# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Which addresses a task wants and which steps lead there: parsing and planning, without any I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from . import _values
from ._errors import BadValue, Findings, Place, at
from ._rtnl import FOREVER, Address, Link
from ._values import KEEP_FORMER, Field, show_address

MAX_VIPS = 10_000
MAX_LABEL = 15  # IFNAMSIZ - 1
#: An interface that belongs to one of these receives nothing for addresses of its own; a VRF's does.
SWALLOWING_MASTERS = ("bridge", "bond", "team")
#: What the kernel changes of an address in place (inet_rtm_newaddr in devinet.c, inet6_addr_modify in
#: addrconf.c), by the length of the address.
CHANGEABLE = {4: ("preferred_lifetime",), 16: ("preferred_lifetime", "nodad", "noprefixroute")}
OPTIONAL = ("scope", "broadcast", "label", "nodad", "noprefixroute", "preferred_lifetime")


def _lifetime(value: object) -> int:
    if value == "forever":
        return FOREVER
    try:
        return int(_values.integer(0, 0)(value))
    except BadValue:
        raise BadValue("must be 0 (never a source address) or forever") from None


def _broadcast(value: object) -> object:
    return value if value == "+" else _values.address(value)


VIP_FIELDS = (
    Field("address", _values.unicast),
    Field("interface", _values.interface),
    Field("prefix", _values.integer(1, 128)),
    Field("broadcast", _broadcast),
    Field("scope", _values.choice("global", "link", "host")),
    Field("label", _values.text),
    Field("nodad", _values.boolean),
    Field("preferred_lifetime", _lifetime),
    Field("noprefixroute", _values.boolean),
)
VIP_KEYS = tuple(field.name for field in VIP_FIELDS)


class Wish(NamedTuple):
    """One address that the task names and where it names it. ``target.interface`` is "" where an absent address
    is meant on any interface.
    """

    path: Place
    target: Address


class Request(NamedTuple):
    """What the task asks for."""

    wishes: tuple[Wish, ...]
    absent: bool
    purge: bool
    probe: bool
    announce: bool
    #: Whether an address of ours that is named stays where it is besides.
    keep_former: bool = False
    #: The interfaces that the purge looks at; None: all.
    purge_interfaces: Optional[frozenset[str]] = None
    #: Whether the purge looks at quiet addresses alone, as backends hold them.
    purge_quiet: bool = False

    def purges(self, address: Address) -> bool:
        """Whether the purge takes the address away, which is ours, unless the task names it."""
        here = self.purge_interfaces is None or address.interface in self.purge_interfaces
        return self.purge and here and (not self.purge_quiet or address.scope == "host" or address.nodad)


class Live(NamedTuple):
    """What the host has. ``marks`` tells whether this kernel keeps who added an address (IFA_PROTO, Linux 5.18);
    ``promotes`` are the interfaces on which a secondary address outlives its primary, ``answering`` those that
    answer ARP for every address of the host, ``without_ipv6`` those where IPv6 is disabled; ``management`` is the
    address through which the task is connected; ``dropping`` are the files by which systemd-networkd manages an
    interface and takes away addresses that they do not name; ``prepared`` are the interfaces and sysctls
    that earlier tasks of a run in check mode would make and set.
    """

    links: Mapping[str, Link]
    addresses: Sequence[Address]
    marks: bool = True
    promotes: frozenset[str] = frozenset()
    answering: frozenset[str] = frozenset()
    without_ipv6: frozenset[str] = frozenset()
    management: bytes = b""
    dropping: Mapping[str, str] = {}
    prepared: Collection[str] = ()


class Step(NamedTuple):
    """One change of one address. ``verb`` is add, replace or remove."""

    verb: str
    address: Address

    def __str__(self) -> str:
        return f"{self.verb} {address_line(self.address)}"


class Plan(NamedTuple):
    """The steps in order, additions first and removals last; the addresses found in other hands and left as they
    are; our addresses that the task does not name; and our addresses before and after.
    """

    steps: tuple[Step, ...]
    kept: tuple[Address, ...]
    unlisted: tuple[Address, ...]
    before: tuple[Address, ...]
    after: tuple[Address, ...]


def address_line(address: Address) -> str:
    """``192.0.2.10/32 dev eth0 scope global``: what ``ip address add`` takes."""
    parts = [f"{show_address(address.address)}/{address.prefix}"]
    if address.broadcast:
        parts.append(f"broadcast {show_address(address.broadcast)}")
    parts.append(f"dev {address.interface} scope {address.scope}")
    if address.label:
        parts.append(f"label {address.label}")
    if address.preferred_lifetime != FOREVER:
        parts.append(f"preferred_lft {address.preferred_lifetime}")
    parts += [word for word in ("nodad", "noprefixroute") if getattr(address, word)]
    return " ".join(parts)


def address_params(address: Address) -> dict[str, Any]:
    """The input keys that make this address, those at their defaults left out except C(scope)."""
    params: dict[str, Any] = {"address": show_address(address.address), "prefix": address.prefix}
    if address.interface:
        params["interface"] = address.interface
    params["scope"] = address.scope
    if address.broadcast:
        params["broadcast"] = show_address(address.broadcast)
    if address.label:
        params["label"] = address.label
    if address.preferred_lifetime != FOREVER:
        params["preferred_lifetime"] = address.preferred_lifetime
    params.update({name: True for name in ("nodad", "noprefixroute") if getattr(address, name)})
    return params


def parse_request(params: Mapping[str, Any], findings: Findings) -> Request:
    """The module's parameters -> :class:`Request`; every problem goes to ``findings``."""
    absent, purge = params["state"] == "absent", params["purge"] == "owned"
    _values.refuse_with_absent(params, KEEP_FORMER, findings)
    single = _values.given(params, VIP_KEYS)
    items: list[tuple[Place, object]] = []
    if params["vips"] is not None:
        listed = _values.records(params["vips"], "vips", findings, MAX_VIPS)
        items = [(at("vips", i), item) for i, item in enumerate(listed)]
        if single:
            findings.problem("vips", f"excludes {', '.join(single)}")
    elif single:
        items = [("", single)]
    elif not (absent and purge):
        findings.problem("address", "is required (or vips)")
    if params["purge_quiet"] and not purge:
        findings.problem("purge_quiet", "means nothing without purge owned", True)
    wishes: list[Wish] = []
    places: dict[bytes, Place] = {}
    for path, item in items:
        wish = _parse_wish(item, path, absent, findings)
        if wish is None:
            continue
        first = places.setdefault(wish.target.address, path)
        if first != path:
            findings.problem(path, f"duplicate of {first}", show_address(wish.target.address))
        wishes.append(wish)
    return Request(
        tuple(wishes),
        absent,
        purge,
        _switch(params, "probe", absent, findings),
        _switch(params, "announce", absent, findings),
        params["keep_former"],
        _values.purge_interfaces(params["purge_interfaces"], purge, findings),
        params["purge_quiet"],
    )


def _switch(params: Mapping[str, Any], name: str, absent: bool, findings: Findings) -> bool:
    if params[name] is None:
        return True
    if absent:
        findings.problem(name, "means nothing with state absent", params[name])
    try:
        return _values.boolean(params[name])
    except BadValue as error:
        findings.problem(name, str(error), params[name])
        return True


def _parse_wish(item: object, path: Place, absent: bool, findings: Findings) -> Optional[Wish]:
    given = _values.record(VIP_FIELDS, item, path, findings)
    if given is None or not isinstance(item, Mapping):
        return None
    required = ("address",) if absent else ("address", "interface")
    for name in required:
        if name not in item:
            findings.problem(at(path, name), "is required")
    if any(name not in given for name in required):
        return None
    address = given["address"]
    bits = len(address) * 8
    length = given.get("prefix", bits)
    if length > bits:
        findings.problem(at(path, "prefix"), f"must be at most {bits} for {show_address(address)}", length)
        return None
    wish = Wish(
        path,
        Address(
            address=address,
            interface=given.get("interface", ""),
            prefix=length,
            broadcast=_broadcast_of(given, address, length, path, findings),
            **{name: given[name] for name in OPTIONAL if name in given and name != "broadcast"},
        ),
    )
    _check_family(wish.target, given, path, findings)
    _check_network(wish.target, path, findings)
    _check_label(wish.target, path, findings)
    return wish


def _network(address: bytes, prefix: int) -> tuple[int, int]:
    """The first and the last address of the network, as integers."""
    host = (1 << (len(address) * 8 - prefix)) - 1
    first = int.from_bytes(address, "big") & ~host
    return first, first | host


def _broadcast_of(given: Mapping[str, Any], address: bytes, length: int, path: Place, findings: Findings) -> bytes:
    broadcast = given.get("broadcast", b"")
    if broadcast == "+" and len(address) == 4:
        if length > 30:
            findings.problem(
                at(path, "broadcast"), f"a /{length} network has none; give an address or leave it out", "+"
            )
            return b""
        return _network(address, length)[1].to_bytes(4, "big")
    return b"" if broadcast == "+" else bytes(broadcast)


def _check_family(target: Address, given: Mapping[str, Any], path: Place, findings: Findings) -> None:
    if len(target.address) == 4:
        if target.nodad:
            findings.problem(at(path, "nodad"), "is for IPv6; for IPv4 see probe", True)
        if len(target.broadcast) == 16:
            findings.problem(at(path, "broadcast"), "must be an IPv4 address", show_address(target.broadcast))
        return
    for name in ("broadcast", "label"):
        if name in given:
            findings.problem(at(path, name), "is for IPv4")
    if target.scope != "global":
        findings.problem(at(path, "scope"), "follows from the address in IPv6", target.scope)


def _check_network(target: Address, path: Place, findings: Findings) -> None:
    first, last = _network(target.address, target.prefix)
    number = int.from_bytes(target.address, "big")
    shown = f"{show_address(target.address)}/{target.prefix}"
    if last - first < 2:
        return
    if number == first:
        what = "network" if len(target.address) == 4 else "subnet-router anycast"
        findings.problem(at(path, "address"), f"is the {what} address of its network", shown)
    elif number == last and len(target.address) == 4:
        findings.problem(at(path, "address"), "is the broadcast address of its network", shown)


def _check_label(target: Address, path: Place, findings: Findings) -> None:
    if not target.label or not target.interface or len(target.address) == 16:
        return
    if len(target.label) > MAX_LABEL:
        findings.problem(at(path, "label"), f"must have at most {MAX_LABEL} characters", target.label)
    elif not target.label.startswith(target.interface):
        findings.problem(at(path, "label"), f"must begin with the interface's name {target.interface}", target.label)


def make_plan(request: Request, live: Live, findings: Findings) -> Plan:
    """The steps from what the host has to what the task wants. What this host forbids goes to ``findings``."""
    ours = [address for address in live.addresses if address.ours]
    kept: list[Address] = []
    added: list[Address] = []
    replaced: dict[Address, Address] = {}
    removed: list[Address] = []
    listed = {wish.target.address for wish in request.wishes}
    for wish in request.wishes:
        found = [address for address in live.addresses if address.address == wish.target.address]
        mine = [address for address in found if address.ours]
        if request.absent:
            going = _going(wish, found, live)
            removed += going
            kept += [address for address in found if address not in going and not address.ours]
            continue
        _check_interface(wish, live, findings)
        foreign = [address for address in found if not address.ours]
        same = [a for a in mine if (a.interface, a.prefix) == (wish.target.interface, wish.target.prefix)]
        if foreign and (not mine or any(_collide(address, wish.target) for address in foreign)):
            kept += foreign
        elif not same:
            _check_addition(wish, mine, live, findings)
            added.append(wish.target)
        elif _attributes(same[0]) != _attributes(wish.target):
            _check_change(wish, same[0], findings)
            replaced[same[0]] = wish.target
        removed += [address for address in mine if address not in same and not request.keep_former]
    unlisted = [address for address in ours if address.address not in listed]
    stale = [address for address in unlisted if request.purges(address)]
    if stale and not request.wishes and not request.absent:
        findings.problem("vips", f"is empty and purge would remove all {len(stale)}: say so with state absent", [])
    removed += stale
    _check_removals(removed, added, live, findings)
    _warn_of_marks(request, live, kept, findings)
    _warn_of_networkd(request, live, findings)
    steps = [Step("add", a) for a in added] + [Step("replace", a) for a in replaced.values()]
    # a secondary goes before its primary, whose removal would take it along or promote it
    steps += [Step("remove", a) for a in sorted(removed, key=lambda a: not a.secondary)]
    before = _sorted([*ours, *(a for a in removed if not a.ours)])
    after = [replaced.get(address, address) for address in before if address not in removed] + added
    return Plan(tuple(steps), tuple(kept), _sorted(unlisted), before, _sorted(after))


def _warn_of_networkd(request: Request, live: Live, findings: Findings) -> None:
    used = () if request.absent else sorted({wish.target.interface for wish in request.wishes} & live.dropping.keys())
    for name in used:
        rule = (
            "systemd-networkd takes addresses away that it does not know when it restarts, as netplan apply does: set "
            f"KeepConfiguration=static in the section [Network] of {live.dropping[name]}, or of a drop-in to it"
        )
        findings.warning("interface", rule, name)


def _sorted(addresses: Sequence[Address]) -> tuple[Address, ...]:
    return tuple(sorted(addresses, key=lambda a: (len(a.address), a)))


def _collide(one: Address, other: Address) -> bool:
    """Whether the kernel takes two for the same: in IPv6 an interface has an address once, whatever the prefix."""
    return one[:2] == other[:2] and (one.prefix == other.prefix or len(one.address) == 16)


def _attributes(address: Address) -> tuple[Any, ...]:
    return tuple(getattr(address, name) for name in OPTIONAL)


def _going(wish: Wish, found: Sequence[Address], live: Live) -> list[Address]:
    """What of ``found`` an absent wish removes: ours; where the kernel cannot tell, exactly what the task names."""
    target = wish.target
    if live.marks:
        return [a for a in found if a.ours and target.interface in ("", a.interface)]
    return [a for a in found if (a.interface, a.prefix) == (target.interface, target.prefix)]


def _check_interface(wish: Wish, live: Live, findings: Findings) -> None:
    target, path = wish.target, at(wish.path, "interface")
    link = live.links.get(target.interface)
    if link is None and target.interface in live.prepared:
        return
    if link is None:
        findings.problem(path, f"no such interface; known: {', '.join(sorted(live.links))}", target.interface)
    elif not link.up:
        findings.warning(path, "is down: nobody reaches the address before it is up", target.interface)


def _check_addition(wish: Wish, mine: Sequence[Address], live: Live, findings: Findings) -> None:
    target, path = wish.target, wish.path
    link = live.links.get(target.interface)
    if link is None:
        return
    bits = len(target.address) * 8
    if link.loopback and target.prefix < bits:
        rule = f"must be {bits} on {link.name}: the host would answer for the whole network"
        findings.problem(at(path, "prefix"), rule, target.prefix)
    if link.master_kind in SWALLOWING_MASTERS:
        rule = f"belongs to the {link.master_kind} {link.master} and receives nothing itself: give {link.master}"
        findings.problem(at(path, "interface"), rule, link.name)
    if bits == 128:
        _check_ipv6_addition(wish, link, mine, live, findings)
    else:
        _check_ipv4_addition(wish, link, live, findings)


def _check_ipv4_addition(wish: Wish, link: Link, live: Live, findings: Findings) -> None:
    target, path = wish.target, wish.path
    number = int.from_bytes(target.address, "big")
    for other in live.addresses:
        if len(other.address) == 4 and other.interface == link.name and other.prefix <= 30:
            ends = _network(other.address, other.prefix)
            if number in ends:
                what = ("network", "broadcast")[ends.index(number)]
                rule = f"is the {what} address of {show_address(other.address)}/{other.prefix} on {link.name}"
                findings.problem(at(path, "address"), rule, show_address(target.address))
                break
    answering = [
        name
        for name in sorted(live.answering)
        if not {f"net.ipv4.conf.{one}.arp_ignore" for one in ("all", name)} & {*live.prepared}
    ]
    if not link.on_segment and answering:
        rule = (
            f"set the ARP sysctls first unless this host shall answer for it: arp_ignore is 0 on {', '.join(answering)}"
        )
        findings.warning(at(path, "interface"), rule, link.name)


def _check_ipv6_addition(wish: Wish, link: Link, mine: Sequence[Address], live: Live, findings: Findings) -> None:
    target, path = wish.target, wish.path
    if link.name in live.without_ipv6:
        rule = f"IPv6 is disabled here (net.ipv6.conf.{link.name}.disable_ipv6)"
        findings.problem(at(path, "interface"), rule, link.name)
    if target.nodad and link.on_segment:
        findings.warning(at(path, "nodad"), "a second holder of the address will not be noticed", True)
    here = [address for address in mine if address.interface == link.name]
    if here:
        rule = f"the kernel cannot change {here[0].prefix} in place: remove the address first, with state absent"
        findings.problem(at(path, "prefix"), rule, target.prefix)


def _check_change(wish: Wish, found: Address, findings: Findings) -> None:
    for name in OPTIONAL:
        if getattr(found, name) != getattr(wish.target, name) and name not in CHANGEABLE[len(found.address)]:
            rule = "the kernel cannot change it in place: remove the address first, with state absent"
            findings.problem(at(wish.path, name), rule, address_params(wish.target).get(name, "none"))


def _check_removals(removed: Sequence[Address], added: Sequence[Address], live: Live, findings: Findings) -> None:
    remaining = {address.address for address in [*live.addresses, *added] if address not in removed}
    for address in removed:
        if address.address == live.management and live.management not in remaining:
            rule = "this task is connected through it, so removing it would cut the connection"
            findings.problem("address", rule, show_address(address.address))
        if len(address.address) == 16 or address.secondary or address.interface in live.promotes:
            continue
        network = _network(address.address, address.prefix)
        lost = [
            show_address(other.address)
            for other in live.addresses
            if other.secondary
            and other not in removed
            and (other.interface, other.prefix) == (address.interface, address.prefix)
            and _network(other.address, other.prefix) == network
        ]
        if lost:
            rule = (
                f"removing it would take {', '.join(lost)} along: "
                f"set net.ipv4.conf.{address.interface}.promote_secondaries to 1 first"
            )
            findings.problem("address", rule, show_address(address.address))


def _warn_of_marks(request: Request, live: Live, kept: Sequence[Address], findings: Findings) -> None:
    if live.marks or not (request.purge or request.absent or kept):
        return
    rule = (
        "this kernel does not keep who added an address (Linux 5.18 does): addresses that are there already are left "
        "as they are, purge removes nothing, and state absent removes exactly the address, prefix and interface it is "
        "given"
    )
    findings.warning("purge" if request.purge else "address", rule)
