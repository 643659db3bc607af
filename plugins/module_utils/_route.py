# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Which routing rules and routes a task wants and which steps lead there: parsing and planning, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

from . import _values
from ._errors import BadValue, Findings, Path, Place, at
from ._rtnl import Link
from ._rtnl_route import FULL_MASK, IPV6_METRIC, MAIN, Hop, Prefix, Route, Rule
from ._values import Field, show_address

MAX_POLICIES = 1_000
MAX_ROUTES = 1_000
#: Our range of tables; a table of it has its own number as the priority of its rules.
OWN_TABLES = range(7600, 7700)
TABLE = OWN_TABLES[0]
#: The kernel's own rules have the priorities 0 (local), 32766 (main) and 32767 (default).
LAST_PRIORITY = 32765
#: RT_TABLE_DEFAULT, RT_TABLE_MAIN and RT_TABLE_LOCAL (linux/rtnetlink.h); 0 is none.
RESERVED_TABLES = (253, 254, 255)
IP_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
LENGTHS = {"ipv4": 4, "ipv6": 16}
SELECTORS = ("from", "to", "iif", "ip_protocol", "source_port", "destination_port", "fwmark")


def _prefix(value: object) -> Prefix:
    """A network in the form ``192.0.2.0/24``, or an address."""
    written, slash, length = _values.text(value).partition("/")
    packed = _values.address(written)
    bits = len(packed) * 8
    prefix = Prefix(packed, _values.integer(0, bits)(length) if slash else bits)
    if int.from_bytes(packed, "big") & ((1 << (bits - prefix.length)) - 1):
        raise BadValue("has bits set beyond its prefix length")
    return prefix


def _table(value: object) -> int:
    if value == "main":
        return MAIN
    try:
        number = int(_values.integer(1, FULL_MASK)(value))
    except BadValue as error:
        raise BadValue(f"{error}, or main; names of tables are not looked up") from None
    if number in RESERVED_TABLES:
        raise BadValue("must not be a table of the kernel's own (253, 254, 255); for host routes there say main")
    return number


def _port_range(value: object) -> tuple[int, int]:
    """A port, or two of them as ``8000-8099``."""
    port = _values.integer(1, 65535)
    if not isinstance(value, str) or "-" not in value:
        return port(value), port(value)
    first, dummy, last = value.partition("-")
    if port(first) > port(last):
        raise BadValue("must be a range of ports from the lower to the higher")
    return port(first), port(last)


def _as_given(value: object) -> object:
    return value


ROUTE_FIELDS = (
    Field("to", _prefix),
    Field("type", _values.choice("unicast", "blackhole", "unreachable", "prohibit")),
    Field("via", _values.address),
    Field("device", _values.interface),
    Field("source", _values.unicast),
    Field("metric", _values.integer(0, FULL_MASK)),
)
POLICY_FIELDS = (
    Field("name", _values.text),
    Field("family", _values.choice(*LENGTHS)),
    Field("table", _table),
    Field("priority", _values.integer(1, LAST_PRIORITY)),
    Field("from", _prefix),
    Field("to", _prefix),
    Field("iif", _values.interface),
    Field("ip_protocol", _values.choice(*IP_PROTOCOLS)),
    Field("source_port", _port_range),
    Field("destination_port", _port_range),
    Field("fwmark", _values.integer(1, FULL_MASK)),
    Field("fwmask", _values.integer(1, FULL_MASK)),
    Field("routes", _as_given),
    Field("direct", _values.list_of(_prefix)),
)


class Policy(NamedTuple):
    """A rule (``None`` for routes of the main table) and the routes of its table. ``routes`` end with those of the
    prefixes that stay direct, and ``paths`` say where the task names each.
    """

    path: Place
    name: str
    rule: Optional[Rule]
    routes: tuple[Route, ...]
    paths: tuple[Path, ...]

    @property
    def table(self) -> tuple[int, int]:
        """The length of the addresses of its family, and the table."""
        first = self.rule or self.routes[0]
        return first.length, first.table


class Request(NamedTuple):
    """What the task asks for."""

    policies: tuple[Policy, ...]
    absent: bool
    purge: bool
    force: bool


