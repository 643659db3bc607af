# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Which tunnel devices, and dummy devices for VIPs, a task wants and which steps lead there: parsing and planning,
without any I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional, Union

from . import _values
from ._errors import Findings, Place, at
from ._rtnl_tunnel import Device
from ._values import KEEP_FORMER, Field, show_address

MAX_TUNNELS = 1_000
MAX_PORTS = 64
#: The devices that the kernel makes by itself: no task may take them over.
FALLBACK_DEVICES = frozenset(
    (
        "tunl0",
        "sit0",
        "ip6tnl0",
        "gre0",
        "gretap0",
        "erspan0",
        "ip6gre0",
        "ip6gretap0",
        "ip6erspan0",
        "ip_vti0",
        "ip6_vti0",
    )
)
#: Links have no protocol number as addresses have: the alias says that a device is ours, that its packets come in GUE
#: as well, and which listeners were added for it: ``l4lb.ipvs gue 6080``.
MARK = "l4lb.ipvs"
GUE = "gue"
#: The type that receives nothing: a place for VIPs that no other host asks for addresses.
DUMMY = "dummy"
IPPROTO_IPIP = 4
IPPROTO_IPV6 = 41


class Receiver(NamedTuple):
    """What receives a kind of packet: the kind of ``ip link add type``, its inner protocol (``None``: it takes no
    such option) and its kernel module.
    """

    kind: str
    protocol: Optional[int]
    module: str


#: By what arrives, length of the outer address, and inner family. sit, for all its name, takes IPv4 in IPv4 as well
#: (sit.c, ipip_rcv).
RECEIVERS = {
    ("ipip", 4, "any"): Receiver("sit", 0, "sit"),
    ("ipip", 4, "ipv4"): Receiver("ipip", IPPROTO_IPIP, "ipip"),
    ("ipip", 4, "ipv6"): Receiver("sit", IPPROTO_IPV6, "sit"),
    ("ipip", 16, "any"): Receiver("ip6tnl", 0, "ip6_tunnel"),
    ("ipip", 16, "ipv4"): Receiver("ip6tnl", IPPROTO_IPIP, "ip6_tunnel"),
    ("ipip", 16, "ipv6"): Receiver("ip6tnl", IPPROTO_IPV6, "ip6_tunnel"),
    ("gre", 4, "any"): Receiver("gre", None, "ip_gre"),
    ("gre", 16, "any"): Receiver("ip6gre", None, "ip6_gre"),
    (DUMMY, 0, "any"): Receiver("dummy", None, "dummy"),
}
#: What the GUE listener needs besides, for IPv6 too (fou6 is for sending).
LISTENER_MODULE = "fou"
#: The words of ``ip link add``.
MODES = {
    ("ipip", IPPROTO_IPIP): " mode ipip",
    ("sit", 0): " mode any",
    ("sit", IPPROTO_IPV6): " mode ip6ip",
    ("ip6tnl", 0): " mode any",
    ("ip6tnl", IPPROTO_IPIP): " mode ipip6",
    ("ip6tnl", IPPROTO_IPV6): " mode ip6ip6",
}


def _port(value: object) -> int:
    return int(_values.integer(1, 65535)(value))


TUNNEL_FIELDS = (
    Field("name", _values.interface, required=True),
    Field("type", _values.choice("ipip", "gre", GUE, DUMMY)),
    Field("local", _values.unicast),
    Field("remote", _values.unicast),
    Field("family", _values.choice("ipv4", "ipv6", "any")),
    Field("ports", _values.list_of(_port)),
    Field("checksum", _values.choice("none", "csum", "remcsum")),
)


class Tunnel(NamedTuple):
    """A tunnel or dummy as a task names it. ``type`` is empty where the name is all that is told; ``local`` and
    ``remote`` are packed addresses (``remote`` is b"" for any), ``family`` is that of the inner packets.
    """

    name: str
    type: str = ""
    local: bytes = b""
    remote: bytes = b""
    family: str = "any"
    ports: tuple[int, ...] = ()
    checksum: str = "none"

    @property
    def arrival(self) -> tuple[str, int, str]:
        """By what :data:`RECEIVERS` knows its device; the kernel unpacks GUE into IP in IP."""
        return "ipip" if self.type == GUE else self.type, len(self.local), self.family

    @property
    def receiver(self) -> Receiver:
        return RECEIVERS[self.arrival]

    @property
    def modules(self) -> tuple[str, ...]:
        """The kernel modules that it needs."""
        return (self.receiver.module, *([LISTENER_MODULE] if self.type == GUE else []))

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return tuple(Listener(len(self.local), port) for port in self.ports)

    def device(self, ours: Sequence[Listener], former: Sequence[Listener] = ()) -> Device:
        """The device, up, with those of its listeners in its alias that are ``ours``, and ``former`` ones."""
        listeners = [*(one for one in self.listeners if one in ours), *former]
        words = [MARK] + ([GUE, *(str(one.port) for one in listeners)] if self.type == GUE or former else [])
        receiver = self.receiver
        return Device(
            name=self.name,
            kind=receiver.kind,
            local=self.local,
            remote=self.remote,
            protocol=receiver.protocol,
            checksum=self.type == "gre" and self.checksum == "csum",
            alias=" ".join(words),
            up=True,
        )


