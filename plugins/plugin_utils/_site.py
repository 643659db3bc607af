# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The order in which a run builds the directors of a fleet, the servers that it does not add yet, and its report. Pure.

Directors that share a VIP are a pair (or a larger group), and are built one after the other: those without a VIP
first. Pairs are independent of each other, and are built in waves. A VIP that moves from one pair to another joins
the two, because the one must release it right before the other takes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..module_utils import _model, _text, _values
from ..module_utils._errors import BadValue, Findings
from ..module_utils._model import FORWARDS
from ._lint import VERDICT_FACT, addresses_of
from ._marks import traffic_of
from ._reading import networks
from ._resolve import Inventory, Resolved, resolve
from ._vip_words import EXTERNAL, HOLD, STANDBY, words, words_of_vips

#: How many pairs are built at once: one to learn from, then a quarter of them, then the rest.
WAVES = (1, "25%", "100%")
#: The facts that the playbook ``site`` records of a host.
CLAIM, READING = "__ipvs_site_claim", "__ipvs_director_host"
FAILED, SKIPPED = "__ipvs_site_failed", "__ipvs_site_skipped"
DONE, KEPT = "__ipvs_site_done", "__ipvs_site_kept"
#: What the roles plan for a host.
PLANS = ("__ipvs_director_plan", "__ipvs_backend_plan")
#: The results that the roles register, by what each is about.
CHANGES = {
    "__ipvs_director_modules": "kernel modules",
    "__ipvs_director_set": "sysctls",
    "__ipvs_director_marked": "firewall marks",
    "__ipvs_director_snat": "source NAT",
    "__ipvs_director_table": "table",
    "__ipvs_director_added_vips": "VIPs",
    "__ipvs_backend_tunnels": "tunnels",
    "__ipvs_backend_set": "sysctls",
    "__ipvs_backend_clamped": "MSS clamps",
    "__ipvs_backend_added_vips": "VIPs",
    "__ipvs_backend_marked": "connection marks",
    "__ipvs_backend_routed": "return routes",
}
#: Return paths for which a NAT server needs something on its own host.
_PREPARED_RETURN_PATHS = ("gateway", "route", "policy")


class Claim(NamedTuple):
    """What the inventory wants of one director.

    :param vips: the VIPs of its services, or what names a service without one; directors that share one are a pair
    :param holds: those among them that it holds by itself
    :param external: those that something outside of this collection places, as keepalived does
    """

    vips: frozenset[str]
    holds: frozenset[str]
    external: frozenset[str]


def claim(
    resolved: Sequence[Resolved], vip: object = HOLD, names: Sequence[Optional[str]] = ()
) -> dict[str, list[str]]:
    """What a director is to carry and to hold, as plain data: the fields of :class:`Claim`, each a sorted list.

    :param resolved: the services that this director carries
    :param vip: its ``ipvs_director_vip``
    :param names: the names of all services
    :raises InvalidInput: ``vip`` or the traffic of a service by firewall mark breaks a rule
    """
    findings = Findings()
    named, unnamed = [], set()
    for one in resolved:
        traffic = traffic_of(one, findings)
        name = one.plain.get("name")
        named += [(name, address) for address in (traffic.addresses if traffic else ())]
        if traffic is None:
            unnamed.add(_model.key_text(one.entry.service.key))
    word = words_of_vips(vip, named, names, findings)
    findings.raise_problems()

    def with_word(wanted: str) -> list[str]:
        return sorted(_values.show_address(address) for address, given in word.items() if given == wanted)

    vips = sorted(unnamed | {_values.show_address(address) for address in word})
    return {"vips": vips, "holds": with_word(HOLD), "external": with_word(EXTERNAL)}