class Flow(NamedTuple):
    """The packets to the client that the task came from."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int


class Live(NamedTuple):
    """What the host has. ``held`` are its own addresses, ``hops`` the ways to the gateways that the task names, by
    address and device, ``strict`` the interfaces with strict reverse path filtering, ``removers`` the options by which
    systemd-networkd takes away what it does not know.
    """

    links: Mapping[str, Link]
    rules: Sequence[Rule]
    routes: Sequence[Route]
    held: frozenset[bytes]
    hops: Mapping[tuple[bytes, str], Optional[Hop]]
    strict: frozenset[str] = frozenset()
    management: Optional[Flow] = None
    removers: Sequence[str] = ()


class Step(NamedTuple):
    """One change. ``verb`` is add, replace or remove."""

    verb: str
    subject: Union[Rule, Route]

    def __str__(self) -> str:
        return f"{self.verb} {line(self.subject)}"


class Plan(NamedTuple):
    """The steps in order, removals last; what somebody else has of it already; and our rules and routes before and
    after.
    """

    steps: tuple[Step, ...]
    kept: tuple[Union[Rule, Route], ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


def line(subject: Union[Rule, Route]) -> str:
    """``rule from 198.51.100.21 lookup 7600 priority 7600``: what ``ip rule add`` and ``ip route add`` take."""
    family = "-6 " if subject.length == 16 else ""
    return family + (_rule_line(subject) if isinstance(subject, Rule) else _route_line(subject))


def _rule_line(rule: Rule) -> str:
    parts = ["rule"]
    for word, prefix in (("from", rule.source), ("to", rule.destination)):
        parts += [f"{word} {prefix}"] if prefix else []
    parts += [f"iif {rule.iif}"] if rule.iif else []
    if rule.fwmark:
        mask = "" if rule.fwmask == FULL_MASK else f"/{rule.fwmask:#x}"
        parts.append(f"fwmark {rule.fwmark:#x}{mask}")
    words = {number: word for word, number in IP_PROTOCOLS.items()}
    parts += [f"ipproto {words.get(rule.ip_protocol, rule.ip_protocol)}"] if rule.ip_protocol else []
    for word, ports in (("sport", rule.source_port), ("dport", rule.destination_port)):
        parts += [f"{word} {_show_ports(ports)}"] if ports else []
    parts.append(f"lookup {_show_table(rule.table)} priority {rule.priority}")
    return " ".join(parts)


def _route_line(route: Route) -> str:
    parts = ["route", str(route.to) if route.type == "unicast" else f"{route.type} {route.to}"]
    parts += [f"via {show_address(route.via)}"] if route.via else []
    parts += [f"dev {route.device}"] if route.device else []
    parts += [f"src {show_address(route.source)}"] if route.source else []
    parts += [f"metric {route.metric}"] if route.metric != _metric(route.length) else []
    parts.append(f"table {_show_table(route.table)}")
    return " ".join(parts)


def _show_table(table: int) -> str:
    return "main" if table == MAIN else str(table)


def _show_ports(ports: tuple[int, int]) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def _metric(length: int) -> int:
    return IPV6_METRIC if length == 16 else 0


def policy_params(policy: Policy) -> dict[str, Any]:
    """The input keys that make this policy."""
    rule = policy.rule
    params: dict[str, Any] = {"name": policy.name} if policy.name else {}
    params["family"] = "ipv4" if policy.table[0] == 4 else "ipv6"
    params["table"] = "main" if rule is None else rule.table
    if rule is not None:
        words = {number: word for word, number in IP_PROTOCOLS.items()}
        ports = {"source_port": rule.source_port, "destination_port": rule.destination_port}
        params["priority"] = rule.priority
        params.update(
            {word: _full(prefix) for word, prefix in (("from", rule.source), ("to", rule.destination)) if prefix}
        )
        params.update({"iif": rule.iif} if rule.iif else {})
        params.update({"ip_protocol": words[rule.ip_protocol]} if rule.ip_protocol else {})
        params.update({name: _show_ports(pair) for name, pair in ports.items() if pair})
        params.update({"fwmark": rule.fwmark} if rule.fwmark else {})
        params.update({"fwmask": rule.fwmask} if rule.fwmask != FULL_MASK else {})
    params["routes"] = [_route_params(route) for route in policy.routes if route.type != "throw"]
    direct = [_full(route.to) for route in policy.routes if route.type == "throw"]
    params.update({"direct": direct} if direct else {})
    return params


def _route_params(route: Route) -> dict[str, Any]:
    params: dict[str, Any] = {"to": _full(route.to)}
    params.update({"type": route.type} if route.type != "unicast" else {})
    params.update({"via": show_address(route.via)} if route.via else {})
    params.update({"device": route.device} if route.device else {})
    params.update({"source": show_address(route.source)} if route.source else {})
    params.update({"metric": route.metric} if route.metric != _metric(route.length) else {})
    return params


def _full(prefix: Prefix) -> str:
    return f"{show_address(prefix.address)}/{prefix.length}"


# parsing


def parse_request(params: Mapping[str, Any], findings: Findings) -> Request:
    """The module's parameters -> :class:`Request`; every problem goes to ``findings``."""
    absent, purge = params["state"] == "absent", params["purge"] == "owned"
    force = False
    if params["force"] is not None:
        try:
            force = _values.boolean(params["force"])
        except BadValue as error:
            findings.problem("force", str(error), params["force"])
        if absent:
            findings.problem("force", "means nothing with state absent", params["force"])
    listed: Sequence[object] = ()
    if params["policies"] is not None:
        listed = _values.records(params["policies"], "policies", findings, MAX_POLICIES)
    elif not (absent and purge):
        findings.problem("policies", "is required")
    parsed = [_parse_policy(item, at("policies", i), absent, findings) for i, item in enumerate(listed)]
    policies = tuple(policy for policy in parsed if policy is not None)
    _check_duplicates(policies, findings)
    return Request(policies, absent, purge, force)