class Listener(NamedTuple):
    """A UDP port that takes GUE, on all addresses of a family (4: IPv4, 16: IPv6, as the length of an address)."""

    length: int
    port: int

    def __str__(self) -> str:
        return f"fou port {self.port} gue{' -6' if self.length == 16 else ''}"


class Wish(NamedTuple):
    """One tunnel that the task names and where it names it."""

    path: Place
    tunnel: Tunnel


class Request(NamedTuple):
    """What the task asks for."""

    wishes: tuple[Wish, ...]
    absent: bool
    purge: bool
    #: Whether ports that a listed tunnel had before stay.
    keep_former: bool = False
    #: The interfaces that the purge looks at; None: all.
    purge_interfaces: Optional[frozenset[str]] = None

    def purges(self, name: str) -> bool:
        """Whether the purge removes the device, which is ours, unless the task names it."""
        return self.purge and (self.purge_interfaces is None or name in self.purge_interfaces)


class Live(NamedTuple):
    """What the host has. ``devices`` are all interfaces by name; ``held`` are its own addresses; ``foreign`` are the
    addresses of somebody else by the interface that holds them, ``vips`` all others, but for those that the kernel
    gives by itself; ``listeners`` are the listeners by what they take: true for plain GUE from everywhere.
    """

    devices: Mapping[str, Device]
    held: frozenset[bytes]
    foreign: Mapping[str, Sequence[str]]
    vips: Mapping[str, Sequence[str]]
    listeners: Mapping[Listener, bool]


class Step(NamedTuple):
    """One change. ``verb`` is add, set or remove."""

    verb: str
    subject: Union[Device, Listener]

    def __str__(self) -> str:
        if isinstance(self.subject, Listener):
            return f"{self.verb} {self.subject}"
        if self.verb == "remove":
            return f"remove link {self.subject.name}"
        return f"{self.verb} link {device_line(self.subject)}"


class Plan(NamedTuple):
    """The steps in order, removals last; the listeners of somebody else that are used; and our devices before and
    after.
    """

    steps: tuple[Step, ...]
    kept: tuple[Listener, ...]
    before: tuple[Device, ...]
    after: tuple[Device, ...]


def device_line(device: Device) -> str:
    """``ipvs4 type sit mode any local 198.51.100.11 remote any up``: what ``ip link add`` takes, and the listeners."""
    mode = "" if device.protocol is None else MODES.get((device.kind, device.protocol), f" mode {device.protocol}")
    parts = [f"{device.name} type {device.kind}{mode}"]
    parts += [
        f"{word} {show_address(end) if end else 'any'}"
        for word, end in (("local", device.local), ("remote", device.remote))
        if device.kind != DUMMY
    ]
    parts += ["icsum"] if device.checksum else []
    parts += [" ".join(device.alias.split()[1:])] if device.alias != MARK else []
    parts.append("up" if device.up else "down")
    return " ".join(parts)


def tunnel_params(tunnel: Tunnel) -> dict[str, Any]:
    """The input keys that make this tunnel, those at their defaults left out."""
    params: dict[str, Any] = {"name": tunnel.name}
    if tunnel.type:
        params["type"] = tunnel.type
    if tunnel.local:
        params["local"] = show_address(tunnel.local)
    if tunnel.remote:
        params["remote"] = show_address(tunnel.remote)
    if tunnel.family != "any":
        params["family"] = tunnel.family
    if tunnel.ports:
        params["ports"] = list(tunnel.ports)
    if tunnel.checksum != "none":
        params["checksum"] = tunnel.checksum
    return params


