# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""From ``ipvs_services`` of the inventory to plain services: expansions, servers from groups, what only the
inventory knows taken out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Optional

from ..module_utils import _model, _text, _values
from ..module_utils._errors import BadValue, Finding, Findings, Path, Place, at, show_key, show_names
from ..module_utils._model import FORWARDS, Entry, ServerKey
from ..module_utils._values import Field
from ._hostvars import Hostvars

#: How the answers of a NAT server come back to the director.
RETURN_PATHS = ("snat", "gateway", "route", "policy", "none")
DEFAULT_RETURN_PATH = "snat"
MAX_EXPANSION = 100_000

#: Who prepares the host of a server.
PREPARED = ("role", "elsewhere")
#: What the inventory says of each server, for all servers of a service or for one, and the word where nothing is said.
_SAID = {
    "return_path": (_values.choice(*RETURN_PATHS), DEFAULT_RETURN_PATH),
    "prepared": (_values.choice(*PREPARED), "role"),
}
_FROM_FIELDS = (
    Field("group", _values.text, required=True),
    Field("address", _values.text, required=True),
    Field("port", _values.text),
    Field("weight", _values.text),
)
_KEY_PARSERS = {**{field.name: field.parse for field in _model.KEY_FIELDS}, "address": _values.unicast}
_POOL_FIELDS = (Field("servers", lambda value: value), Field("servers_from", lambda value: value))
_SERVER_KEY = {field.name: field.parse for field in _model.SERVER_KEY_FIELDS}


class Inventory(NamedTuple):
    """What the services may refer to: variables by host, hosts by group, and the named pools of servers."""

    hostvars: Hostvars
    groups: Mapping[str, Sequence[str]]
    pools: Mapping[str, Any] = MappingProxyType({})


class Resolved(NamedTuple):
    """One plain service: as a module takes it, as the model reads it, the return path of each of its NAT servers,
    those that are prepared elsewhere, the addresses of its director by which answers go back, as written (None: not
    told); the service as the inventory has it, and where; and what the model warns of, by the places there.
    """

    plain: dict[str, Any]
    entry: Entry
    return_paths: dict[ServerKey, str]
    elsewhere: frozenset[ServerKey]
    return_via: Optional[Sequence[str]]
    written: Mapping[str, Any]
    place: Path
    warnings: tuple[Finding, ...]


class _Source(NamedTuple):
    """A server as the user wrote it, and where."""

    place: Path
    written: object


class _Expanded(NamedTuple):
    """A plain service, and where each part of it comes from."""

    plain: dict[str, Any]
    place: Path
    sources: list[_Source]
    said: Mapping[str, str]
    return_via: Optional[Sequence[str]]
    carried: bool
    written: Mapping[str, Any]


def resolve(services: object, inventory: Inventory, director: Optional[str] = None) -> list[Resolved]:
    """The plain services of ``services``, in the order written; with ``director`` those that this host carries.

    Every service is checked, also one that another director carries, so that every director refuses the same inventory.

    :raises InvalidInput: naming every problem, by the place where the user wrote the value.
    """
    findings = Findings()
    expanded: list[_Expanded] = []
    servers = 0
    for i, item in enumerate(_values.records(services, "services", findings, _model.MAX_SERVICES)):
        if not isinstance(item, Mapping):
            findings.problem(at("services", i), "must be a dict", item)
        elif _values.has_few_keys(item, at("services", i), findings):
            found = _expand(item, at("services", i), inventory, director, findings)
            servers += sum(len(one.sources) for one in found)
            expanded += found
        if len(expanded) > _model.MAX_SERVICES:
            findings.problem("services", f"must be at most {_model.MAX_SERVICES} services in all")
        if servers > _model.MAX_ALL_SERVERS:
            findings.problem("services", f"must have at most {_model.MAX_ALL_SERVERS} servers in all")
        if len(expanded) > _model.MAX_SERVICES or servers > _model.MAX_ALL_SERVERS:
            findings.raise_problems()
        if len(findings.problems) >= _model.MAX_PROBLEMS:
            break
    parsed = Findings()
    parser = _model.TableParser("services", parsed)
    warnings: list[list[Finding]] = []
    for one in expanded:
        first = len(parsed.warnings)
        more = parser.add(one.plain, one.place, [source.place for source in one.sources])
        warnings.append(parsed.warnings[first:])
        if not more:
            break
    # an expansion breaks a rule as often as there are services in it
    told = set(map(str, findings.problems))
    for problem in parsed.problems:
        if str(problem) not in told:
            told.add(str(problem))
            findings.problems.append(problem)
    resolved: list[Resolved] = []
    for one, warned in zip(expanded, warnings) if not findings.problems else ():
        resolved.append(_resolved(one, parser.table, warned, findings))
    findings.raise_problems()
    return [service for one, service in zip(expanded, resolved) if one.carried]


