# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What a run may touch: scope, purge, and the limits that keep a mistake in the inventory from emptying a table.
Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple, Optional

from . import _model, _values
from ._errors import BadValue, Findings, IpvsError, Place, at
from ._model import Entry, Server, ServerKey, ServiceKey, Table
from ._plan import Plan, listed, plan
from ._values import Field

#: The actions as users name them; a weight that goes to 0 is an edit.
ACTION_WORDS = ("add_service", "edit_service", "remove_service", "add_server", "edit_server", "remove_server")
PURGES = ("none", "owned", "all")
DEFAULT_SHARE = 25
#: A limit given as a share never forbids this many removals: small tables change by large shares.
LEAST_LIMIT = 10

Unwanted = tuple[set[ServiceKey], set[tuple[ServiceKey, ServerKey]]]


class Network(NamedTuple):
    """An address prefix: packed address with its host bits 0, and the length."""

    address: bytes
    length: int

    def covers(self, address: bytes) -> bool:
        """Whether the packed address is within."""
        if len(address) != len(self.address):
            return False
        shift = 8 * len(address) - self.length
        return int.from_bytes(address, "big") >> shift == int.from_bytes(self.address, "big") >> shift


class Scope(NamedTuple):
    """Which services a run may touch: those that match every given criterion; ``None`` is not given. A firewall mark
    has neither address nor protocol, so ``networks`` and ``protocols`` are about the other services."""

    networks: Optional[tuple[Network, ...]] = None
    protocols: Optional[tuple[int, ...]] = None
    marks: Optional[tuple[int, ...]] = None

    def covers(self, key: ServiceKey) -> bool:
        """Whether the service is within."""
        if self == Scope():
            return True
        if key.fwmark:
            return self.marks is not None and key.fwmark in self.marks
        if self.networks is None and self.protocols is None:
            return False
        return (self.networks is None or any(one.covers(key.address) for one in self.networks)) and (
            self.protocols is None or key.protocol in self.protocols
        )