def steps(
    claims: Mapping[str, Mapping[str, Sequence[str]]],
    hosts: Mapping[str, Mapping[str, Any]],
    waves: object = WAVES,
) -> list[dict[str, Any]]:
    """The steps of building the directors, in order; what is in one step may happen at once.

    :param claims: what :func:`claim` returned, by director
    :param hosts: what ``ipvs_host_info`` returned, by director. Where there are several, one that was not read stops
        its pair.
    :param waves: the size of each wave, in pairs or as a percentage of all pairs; the last repeats
    :returns: dicts with ``build`` (director -> the directors of its pair that must be done before), ``release``
        (director -> dicts of the ``taker`` and the ``vips`` to remove for it, as ``ipvs_vip`` takes them) and
        ``earlier`` (the directors of earlier waves)
    :raises InvalidInput: ``waves`` breaks a rule
    """
    claimed = {name: Claim(*(frozenset(one[field]) for field in Claim._fields)) for name, one in claims.items()}
    live = {name: _live_vips(hosts.get(name, {})) for name in claimed}
    lost = {name for name in claimed if "interfaces" not in hosts.get(name, {})} if len(claimed) > 1 else set()
    moves = _moves(claimed, live)
    pairs = _pairs(claimed, moves)
    planned: list[dict[str, Any]] = []
    earlier: list[str] = []
    for wave in _waves(pairs, waves):
        ordered = [_ordered(names, claimed, live, moves) for names in wave]
        for place in range(max(map(len, ordered))):
            step: dict[str, Any] = {"build": {}, "release": {}, "earlier": list(earlier)}
            for pair in ordered:
                if place < len(pair):
                    taker = pair[place]
                    step["build"][taker] = [name for name in pair if name in {*pair[:place], *lost} - {taker}]
                    for loser in pair[place + 1 :]:
                        if (loser, taker) in moves:
                            released = {"taker": taker, "vips": moves[loser, taker]}
                            step["release"].setdefault(loser, []).append(released)
            planned.append(step)
        earlier += [name for pair in ordered for name in pair]
    return planned