def _parse_policy(item: object, path: Place, absent: bool, findings: Findings) -> Optional[Policy]:
    given = _values.record(POLICY_FIELDS, item, path, findings)
    if given is None or not isinstance(item, Mapping):
        return None
    listed = _values.records(given.get("routes", ()), at(path, "routes"), findings, MAX_ROUTES)
    routes = [_values.record(ROUTE_FIELDS, route, at(path, "routes", i), findings) for i, route in enumerate(listed)]
    found = [route for route in routes if route is not None]
    length = _length(item, given, found, path, findings)
    main = given.get("table", MAIN if "table" in item else TABLE) == MAIN
    if "table" not in item or "table" in given:
        _check_rule(item, given, main, path, findings)
    if not listed and not absent:
        findings.problem(at(path, "routes"), "is required, at least one")
    if length is None:
        return None
    table = MAIN if main else given.get("table", TABLE)
    made = [
        _make_route(route, length, table, at(path, "routes", i), findings)
        for i, route in enumerate(routes)
        if route is not None
    ]
    paths = [at(path, "routes", i) for i, route in enumerate(routes) if route is not None]
    direct: tuple[Prefix, ...] = given.get("direct", ())
    made += [Route(table, prefix, "throw", metric=_metric(length)) for prefix in direct]
    paths += [at(path, "direct", i) for i in range(len(direct))]
    rule = None if main else _make_rule(given, length, table)
    if rule is None and not made:
        return None
    return Policy(path, given.get("name", ""), rule, tuple(made), tuple(paths))


def _length(
    item: Mapping[str, Any],
    given: Mapping[str, Any],
    routes: Sequence[Mapping[str, Any]],
    path: Place,
    findings: Findings,
) -> Optional[int]:
    """The length of the addresses of the policy's family, which all of them must share."""
    said: list[tuple[Path, int]] = [(at("family"), LENGTHS[given["family"]])] if "family" in given else []
    said += [(at(name), len(given[name].address)) for name in ("from", "to") if name in given]
    for i, route in enumerate(routes):
        said += [(at("routes", i, "to"), len(route["to"].address))] if "to" in route else []
        said += [(at("routes", i, name), len(route[name])) for name in ("via", "source") if name in route]
    said += [(at("direct", i), len(prefix.address)) for i, prefix in enumerate(given.get("direct", ()))]
    if not said:
        if "family" not in item:
            findings.problem(at(path, "family"), "is required where no address tells it")
        return None
    first, length = said[0]
    for place, other in said[1:]:
        if other != length:
            findings.problem(at(path, *place), f"must be of the same family as {first}")
    return length if all(other == length for dummy, other in said) else None