class Limit(NamedTuple):
    """The most removals of one kind in one run: a number, or a share in percent of what is live and may go."""

    number: Optional[int] = None
    share: int = DEFAULT_SHARE

    @property
    def explicit(self) -> bool:
        """Whether it says how much is meant, and not what is too much to be meant."""
        return self.number is not None or self.share == 100

    def of(self, live: int, listed: bool) -> int:
        """The number for a table that has ``live`` of the kind that a purge may remove. Where none is ``listed``, which
        is likely a mistake, no share but the whole allows any.
        """
        if self.number is not None:
            return self.number
        if not listed:
            return live if self.share == 100 else 0
        return max(LEAST_LIMIT, live * self.share // 100) if self.share else 0


def network(value: object) -> Network:
    """``192.0.2.0/24`` or ``2001:db8::/64``; host bits must be 0."""
    written = _values.text(value)
    address, slash, length = written.partition("/")
    packed = _values.address(address)
    bits = _values.integer(0, 8 * len(packed))(length if slash else str(8 * len(packed)))
    if int.from_bytes(packed, "big") & ((1 << (8 * len(packed) - bits)) - 1):
        raise BadValue("has host bits set")
    return Network(packed, bits)


def limit(value: object) -> Limit:
    """An integer, or a share such as ``25%``."""
    if isinstance(value, str) and value.endswith("%"):
        return Limit(share=_values.integer(0, 100)(value[:-1]))
    return Limit(number=_values.integer(0, 2**31 - 1)(value))


SCOPE_FIELDS = (
    Field("networks", _values.list_of(network)),
    Field("protocols", _values.list_of(_values.choice(*_model.PROTOCOLS))),
    Field("marks", _values.list_of(_values.integer(1, 2**32 - 1))),
)


def parse_scope(value: object, findings: Findings) -> Scope:
    """The option ``scope`` -> :class:`Scope`; ``None`` is everything."""
    if value is None:
        return Scope()
    told = len(findings.problems)
    given = _values.record(SCOPE_FIELDS, value, "scope", findings) or {}
    if not given and len(findings.problems) == told:
        findings.problem("scope", "must name networks, protocols or marks")
    if len(findings.problems) > told:
        return Scope()  # a bad scope is no reason to blame services
    protocols = given.get("protocols")
    return Scope(
        given.get("networks"),
        None if protocols is None else tuple(_model.PROTOCOLS[word] for word in protocols),
        given.get("marks"),
    )


def check_scope(wanted: Collection[ServiceKey], scope: Scope, path: Place, findings: Findings) -> None:
    """A listed service outside of the scope is a mistake in one of the two."""
    for key in wanted:
        if not scope.covers(key):
            findings.problem(path, "a listed service is outside of scope", _model.key_text(key))


def _nested(value: object) -> object:
    return value


_NOT_READY_FIELDS = (Field("service", _nested, required=True), Field("server", _nested, required=True))


def parse_not_ready(value: object, findings: Findings) -> frozenset[tuple[ServiceKey, ServerKey]]:
    """The option ``not_ready`` -> the servers that are not to be added; every problem goes to ``findings``, except what
    a service or a server may not be: nothing is made of a name.
    """
    told = len(findings.problems)
    servers = set()
    for i, item in enumerate(_values.records(value, "not_ready", findings, _model.MAX_SERVERS)):
        given = _values.record(_NOT_READY_FIELDS, item, at("not_ready", i), findings)
        if given is not None and len(given) == len(_NOT_READY_FIELDS):
            named = _model.parse_server_of(given["service"], given["server"], at("not_ready", i), findings)
            servers.update([named] if named else [])
    findings.problems[told:] = [one for one in findings.problems[told:] if one.subject is None]
    return frozenset(servers)


class Owned(NamedTuple):
    """The services that runs of ours have made, and the servers, whoever made their service."""

    services: frozenset[ServiceKey] = frozenset()
    servers: frozenset[tuple[ServiceKey, ServerKey]] = frozenset()


class Policy(NamedTuple):
    """What a task allows a plan to do beyond making its list true."""

    purge: str = "none"
    scope: Scope = Scope()
    keep_weights: bool = False
    max_removals: Limit = Limit()
    allow_actions: tuple[str, ...] = ACTION_WORDS
    not_ready: frozenset[tuple[ServiceKey, ServerKey]] = frozenset()

    def plan(self, current: Table, listed: Table, owned: Owned) -> Plan:
        """The plan that makes ``listed`` true and purges, before anything is checked."""
        wanted = keep_weights(current, listed) if self.keep_weights else listed
        wanted = hold_back(current, wanted, self.not_ready)
        made = plan(current, wanted, *unwanted(current, listed, self.purge, owned, self.scope))
        return made._replace(keeps_weights=self.keep_weights)

    def checked(self, made: Plan, listed: Table, owned: Owned) -> Plan:
        """``made``, if it is within what the task allows. A purge of what is ``owned`` may remove a share of that,
        however much others have in the table.

        :raises IpvsError: it is not; the details show it.
        """
        found = counts(made)
        refused = [
            f"{found[word]} x {word}" for word in ACTION_WORDS if word in found and word not in self.allow_actions
        ]
        if refused:
            raise _refusal(f"the plan needs what allow_actions does not name: {', '.join(refused)}", made)
        if self.purge != "none":
            self._check_removals(made, listed, owned)
        return made

    def _check_removals(self, made: Plan, listed: Table, owned: Owned) -> None:
        gone = [operation.key for operation in made.operations if operation.action == "remove_service"]
        servers = sum(len(made.current[key].servers) for key in gone)
        servers += sum(operation.action == "remove_server" for operation in made.operations)
        if not gone and not servers:
            return
        every = self.purge == "all"
        live = {key: entry for key, entry in made.current.items() if self.scope.covers(key)}
        live_services = sum(every or key in owned.services for key in live)
        live_servers = sum(every or (key, one) in owned.servers for key in live for one in live[key].servers)
        listed_servers = any(entry.servers for entry in listed.values())
        for what, removed, total, any_listed in (
            ("services", len(gone), live_services, bool(listed)),
            ("servers", servers, live_servers, listed_servers),
        ):
            most = self.max_removals.of(total, any_listed)
            if removed > most:
                listing = "" if any_listed else ", and none is listed"
                message = f"would remove {removed} of {total} {what}{listing}; max_removals allows {most}"
                raise _refusal(f"{message}: look at the plan, and raise it if this is meant", made)
        bare = [] if self.max_removals.explicit else _bared(made, listed)
        if bare:
            message = f"would leave {len(bare)} of {len(listed)} listed services without a server"
            more = f" (and {len(bare) - 1} more)" if len(bare) > 1 else ""
            way_out = "look at the plan, and give max_removals as a number if this is meant"
            raise _refusal(f"{message}, {_model.key_text(bare[0])}{more}: {way_out}", made)


def unwanted(current: Table, listed: Table, purge: str, owned: Owned, scope: Scope) -> Unwanted:
    """What a purge takes away: services that are not listed, and servers that are not listed of those that are.

    ``owned`` limits it to what earlier runs of ours made. A service of ours in which another writer has put servers of
    its own stays for their sake; only our servers leave it.
    """
    services: set[ServiceKey] = set()
    servers: set[tuple[ServiceKey, ServerKey]] = set()
    if purge == "none":
        return services, servers
    for key, entry in current.items():
        if not scope.covers(key):
            continue
        ours = [one for one in entry.servers if purge == "all" or (key, one) in owned.servers]
        if key not in listed and (purge == "all" or key in owned.services) and len(ours) == len(entry.servers):
            services.add(key)
            continue
        wanted = listed[key].servers if key in listed else {}
        servers.update((key, one) for one in ours if one not in wanted)
    return services, servers


def _bared(made: Plan, listed: Table) -> list[ServiceKey]:
    """The listed services that have servers, and stay without one."""
    fewer = {operation.key for operation in made.operations if operation.action == "remove_server"}
    return sorted(key for key in fewer if key in listed and not made.predicted[key].servers)


def keep_weights(current: Table, listed: Table) -> Table:
    """``listed`` with the live weight of every server that exists."""
    table: Table = {}
    for key, entry in listed.items():
        live = current[key].servers if key in current else {}
        servers = {
            one: server._replace(weight=live[one].weight) if one in live else server
            for one, server in entry.servers.items()
        }
        table[key] = Entry(entry.service, servers)
    return table


def hold_back(current: Table, listed: Table, not_ready: Collection[tuple[ServiceKey, ServerKey]]) -> Table:
    """``listed`` where each server that is ``not_ready`` is as it is in ``current``, or left out if it is not there."""
    table = dict(listed)
    for key, one in sorted(not_ready):
        if key not in table or one not in table[key].servers:
            continue
        servers = dict(table[key].servers)
        live = current[key].servers.get(one) if key in current else None
        if live is None:
            del servers[one]
        else:
            servers[one] = live
        table[key] = Entry(table[key].service, servers)
    return table


def not_added(table: Table, listed: Table, not_ready: Collection[tuple[ServiceKey, ServerKey]]) -> list[str]:
    """A line for each listed server that ``table`` lacks because it is ``not_ready``."""
    return [
        f"{_model.key_text(key)} -r {_model.server_text(one)}"
        for key, one in sorted(not_ready)
        if key in listed and one in listed[key].servers and (key not in table or one not in table[key].servers)
    ]


def kept_weights(table: Table, listed: Table) -> list[str]:
    """A line for each server whose weight in ``table`` is not the listed one."""
    return [
        f"{_model.key_text(key)} -r {_model.server_text(one)} keeps weight {live.weight} (listed: {server.weight})"
        for key in sorted(listed.keys() & table.keys())
        for one, server in sorted(listed[key].servers.items())
        for live in [table[key].servers.get(one)]
        if live is not None and live.weight != server.weight
    ]


def counts(made: Plan) -> dict[str, int]:
    """How many operations of each kind, in the words of ``allow_actions``."""
    found = Counter(
        "edit_server" if operation.action == "quiesce_server" else operation.action for operation in made.operations
    )
    return {word: found[word] for word in ACTION_WORDS if word in found}


def rerouted(made: Plan) -> list[str]:
    """The addresses of the servers that go from NAT or a tunnel to DR or back, sorted.

    The kernel keeps one route with a server (ip_vs_dest.dest_dst), whichever connection asked first. Asked for NAT or a
    tunnel, it has no next hop of its own, and packets by DR, which are addressed to the VIP, are sent to the neighbour
    with that address (IP_VS_RT_MODE_KNOWN_NH, net/netfilter/ipvs/ip_vs_xmit.c). Connections from before and from after
    the change ask both ways.
    """
    direct = _model.FORWARDS["dr"]
    found = {
        operation.after.key.address
        for operation in made.operations
        if isinstance(operation.before, Server)
        and isinstance(operation.after, Server)
        and (operation.before.forward == direct) != (operation.after.forward == direct)
    }
    return [_values.show_address(address) for address in sorted(found, key=lambda one: (len(one), one))]


def _refusal(message: str, made: Plan) -> IpvsError:
    return IpvsError(message, diff=made.diff(), operations=listed(made.operations), counts=counts(made))