def not_ready_servers(
    services: object, inventory: Inventory, director: Optional[str], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The servers of a director that are on hosts which are not ready for them: ``service`` and ``server`` as the
    modules take them. A NAT server that needs nothing on its host is not among them.

    :param names: the hosts that are not ready
    :raises InvalidInput: the services break a rule
    """
    findings = Findings()
    for i, name in enumerate(names):
        if name not in inventory.hostvars:
            findings.problem(f"ipvs_director_not_ready[{i}]", "is not a host of the inventory", name)
    findings.raise_problems()
    resolved = resolve(services, inventory, director)
    addresses = addresses_of(names, resolved, inventory)
    return [
        {
            "service": _text.key_params(one.entry.service.key),
            "server": {"address": _values.show_address(key.address), "port": key.port},
        }
        for one in resolved
        for key, server in sorted(one.entry.servers.items())
        if key.address in addresses and _needs_its_host(one, server)
    ]


def held(
    resolved: Sequence[Resolved], host: Mapping[str, Any], vip: object = HOLD, names: Sequence[Optional[str]] = ()
) -> list[dict[str, Any]]:
    """The plain services whose VIP a director has by one reading of it, whoever placed it there.

    :param resolved: the services that this director carries
    :param vip: its ``ipvs_director_vip``, which decides about services whose VIP is not stated
    :param names: the names of all services
    :raises InvalidInput: ``vip`` or the traffic of a service by firewall mark breaks a rule
    """
    findings = Findings()
    live = {one.address.packed for one in networks(host["interfaces"])}
    word = words(vip, [*names, *(one.plain.get("name") for one in resolved)], findings)
    kept = []
    for one in resolved:
        traffic = traffic_of(one, findings)
        here = live & set(traffic.addresses) if traffic else word[one.plain.get("name")] != STANDBY
        if here:
            kept.append(one.plain)
    findings.raise_problems()
    return kept


def _needs_its_host(service: Resolved, server: _model.Server) -> bool:
    if server.key in service.elsewhere:
        return False
    if server.forward == FORWARDS["nat"]:
        return service.return_paths[server.key] in _PREPARED_RETURN_PATHS
    return True


def _live_vips(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The addresses of a director where its VIPs may be: on interfaces that have a network of their own."""
    found = networks(host.get("interfaces", ()))
    places = {one.interface for one in found if not one.host_only} - {"lo"}
    return [
        {"address": str(one.address), "prefix": one.network.prefixlen, "interface": one.interface}
        for one in found
        if one.interface in places
    ]


def _moves(
    claimed: Mapping[str, Claim], live: Mapping[str, Sequence[dict[str, Any]]]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The live VIPs that are to move, by the director that loses them and the one that is to hold them."""
    holders: dict[str, list[str]] = {}
    for name, claim_of_it in claimed.items():
        for vip in claim_of_it.holds:
            holders.setdefault(vip, []).append(name)
    moves: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for loser, vips in live.items():
        for one in vips:
            if one["address"] not in claimed[loser].holds | claimed[loser].external:
                for gainer in holders.get(one["address"], ()):
                    moves.setdefault((loser, gainer), []).append(one)
    return moves


def _pairs(claimed: Mapping[str, Claim], moves: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The directors that share a VIP, or between which one moves, put together; each in the order of ``claimed``."""
    sharing: dict[str, list[str]] = {}
    for name, one in claimed.items():
        for vip in one.vips:
            sharing.setdefault(vip, []).append(name)
    pair_of = {name: [name] for name in claimed}
    for names in [*sharing.values(), *moves]:
        for name in names:
            first, other = pair_of[names[0]], pair_of[name]
            if first is not other:
                first += other
                pair_of.update(dict.fromkeys(other, first))
    order = {name: place for place, name in enumerate(claimed)}
    pairs = {id(pair): sorted(pair, key=order.__getitem__) for pair in pair_of.values()}
    return sorted(pairs.values(), key=lambda pair: order[pair[0]])


def _ordered(
    pair: Sequence[str],
    claimed: Mapping[str, Claim],
    live: Mapping[str, Sequence[Mapping[str, Any]]],
    moves: Iterable[tuple[str, str]],
) -> list[str]:
    """Who stands by comes first. Who loses a VIP to a director with which it shares none comes last, because until then
    it still answers for it.
    """

    def rank(name: str) -> tuple[bool, bool]:
        one = claimed[name]
        has = {vip["address"] for vip in live[name]} & one.external
        gives = any(loser == name and not one.vips & claimed[gainer].vips for loser, gainer in moves)
        return gives, bool(one.holds or has)

    return sorted(pair, key=rank)


def _waves(pairs: Sequence[list[str]], sizes: object) -> list[Sequence[list[str]]]:
    findings = Findings()
    counts = []
    listed = _values.records(sizes if isinstance(sizes, (list, tuple)) else [sizes], "ipvs_site_waves", findings, 100)
    for i, size in enumerate(listed):
        try:
            counts.append(_size(size, len(pairs)))
        except BadValue as error:
            findings.problem(f"ipvs_site_waves[{i}]", f"{error}, or a percentage", size)
    if not listed:
        findings.problem("ipvs_site_waves", "must not be empty", sizes)
    findings.raise_problems()
    waves: list[Sequence[list[str]]] = []
    rest = list(pairs)
    while rest:
        count = counts.pop(0) if len(counts) > 1 else counts[0]
        waves.append(rest[:count])
        rest = rest[count:]
    return waves


def _size(value: object, total: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return max(1, total * int(_values.integer(1, 100)(value[:-1])) // 100)
    return int(_values.integer(1, 2**31 - 1)(value))


def report(
    names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], alive: Collection[str], checked: bool = False
) -> list[str]:
    """What a run did to each host, and what the lint of the inventory found, as lines for a person to read.

    :param names: the hosts of the run
    :param alive: those that were reachable to the end
    :param checked: whether the run was one in check mode
    """
    lines: list[str] = []
    found: dict[str, None] = {}
    for name in names:
        known = hostvars[name]
        verdict = known.get(VERDICT_FACT, {})
        if verdict.get("problems"):
            parts = ["not done, because the inventory has problems"]
        elif FAILED in known:
            parts = [f"failed: {known[FAILED]}"]
        elif SKIPPED in known:
            parts = [f"skipped, because {known[SKIPPED]}"]
        elif name not in alive:
            parts = ["not done: unreachable, or stopped by the failure of another host"]
        elif not any(fact in known for fact in (*PLANS, KEPT)):
            parts = ["nothing was run"]
        else:
            parts = ["checked" if checked else "done", *_facts(known)]
        lines += [f"{name}: {'; '.join(parts)}", *(f"  warning: {one}" for one in _warnings(known))]
        for kind, word in {"problems": "problem", "warnings": "warning", "not_checked": "warning"}.items():
            found.update(dict.fromkeys(f"  {word}: {one}" for one in verdict.get(kind, ())))
    return [*lines, *(["inventory:", *found] if found else [])]


def _facts(known: Mapping[str, Any]) -> Iterator[str]:
    held_back = known.get("__ipvs_director_table", {}).get("not_added", ())
    services = known.get("__ipvs_director_services")
    if services is not None and DONE in known:
        servers = sum(len(one["servers"]) for one in services) - len(held_back)
        yield f"{_counted(len(services), 'service')} with {_counted(servers, 'server')}"
    plan = known.get("__ipvs_backend_plan", {})
    if "services" in plan:
        yield f"server of {_counted(len(plan['services']), 'service')}"
    changed = [what for result, what in CHANGES.items() if known.get(result, {}).get("changed")]
    if changed:
        yield f"changed: {', '.join(dict.fromkeys(changed))}"
    if held_back:
        yield f"not added, because their hosts are not ready: {', '.join(held_back)}"
    if known.get(KEPT):
        yield f"nothing is removed, because {', '.join(known[KEPT])} is not done"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _warnings(known: Mapping[str, Any]) -> Iterator[str]:
    for plan in PLANS:
        yield from known.get(plan, {}).get("warnings", ())