def _check_rule(item: Mapping[str, Any], given: Mapping[str, Any], main: bool, path: Place, findings: Findings) -> None:
    if main:
        for name in (*SELECTORS, "fwmask", "priority", "direct"):
            if name in item:
                findings.problem(at(path, name), "means nothing with table main, which has no rule")
        return
    if not any(name in item for name in SELECTORS):
        findings.problem(path, f"a rule needs one of {', '.join(SELECTORS)}, or it takes every packet")
    for name in ("from", "to"):
        if name in given and not given[name].length:
            findings.problem(at(path, name), "takes every packet: leave it out", _full(given[name]))
    if "fwmask" in given:
        if "fwmark" not in item:
            findings.problem(at(path, "fwmask"), "needs fwmark", given["fwmask"])
        elif "fwmark" in given and given["fwmark"] & ~given["fwmask"]:
            findings.problem(at(path, "fwmask"), "hides bits of fwmark, so that nothing matches", given["fwmask"])


def _make_rule(given: Mapping[str, Any], length: int, table: int) -> Rule:
    return Rule(
        length=length,
        priority=given.get("priority", table if table in OWN_TABLES else TABLE),
        table=table,
        source=given.get("from"),
        destination=given.get("to"),
        iif=given.get("iif", ""),
        ip_protocol=IP_PROTOCOLS.get(given.get("ip_protocol", ""), 0),
        source_port=given.get("source_port"),
        destination_port=given.get("destination_port"),
        fwmark=given.get("fwmark", 0),
        fwmask=given.get("fwmask", FULL_MASK),
    )


def _make_route(given: Mapping[str, Any], length: int, table: int, path: Place, findings: Findings) -> Route:
    route = Route(
        table=table,
        to=given.get("to", Prefix(b"\0" * length, 0)),
        type=given.get("type", "unicast"),
        via=given.get("via", b""),
        device=given.get("device", ""),
        source=given.get("source", b""),
        metric=given.get("metric", 0) or _metric(length),
    )
    if route.type == "unicast":
        if not (route.via or route.device):
            findings.problem(path, "needs via or device")
    else:
        for name in ("via", "device", "source"):
            if name in given:
                findings.problem(at(path, name), f"means nothing with type {route.type}")
    if route.via:
        _check_gateway(route, path, findings)
    if table == MAIN and not route.to.length:
        rule = "a default route of the main table is not this module's to change: name the prefix"
        findings.problem(at(path, "to"), rule, _full(route.to))
    return route


def _check_gateway(route: Route, path: Place, findings: Findings) -> None:
    if route.via[:1] == b"\xfe" and len(route.via) == 16 and route.via[1] & 0xC0 == 0x80:
        if not route.device:
            findings.problem(at(path, "device"), "is required for a link-local gateway")
        return
    try:
        _values.unicast(show_address(route.via))
    except BadValue as error:
        findings.problem(at(path, "via"), str(error), show_address(route.via))


def _check_duplicates(policies: Sequence[Policy], findings: Findings) -> None:
    rules: dict[Rule, Policy] = {}
    routes: dict[Any, tuple[Policy, Path, Route]] = {}
    for policy in policies:
        if policy.rule is not None:
            first = rules.setdefault(policy.rule._replace(table=0), policy)
            if first is not policy and first.rule is not None:
                same = first.rule.table == policy.rule.table
                what = "duplicate of" if same else "has the rule, to another table, of"
                findings.problem(policy.path, f"{what} {first.path}")
        for path, route in zip(policy.paths, policy.routes):
            of, where, known = routes.setdefault(route.key, (policy, path, route))
            if known is route or (known == route and of is not policy):
                continue  # a table may serve several rules
            what = "duplicate of" if known == route else "has the destination, table and metric, but another way, of"
            findings.problem(path, f"{what} {where}", _full(route.to))


# planning


def gateways(request: Request) -> list[tuple[bytes, str]]:
    """The gateways of the task, each with the device by which to look for it: "" where the address tells."""
    wanted: dict[tuple[bytes, str], None] = {}
    for policy in request.policies:
        for route in policy.routes:
            if route.via and not request.absent:
                wanted[_gateway(route)] = None
    return list(wanted)


def _gateway(route: Route) -> tuple[bytes, str]:
    # asked by a device, IPv4 takes every address for a neighbour
    link_local = len(route.via) == 16 and route.via[0] == 0xFE
    return route.via, route.device if link_local else ""