def parse_request(params: Mapping[str, Any], findings: Findings) -> Request:
    """The module's parameters -> :class:`Request`; every problem goes to ``findings``."""
    absent, purge = params["state"] == "absent", params["purge"] == "owned"
    _values.refuse_with_absent(params, KEEP_FORMER, findings)
    listed: Sequence[object] = ()
    if params["tunnels"] is not None:
        listed = _values.records(params["tunnels"], "tunnels", findings, MAX_TUNNELS)
    elif not (absent and purge):
        findings.problem("tunnels", "is required")
    wishes: list[Wish] = []
    for i, item in enumerate(listed):
        tunnel = _parse_tunnel(item, at("tunnels", i), absent, findings)
        if tunnel is not None:
            wishes.append(Wish(at("tunnels", i), tunnel))
    _check_duplicates(wishes, absent, findings)
    looked_at = _values.purge_interfaces(params["purge_interfaces"], purge, findings)
    return Request(tuple(wishes), absent, purge, params["keep_former"], looked_at)


def _parse_tunnel(item: object, path: Place, absent: bool, findings: Findings) -> Optional[Tunnel]:
    given = _values.record(TUNNEL_FIELDS, item, path, findings)
    if given is None or not isinstance(item, Mapping):
        return None
    required = () if absent else ("type",) if given.get("type") == DUMMY else ("type", "local")
    for name in required:
        if name not in item:
            findings.problem(at(path, name), "is required")
    if given.get("name") in FALLBACK_DEVICES:
        findings.problem(at(path, "name"), "is a device of the kernel's own: give another name", given["name"])
    if "name" not in given or not set(required) <= set(given):
        return None
    tunnel = Tunnel(**given)
    if "type" in given:
        _check_options(tunnel, given, item, path, findings)
    if tunnel.remote and tunnel.local:
        if len(tunnel.remote) != len(tunnel.local):
            findings.problem(at(path, "remote"), "must be of the same family as local", show_address(tunnel.remote))
        elif tunnel.remote == tunnel.local:
            findings.problem(at(path, "remote"), "must differ from local", show_address(tunnel.remote))
    if tunnel.local and _values.is_loopback(tunnel.local):
        findings.problem(at(path, "local"), "must not be a loopback address", show_address(tunnel.local))
    return tunnel


def _check_options(
    tunnel: Tunnel, given: Mapping[str, Any], item: Mapping[str, Any], path: Place, findings: Findings
) -> None:
    for name in ("local", "remote", "family") if tunnel.type == DUMMY else ():
        if name in given:
            findings.problem(at(path, name), "is for tunnels: a dummy receives nothing", item[name])
    if tunnel.type == "gre" and tunnel.family != "any":
        findings.problem(at(path, "family"), "a gre device takes both families: leave it out", tunnel.family)
    if tunnel.type == GUE:
        if not tunnel.ports and ("ports" in given or "ports" not in item):
            findings.problem(at(path, "ports"), "is required with type gue, at least one")
        if len(tunnel.ports) > MAX_PORTS:
            findings.problem(at(path, "ports"), f"must have at most {MAX_PORTS} items (has {len(tunnel.ports)})")
        if len(set(tunnel.ports)) != len(tunnel.ports):
            findings.problem(at(path, "ports"), "must not name a thing twice", list(tunnel.ports))
    elif "ports" in given:
        findings.problem(at(path, "ports"), "is for type gue", list(tunnel.ports))
    if "checksum" in given and tunnel.type not in ("gre", GUE):
        findings.problem(at(path, "checksum"), "is for types gre and gue", tunnel.checksum)
    if tunnel.type == "gre" and tunnel.checksum == "remcsum":
        findings.problem(at(path, "checksum"), "must be none or csum with type gre", tunnel.checksum)


def _check_duplicates(wishes: Sequence[Wish], absent: bool, findings: Findings) -> None:
    names: dict[str, Place] = {}
    ends: dict[tuple[Any, ...], Place] = {}
    for path, tunnel in wishes:
        first = names.setdefault(tunnel.name, path)
        if first != path:
            findings.problem(at(path, "name"), f"duplicate of {first}", tunnel.name)
        if absent or first != path or tunnel.arrival not in RECEIVERS:
            continue
        first = ends.setdefault(_ends(tunnel.device(())), path)
        if first != path:
            rule = (
                f"the kernel allows one device with these ends, and {first} has them: a gue tunnel takes ipip as well"
            )
            findings.problem(at(path, "local"), rule, show_address(tunnel.local))


def _ends(device: Device) -> tuple[Any, ...]:
    """By what the kernel tells the devices of a kind apart (ip_tunnel_find and its like); a dummy has but its name."""
    return device.kind, device.local or device.name, device.remote


def is_ours(device: Device) -> bool:
    return device.alias.split()[:1] == [MARK]


def _own_listeners(device: Device) -> list[Listener]:
    """The listeners that were added for this device."""
    words = device.alias.split()
    if words[1:2] != [GUE]:
        return []
    return [Listener(len(device.local), int(word)) for word in words[2:] if word.isdigit()]