def carriers(one: Resolved, inventory: Inventory, directors: Optional[Sequence[str]]) -> tuple[str, ...]:
    """The hosts that carry a service: those of its own group, else ``directors``, by default the group
    ``ipvs_directors``.
    """
    if "directors" in one.written:
        return tuple(inventory.groups[one.written["directors"]])
    return tuple(inventory.groups.get("ipvs_directors", ()) if directors is None else directors)


def _resolved(one: _Expanded, table: _model.Table, warnings: Sequence[Finding], findings: Findings) -> Resolved:
    key = _model.parse_key({name: one.plain[name] for name in _KEY_PARSERS if name in one.plain}, one.place, findings)
    entry = table[key]  # type: ignore[index]
    paths, elsewhere = {}, set()
    for source, plain in zip(one.sources, one.plain["servers"]):
        written = source.written if isinstance(source.written, Mapping) else {}
        server = entry.servers[_model.make_server_key(entry.service.key, _identity(plain))]
        if written.get("prepared", one.said["prepared"]) == "elsewhere":
            elsewhere.add(server.key)
        if server.forward == FORWARDS["nat"]:
            paths[server.key] = written.get("return_path", one.said["return_path"])
        elif "return_path" in written:
            findings.problem(at(source.place, "return_path"), "is only for forward nat", written["return_path"])
    return Resolved(
        one.plain, entry, paths, frozenset(elsewhere), one.return_via, one.written, one.place, tuple(warnings)
    )


def _identity(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parse(plain[name]) for name, parse in _SERVER_KEY.items() if name in plain}


def _expand(
    item: Mapping[str, Any], path: Path, inventory: Inventory, director: Optional[str], findings: Findings
) -> list[_Expanded]:
    carried = True
    if "directors" in item:
        hosts = _group(item["directors"], at(path, "directors"), inventory, findings)
        carried = director is None or director in hosts
    said = {name: _checked(item, name, path, findings) or word for name, (dummy, word) in _SAID.items()}
    return_via = item.get("return_via")
    if return_via is not None:
        one_of_each_family(return_via, at(path, "return_via"), findings)
    sources = _sources(item, path, inventory, findings)
    servers: list[object] = []
    for source in sources:
        if isinstance(source.written, Mapping) and len(source.written) <= _values.MAX_KEYS:
            for name in _SAID:
                _checked(source.written, name, source.place, findings)
            servers.append({name: value for name, value in source.written.items() if name not in _SAID})
        else:
            servers.append(source.written)
    kept = {name: value for name, value in item.items() if name not in _model.INVENTORY_KEYS}
    identities = _identities(item, path, findings)
    if not identities:  # the rest is looked at all the same
        rest = {name: value for name, value in kept.items() if name not in _KEY_PARSERS}
        _model.check_options(rest, path, findings)
    return [
        _Expanded({**kept, **identity, "servers": servers}, path, sources, said, return_via, carried, item)
        for identity in identities
    ]


def _checked(written: Mapping[str, Any], name: str, path: Place, findings: Findings) -> Optional[str]:
    if name not in written:
        return None
    try:
        return str(_SAID[name][0](written[name]))
    except BadValue as error:
        findings.problem(at(path, name), str(error), written[name])
        return None


def _identities(item: Mapping[str, Any], path: Path, findings: Findings) -> list[dict[str, Any]]:
    """The keys that ``addresses`` and ``ports`` expand to: every port of the first address, then those of the next."""
    choices: dict[str, Sequence[Any]] = {}
    for plural, singular in (("addresses", "address"), ("ports", "port")):
        if plural not in item:
            continue
        values = _values.records(item[plural], at(path, plural), findings, MAX_EXPANSION)
        if not values and item[plural] in ([], ()):
            findings.problem(at(path, plural), "must not be empty", item[plural])
        for other in (singular, "fwmark"):
            if other in item:
                findings.problem(at(path, plural), f"excludes {other}", item[plural])
        choices[singular] = _good(values, singular, at(path, plural), findings)
    if math.prod(map(len, choices.values())) > _model.MAX_SERVICES:
        findings.problem(path, f"must expand to at most {_model.MAX_SERVICES} services")
        return []
    identities: list[dict[str, Any]] = [{}]
    for name, values in choices.items():
        identities = [{**identity, name: value} for identity in identities for value in values]
    return identities