def make_plan(request: Request, live: Live, findings: Findings) -> Plan:
    """The steps from what the host has to what the task wants. What this host forbids goes to ``findings``."""
    rules = [rule for rule in live.rules if rule.ours]
    routes = {route.key: route for route in live.routes if route.ours}
    if request.absent:
        stale_rules, stale_routes = _going(request, rules, routes)
        added: list[Step] = []
        kept: list[Union[Rule, Route]] = []
    else:
        added, kept = _coming(request, live, findings)
        stale_rules, stale_routes = [], []
    if request.purge:
        wanted_rules = {policy.rule for policy in request.policies}
        wanted_routes = {route.key for policy in request.policies for route in policy.routes}
        stale_rules = [rule for rule in rules if request.absent or rule not in wanted_rules]
        stale_routes = [route for key, route in routes.items() if request.absent or key not in wanted_routes]
        if (stale_rules or stale_routes) and not request.policies and not request.absent:
            total = len(stale_rules) + len(stale_routes)
            rule = f"is empty and purge would remove all {total} rules and routes: say so with state absent"
            findings.problem("policies", rule, [])
    steps = added + [Step("remove", rule) for rule in stale_rules] + [Step("remove", route) for route in stale_routes]
    before: list[Union[Rule, Route]] = [*rules, *routes.values()]
    replaced = {step.subject.key for step in added if isinstance(step.subject, Route)}
    gone = [*stale_rules, *stale_routes, *(route for key, route in routes.items() if key in replaced)]
    after = [one for one in before if one not in gone] + [step.subject for step in added]
    return Plan(tuple(steps), tuple(kept), _lines(before), _lines(after))


def _lines(subjects: Sequence[Union[Rule, Route]]) -> tuple[str, ...]:
    return tuple(sorted((line(subject) for subject in subjects), key=lambda text: (text.startswith("-6"), text)))


def _going(request: Request, rules: Sequence[Rule], routes: Mapping[Any, Route]) -> tuple[list[Rule], list[Route]]:
    """What of ours a task with state absent removes. The routes of a table go with the last of its rules."""
    wanted = {policy.rule for policy in request.policies}
    stale = [rule for rule in rules if rule in wanted]
    left = {(rule.length, rule.table) for rule in rules if rule not in wanted}
    tables = {policy.table for policy in request.policies if policy.rule is not None} - left
    named = {route.key for policy in request.policies if policy.rule is None for route in policy.routes}
    going = [route for key, route in routes.items() if key in named or (route.length, route.table) in tables]
    return stale, going


def _coming(request: Request, live: Live, findings: Findings) -> tuple[list[Step], list[Union[Rule, Route]]]:
    """The steps of a task with state present, and what it finds in other hands."""
    found = {route.key: route for route in live.routes}
    ours = {route.key: route for route in live.routes if route.ours}
    route_steps: dict[Step, None] = {}
    rule_steps: list[Step] = []
    kept: dict[Union[Rule, Route], None] = {}
    if request.policies and live.removers:
        switched = " and ".join(f"{option}=no" for option in live.removers)
        rule = f"systemd-networkd takes away what it does not know when it restarts: set {switched} in networkd.conf"
        findings.warning("policies", rule)
    for policy in request.policies:
        mine: list[Union[Rule, Route]] = []
        for path, route in zip(policy.paths, policy.routes):
            other = found.get(route.key)
            step = Step("replace" if route.key in ours else "add", route._replace(device=_device(route, live)))
            if route.key in ours:
                if not _satisfies(ours[route.key], route):
                    mine.append(route)
                    route_steps[step] = None
            elif other is None:
                mine.append(route)
                route_steps[step] = None
            elif _satisfies(other, route):
                kept[other] = None
            else:
                rule = f"somebody else has a route there: {line(other)}"
                findings.problem(at(path, "to"), rule, _full(route.to))
            if route in mine:
                _check_route(route, path, live, findings)
        if policy.rule is not None and policy.rule not in live.rules:
            same = [rule for rule in live.rules if rule._replace(protocol=policy.rule.protocol) == policy.rule]
            if same:
                kept[same[0]] = None
            else:
                mine.append(policy.rule)
                rule_steps.append(Step("add", policy.rule))
                _check_new_rule(policy, policy.rule, live, findings)
        if mine and not request.force:
            _check_management(policy, mine, request, live, findings)
    return [*route_steps, *rule_steps], list(kept)