def make_plan(request: Request, live: Live, known: Callable[[str], bool], findings: Findings) -> Plan:
    """The steps from what the host has to what the task wants. What this host forbids goes to ``findings``. ``known``
    tells whether the kernel has a module.
    """
    ours = {name: device for name, device in live.devices.items() if is_ours(device)}
    owned = {listener for device in ours.values() for listener in _own_listeners(device)}
    listed = {wish.tunnel.name for wish in request.wishes}
    after = dict(ours)
    kept: list[Listener] = []
    added: list[Step] = []
    wanted: dict[Listener, None] = {}
    for wish in request.wishes:
        tunnel = wish.tunnel
        found = live.devices.get(tunnel.name)
        if request.absent:
            after.pop(tunnel.name, None)
            continue
        _check_host(wish, live, known, findings)
        for listener in tunnel.listeners:
            plain = live.listeners.get(listener)
            if plain is False:
                rule = f"UDP port {listener.port} is a listener of somebody else that takes something else"
                findings.problem(at(wish.path, "ports"), rule, listener.port)
            if plain is None or listener in owned:
                wanted[listener] = None
            elif listener not in kept:
                kept.append(listener)
        former: list[Listener] = []
        if request.keep_former and found and is_ours(found):
            former = [one for one in _own_listeners(found) if one not in tunnel.listeners]
        device = tunnel.device(list(wanted), former)
        if found is None:
            _check_addition(wish, device, live, findings)
            added.append(Step("add", device))
        elif not is_ours(found):
            findings.problem(
                at(wish.path, "name"), f"is a device of somebody else (kind {found.kind or 'none'})", tunnel.name
            )
        else:
            _check_change(wish, found, device, findings)
            if found != device:
                added.append(Step("set", device))
        after[tunnel.name] = device
    stale = [name for name in ours if name not in listed and request.purges(name)]
    if stale and not request.wishes and not request.absent:
        findings.problem("tunnels", f"is empty and purge would remove all {len(stale)}: say so with state absent", [])
    for name in stale:
        del after[name]
    removed = [device for name, device in sorted(ours.items()) if name not in after]
    _check_removals(removed, live, findings)
    left = {listener for device in after.values() for listener in _own_listeners(device)}
    steps = added
    steps += [Step("add", listener) for listener in wanted if listener not in live.listeners]
    steps += [Step("remove", listener) for listener in sorted(owned - left) if listener in live.listeners]
    steps += [Step("remove", device) for device in removed]
    return Plan(tuple(steps), tuple(kept), _sorted(ours), _sorted(after))


def _sorted(devices: Mapping[str, Device]) -> tuple[Device, ...]:
    return tuple(device for dummy, device in sorted(devices.items()))


def _check_host(wish: Wish, live: Live, known: Callable[[str], bool], findings: Findings) -> None:
    path, tunnel = wish
    if tunnel.local and tunnel.local not in live.held:
        rule = "is not an address of this host, so that nothing sent to it arrives here"
        findings.problem(at(path, "local"), rule, show_address(tunnel.local))
    if tunnel.remote in live.held:
        findings.problem(at(path, "remote"), "is an address of this host itself", show_address(tunnel.remote))
    missing = [module for module in tunnel.modules if not known(module)]
    if missing:
        findings.problem(at(path, "type"), f"this kernel has no module {', '.join(missing)}", tunnel.type)


def _check_addition(wish: Wish, device: Device, live: Live, findings: Findings) -> None:
    for other in live.devices.values():
        if _ends(other) == _ends(device):
            rule = f"the kernel allows one device with these ends, and {other.name} has them"
            findings.problem(at(wish.path, "local"), rule, show_address(device.local))


def _check_change(wish: Wish, found: Device, device: Device, findings: Findings) -> None:
    same = ("kind", "local", "remote", "protocol", "checksum")
    differing = [name for name in same if getattr(found, name) != getattr(device, name)]
    if differing:
        rule = f"exists with another {', '.join(differing)}: remove the tunnel first, with state absent"
        findings.problem(at(wish.path, "name"), rule, device_line(found))


def _check_removals(removed: Sequence[Device], live: Live, findings: Findings) -> None:
    for device in removed:
        foreign, vips = live.foreign.get(device.name), live.vips.get(device.name)
        if foreign:
            rule = f"still holds {', '.join(foreign)}, which would go with it: remove the address first"
            findings.problem("tunnels", rule, device.name)
        if vips:
            findings.warning("tunnels", f"still holds {', '.join(vips)}, removed with it", device.name)