def _good(values: Sequence[object], name: str, path: Place, findings: Findings) -> list[object]:
    """Those of the values that a key may have; what is wrong with the others is told at their places."""
    good = []
    for i, value in enumerate(values):
        try:
            _KEY_PARSERS[name](value)
        except BadValue as error:
            findings.problem(at(path, i), str(error), value)
        else:
            good.append(value)
    return good


def _sources(item: Mapping[str, Any], path: Path, inventory: Inventory, findings: Findings) -> list[_Source]:
    """The servers of a service: those written, then those of its pool, then those of a group of hosts."""
    sources = _listed(item, path, findings)
    if "servers_from" in item:
        sources += _from_group(item["servers_from"], path, inventory, findings)
    if "pool" not in item:
        return sources
    pool = item["pool"]
    if not isinstance(inventory.pools, Mapping):
        findings.problem("pools", "must be a dict", inventory.pools)
        return sources
    if not isinstance(pool, str) or pool not in inventory.pools:
        findings.problem(at(path, "pool"), f"no such pool; known: {show_names(inventory.pools) or 'none'}", pool)
        return sources
    where = at("pools", show_key(pool))
    content = _values.record(_POOL_FIELDS, inventory.pools[pool], where, findings)
    if content is None:
        return sources
    sources += _listed(content, where, findings)
    if "servers_from" in content:
        sources += _from_group(content["servers_from"], where, inventory, findings)
    return sources


def _listed(content: Mapping[str, Any], path: Path, findings: Findings) -> list[_Source]:
    items = _values.records(content.get("servers", []), at(path, "servers"), findings, _model.MAX_SERVERS)
    return [_Source(at(path, "servers", i), written) for i, written in enumerate(items)]


def _from_group(value: object, parent: Place, inventory: Inventory, findings: Findings) -> list[_Source]:
    """One server per host of a group, in the inventory's order."""
    path = at(parent, "servers_from")
    names = _values.record(_FROM_FIELDS, value, path, findings)
    if names is None or "group" not in names or "address" not in names:
        return []
    wanted = {key: names[key] for key in ("address", "port", "weight") if key in names}
    sources = []
    for host in _group(names["group"], at(path, "group"), inventory, findings):
        refused = inventory.hostvars.refused(host, wanted.values())
        if refused:
            findings.problems += refused
            continue
        variables = inventory.hostvars[host]
        server = {}
        for key, name in wanted.items():
            if name in variables:
                server[key] = variables[name]
            else:
                rule = f"host {host} of group {names['group']} has no variable of this name"
                findings.problem(at(path, key), rule, name)
        sources.append(_Source(at(parent, f"servers_from[{host}]"), server))
    return sources


def _group(value: object, path: Place, inventory: Inventory, findings: Findings) -> Sequence[str]:
    if not isinstance(value, str) or value not in inventory.groups:
        findings.problem(path, "no such group in the inventory", value)
        return ()
    return inventory.groups[value]


def flows(resolved: Sequence[Resolved], sources: Sequence[object] = ()) -> list[dict[str, Any]]:
    """What the director must masquerade so that answers come back to it: service, server and, where ``sources``
    holds an address of the server's family, that fixed source.

    :raises InvalidInput: a source is no address, or there are two of one family.
    """
    findings = Findings()
    fixed = one_of_each_family(sources, "source", findings)
    findings.raise_problems()
    found = []
    for service in resolved:
        for key, return_path in sorted(service.return_paths.items()):
            if return_path != "snat":
                continue
            server = {"address": _values.show_address(key.address), "port": key.port}
            flow: dict[str, Any] = {"service": _text.key_params(service.entry.service.key), "server": server}
            if len(key.address) in fixed:
                flow["source"] = fixed[len(key.address)]
            found.append(flow)
    return found


def one_of_each_family(addresses: object, path: Place, findings: Findings) -> dict[int, str]:
    """A list of addresses, at most one of each family -> their canonical text, by their length in bytes."""
    chosen: dict[int, str] = {}
    for i, address in enumerate(_values.records(addresses, path, findings, MAX_EXPANSION)):
        try:
            packed = _values.unicast(address)
        except BadValue as error:
            findings.problem(at(path, i), str(error), address)
            continue
        if len(packed) in chosen:
            findings.problem(at(path, i), "must be the only one of its family", address)
        chosen[len(packed)] = _values.show_address(packed)
    return chosen