def _satisfies(route: Route, wish: Route) -> bool:
    """Whether a route is what the wish asks for, which may leave the device to the kernel."""
    device = wish.device or route.device
    return route._replace(protocol=wish.protocol) == wish._replace(device=device)


def _check_route(route: Route, path: Place, live: Live, findings: Findings) -> None:
    if route.device:
        _check_interface(route.device, at(path, "device"), live, findings)
    if route.source and route.source not in live.held:
        findings.problem(at(path, "source"), "is not an address of this host", show_address(route.source))
    if not route.via or (route.device and route.device not in live.links):
        return
    hop = live.hops.get(_gateway(route))
    shown = show_address(route.via)
    if hop is not None and hop.local:
        findings.problem(at(path, "via"), "is an address of this host itself", shown)
    elif hop is None or not hop.direct:
        findings.problem(at(path, "via"), "is not a neighbour: a gateway must be on a network of this host", shown)
    elif route.device not in ("", hop.device):
        findings.problem(at(path, "via"), f"is a neighbour on {hop.device}, not on {route.device}", shown)


def _check_interface(name: str, path: Place, live: Live, findings: Findings) -> None:
    if name not in live.links:
        findings.problem(path, f"no such interface; known: {', '.join(sorted(live.links))}", name)


def _check_new_rule(policy: Policy, rule: Rule, live: Live, findings: Findings) -> None:
    path = policy.path
    if rule.iif:
        _check_interface(rule.iif, at(path, "iif"), live, findings)
    for other in live.rules:
        if not other.ours and (other.length, other.priority) == (rule.length, rule.priority):
            told = f"a rule of somebody else has it ({line(other)}): which comes first is not certain"
            findings.problem(at(path, "priority"), told, rule.priority)
            break
    narrow = rule.iif or rule.ip_protocol or rule.source_port or rule.destination_port or rule.fwmark
    devices = {_device(route, live) for route in policy.routes}
    strict = sorted(devices & live.strict)
    if narrow and strict and rule.length == 4:
        told = (
            f"strict reverse path filtering (rp_filter 1 on {', '.join(strict)}) may drop requests whose way back only "
            "this rule knows: set rp_filter to 2"
        )
        findings.warning(path, told)


def _device(route: Route, live: Live) -> str:
    """The device of a route, which its gateway tells where the task does not."""
    hop = live.hops.get(_gateway(route)) if route.via else None
    return route.device or (hop.device if hop else "")


def _check_management(
    policy: Policy, mine: Sequence[Union[Rule, Route]], request: Request, live: Live, findings: Findings
) -> None:
    """Refuse what would send the answers to the task's own client another way."""
    flow = live.management
    if flow is None or len(flow.source) != policy.table[0] or not _takes(policy.rule, flow):
        return
    routes = [route for other in request.policies for route in other.routes if other.table == policy.table]
    best = max((route for route in routes if route.to.holds(flow.destination)), key=_preference, default=None)
    if best is None or best.type == "throw" or not (best in mine or policy.rule in mine):
        return
    client = show_address(flow.destination)
    rule = (
        f"takes the connection of this task to {client}: narrow the rule, name {client} in direct, or say force"
        if policy.rule is not None
        else f"takes the connection of this task to {client}: say force if that is right"
    )
    findings.problem(policy.path, rule, line(policy.rule or best))


def _preference(route: Route) -> tuple[int, int]:
    """The kernel takes the longest prefix, and of these the smallest metric."""
    return route.to.length, -route.metric


def _takes(rule: Optional[Rule], flow: Flow) -> bool:
    """Whether a rule looks at packets of this host's own to the client. One by mark or by interface does not: they
    have none.
    """
    if rule is None:
        return True
    ports = ((rule.source_port, flow.source_port), (rule.destination_port, flow.destination_port))
    return (
        not rule.fwmark
        and rule.iif in ("", "lo")
        and (rule.source is None or rule.source.holds(flow.source))
        and (rule.destination is None or rule.destination.holds(flow.destination))
        and rule.ip_protocol in (0, IP_PROTOCOLS["tcp"])
        and all(pair is None or pair[0] <= port <= pair[1] for pair, port in ports)
    )
